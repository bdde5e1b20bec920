"""Prints reports of the tiny run's programs for 8 virtual devices, as JSON by name: run as a process of its own."""

import json
from pathlib import Path

import jax

from benchmarks import topology
from magdiff_jax.config_file import read_config
from magdiff_jax.training.config import TrainConfig
from magdiff_jax.training.trainer import Trainer

TINY = Path(__file__).parents[1] / "training" / "tiny.py"


def main() -> None:
    # All of the U-Net, so that most of what is trained is in parameters large enough to be shared out.
    trainable = (("^(unet|resampler)/", True), ("rest", False))
    values = read_config(TINY, []) | {"mesh": {"data": 1, "fsdp": 8, "frame": 1}, "trainable": trainable}
    config = TrainConfig.from_dict(values)
    trainer = Trainer(config, topology.networks_of(config), jax.devices())
    cells = {}
    for make in (topology.training, topology.encoders, topology.sampling):
        report = topology.compile_report(trainer, make(trainer))
        cells[make.__name__] = topology.to_json(report, "v5e:2x4")
        cells[make.__name__]["text"] = topology.describe(report, "v5e:2x4")
        cells[make.__name__]["parameters"] = {
            "trainable": sum(trainer.shapes[path].size for path in trainer.trainable),
            "U-Net": sum(leaf.size for path, leaf in trainer.shapes.items() if path.startswith("unet/")),
        }
    print(json.dumps(cells))


if __name__ == "__main__":
    main()

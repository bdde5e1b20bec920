"""A table of slices and batches from compiled training steps: `python -m benchmarks.topology_table REPORT.json …`.

Reports are those of `benchmarks.topology --json`, batches in one part, parameters shared out among all chips. A batch
is worked off in parts of as many clips a chip as fit, so that one part tells all of it. Parts that no report is about
are derived from the slice's own report of the next fewer clips, or from the first report where it has none:

- parameters, their optimizer and what chips exchange: by the share that a chip holds, 1/n, or receives, (n - 1)/n;
- FLOPs by the clips;
- temporaries and traffic by the clips too, though some of both is the parameters': they are upper bounds.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks import roofline
from benchmarks.roofline import Work

SLICES = {"v5e:4x4": "v5e-16", "v5p:2x2x4": "v5p-32", "v6e:8x8": "v6e-64"}
BATCHES = (64, 128, 256, 512, 1024, 2048, 4096)
GIGA = 1e9

# What is shared out among the chips, and what grows with the clips; the program itself does neither.
_SHARED = ("trainable parameters", "frozen parameters", "optimizer")
_BY_CLIP = ("batch", "temporaries", "results beside")


@dataclasses.dataclass(frozen=True)
class Part:
    """One part of a batch.

    Attributes:
        topology: the slice.
        devices: its chips.
        clips: of each chip.
        memory: bytes of each chip by what they hold.
        work: of each chip.
        compiled: whether it is a report's, not derived.
    """

    topology: str
    devices: int
    clips: int
    memory: dict[str, float]
    work: Work
    compiled: bool = True

    @property
    def fits(self) -> bool:
        return sum(self.memory.values()) <= roofline.parse(self.topology)[0].memory

    def moved(self, topology: str, clips: int) -> "Part":
        """What it would be on another slice, or with more clips."""
        devices = roofline.chips(topology)
        share, more = self.devices / devices, clips / self.clips
        factors = dict.fromkeys(_SHARED, share) | dict.fromkeys(_BY_CLIP, more)
        memory = {name: size * factors.get(name, 1.0) for name, size in self.memory.items()}
        received = self.work.received * (1 - 1 / devices) / (1 - 1 / self.devices)
        work = Work(self.work.flops * more, self.work.useful * more, self.work.traffic * more, received)
        return Part(topology, devices, clips, memory, work, compiled=False)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.topology_table",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("reports", type=Path, nargs="+", metavar="REPORT.json")
    reports = parser.parse_args(arguments).reports
    print("\n".join(table([read(json.loads(path.read_text(encoding="utf-8"))) for path in reports])))


def read(report: dict[str, Any]) -> Part:
    """The part that a report is about. Raises ValueError where it is of a batch in several."""
    if report["program"] != "training step" or report["parts"] != 1:
        raise ValueError(f"{report['topology']}: a report of the {report['program']} in {report['parts']} parts")
    clips = report["clips"] // report["devices"]
    return Part(report["topology"], report["devices"], clips, report["memory"], Work(**report["work"]))


def table(reports: list[Part]) -> Iterable[str]:
    """Lines of Markdown."""
    yield "| slice | batch | parts x clips | GB a chip | compute | memory | network | limit | of peak | clips/s |"
    yield "|" + "---|" * 10
    for topology in SLICES:
        own = sorted((part for part in reports if part.topology == topology), key=lambda part: part.clips)
        for batch in BATCHES:
            yield row(batch, *choose(batch, topology, own or reports[:1]))


def choose(batch: int, topology: str, known: list[Part]) -> tuple[int, Part]:
    """In how many parts a batch is worked off: as few as fit into memory; one clip a chip where none fits."""
    share = batch // roofline.chips(topology)
    sizes = [clips for clips in range(share, 0, -1) if share % clips == 0]
    parts = [_of(clips, topology, known) for clips in sizes]
    part = next((part for part in parts if part.fits), parts[-1])
    return share // part.clips, part


def _of(clips: int, topology: str, known: list[Part]) -> Part:
    """A part of so many clips: a report's, or derived from the nearest one with fewer."""
    fewer = [part for part in known if part.clips <= clips]
    nearest = max(fewer, key=lambda part: part.clips) if fewer else known[0]
    same = (nearest.topology, nearest.clips) == (topology, clips)
    return nearest if same else nearest.moved(topology, clips)


def row(batch: int, number: int, part: Part) -> str:
    """One line; times are those of the whole batch."""
    chip, axes = roofline.parse(part.topology)
    limits = roofline.times(part.work, chip, axes)
    slowest, fastest = sum(limits), limits.seconds
    cells = (
        SLICES[part.topology],
        batch,
        f"{number} x {part.clips}{' **c**' if part.compiled else ''}",
        f"{sum(part.memory.values()) / GIGA:.1f} of {chip.memory / GIGA:g}, {'fits' if part.fits else 'too much'}",
        *(f"{number * seconds:.3f} s" for seconds in limits),
        limits.limit,
        " to ".join(f"{roofline.share_of_peak(part.work, chip, seconds):.0%}" for seconds in (slowest, fastest)),
        " to ".join(f"{batch / (number * seconds):.0f}" for seconds in (slowest, fastest)),
    )
    return "| " + " | ".join(map(str, cells)) + " |"


if __name__ == "__main__":
    main(sys.argv[1:])

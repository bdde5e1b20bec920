"""A table of batch sizes from what `benchmarks.topology --json` wrote: `python -m benchmarks.topology_table FILE …`.

A large batch is worked off in parts of so many clips a chip, so that one compiled part tells all of them. Of each
slice's training step with the fewest clips a chip, and the growth by each further clip of the slice that was compiled
with two numbers of clips, follow memory, FLOPs, traffic and exchange of a part of any size, in a straight line.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import roofline
from benchmarks.roofline import Work

BATCHES = (64, 128, 256, 512, 1024, 2048, 4096)
GIGA = 1e9


class Part(NamedTuple):
    """One part of a batch on a slice.

    Attributes:
        clips: of each chip.
        memory: bytes of each chip.
        work: of each chip.
    """

    clips: int
    memory: float
    work: Work

    def grown(self, clips: int, growth: "Part") -> "Part":
        """The part with more clips; `growth`: by one clip."""
        more = clips - self.clips
        work = Work(*(own + more * each for own, each in zip(self.work, growth.work, strict=True)))
        return Part(clips, self.memory + more * growth.memory, work)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.topology_table", description=__doc__)
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="reports of training steps in one part")
    reports = [json.loads(path.read_text(encoding="utf-8")) for path in parser.parse_args(arguments).files]
    print("\n".join(rows(reports)))


def rows(reports: list[dict[str, Any]]) -> list[str]:
    """Lines of Markdown. Raises ValueError where no slice was compiled with two numbers of clips."""
    slices: dict[str, list[Part]] = {}
    for report in reports:
        slices.setdefault(report["topology"], []).append(read(report))
    for parts in slices.values():
        parts.sort()
    growth = next((between(parts[0], parts[-1]) for parts in slices.values() if len(parts) > 1), None)
    if growth is None:
        raise ValueError("one slice is needed with two numbers of clips a chip")
    lines = [
        "| slice | batch | parts x clips a chip | GB a chip | compute | memory | network | limit | of peak | clips/s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for topology, compiled in slices.items():
        chip, axes = roofline.parse(topology)
        devices = next(report["devices"] for report in reports if report["topology"] == topology)
        for batch in BATCHES:
            share = batch // devices
            sizes = [clips for clips in range(1, share + 1) if share % clips == 0]
            parts = [next((c for c in compiled if c.clips == size), compiled[0].grown(size, growth)) for size in sizes]
            fitting = [part for part in parts if part.memory <= chip.memory]
            if not fitting:
                lines.append(f"| {topology} | {batch} | {share} x 1 | {parts[0].memory / GIGA:.1f}: too much |||||||")
                continue
            part = fitting[-1]
            limits = roofline.times(part.work, chip, axes)
            number = share // part.clips
            shares = [roofline.share_of_peak(part.work, chip, seconds) for seconds in (sum(limits), limits.seconds)]
            speed = batch / (number * limits.seconds)
            cells = (
                topology,
                batch,
                f"{number} x {part.clips}{'' if part in compiled else ' *'}",
                f"{part.memory / GIGA:.1f} of {chip.memory / GIGA:g}",
                *(f"{number * seconds:.3f} s" for seconds in limits),
                limits.limit,
                f"{shares[0]:.0%} to {shares[1]:.0%}",
                f"{speed:.0f}",
            )
            lines.append("| " + " | ".join(map(str, cells)) + " |")
    return lines


def read(report: dict[str, Any]) -> Part:
    if report["parts"] != 1:
        raise ValueError(f"{report['topology']}: compiled in {report['parts']} parts, must be one")
    return Part(report["clips"] // report["devices"], sum(report["memory"].values()), Work(**report["work"]))


def between(few: Part, many: Part) -> Part:
    """What one clip more brings."""
    clips = many.clips - few.clips
    work = Work(*((more - less) / clips for less, more in zip(few.work, many.work, strict=True)))
    return Part(1, (many.memory - few.memory) / clips, work)


if __name__ == "__main__":
    main(sys.argv[1:])

"""How fast a program can be on a chip at best: the largest of three times, each from one limit of the chip.

Williams et al. 2009, with the network between the chips as a third limit. Chips' figures are those of Google's public
pages, cloud.google.com/tpu/docs/v5e, /v5p and /v6e (read in November 2026).
"""

import math
import re
from typing import NamedTuple


class Chip(NamedTuple):
    """What one chip can do.

    Attributes:
        flops: bfloat16 products, FLOP/s.
        memory: bytes.
        bandwidth: of the memory, bytes/s.
        link: one link to a neighbour in one direction, bytes/s: the pages' bidirectional bandwidth of a chip over
            twice its number of links.
        torus: chips along an axis from which on its ends are joined.
    """

    flops: float
    memory: float
    bandwidth: float
    link: float
    torus: int


CHIPS = {
    "v5e": Chip(197e12, 16e9, 819e9, 400e9 / 2 / 4, 16),
    "v5p": Chip(459e12, 95e9, 2765e9, 1200e9 / 2 / 6, 4),
    "v6e": Chip(918e12, 32e9, 1638e9, 800e9 / 2 / 4, 16),
}


class Work(NamedTuple):
    """What one device has to do in a run of a program.

    Attributes:
        flops: products that the program computes.
        useful: those without what is computed a second time to save memory.
        traffic: bytes to and from memory.
        received: bytes that come in from other chips.
    """

    flops: float
    useful: float
    traffic: float
    received: float


class Times(NamedTuple):
    """Seconds that each limit allows at least."""

    compute: float
    memory: float
    network: float

    @property
    def seconds(self) -> float:
        """Where everything overlaps with everything else."""
        return max(self)

    @property
    def limit(self) -> str:
        """What binds."""
        return self._fields[self.index(max(self))]


def parse(topology: str) -> tuple[Chip, tuple[int, ...]]:
    """The chip and the number of chips along each axis of a topology such as v5e:4x4.

    Raises:
        ValueError: a chip whose figures are not here, or no such form.
    """
    found = re.fullmatch(r"(\w+):(\d+(?:x\d+)*)", topology)
    if not found or found[1] not in CHIPS:
        raise ValueError(f"{topology}: must be CHIP:AxB or CHIP:AxBxC, CHIP one of {', '.join(CHIPS)}")
    return CHIPS[found[1]], tuple(int(size) for size in found[2].split("x"))


def chips(topology: str) -> int:
    """How many there are."""
    return math.prod(parse(topology)[1])


def network_bandwidth(chip: Chip, axes: tuple[int, ...]) -> float:
    """Bytes/s that come in at the worst placed chip, one in a corner: a link for each axis, two where its ends join.

    The three-dimensional torus joins the ends of slices whose axes are all multiples of `torus`, the others' from
    `torus` chips on.
    """
    joined = [size % chip.torus == 0 for size in axes]
    if len(axes) == 3 and not all(joined):
        joined = [False] * 3
    return chip.link * sum((1 + ends) * (size > 1) for size, ends in zip(axes, joined, strict=True))


def times(work: Work, chip: Chip, axes: tuple[int, ...]) -> Times:
    """The three limits of a program on a slice."""
    bandwidth = network_bandwidth(chip, axes)
    network = work.received / bandwidth if bandwidth else 0.0 if not work.received else math.inf
    return Times(work.flops / chip.flops, work.traffic / chip.bandwidth, network)


def share_of_peak(work: Work, chip: Chip, seconds: float) -> float:
    """Of what the chip could compute in that time, the useful part."""
    return work.useful / (chip.flops * seconds)

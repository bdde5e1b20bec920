import pytest

from benchmarks.roofline import CHIPS, Times, Work, network_bandwidth, parse, share_of_peak, times

V5E, V5P = CHIPS["v5e"], CHIPS["v5p"]


def test_parse() -> None:
    assert parse("v5p:2x2x4") == (V5P, (2, 2, 4))


@pytest.mark.parametrize("topology", ["v5e", "v5e:4x", "v9:4x4", "4x4"])
def test_what_is_no_topology(topology: str) -> None:
    with pytest.raises(ValueError, match=f"^{topology}: must be CHIP:AxB"):
        parse(topology)


@pytest.mark.parametrize(
    ("chip", "axes", "links"),
    [
        ("v5e", (1, 1), 0),
        ("v5e", (1, 4), 1),
        ("v5e", (4, 4), 2),
        ("v5e", (8, 16), 3),
        ("v5e", (16, 16), 4),
        ("v5p", (2, 2, 4), 3),
        ("v5p", (4, 4, 4), 6),
        ("v6e", (8, 8), 2),
    ],
)
def test_links(chip: str, axes: tuple[int, ...], links: int) -> None:
    assert network_bandwidth(CHIPS[chip], axes) == links * CHIPS[chip].link


def test_the_largest_time_is_the_limit() -> None:
    work = Work(flops=394e12, useful=197e12, traffic=819e9, received=400e9)
    limits = times(work, V5E, (4, 4))
    assert limits == Times(compute=2.0, memory=1.0, network=4.0)
    assert (limits.limit, limits.seconds) == ("network", 4.0)
    assert share_of_peak(work, V5E, limits.seconds) == 0.25


def test_one_chip_needs_no_network() -> None:
    assert times(Work(1.0, 1.0, 1.0, 0.0), V5E, (1, 1)).network == 0

import pytest

from benchmarks.roofline import Work
from benchmarks.topology_table import Part, choose, read, row, table

MEMORY = {"trainable parameters": 1e9, "optimizer": 2e9, "temporaries": 3e9, "program": 0.5e9}
PART = Part("v5e:4x4", 16, 1, MEMORY, Work(2e12, 1e12, 100e9, 15e9))


def test_another_slice_holds_another_share() -> None:
    part = PART.moved("v6e:8x8", 2)
    assert part.devices == 64
    assert part.memory == {"trainable parameters": 0.25e9, "optimizer": 0.5e9, "temporaries": 6e9, "program": 0.5e9}
    assert part.work == Work(4e12, 2e12, 200e9, pytest.approx(15e9 * (63 / 64) / (15 / 16)))
    assert not part.compiled


@pytest.mark.parametrize(
    ("batch", "number", "clips"),
    # 3.5 GB and 3 for each clip: four are 15.5 of 16 GB; parts are equal.
    [(16, 1, 1), (64, 1, 4), (96, 2, 3), (4096, 64, 4)],
)
def test_parts_as_large_as_fit(batch: int, number: int, clips: int) -> None:
    chosen, part = choose(batch, "v5e:4x4", [PART])
    assert (chosen, part.clips, part.fits) == (number, clips, True)
    assert part.compiled == (clips == 1)


def test_a_report_goes_before_what_would_be_derived() -> None:
    measured = Part("v5e:4x4", 16, 4, MEMORY, PART.work)
    assert choose(64, "v5e:4x4", [PART, measured]) == (1, measured)


def test_the_nearest_report_tells_the_rest() -> None:
    two = Part("v5e:4x4", 16, 2, MEMORY, PART.work)
    _, part = choose(64, "v5e:4x4", [PART, two])
    assert (part.clips, part.compiled, part.memory["temporaries"]) == (4, False, 6e9)


def test_too_much_for_the_chip() -> None:
    large = Part("v5e:4x4", 16, 1, {"temporaries": 17e9}, PART.work)
    number, part = choose(32, "v5e:4x4", [large])
    assert (number, part.clips) == (2, 1)
    assert "17.0 of 16, too much" in row(32, number, part)


def test_row() -> None:
    """Two parts, each 100 GB at 819 GB/s, 15 GB over two links of 50 GB/s, 2 TFLOP at 197 TFLOP/s."""
    cells = row(32, 2, PART).split(" | ")
    assert cells[:4] == ["| v5e-16", "32", "2 x 1 **c**", "6.5 of 16, fits"]
    assert cells[4:8] == ["0.020 s", "0.244 s", "0.300 s", "network"]
    assert cells[8:] == ["2% to 3%", "57 to 107 |"]


def test_table_has_a_row_for_each_slice_and_batch() -> None:
    lines = list(table([PART]))
    assert len(lines) == 2 + 3 * 7
    assert {line.count("|") for line in lines} == {11}


def test_reports_of_several_parts_are_refused() -> None:
    report = {"program": "training step", "parts": 2, "topology": "v5e:4x4"}
    with pytest.raises(ValueError, match="v5e:4x4: a report of the training step in 2 parts"):
        read(report)

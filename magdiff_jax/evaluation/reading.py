"""All that a clip shows, read from its pixels alone."""

from typing import NamedTuple

from magdiff_jax.data.clip import Frames, Masks
from magdiff_jax.data.emoji.backgrounds import Background
from magdiff_jax.evaluation.colours import Tint, read_tint
from magdiff_jax.evaluation.motion import read_motion, read_turn
from magdiff_jax.evaluation.panning import read_panning
from magdiff_jax.evaluation.segment import Track, segment, track
from magdiff_jax.evaluation.textures import read_texture

# Directions that look the same over stripes of an angle.
_ALIKE = {45: ({"right", "down"}, {"left", "up"}), 135: ({"right", "up"}, {"left", "down"})}


class Reading(NamedTuple):
    """What a clip shows.

    Attributes:
        colour: of the background, one of `backgrounds.COLOURS`.
        texture: of the background, one of `backgrounds.TEXTURES`.
        panning: of the background: "left", "right", "up", "down", or "" for none.
        motion: of the subject, one of `motions.MOTIONS`.
        turn: of the subject from the first frame to the last, degrees clockwise.
        tint: the background's colour in levels.
        masks: of the subject; empty where none is seen.
        track: of the subject.
    """

    colour: str
    texture: str
    panning: str
    motion: str
    turn: float
    tint: Tint
    masks: Masks
    track: Track


def read(frames: Frames) -> Reading:
    """What a clip of EmojiMotion's kind shows; at least 2 frames, of 16 pixels or more."""
    tint = read_tint(frames)
    masks = segment(frames, tint)
    texture = read_texture(frames, masks, tint)
    panning = read_panning(frames, masks, tint) if texture != "plain" else ""
    course, turn = track(masks), read_turn(frames, masks)
    return Reading(tint.name, texture, panning, read_motion(course, turn), turn, tint, masks, course)


def pans_as(panning: str, background: Background) -> bool:
    """Whether a background that was read to pan in this direction looks as if it panned as this one does."""
    alike = _ALIKE.get(background.angle, ())
    return panning == background.panning or any({panning, background.panning} <= ways for ways in alike)

#!/usr/bin/env python
"""MagDiff in miniature at work: a clip of a subject that it has never seen, and a clip's background made anew.

The subject is a drawing that was held out of the training, or --subject, a picture of your own with a transparent
background; say in --prompt what it is, how it moves and over what, in words such as these:

    a dog moves to the right over a blue striped background, dog

Motions: moves to the left, right, up, down; grows larger, shrinks, spins clockwise or counterclockwise, bounces up and
down, stands still. Backgrounds: plain, striped, checkered, dotted, tiled or wavy, in red, orange, yellow, green,
turquoise, blue, purple, pink, brown, gray, white or black.
"""

import argparse
from pathlib import Path

from PIL import Image

from magdiff_jax.commands import call, run
from magdiff_jax.errors import UserError
from magdiff_jax.evaluation import GUIDANCE_SCALE, STEPS

DRAWING = "face with spiral eyes"
PROMPT = f"a {DRAWING} moves to the right over a blue striped background, {DRAWING}"
PLACE = "0.3,0.5,0.45"
# Of the split "edit": a clip of "test", with another background in its caption.
CLIP = 31
# Steps and guidance are those of the figures in the model's card.
SETTINGS = ("--steps", STEPS, "--guidance", GUIDANCE_SCALE, "--enlarge", "8", "--sheet", "--overwrite")


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for all of it (default: demo)")
    parser.add_argument("--subject", type=Path, metavar="FILE", help="a picture with a transparent background")
    parser.add_argument("--prompt", metavar="TEXT", help="for a subject of your own: what the clip shows")
    parser.add_argument(
        "--place", default=PLACE, metavar="X,Y,SIZE", help=f"of the subject in the first frame (default: {PLACE})"
    )
    args = parser.parse_args(arguments)
    if (args.subject is None) != (args.prompt is None):
        raise UserError("--subject and --prompt go together")
    args.out.mkdir(parents=True, exist_ok=True)
    subject, prompt = args.subject or write_drawing(args.out), args.prompt or PROMPT
    generated, edited = args.out / "generated.mp4", args.out / "edited.mp4"
    given = ("--subject", subject, "--place", args.place, "--prompt", prompt)
    call("magdiff_jax.generate", *given, "--out", generated, *SETTINGS)
    if args.subject is None:
        masks, caption = write_clip(args.out)
        given = ("--video", args.out / "clip.mp4", "--masks", masks, "--prompt", caption)
        call("magdiff_jax.edit", *given, "--out", edited, *SETTINGS)
    print(
        f"\nlook at {generated.with_suffix('.sheet.png')}"
        + (f" and {edited.with_suffix('.sheet.png')}" if args.subject is None else "")
    )
    print("next: another --prompt, or a picture of your own with a transparent background:")
    print('  python tools/demo.py --subject my.png --prompt "a dog spins clockwise over a pink dotted background, dog"')


def write_drawing(folder: Path) -> Path:
    """A drawing of the split "test", with its transparency."""
    import numpy as np

    from magdiff_jax.data.emoji.drawings import Drawings
    from magdiff_jax.data.emoji.subjects import subjects

    (code,) = (subject.code for subject in subjects() if (subject.split, subject.label) == ("test", DRAWING))
    pixels = Drawings().sprite(code, 256).pixels.astype(np.float32)
    alpha = pixels[..., 3:]
    rgb = np.divide(pixels[..., :3] * 255, alpha, out=np.zeros_like(pixels[..., :3]), where=alpha > 0)
    path = folder / "drawing.png"
    Image.fromarray(np.concatenate([rgb, alpha], axis=-1).round().clip(0, 255).astype(np.uint8)).save(path)
    return path


def write_clip(folder: Path) -> tuple[Path, str]:
    """A clip of the split "test" as clip.mp4, its masks, and the caption of its edit."""
    import numpy as np

    from magdiff_jax.data.emoji import EmojiMotion
    from magdiff_jax.media.writing import write_video

    clip, edit = (EmojiMotion(split, CLIP + 1, size=256)[CLIP] for split in ("test", "edit"))
    every = range(clip.info.length)
    write_video(folder / "clip.mp4", clip.frames(every), clip.info.fps)
    masks = clip.masks(every)[..., None].repeat(3, axis=-1).astype(np.uint8) * 255
    write_video(folder / "clip-masks", masks, clip.info.fps)
    return folder / "clip-masks", edit.info.augmented_caption


if __name__ == "__main__":
    run(main)

"""`generate` from files to files, on the tiny model and a real photo."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from PIL import Image

from magdiff_jax import UserError, commands, edit, generate
from magdiff_jax.config import ConfigError
from magdiff_jax.media.images import read_image
from magdiff_jax.media.video import read_video
from magdiff_jax.pipeline import MagDiff
from tests.conftest import random_component

CAT = skimage.data.chelsea()
MASK = np.zeros(CAT.shape[:2], np.uint8)
MASK[40:260, 120:330] = 255


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with the photo as it is, cut out by its transparency, and the mask."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XLA_FLAGS", "")
    Image.fromarray(CAT).save("cat.png")
    Image.fromarray(MASK).save("mask.png")
    Image.fromarray(np.dstack([CAT, MASK])).save("cut.png")
    return tmp_path


def make(model: Path, **flags: Any) -> None:
    given = {"model": model, "prompt": "a cat on the beach", "steps": 2, **flags}
    words = [f"--{name.replace('_', '-')}={value}" for name, value in given.items() if value not in (True, None)]
    generate.main([*words, *(f"--{name}" for name, value in given.items() if value is True)])


def pixels(path: str, frames: int = 4) -> np.ndarray:
    return read_video(path, frames).frames


def test_a_clip_its_record_and_its_rerun(model_folder: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(model_folder, subject="cat.png", mask="mask.png", out="clip.mp4", seed=3, eta=0.5, sheet=True)
    assert capsys.readouterr().out.split() == ["clip.mp4", "clip.json", "clip.sheet.png"]
    clip = read_video("clip.mp4", 4)
    assert clip.frames.shape == (4, 16, 16, 3)
    assert clip.fps == 8
    assert min(read_image("clip.sheet.png").rgb.shape[:2]) > 100
    record = json.loads(Path("clip.json").read_text())
    assert record["arguments"]["seed"] == 3
    assert record["arguments"]["eta"] == 0.5
    assert record["arguments"]["guidance"] == 7.5
    assert set(record["inputs"]) == {"model", "subject", "mask"}
    assert {"magdiff_jax", "jax", "flax"} <= set(record["versions"])

    generate.main(["--rerun", "clip.json", "--out", "again.mp4"])
    assert Path("again.mp4").read_bytes() == Path("clip.mp4").read_bytes()
    assert json.loads(Path("again.json").read_text()) == record
    assert not Path("again.sheet.png").exists()

    # A flag that is given takes the place of the recorded one.
    args, _ = commands.parse(generate.make_parser(), ["--rerun", "clip.json", "--out", "other.mp4", "--seed", "4"])
    assert (args.seed, args.eta, args.prompt) == (4, 0.5, "a cat on the beach")
    # Transparency says the same as the mask.
    make(model_folder, subject="cut.png", out="cut.mp4", seed=3, eta=0.5)
    np.testing.assert_array_equal(pixels("cut.mp4"), clip.frames)


def test_a_subject_in_its_place_and_larger_pixels(model_folder: Path, folder: Path) -> None:
    make(model_folder, subject="cut.png", place="0.4,0.5,0.5", enlarge=3, out="clip", sheet=True)
    assert pixels("clip").shape == (4, 48, 48, 3)
    np.testing.assert_array_equal(pixels("clip")[:, ::3, 1::3], pixels("clip")[:, 2::3, ::3])
    record = json.loads(Path("clip.json").read_text())["arguments"]
    assert (record["place"], record["enlarge"]) == ("0.4,0.5,0.5", 3)
    # A picture with the subject at that place says the same.
    frame = np.zeros((440, 440, 4), np.uint8)
    frame[110:330, 71:281] = np.dstack([CAT, MASK])[40:260, 120:330]
    Image.fromarray(frame).save("placed.png")
    make(model_folder, subject="placed.png", enlarge=3, out="same")
    np.testing.assert_array_equal(pixels("same"), pixels("clip"))


def test_a_long_video_of_a_prompt_alone(pipe: MagDiff, folder: Path) -> None:
    """By a text-to-video model, which takes no subject."""
    unet = random_component("unet", dataclasses.replace(pipe.unet.config, apa=False, hfa_levels=()))
    parts = {"unet": unet, "vae": pipe.vae, "text_encoder": pipe.text_encoder}
    MagDiff(pipe.config, pipe.schedule, parts, pipe.tokenizer, "").save("vidrd")
    make(Path("vidrd"), out="long", num_clips=2, sheet=True)
    assert pixels("long", 8).shape == (8, 16, 16, 3)
    record = json.loads(Path("long.json").read_text())
    assert (record["arguments"]["subject"], set(record["inputs"])) == (None, {"model"})
    # The eight frames stand on the sheet alone.
    assert 8 * 128 < read_image("long.sheet.png").rgb.shape[1] < 9 * 128
    generate.main(["--rerun", "long.json", "--out", "again"])
    np.testing.assert_array_equal(pixels("again", 8), pixels("long", 8))

    complaint = "neither APA nor HFA takes no subject: generate with a prompt alone"
    with pytest.raises(UserError, match=complaint):
        make(Path("vidrd"), subject="cat.png", out="none")
    with pytest.raises(UserError, match=complaint):
        edit.main(["--model=vidrd", "--prompt=a cat", "--video=cat.png", "--subject-box=1,1,9,9", "--out=none"])


def test_several_long_videos_as_folders(model_folder: Path, folder: Path) -> None:
    make(model_folder, subject="cat.png", subject_box="40,10,380,280", out="clip.v2/", count=2, num_clips=2, seed=5)
    names = ["clip.v2-1", "clip.v2-1.json", "clip.v2-2", "clip.v2-2.json"]
    assert sorted(path.name for path in folder.glob("clip*")) == names
    one, two = (pixels(name, 8) for name in names[::2])
    assert (one != two).any()
    assert [json.loads(Path(name).read_text())["arguments"]["seed"] for name in names[1::2]] == [5, 6]
    # The record of one of them is a run of its own.
    generate.main(["--rerun", "clip.v2-2.json", "--out", "again"])
    np.testing.assert_array_equal(pixels("again", 8), two)


def test_a_gif_after_warnings_of_an_empty_mask_and_a_long_prompt(model_folder: Path, folder: Path) -> None:
    Image.fromarray(np.zeros_like(MASK)).save("empty.png")
    prompt = "a cat " * 60 + "fox"
    with pytest.warns(UserWarning, match="no subject|whole frame|the model takes 77") as caught:
        make(model_folder, subject="cat.png", mask="empty.png", out="clip.gif", prompt=prompt)
    texts = [str(warning.message) for warning in caught]
    assert any("empty.png has no subject: its values are 0 to 0" in text for text in texts)
    assert any("the whole frame is taken as the subject" in text for text in texts)
    (long,) = [text for text in texts if "tokens" in text]
    assert "the model takes 77; lost: " in long
    assert long.endswith("fox'")
    assert len(pixels("clip.gif")) == 4


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"subject": "missing.png"}, "missing.png does not exist"),
        ({"subject": "text.png"}, "text.png cannot be read as a picture"),
        ({"subject": "."}, "is a folder"),
        ({"mask": "missing.png"}, "missing.png does not exist"),
        ({"mask": "small.png"}, "small.png is 50x40 but the frames it masks are 451x300"),
        ({"mask": "mask.png", "subject_box": "1,1,9,9"}, "not allowed with argument"),
        (
            {"subject": None, "mask": "mask.png"},
            "--mask is of the subject's picture: add --subject, or leave --mask out",
        ),
        ({"subject": None, "subject_box": "1,1,9,9"}, "--subject-box is of the subject's picture"),
        ({"subject": None, "place": "0.5,0.5,0.5"}, "--place is of the subject's picture"),
        ({"place": "0.5"}, "must be X,Y,SIZE"),
        ({"place": "0.5,0.5,0.5", "height": 32}, "both --height and --width"),
        ({"enlarge": 0}, "--enlarge 0: must be at least 1"),
        ({"count": 0}, "--count 0: must be at least 1"),
        ({"count": 2, "seed": 2**32 - 1}, "seed = 4294967295"),
        ({"num_clips": 0}, "num_clips = 0"),
        ({"denoise_guidance": 1.5}, "denoise_guidance = 1.5"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_mistakes_are_found_before_the_model_is_read(folder: Path, change: dict[str, Any], complaint: str) -> None:
    Path("text.png").write_text("no picture")
    Image.fromarray(MASK[:40, :50]).save("small.png")
    before = sorted(folder.iterdir())
    with pytest.raises((UserError, ConfigError)) as caught:
        make(Path("no-model"), **{"subject": "cat.png", "out": "clip.mp4", **change})
    assert complaint in str(caught.value)
    assert sorted(folder.iterdir()) == before


def variants() -> dict[str, Image.Image]:
    """The cat as all kinds of pictures."""
    cat = Image.fromarray(CAT)
    deep = Image.fromarray(np.asarray(cat.convert("L")).astype(np.uint16) * 257)
    turned = cat.transpose(Image.Transpose.ROTATE_90)
    turned.getexif()[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    return {
        "rgba.png": cat.convert("RGBA"),
        "gray.png": cat.convert("L"),
        "gray-alpha.png": cat.convert("LA"),
        "palette.png": cat.convert("P"),
        "deep.png": deep,
        "turned.jpg": turned,
        "odd.jpg": cat.crop((0, 0, 201, 133)),
    }


@pytest.mark.parametrize("name", variants())
def test_all_kinds_of_pictures_are_subjects(folder: Path, name: str) -> None:
    picture = variants()[name]
    picture.save(name, **({"exif": picture.getexif(), "quality": 95} if name == "turned.jpg" else {}))
    args = generate.make_parser().parse_args([f"--subject={name}", "--model=m", "--prompt=p", "--out=o"])
    read = read_image(args.subject)
    expected = CAT[:133, :201] if name == "odd.jpg" else CAT
    assert read.rgb.shape == expected.shape
    if name in ("rgba.png", "turned.jpg", "odd.jpg"):
        assert np.abs(read.rgb.astype(int) - expected).mean() < 4
    mask = generate.subject_mask(read, args)
    assert mask.shape == expected.shape[:2]
    assert mask.all()

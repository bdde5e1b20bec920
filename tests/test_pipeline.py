"""The Python API on a tiny model: what it promises of seeds, batches, compilation, files and wrong arguments.

The subject is a real photo; the weights are not trained, so that a video is judged by what it depends on.
"""

import dataclasses
import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.data

from magdiff_jax import MagDiff, Settings, UserError
from magdiff_jax.conditioning import Shape, Subject
from magdiff_jax.config import ConfigError
from magdiff_jax.diffusion.ddim import Steps, make_steps
from magdiff_jax.diffusion.noise import seed_keys
from magdiff_jax.diffusion.schedule import ScheduleConfig
from magdiff_jax.models import COMPONENTS
from tests.conftest import random_component

CAT = skimage.data.chelsea()
MASK = np.zeros(CAT.shape[:2], bool)
MASK[40:260, 120:330] = True
PROMPT = "a cat on the beach"
FEW: dict[str, Any] = {"steps": 3, "progress": False}
# Of a program's constants: one that is larger is a parameter that was compiled in.
LARGEST_CONSTANT = 100_000


def differ(a: np.ndarray, b: np.ndarray) -> int:
    """The largest difference of two videos, in levels of 255."""
    return int(np.abs(a.astype(int) - b.astype(int)).max())


def variant(pipe: MagDiff, **changes: Any) -> MagDiff:
    """The model with some of its components, its configuration or its schedule exchanged."""
    components = {name: changes.pop(name, getattr(pipe, name)) for name in COMPONENTS}
    present = {name: component for name, component in components.items() if component is not None}
    return MagDiff(
        changes.get("config", pipe.config), changes.get("schedule", pipe.schedule), present, pipe.tokenizer, ""
    )


@pytest.fixture(scope="module")
def video(pipe: MagDiff) -> np.ndarray:
    return pipe.generate(PROMPT, CAT, MASK, seed=7, **FEW)


def test_a_video_is_frames_of_rgb(video: np.ndarray) -> None:
    assert isinstance(video, np.ndarray)
    assert video.shape == (4, 16, 16, 3)
    assert video.dtype == np.uint8
    assert video.std() > 5


@pytest.mark.quick
def test_the_seed_decides(pipe: MagDiff, video: np.ndarray) -> None:
    np.testing.assert_array_equal(pipe.generate(PROMPT, CAT, MASK, seed=7, **FEW), video)
    assert differ(pipe.generate(PROMPT, CAT, MASK, seed=8, **FEW), video) > 5


@pytest.mark.parametrize(
    "change",
    [
        {"guidance_scale": 2.0},
        {"steps": 4},
        {"eta": 1.0},
        {"noise_correlation": 2.0},
        {"negative_prompt": "rain"},
        {"prompt": "a fox"},
        {"subject": CAT[:, ::-1]},
        {"mask": None},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_argument_counts(pipe: MagDiff, video: np.ndarray, change: dict[str, Any]) -> None:
    arguments = {"prompt": PROMPT, "subject": CAT, "mask": MASK, "seed": 7, **FEW, **change}
    changed = pipe.generate(**arguments)
    assert differ(changed, video) > 0
    np.testing.assert_array_equal(pipe.generate(**arguments), changed)


def test_without_guidance_the_negative_prompt_does_not_count(pipe: MagDiff) -> None:
    one, other = (
        pipe.generate(PROMPT, CAT, MASK, negative_prompt=negative, guidance_scale=1.0, **FEW)
        for negative in ("", "rain")
    )
    assert differ(one, other) <= 1


def test_one_program_serves_all_values(pipe: MagDiff, video: np.ndarray) -> None:
    """Nothing but shapes may compile: listened to in JAX itself, and counted in the step's cache."""
    before = pipe.sample._step._cache_size()
    compiled: list[str] = []

    def listen(event: str, duration: float, **_: Any) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(event)

    old = pipe.unet.params
    other_params = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf) * np.float32(1.01)), old)
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        pipe.unet.params = other_params
        with pytest.warns(UserWarning, match="51% of the subject is cut away"):
            other = pipe.generate(
                "a fox in the rain", CAT[::-1], ~MASK, seed=99, steps=5, guidance_scale=3.0, eta=0.5, progress=False
            )
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
        pipe.unet.params = old
    assert differ(other, video) > 5
    assert pipe.sample._step._cache_size() == before == 1
    assert pipe.unet.params is old
    assert len(compiled) == 0


def test_parameters_are_arguments_of_the_program(pipe: MagDiff) -> None:
    condition, latents, step = arguments(pipe)
    traced = pipe.sample._step.trace(pipe.unet.params, condition, latents, step, 7.5, seed_keys([0]), 0)
    assert constants(traced) == []
    # The measure itself: a step that holds its parameters is found out.
    frozen = jax.jit(lambda latents: pipe.unet.network.apply(pipe.unet.params, latents, jnp.zeros(2, int), condition))
    assert constants(frozen.trace(jnp.concatenate([latents, latents])))


def arguments(pipe: MagDiff) -> tuple[Any, jax.Array, Steps]:
    keys, shape = seed_keys([0]), Shape(4, 16, 16)
    subject = pipe.encode_subjects([(CAT[None], None)], shape, keys)
    both = jax.tree.map(lambda leaf: jnp.concatenate([leaf, leaf]), subject)
    condition = pipe.unet(pipe.encode_prompts(["", PROMPT]), *both, method="condition")
    step = Steps(*(numbers[0] for numbers in make_steps(pipe.schedule, 3)))
    return condition, pipe.start_latents(shape, keys, Settings()), step


def constants(traced: Any) -> list[int]:
    """Sizes of the large constants of a program, in bytes: closed over, or in the text of its HLO."""
    closed = [constant.nbytes for constant in traced.jaxpr.consts]
    literals = re.findall(r'dense<"0x([0-9A-F]+)">', traced.lower().as_text())
    return [size for size in (*closed, *(len(digits) // 2 for digits in literals)) if size > LARGEST_CONSTANT / 10]


def test_a_batch_gives_what_each_seed_gives_alone(pipe: MagDiff, video: np.ndarray) -> None:
    """Latents within 1e-4, frames within one level: batches of another size sum in another order."""
    seen: dict[str, list[np.ndarray]] = {"alone": [], "batch": []}
    pipe.generate(PROMPT, CAT, MASK, seed=7, on_step=lambda *now: seen["alone"].append(np.asarray(now[2])), **FEW)
    both = pipe.generate(
        ["a fox", PROMPT],
        [CAT[::-1], CAT],
        [None, MASK],
        seed=6,
        on_step=lambda *now: seen["batch"].append(np.asarray(now[2])),
        **FEW,
    )
    assert both.shape == (2, 4, 16, 16, 3)
    assert differ(both[1], video) <= 1
    assert differ(both[0], both[1]) > 5
    for alone, batch in zip(seen["alone"], seen["batch"], strict=True):
        np.testing.assert_allclose(batch[1], alone[0], atol=1e-4)


def test_steps_are_told_in_order_and_end_in_the_video(pipe: MagDiff, video: np.ndarray) -> None:
    told: list[tuple[int, int]] = []
    latents: list[jax.Array] = []

    def on_step(clip: int, step: int, current: jax.Array) -> None:
        told.append((clip, step))
        latents.append(current)

    pipe.generate(PROMPT, CAT, MASK, seed=7, on_step=on_step, **FEW)
    assert told == [(0, 0), (0, 1), (0, 2)]
    assert latents[0].shape == (1, 4, 8, 8, 4)
    np.testing.assert_array_equal(pipe.decode(latents[-1])[0], video)


def test_noise_embeddings_and_subjects_can_be_given(pipe: MagDiff, video: np.ndarray) -> None:
    shape, keys, settings = Shape(4, 16, 16), seed_keys([7]), Settings(steps=3)
    latents = pipe.start_latents(shape, keys, settings)
    given = pipe.generate(PROMPT, CAT, MASK, seed=7, latents=np.asarray(latents), **FEW)
    np.testing.assert_array_equal(given, video)
    other = pipe.generate(PROMPT, CAT, MASK, seed=7, latents=latents[:, ::-1], **FEW)
    assert differ(other, video) > 5
    text, negative = pipe.encode_prompts([PROMPT]), pipe.encode_prompts([""])
    subject = pipe.encode_subjects([(CAT[None], MASK[None])], shape, keys)
    subject = Subject(np.asarray(subject.image_tokens), tuple(map(np.asarray, subject.latents)))
    (clip,) = pipe.sample(np.asarray(text), np.asarray(negative), subject, np.asarray(latents), keys, settings)
    np.testing.assert_array_equal(pipe.decode(clip)[0], video)


def test_a_progress_bar_counts_all_clips_steps(pipe: MagDiff, capsys: pytest.CaptureFixture[str]) -> None:
    pipe.generate(PROMPT, CAT, MASK, steps=3, num_clips=2)
    assert "6/6" in capsys.readouterr().err
    pipe.generate(PROMPT, CAT, MASK, **FEW)
    assert not capsys.readouterr().err


def test_a_long_video_continues_clip_by_clip(pipe: MagDiff, video: np.ndarray) -> None:
    latents: dict[tuple[int, int], np.ndarray] = {}
    options = {"overlap_frames": 2, "denoise_guidance": 1.0, "noise_recycle": 1.5}
    long = pipe.generate(
        PROMPT,
        CAT,
        MASK,
        seed=7,
        num_clips=3,
        on_step=lambda clip, step, now: latents.update({(clip, step): np.asarray(now[0])}),
        **options,
        **FEW,
    )
    assert long.shape == (12, 16, 16, 3)
    np.testing.assert_array_equal(long[:4], video)
    assert differ(long[4:8], video) > 5
    assert differ(long[8:], long[4:8]) > 5
    # Frame 0 follows the last frame of the clip before in every step, so that only its conditioning differs.
    followed, free = (np.abs(latents[1, 2][frame] - latents[0, 2][3 - frame]).mean() for frame in (0, 3))
    assert followed < free / 2
    loose = pipe.generate(PROMPT, CAT, MASK, seed=7, num_clips=3, **{**options, "noise_recycle": 0.0}, **FEW)
    np.testing.assert_array_equal(loose[:4], video)
    assert differ(loose[4:], long[4:]) > 5


def test_editing_keeps_the_number_of_frames_and_sees_all_of_them(pipe: MagDiff) -> None:
    frames = np.stack([np.roll(CAT, 20 * index, axis=1) for index in range(4)])
    masks = np.stack([np.roll(MASK, 20 * index, axis=1) for index in range(4)])
    edited = pipe.edit(PROMPT, frames, masks, seed=7, **FEW)
    assert edited.shape == (4, 16, 16, 3)
    np.testing.assert_array_equal(pipe.edit(PROMPT, jnp.asarray(frames), jnp.asarray(masks), seed=7, **FEW), edited)
    last = masks.copy()
    last[3] = np.roll(last[3], -30, axis=1)
    assert differ(pipe.edit(PROMPT, frames, last, seed=7, **FEW), edited) > 0
    with pytest.raises(ConfigError, match="an edited video is one clip"):
        pipe.edit(PROMPT, frames, masks, num_clips=2)


def test_saved_and_loaded_the_video_is_the_same(pipe: MagDiff, video: np.ndarray, tmp_path: Path) -> None:
    pipe.save(tmp_path / "model")
    again = MagDiff.load(tmp_path / "model")
    assert again.fingerprint == pipe.fingerprint
    assert (again.config, again.schedule) == (pipe.config, pipe.schedule)
    np.testing.assert_array_equal(again.generate(PROMPT, CAT, MASK, seed=7, **FEW), video)
    with pytest.raises(ConfigError, match="dtype = 'int8': must be one of"):
        MagDiff.load(tmp_path / "model", "int8")


def test_components_can_be_called(pipe: MagDiff) -> None:
    tokens = pipe.text_encoder(pipe.tokenizer(["a cat"]))
    assert tokens.shape == (1, 77, 32)
    image = CAT[None].astype(np.float32) / 127.5 - 1
    features = pipe.vision(pipe.vision(image, method="preprocess"))
    assert features.shape == (1, 5, 32)
    assert pipe.resampler(features).shape == (1, 4, 32)
    assert pipe.vision(pipe.vision(image, method="preprocess"), method="embed").shape == (1, 16)
    mean, _ = pipe.vae(image[:, :24, :24], method="encode")
    assert mean.shape == (1, 12, 12, 4)
    assert pipe.vae(np.zeros((1, 4, 8, 8, 4), np.float32), method="decode").shape == (1, 4, 16, 16, 3)
    condition, latents, _ = arguments(pipe)
    both = jnp.concatenate([latents, latents])
    assert pipe.unet(both, jnp.array([1, 1]), condition).shape == both.shape


def test_velocity_from_pure_noise(pipe: MagDiff) -> None:
    schedule = ScheduleConfig(prediction_type="v_prediction", zero_terminal_snr=True, timestep_spacing="trailing")
    last: list[jax.Array] = []
    video = variant(pipe, schedule=schedule).generate(
        PROMPT, CAT, MASK, eta=1.0, on_step=lambda *now: last.append(now[2]), **FEW
    )
    assert jnp.isfinite(last[-1]).all()
    assert video.std() > 5
    impossible = variant(pipe, schedule=dataclasses.replace(schedule, prediction_type="epsilon"))
    with pytest.raises(ConfigError, match="epsilon"):
        impossible.generate(PROMPT, CAT, MASK, **FEW)


def test_without_sda_the_mask_does_not_count(pipe: MagDiff, video: np.ndarray) -> None:
    whole = variant(pipe, config=dataclasses.replace(pipe.config, sda=False))
    masked, unmasked = (whole.generate(PROMPT, CAT, mask, seed=7, **FEW) for mask in (MASK, None))
    np.testing.assert_array_equal(masked, unmasked)
    assert differ(masked, video) > 0


@pytest.mark.parametrize("change", [{"apa": False}, {"hfa_levels": ()}], ids=["apa", "hfa"])
def test_without_apa_or_hfa_the_other_carries_the_subject(pipe: MagDiff, change: dict[str, Any]) -> None:
    unet = random_component("unet", dataclasses.replace(pipe.unet.config, **change))
    parts = {"vision": None, "resampler": None} if "apa" in change else {}
    ablated = variant(pipe, unet=unet, **parts)
    one, other = (ablated.generate(PROMPT, picture, MASK, seed=7, **FEW) for picture in (CAT, 255 - CAT))
    assert differ(one, other) > 0


def test_without_both_prompts_alone_make_videos(pipe: MagDiff) -> None:
    config = dataclasses.replace(pipe.unet.config, apa=False, hfa_levels=())
    base = variant(pipe, unet=random_component("unet", config), vision=None, resampler=None)
    one, other = (base.generate(prompt, seed=7, **FEW) for prompt in (PROMPT, "a dog in the snow"))
    assert differ(one, other) > 0
    for call in (base.generate, base.edit):
        with pytest.raises(UserError, match="neither APA nor HFA"):
            call(PROMPT, CAT if call == base.generate else CAT[None])


def test_no_subject_is_a_black_one(pipe: MagDiff) -> None:
    without = pipe.generate(PROMPT, seed=7, **FEW)
    np.testing.assert_array_equal(without, pipe.generate(PROMPT, np.zeros_like(CAT), seed=7, **FEW))
    assert differ(without, pipe.generate(PROMPT, CAT, MASK, seed=7, **FEW)) > 0
    with pytest.raises(UserError, match="a mask without a subject"):
        pipe.generate(PROMPT, mask=MASK, **FEW)


def test_a_model_without_vision_tower_says_so(pipe: MagDiff) -> None:
    with pytest.raises(UserError, match="no vision tower for APA; convert it again"):
        variant(pipe, vision=None).generate(PROMPT, CAT, MASK, **FEW)


def test_bfloat16_ends_at_the_network_s_edge(pipe: MagDiff, model_folder: Path) -> None:
    """How near it stays is measured at the U-Net; here, that the sampler's own arithmetic is in float32."""
    half = MagDiff.load(model_folder, "bfloat16")
    assert {leaf.dtype.name for leaf in jax.tree.leaves(half.unet.params)} == {"bfloat16"}
    condition, latents, step = arguments(pipe)
    after = jax.eval_shape(half.sample._step, half.unet.params, condition, latents, step, 7.5, seed_keys([0]), 0)
    assert after.dtype == jnp.float32


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"subject": CAT / 255}, "type float64: must be .* RGB in uint8"),
        ({"subject": CAT[..., 0]}, r"frames of shape \(1, 300, 451\)"),
        ({"subject": np.stack([CAT, CAT])}, r"frames of shape \(1, 2, 300, 451, 3\)"),
        ({"mask": MASK.astype(np.uint8)}, "masks of shape .* and type uint8"),
        ({"mask": MASK[:-1]}, "masks of shape"),
        ({"mask": [MASK, MASK]}, "1 prompts, 1 subjects and 2 masks"),
        ({"prompt": [PROMPT] * 2, "subject": [CAT]}, "2 prompts, 1 subjects and 2 masks"),
        ({"height": 15}, "height 15, width 16: must be multiples of 2"),
        ({"height": 0}, "height 0"),
        ({"width": -2}, "width -2"),
        ({"frames": 0}, "frames 0: must be at least 1"),
        ({"latents": np.zeros((4, 8, 8, 4), np.float32)}, "latents: has the shape"),
        ({"latents": np.zeros((1, 4, 16, 16, 4), np.float32)}, r"must have \(1, 4, 8, 8, 4\)"),
        ({"steps": 0}, "steps = 0"),
        ({"eta": 2.0}, "eta = 2.0"),
        ({"seed": -1}, "seed = -1"),
        ({"seed": 2**32}, "seed = 4294967296"),
        ({"strength": 0.5}, "unknown keys"),
    ],
)
def test_wrong_arguments_are_named(pipe: MagDiff, arguments: dict[str, Any], complaint: str) -> None:
    with pytest.raises((UserError, ConfigError), match=complaint):
        pipe.generate(**{"prompt": PROMPT, "subject": CAT, "mask": MASK, **FEW, **arguments})


@pytest.mark.parametrize(
    ("name", "shape", "complaint"),
    [
        ("text", (1, 77, 31), r"text: has the shape \(1, 77, 31\), must have \(1, any, 32\)"),
        ("negative_text", (2, 77, 32), "negative_text"),
        ("image_tokens", (1, 16, 8), "subject.image_tokens"),
        ("level", (1, 3, 12, 12, 4), "subject.latents"),
        ("last_level", (1, 4, 8, 9, 4), r"subject.latents\[-1\]"),
        ("latents", (1, 4, 8, 8, 3), "latents"),
        ("fresh", (1, 4, 8, 9, 4), "fresh"),
    ],
)
def test_wrong_arrays_for_the_sampler_are_named(
    pipe: MagDiff, name: str, shape: tuple[int, ...], complaint: str
) -> None:
    shapes = {
        "text": (1, 77, 32),
        "negative_text": (1, 77, 32),
        "image_tokens": (1, 16, 32),
        "level": (1, 4, 12, 12, 4),
        "last_level": (1, 4, 8, 8, 4),
        "latents": (1, 4, 8, 8, 4),
        "fresh": (1, 4, 8, 8, 4),
        name: shape,
    }
    arrays = {key: np.zeros(size, np.float32) for key, size in shapes.items()}
    subject = Subject(arrays["image_tokens"], (arrays["level"], arrays["last_level"]))
    with pytest.raises(UserError, match=complaint):
        pipe.sample(
            arrays["text"],
            arrays["negative_text"],
            subject,
            arrays["latents"],
            seed_keys([0]),
            Settings(num_clips=2),
            fresh=[arrays["fresh"]],
        )

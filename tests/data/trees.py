"""Small public data sets, laid out as people have them, from the frames of real clips."""

import json
import shutil
from pathlib import Path

import av
import numpy as np
from PIL import Image

from magdiff_jax.media.video import read_video
from magdiff_jax.media.writing import write_video

# The first colours of the palette in DAVIS's masks.
PALETTE = [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0, 0, 0, 128, 128, 0, 128, 0, 128, 128, 128, 128, 128, 64, 0, 0]


def carphone(clips: Path, frames: int, start: int = 0) -> np.ndarray:
    """Frames of a man in a car, uint8 [frame, 144, 176, 3]."""
    return read_video(clips / "carphone_pristine.mp4", frames, start).frames[:, :144, :176]


def two_objects(count: int, height: int = 144, width: int = 176) -> np.ndarray:
    """Object numbers [frame, height, width]: object 1 moves to the right above object 2; a line is void (255)."""
    labels = np.zeros((count, height, width), np.uint8)
    for index in range(count):
        labels[index, 20:60, 10 + 5 * index : 60 + 5 * index] = 1
        labels[index, 80:120, 50:90] = 2
        labels[index, 130, :] = 255
    return labels


def make_davis(folder: Path, clips: Path) -> Path:
    """DAVIS with sequences "bmx-trees" (4 frames, train) and "dog" (3 frames, val), and both years' lists."""
    for name, count, start in (("bmx-trees", 4, 0), ("dog", 3, 40)):
        pictures, labels = folder / "JPEGImages" / "480p" / name, folder / "Annotations" / "480p" / name
        pictures.mkdir(parents=True)
        labels.mkdir(parents=True)
        for index, (frame, label) in enumerate(zip(carphone(clips, count, start), two_objects(count), strict=True)):
            Image.fromarray(frame).save(pictures / f"{index:05}.jpg", quality=95)
            picture = Image.fromarray(label, "P")
            picture.putpalette(PALETTE + [255] * (768 - len(PALETTE)))
            picture.save(labels / f"{index:05}.png")
    lists = {"train": "bmx-trees", "val": "dog"}
    for split, name in lists.items():
        for year in ("2016", "2017"):
            path = folder / "ImageSets" / year / f"{split}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{name}\n")
    return folder


def make_msrvtt(folder: Path, clips: Path) -> Path:
    """MSR-VTT in its original layout: video0 (train), video1 (validate), video2 (test), with three captions each."""
    for name, video, split in (
        ("TrainValVideo", 0, "train"),
        ("TrainValVideo", 1, "validate"),
        ("TestVideo", 2, "test"),
    ):
        (folder / name).mkdir(parents=True, exist_ok=True)
        write_video(folder / name / f"video{video}.mp4", carphone(clips, 4, 20 * video), 15.0)
        path = folder / ("test_videodatainfo.json" if split == "test" else "train_val_videodatainfo.json")
        values = json.loads(path.read_text()) if path.exists() else {"info": {}, "videos": [], "sentences": []}
        values["videos"].append(
            {
                "category": 9,
                "url": "https://www.youtube.com/watch?v=x",
                "video_id": f"video{video}",
                "start time": 1.5,
                "end time": 11.5,
                "split": split,
                "id": video,
            }
        )
        # Sentences are not in order of their videos.
        for number in (2, 0, 1):
            sentence = {
                "caption": f"caption {number} of video {video}",
                "video_id": f"video{video}",
                "sen_id": 10 * video + number,
            }
            values["sentences"].append(sentence)
        path.write_text(json.dumps(values))
    return folder


def make_ucf101(folder: Path, clips: Path) -> Path:
    """UCF-101 with two classes; fold 1 trains on group 8 and tests on group 1, fold 2 the other way round."""
    lists = folder / "ucfTrainTestlist"
    lists.mkdir(parents=True)
    (lists / "classInd.txt").write_text("1 ApplyEyeMakeup\r\n42 HandstandPushups\r\n")
    # The second class's files are spelled differently from its folder.
    for number, (action, stem) in enumerate(
        (("ApplyEyeMakeup", "ApplyEyeMakeup"), ("HandstandPushups", "HandStandPushups"))
    ):
        (folder / "UCF-101" / action).mkdir(parents=True)
        for group in (1, 8):
            path = folder / "UCF-101" / action / f"v_{stem}_g{group:02}_c01.avi"
            _write_avi(path, carphone(clips, 3, 10 * number + group))
            for fold in (1, 2):
                test = (group == 1) == (fold == 1)
                line = f"{action}/{path.name}" + ("" if test else f" {(1, 42)[number]}")
                with (lists / f"{'test' if test else 'train'}list{fold:02}.txt").open("a", newline="") as stream:
                    stream.write(line + "\r\n")
    return folder


def _write_avi(path: Path, frames: np.ndarray) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        stream.bit_rate = 4_000_000
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        container.mux(stream.encode(None))


PROMPTS_AND_CLASSES = """Classes

subject_name,class
cat2,cat
wolf_plushie,stuffed animal

Prompts

Object Prompts

prompt_list = [
'a {0} {1} in the jungle'.format(unique_token, class_token),
'a cube shaped {0} {1}'.format(unique_token, class_token)
]

Live Subject Prompts

prompt_list = [
'a {0} {1} in the jungle'.format(unique_token, class_token),
'a {0} {1} wearing a red hat'.format(unique_token, class_token),
'a {0} {1} in a chef outfit'.format(unique_token, class_token)
]
"""


def make_dreambooth(folder: Path, cat: np.ndarray) -> Path:
    """The repository with a cat in two pictures of different sizes and a plush wolf in one."""
    dataset = folder / "dataset"
    for name, picture in (
        ("cat2/00.jpg", cat),
        ("cat2/03.jpg", cat[:200, :300]),
        ("wolf_plushie/00.jpg", cat[::-1].copy()),
    ):
        (dataset / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(dataset / name, quality=95)
    (dataset / "prompts_and_classes.txt").write_text(PROMPTS_AND_CLASSES)
    return folder


def make_annotations(folder: Path, clips: Path) -> Path:
    """The released layout: a video of twelve frames with masks, of which two clips are cut, and one without masks."""
    frames, labels = carphone(clips, 12), two_objects(12)
    for video in ("1001", "1002"):
        raw = folder / "videos" / "part0" / "raw_vid" / video
        raw.mkdir(parents=True)
        for index, frame in enumerate(frames, 1):
            Image.fromarray(frame).save(raw / f"frame_{index}.jpg", quality=95)
    masks = folder / "mask" / "part0" / "1001"
    masks.mkdir(parents=True)
    for index, label in enumerate(labels, 1):
        Image.fromarray(np.where(label == 1, 255, 0).astype(np.uint8)).save(masks / f"{index}.png")
    lines = [
        {"vid": "1001", "tar": "part0", "text": "a man talks, man", "coordinates": [0, 1, 2, 9, 10, 11]},
        {"vid": "1001", "tar": "part0", "text": ["a man", "ein Mann fährt"], "coordinates": [4, 3]},
        {"vid": "1002", "tar": "part0", "text": "a man in a car", "coordinates": [0]},
    ]
    (folder / "annotations.jsonl").write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    return folder


def copy(tree: Path, to: Path) -> Path:
    """A copy of a tree, to damage."""
    return Path(shutil.copytree(tree, to))

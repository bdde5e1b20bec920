import base64
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from magdiff_jax.data.clip import DecodedClip
from magdiff_jax.data.prepare.store import Rejection
from magdiff_jax.data.records import RecordClip, RecordSource
from magdiff_jax.data.report.about import About
from magdiff_jax.data.report.page import make_report
from magdiff_jax.errors import UserError

ABOUT = About("Mini & co", "A <set> of clips.", {"Licence": "CC BY 4.0"})
REJECTED = [
    Rejection("v1", "train", "area", "covers 3 %"),
    Rejection("v2", "train", "short_side", "480 pixels"),
    Rejection("<v3>", "train", "area", "covers 70 %"),
]


class Page(HTMLParser):
    """Reads a page and insists that every element is closed, in its order."""

    VOID = ("meta", "img", "link", "br", "input", "hr")

    def __init__(self, path: Path):
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.images: list[dict[str, str]] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.path = path
        self.html = path.read_text(encoding="utf-8")
        self.feed(self.html)
        self.close()
        assert self.open == []
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag, attributes):
        self.tags[tag] += 1
        self.attributes += attributes
        if tag == "img":
            self.images.append(dict(attributes))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)


def report(source, tmp_path, rejected=None, clips=12) -> Page:
    return Page(make_report(source, tmp_path / "report", ABOUT, rejected, clips))


def decode(image: dict[str, str]) -> Image.Image:
    kind, content = re.fullmatch(r"data:image/(png|jpeg);base64,(.+)", image["src"], re.DOTALL).groups()
    picture = Image.open(BytesIO(base64.b64decode(content, validate=True)))
    picture.load()
    assert picture.format.lower() == kind
    return picture


@pytest.fixture(scope="module")
def page(mini, tmp_path_factory) -> Page:
    return report(mini, tmp_path_factory.mktemp("page"), REJECTED)


@pytest.mark.quick
def test_the_numbers_are_those_counted_by_hand(page):
    assert "Mini & co" in page.text
    assert "A <set> of clips." in page.text
    assert "clips 4 total duration 3.3 s labels 2 null masks 1 put aside 3" in page.text
    assert "Licence CC BY 4.0" in page.text
    assert "Frame sizes 176×144 (2), 640×272 (2)" in page.text
    assert "Frames 30" in page.text
    assert "Median 3 words, from 0 to 6." in page.text
    assert "Median 0.45 s, from 0.4 to 2." in page.text
    # 60 % exactly is not over 60 %.
    assert "Clips under 5%: 1; over 60%: 0. Not shown, as their mask is null: 1." in page.text
    assert "man 2 50.0% street 1 25.0%" in page.text
    assert "Clips without a label: 1." in page.text
    assert "area 2 v1: covers 3 % short_side 1 v2: 480 pixels" in page.text
    alts = " ".join(image["alt"] for image in page.images)
    assert "person 2, animal 0, object 1, other 1" in alts
    assert "Most frequent: man 2, street 1" in alts
    assert "area 2, short_side 1" in alts


def test_the_page_is_whole_in_itself_and_its_plots_lie_beside_it(page):
    assert page.html.lstrip().startswith("<!DOCTYPE html>")
    assert all(image["alt"] for image in page.images)
    plots = [image for image in page.images if decode(image).format == "PNG"]
    assert len(plots) == 6
    assert len(page.images) == 6 + 4
    beside = {path.name: path.read_bytes() for path in page.path.parent.glob("*.png")}
    assert sorted(beside) == [
        f"{name}.png" for name in ("caption_lengths", "categories", "durations", "labels", "rejected", "subject_areas")
    ]
    assert {base64.b64encode(content).decode() for content in beside.values()} == {
        image["src"].split(",")[1] for image in plots
    }
    # Nothing is asked for from elsewhere, and a browser would refuse it.
    assert {name for name, _ in page.attributes} & {"href", "srcset", "action", "data"} == set()
    assert page.tags["link"] == page.tags["script"] == page.tags["iframe"] == 0
    assert "url(" not in page.html
    assert "@import" not in page.html
    assert "default-src 'none'" in page.html


def test_outside_text_stays_text(mini, tmp_path):
    evil = "<script>alert(1)</script><img src=x onerror=y>\"'&amp;"
    info = replace(mini[1].info, id=evil, caption=evil, label=evil, provenance={evil: evil})
    page = report(
        [DecodedClip(info, mini[1].all_frames, mini[1].all_masks)], tmp_path, [Rejection(evil, "train", evil, evil)]
    )
    assert page.tags["script"] == 0
    assert all("onerror" not in image for image in page.images)
    assert page.text.count("<script>alert(1)</script>") >= 6
    assert any(evil in image["alt"] for image in page.images)


def test_the_same_clips_give_the_same_page(mini, page, tmp_path):
    assert report(mini, tmp_path, REJECTED).html == page.html


def test_one_clip_without_mask_label_or_caption(mini, tmp_path):
    bare = DecodedClip(replace(mini[3].info, caption=""), mini[3].all_frames, None)
    page = report([bare], tmp_path, [])
    assert "All masks are null" in page.text
    assert "No label can be drawn." in page.text
    assert "(no caption)" in page.text
    assert "no label" in page.text
    assert "null mask · 640×272, 5 frames, 0.4 s, 12.5 fps" in page.text
    assert "No clip was put aside." in page.text
    assert [decode(image).format for image in page.images] == ["PNG", "PNG", "PNG", "JPEG"]


def test_without_a_record_of_rejections_the_section_says_so(mini, tmp_path):
    page = report(mini[:1], tmp_path)
    assert "There is no record of rejected clips" in page.text
    assert "put aside" not in page.text.split("Subjects")[0]


def test_any_caption_and_label(mini, tmp_path):
    texts = ("x" * 3000, "a very long label " * 300, "猫 🐈 ﷽", "half \ud83d", "a\nb\t$c$")
    info = mini[0].info
    source = [replace(mini[0], info=replace(info, caption=text, label=text)) for text in texts]
    page = report(source, tmp_path, [Rejection("a", "train", text, text) for text in texts])
    assert "letters that the plot's font lacks: 2," in page.text
    for text in texts:
        # Caption, label, the table of labels, and the rule with its case.
        assert page.text.count(" ".join(text.split()).replace("\ud83d", "?")) >= 5


def test_the_contact_sheet_is_spread_over_the_source(mini, tmp_path):
    source = [replace(mini[0], info=replace(mini[0].info, id=f"clip-{index}")) for index in range(9)]
    assert re.findall(r"clip-\d", report(source, tmp_path, clips=3).text) == ["clip-0", "clip-4", "clip-8"]
    none = report(source, tmp_path, clips=0)
    assert none.tags["article"] == 0
    assert "evenly spread" not in none.text


def test_a_damaged_clip_is_shown_as_such(mini_records, tmp_path):
    from tensorflow_datasets.proto import tf_example_pb2

    source = RecordSource(mini_records)
    example = tf_example_pb2.Example.FromString(source._records[0])
    example.features.feature["frames"].bytes_list.value[0] = b"no picture"
    page = report([RecordClip(example.SerializeToString()), source[1]], tmp_path)
    assert "is damaged" in page.text
    assert sum(decode(image).format == "JPEG" for image in page.images) == 1


def test_mistakes_are_said_and_leave_the_folder_as_it_was(mini, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "index.html").write_text("my page")
    with pytest.raises(UserError, match="is not replaced"):
        make_report(mini, tmp_path / "mine", ABOUT)
    with pytest.raises(UserError, match="Mini & co has no clips"):
        make_report([], tmp_path / "new", ABOUT)
    with pytest.raises(UserError, match="clips -1: must be at least 0"):
        make_report(mini, tmp_path / "new", ABOUT, clips=-1)
    with pytest.raises(UserError, match="could not be written"):
        make_report(mini[:1], tmp_path / "no" / "folder", ABOUT, clips=0)
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "index.html"]
    assert (tmp_path / "mine" / "index.html").read_text() == "my page"

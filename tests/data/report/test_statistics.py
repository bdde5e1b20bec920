import json
from dataclasses import replace

import pytest

from magdiff_jax.data.clip import DecodedClip
from magdiff_jax.data.prepare.store import Rejection
from magdiff_jax.data.records import RecordSource
from magdiff_jax.data.report.about import about_records, find_rejected
from magdiff_jax.data.report.statistics import gather, read_rejected
from magdiff_jax.errors import UserError


def test_facts_are_those_counted_by_hand(mini):
    man, small, street, null = gather(mini)
    assert man._replace(area=None) == (6, "person", "man", 0.5, (176, 144), 10, None)
    assert man.area == pytest.approx(mini[0].all_masks.mean(), abs=1e-6)
    assert (small.words, small.seconds, small.area) == (5, 2.0, round(100 / (144 * 176), 7))
    assert street == (0, "object", "street", 0.4, (640, 272), 5, 0.6)
    assert null == (1, "other", "", 0.4, (640, 272), 5, None)


def test_records_give_the_facts_of_what_was_written(mini, mini_records):
    assert sorted(map(str, gather(RecordSource(mini_records)))) == sorted(map(str, gather(mini)))


def test_a_clip_without_a_rate_lasts_no_time(mini):
    still = DecodedClip(replace(mini[3].info, fps=0.0), mini[3].all_frames, None)
    assert gather([still])[0].seconds == 0.0


def test_rejected_lines_of_the_split_are_read_in_order(tmp_path):
    cases = [
        Rejection("a", "train", "area", "covers 3 %"),
        Rejection("ü\u2028b", "train", "label", "no clear\nmeaning"),
    ]
    other = Rejection("c", "test", "area", "covers 2 %")
    (tmp_path / "rejected.jsonl").write_text(
        "".join(
            json.dumps({**case._asdict(), "more": 1}, ensure_ascii=False) + "\n" for case in (cases[0], other, cases[1])
        ),
        encoding="utf-8",
    )
    assert read_rejected(tmp_path / "rejected.jsonl", "train") == cases
    (tmp_path / "rejected.jsonl").write_text("")
    assert read_rejected(tmp_path / "rejected.jsonl", "train") == []


@pytest.mark.parametrize("line", ["{", "[1]", '"id"', '{"id": "a", "rule": "b"}', ""])
def test_a_damaged_line_is_named(tmp_path, line):
    path = tmp_path / "rejected.jsonl"
    path.write_text('{"id": "a", "split": "test", "rule": "b", "reason": "c"}\n' + line + "\n")
    with pytest.raises(UserError, match=r"rejected\.jsonl, line 2: must be a JSON object with"):
        read_rejected(path, "train")


def test_unreadable_rejected_file(tmp_path):
    (tmp_path / "rejected.jsonl").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "rejected.jsonl", tmp_path / "none.jsonl"):
        with pytest.raises(UserError, match=r"no UTF-8 text|No such file"):
            read_rejected(path, "train")


def test_rejected_is_found_beside_the_folder_of_the_records(tmp_path):
    records = tmp_path / "data" / "real" / "1.0.0"
    records.mkdir(parents=True)
    (records / "dataset_info.json").write_text("{}")
    # Of another data set, maybe.
    (tmp_path / "data" / "rejected.jsonl").touch()
    assert find_rejected(records) is None
    (records.parent / "rejected.jsonl").touch()
    for folder in (tmp_path / "data", records.parent, records):
        assert find_rejected(folder) == records.parent / "rejected.jsonl"


def test_about_says_what_the_data_set_says(mini_records):
    about = about_records(mini_records.parent, "train")
    assert about.name == "mini"
    assert about.description == "Cuts of real clips & their <masks>."
    assert about.facts == {
        "Split": "train",
        "All splits": "train 4, test 1",
        "Version": "1.0.0",
        "Licence": "not stated",
        "Records": str(mini_records),
    }


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"name": "a", "splits": [{"shardLengths": ["1"]}]}'])
def test_a_damaged_description_is_said(tmp_path, content):
    (tmp_path / "dataset_info.json").write_text(content)
    with pytest.raises(UserError, match=r"dataset_info\.json is damaged"):
        about_records(tmp_path, "train")

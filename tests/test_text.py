"""JSON from anyone: what is read can also be copied, pickled and written again."""

import copy
import json
import pickle
from typing import Any

import pytest

from magdiff_jax.errors import UserError
from magdiff_jax.text import parse_json


def nested(depth: int, inner: str = "") -> str:
    return '{"a": [' * (depth // 2) + "[" * (depth % 2) + inner + "]" * (depth % 2) + "]}" * (depth // 2)


@pytest.mark.parametrize(
    "text",
    [nested(100), "[" + ",".join(["[1]", '{"a": {}}'] * 500) + "]", json.dumps("[" * 1000), "1" * 4000, '"\\ud83d"'],
    ids=["deep", "wide", "brackets-in-text", "digits", "half-a-character"],
)
def test_what_is_read_can_be_copied_pickled_and_written(text: str) -> None:
    value: Any = parse_json(text, "it")
    assert value == json.loads(text)
    assert copy.deepcopy(value) == pickle.loads(pickle.dumps(value)) == json.loads(json.dumps(value))  # noqa: S301


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        *((nested(depth), "lists or objects more than 100 deep") for depth in (101, 200, 900, 5000, 200_000)),
        ("[" * 200_000, "lists or objects more than 100 deep"),
        ('{"a":' * 200_000, "lists or objects more than 100 deep"),
        ("1" * 5000, "a number of too many digits"),
        (nested(3, "-" + "7" * 10**6), "a number of too many digits"),
        ("", ": Expecting value"),
        ('{"a": "\n"}', ": Invalid control character"),
    ],
    ids=lambda value: f"{value[:30]!r} of {len(value)}",
)
def test_what_is_not_read_is_told_in_one_line(text: str, complaint: str) -> None:
    with pytest.raises(UserError, match=rf"^it is no JSON.*{complaint}[^\n]*$"):
        parse_json(text, "it")

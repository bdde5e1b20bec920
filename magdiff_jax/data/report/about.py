"""What a data set says of itself, in the files beside its records."""

from pathlib import Path
from typing import NamedTuple

from magdiff_jax.data.records import dataset_folder
from magdiff_jax.errors import UserError
from magdiff_jax.text import parse_json, read_text


class About(NamedTuple):
    """The head of a report.

    Attributes:
        name: of the data set.
        description: in a few sentences; may be empty.
        facts: further lines of the head, name → value.
    """

    name: str
    description: str
    facts: dict[str, str]


def about_records(folder: Path, split: str) -> About:
    """What dataset_info.json says of a record data set.

    Raises:
        UserError: there is no such data set, or its dataset_info.json is damaged.
    """
    folder = dataset_folder(folder)
    path = folder / "dataset_info.json"
    try:
        info = parse_json(read_text(path), str(path))
        splits = {entry["name"]: sum(map(int, entry.get("shardLengths", []))) for entry in info.get("splits", [])}
        licence = info.get("redistributionInfo", {}).get("license", "")
        facts = {
            "Split": split,
            "All splits": ", ".join(f"{name} {count:,}" for name, count in splits.items()),
            "Version": info.get("version", ""),
            "Licence": licence or "not stated",
            "Citation": info.get("citation", ""),
            "Records": str(folder.absolute()),
        }
        return About(info["name"], info.get("description", ""), {name: text for name, text in facts.items() if text})
    except (UserError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path} is damaged: write the data set again") from error


def find_rejected(folder: Path) -> Path | None:
    """The `rejected.jsonl` that preparation writes beside the folder of the records; None without one."""
    path = dataset_folder(folder).absolute().parent / "rejected.jsonl"
    return path if path.is_file() else None

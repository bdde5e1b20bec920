"""From a finished `Store` to a record data set, the list of what was put aside, and the counts."""

import re
from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

from magdiff_jax.data.prepare.config import PrepareConfig
from magdiff_jax.data.prepare.pipeline import run_each
from magdiff_jax.data.prepare.progress import counted
from magdiff_jax.data.prepare.store import PLAN, Run, Store
from magdiff_jax.data.records import RecordClip
from magdiff_jax.data.shards import VERSION, Shard, shard_name, share_out, write_metadata, write_shard
from magdiff_jax.errors import UserError
from magdiff_jax.places import is_remote, remove_tree, write_whole
from magdiff_jax.replacing import PROGRAM, holds_mark, left_behind
from magdiff_jax.text import parse_json, read_text, to_json

REJECTED, SUMMARY = "rejected.jsonl", "summary.json"
# In the folder of the records, from before its first file on.
MARK = "magdiff_jax.json"
_DESCRIPTION = "Clips with their subjects' masks, prepared by magdiff_jax."
# The files of a folder of records that was made here.
_OURS = re.compile(
    rf"({re.escape(MARK)}|dataset_info\.json|features\.json|\w+\.labels\.txt|.+\.array_record-\d{{5}}-of-\d{{5}})"
)


class Planned(NamedTuple):
    """A shard that is to be written, of the records of a split with these keys."""

    name: str
    split: str
    keys: list[str]


def make_plan(config: PrepareConfig, store: Store) -> dict[str, list[list[str]]]:
    """The records of each shard of each split: found once, and kept from there on.

    Raises:
        UserError: no clip is left in a split.
    """
    path = store.folder / PLAN
    if path.exists():
        return parse_json(read_text(path), str(path))
    records = {split: store.records(split) for split in config.splits}
    empty = [split for split, found in records.items() if not found]
    if empty:
        write_rejections(store)
        counts = Counter(rejection.rule for rejection in store.rejections())
        rules = ", ".join(f"{count} by {rule}" for rule, count in counts.most_common())
        raise UserError(
            f"no clip is left in {', '.join(empty)}: {rules or 'the source is empty'}; see "
            f"{store.folder.parent / REJECTED}"
        )
    plan = {
        split: [[key for key, _ in found[part.start : part.stop]] for part in share_out([size for _, size in found])]
        for split, found in records.items()
    }
    write_whole(path, to_json(plan).encode())
    return plan


def write_dataset(
    config: PrepareConfig, this: Run, videos: Mapping[str, int], store: Store, *beam: Any
) -> dict[str, Any]:
    """Write the shards, on all workers, and then what is beside them: the summary last of all.

    A record leaves the store when its shard is written: on disk, there is at no time much more than the result.

    Args:
        config: that the store's outcomes follow from.
        this: the run, which goes into the summary.
        videos: how many there were in each split.
        store: of all outcomes.
        beam: runner and options.

    Returns:
        The summary: videos, clips, null masks and rejections by rule for each split.

    Raises:
        UserError: no clip is left in a split.
        Stopped: a machine failed.
    """
    plan, out = make_plan(config, store), store.folder.parent
    folder = out / VERSION
    mark = to_json({"program": PROGRAM.decode(), **this._asdict()}).encode()
    if not folder.exists():
        write_whole(folder / MARK, mark)
    elif not is_ours(folder) or (folder / MARK).read_bytes() != mark:
        raise UserError(f"{folder} is there already, and is not of this run: choose another --out, or move it away")
    planned = [
        Planned(shard_name(config.name, split, index, len(shards)), split, keys)
        for split, shards in plan.items()
        for index, keys in enumerate(shards)
    ]
    for left in [] if is_remote(folder) else left_behind(folder):  # of workers that were killed
        remove_tree(left)
    with counted(store.count_shards, len(planned), "files"):
        run_each(planned, partial(_write, folder, store), store, *beam)
    found = {shard.name: parse_json(read_text(store.shard(shard.name)), shard.name) for shard in planned}
    shards = {
        split: [Shard(found[one.name]["clips"], found[one.name]["bytes"]) for one in planned if one.split == split]
        for split in plan
    }
    write_metadata(folder, config.name, _DESCRIPTION, shards)
    counts = write_rejections(store)
    splits = {
        split: {
            "videos": videos[split],
            "clips": sum(shard.clips for shard in shards[split]),
            "null_masks": sum(found[one.name]["null_masks"] for one in planned if one.split == split),
            "rejected": dict(sorted(counts.get(split, Counter()).items())),
        }
        for split in plan
    }
    summary = {
        "name": config.name,
        "fingerprint": this.config,
        "videos": this.videos,
        "config": config.to_dict(),
        "splits": splits,
    }
    write_whole(out / SUMMARY, (to_json(summary, indent=2) + "\n").encode())
    return summary


def write_rejections(store: Store) -> dict[str, Counter[str]]:
    """Write what was put aside, and count it by split and rule."""
    rejections = store.rejections()
    lines = "".join(to_json(rejection._asdict()) + "\n" for rejection in rejections)
    write_whole(store.folder.parent / REJECTED, lines.encode())
    counts: dict[str, Counter[str]] = {}
    for rejection in rejections:
        counts.setdefault(rejection.split, Counter())[rejection.rule] += 1
    return counts


def is_ours(folder: Any) -> bool:
    """Whether a folder of records, and all that is in it, was made here."""
    if not holds_mark(folder, MARK):
        return False
    left = [] if is_remote(folder) else left_behind(folder)
    others = [path for path in folder.iterdir() if path not in left and not _OURS.fullmatch(path.name)]
    # What `data.report` adds.
    return all(path.name.startswith("report-") and holds_mark(path, "index.html") for path in others)


def _write(folder: Any, store: Store, shard: Planned) -> None:
    """Write a shard, if it is not there, and let go of its records."""
    records = [store.record(shard.split, key) for key in shard.keys]
    known = store.shard(shard.name)
    if not known.exists():
        null_masks = 0

        def contents() -> Any:
            nonlocal null_masks
            for path in records:
                record = path.read_bytes()
                null_masks += RecordClip(record).areas() is None
                yield record

        written = write_shard(folder / shard.name, contents())
        write_whole(known, to_json({**written._asdict(), "null_masks": null_masks}).encode())
    for path in records:
        path.unlink(missing_ok=True)

import shutil
import subprocess
import sys
import time

import pytest

from magdiff_jax.data.report.__main__ import main
from magdiff_jax.errors import UserError

SHOWN_WITHIN = 5.0  # seconds; 0.4 on an idle machine


def command(*words: object) -> subprocess.CompletedProcess[str]:
    words = ("-m", "magdiff_jax.data.report", *words)
    return subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, check=False)


def test_help_is_complete_and_comes_at_once():
    start = time.monotonic()
    shown = command("--help")
    assert time.monotonic() - start < SHOWN_WITHIN
    assert shown.returncode == 0
    for flag in ("--dataset", "--split", "--out", "--overwrite", "--clips"):
        assert f"\n  {flag} " in shown.stdout


def test_a_mistake_is_one_line_and_status_2(tmp_path):
    done = command("--dataset", tmp_path / "none")
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr
        == f"error: {tmp_path / 'none'} is no folder: name a data set's folder, with dataset_info.json in it\n"
    )


def test_records_become_a_report_beside_them(mini_records, tmp_path, capsys):
    data = tmp_path / "data" / "mini"
    shutil.copytree(mini_records, data / "1.0.0")
    (data / "rejected.jsonl").write_text(
        '{"id": "a", "split": "train", "rule": "short_side", "reason": "480 pixels"}\n'
    )
    main(["--dataset", str(tmp_path / "data")])
    page = data / "1.0.0" / "report-train" / "index.html"
    assert capsys.readouterr().out == f"{page}\n"
    first = page.read_text(encoding="utf-8")
    assert "480 pixels" in first
    assert str(data / "1.0.0") in first

    with pytest.raises(UserError, match="report-train exists: choose another --out or add --overwrite"):
        main(["--dataset", str(data)])
    main(["--dataset", str(data), "--overwrite", "--clips", "1"])
    assert len(page.read_text(encoding="utf-8")) < len(first)

    main(["--dataset", str(data), "--split", "test", "--clips", "0", "--out", str(tmp_path / "there")])
    assert capsys.readouterr().out.endswith(f"{tmp_path / 'there' / 'index.html'}\n")
    assert "480 pixels" not in (tmp_path / "there" / "index.html").read_text(encoding="utf-8")


def test_neither_the_records_nor_their_folder_is_replaced(mini_records):
    with pytest.raises(UserError, match="is not replaced"):
        main(["--dataset", str(mini_records), "--out", str(mini_records), "--overwrite"])
    with pytest.raises(UserError, match="has no split 'validation'; it has test, train"):
        main(["--dataset", str(mini_records), "--split", "validation"])
    assert (mini_records / "dataset_info.json").is_file()

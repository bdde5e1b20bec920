"""Several processes do the work, as machines of a cluster do; flags of Beam; what a worker must see."""

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from magdiff_jax.data.prepare.__main__ import beam_options, main, make_parser
from magdiff_jax.data.records import RecordSource
from magdiff_jax.errors import UserError
from tests.data.prepare.drawn import draw, flags

pytest.importorskip("sentence_transformers")

ROOT = Path(__file__).parents[3]
PROCESSES = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]


def test_two_processes_share_the_work_and_listen_on_this_machine_alone(tmp_path: Path) -> None:
    draw(tmp_path / "videos", 8)
    # Relative to where it is started, which is not where the workers are.
    arguments = [word.replace(f"{tmp_path}/", "") for word in flags(tmp_path / "videos", tmp_path / "out")]
    arguments = [str(ROOT / word) if word.startswith("configs/") else word for word in arguments]
    arguments = [word.replace("kind=bright", "kind=grabcut") for word in arguments]
    command = [sys.executable, "-m", "magdiff_jax.data.prepare", *arguments, "--", *PROCESSES]
    listening, workers = set[str](), set[int]()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, **pipes) as process:
        driver = psutil.Process(process.pid)
        while process.poll() is None:
            try:
                family = [driver, *driver.children(recursive=True)]
                workers |= {one.pid for one in family if "sdk_worker_main" in " ".join(one.cmdline())}
                sockets = [socket for one in family for socket in one.net_connections()]
            except (psutil.NoSuchProcess, psutil.ZombieProcess):
                continue
            listening |= {
                socket.laddr.ip.removeprefix("::ffff:") for socket in sockets if socket.status == psutil.CONN_LISTEN
            }
            time.sleep(0.05)
        output, errors = process.communicate()
    assert process.returncode == 0, errors.decode()
    assert len(workers) >= 2
    assert listening == {"127.0.0.1"}
    assert str(tmp_path / "out/prepared/summary.json") in output.decode()
    source = RecordSource(tmp_path / "out/prepared", "train")
    assert [source[index].info.id for index in range(len(source))]
    counts = json.loads((tmp_path / "out/prepared/summary.json").read_text())["splits"]["train"]
    assert counts["clips"] + sum(counts["rejected"].values()) == 8


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (["--direct_running_mod=in_memory"], "--direct_running_mod=in_memory: Apache Beam has no such flag"),
        (["--proiect=mine"], "--proiect=mine: Apache Beam has no such flag"),
        (["mine"], "mine: Apache Beam has no such flag"),
        (["--direct_num_workers=many"], "invalid int value: 'many'"),
    ],
)
def test_flags_that_beam_does_not_have_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: list[str], complaint: str
) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError, match=complaint) as caught:
        main([*flags(tmp_path / "videos", tmp_path / "out"), "--", *given])
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_beam_has_the_flags_that_the_docs_name() -> None:
    text = (ROOT / "docs/data.md").read_text(encoding="utf-8")
    commands = [block.split("```")[0].replace("\\\n", " ") for block in text.split("```sh\n")[1:]]
    given = [shlex.split(command.split(" -- ", 1)[1]) for command in commands if " -- " in command]
    assert len(given) == 4
    for flags_of_beam in given:
        parsed = make_parser().parse_args(["--config", "c.py", "--out", "out", "--", *flags_of_beam])
        # What is not set here already.
        set_by_them = beam_options(parsed).get_all_options(drop_default=True).keys() - {"direct_running_mode"}
        assert len(set_by_them - {"direct_num_workers"}) >= len(flags_of_beam) - 2

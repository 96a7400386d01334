"""`journeyman sim`, from outside."""

from __future__ import annotations

import dataclasses
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from journeyman.cli import sim
from journeyman.cli.sim import commands
from journeyman.sim.batch import SeedResult, run_seed
from journeyman.sim.replay import Failure, Recording, examine
from journeyman.sim.swarm import swarm


def journeyman(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "journeyman", *arguments], cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_run_counts_what_happened(tmp_path: Path, jobs: str) -> None:
    done = journeyman("sim", "run", "--seeds", "0-19", "--jobs", jobs, "--twice", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for words in ("20 in", "hours", "TaskSubmitted", "failures"):
        assert words in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_ctrl_c_ends_a_run_with_what_it_found(tmp_path: Path, jobs: str) -> None:
    running = subprocess.Popen(
        [sys.executable, "-m", "journeyman", "sim", "run", "--minutes", "5", "--jobs", jobs],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    time.sleep(4)
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does
    out, err = running.communicate(timeout=30)
    assert (running.returncode, err) == (130, "")
    assert "seeds" in out
    assert "stopped" in out


def test_ctrl_c_does_not_lose_the_failures_found_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def results(*_: object, **__: object) -> Iterator[SeedResult]:
        yield dataclasses.replace(run_seed(3), failure=Failure("PromiseBroken", "a promise", "for this test"))
        raise KeyboardInterrupt

    monkeypatch.setattr("journeyman.cli.sim.run_seeds", results)
    done = CliRunner().invoke(commands, ["run", "--jobs", "1", "--save", str(tmp_path)])
    assert done.exit_code == 130, done.output
    assert [path.name for path in tmp_path.iterdir()] == ["seed-3.json"]


def test_run_for_a_time(tmp_path: Path) -> None:
    done = journeyman("sim", "run", "--minutes", "0.01", "--jobs", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"seeds from \d+ on", done.stdout), "what was tried can be tried again"


def test_replay_says_what_came_of_it(tmp_path: Path) -> None:
    good = swarm(5)
    bad = dataclasses.replace(good, lanes=[[["clock", {"seconds": "never"}]]])
    for plan, name in ((good, "good"), (bad, "bad")):
        Recording.make(plan, examine(plan)).save(tmp_path / f"{name}.json")
    done = journeyman("sim", "replay", "bad.json", cwd=tmp_path)
    assert done.returncode == 1
    assert "it still fails in the same way: TypeError" in done.stdout
    assert "bit for bit the same run" in done.stdout
    done = journeyman("sim", "replay", "good.json", "--lines", "0", cwd=tmp_path)
    assert (done.returncode, done.stdout.strip()) == (0, "it passes; bit for bit the same run")


@pytest.mark.parametrize(
    "wrong", [("run", "--seeds", "9-3"), ("run", "--seeds", "x"), ("run", "--seeds", "1-2", "--minutes", "1"), ("replay", "none.json")]
)
def test_a_wrong_call_says_what_is_meant(tmp_path: Path, wrong: tuple[str, ...]) -> None:
    done = journeyman("sim", *wrong, cwd=tmp_path)
    assert done.returncode == 2
    assert "Error" in done.stderr


def test_a_file_that_cannot_be_run_is_no_failure_of_the_engine(tmp_path: Path) -> None:
    for plan in ("[1]", '{"lanes": [[["explode", {}]]]}'):
        (tmp_path / "run.json").write_text(f'{{"journeyman-sim": 1, "plan": {plan}}}')
        done = journeyman("sim", "replay", "run.json", cwd=tmp_path)
        assert done.returncode == 2, done.stdout + done.stderr
        assert "cannot be run" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_folder_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in ("file", "file/deep"):
        done = journeyman("sim", "run", "--seeds", "0-1", "--save", folder, cwd=tmp_path)
        assert done.returncode == 2, done.stdout + done.stderr
        assert "cannot be saved" in done.stderr
        assert done.stdout == ""


def test_what_cannot_be_saved_in_the_end_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The folder was there when the work began."""
    (tmp_path / "file").touch()
    broken = dataclasses.replace(run_seed(5), failure=Failure("PromiseBroken", "", "planted"))
    disabled = logging.root.manager.disable
    try:
        sim._keep(Console(width=200), broken, tmp_path / "file", shrinking=False)
    finally:
        logging.disable(disabled)
    shown = capsys.readouterr().out
    assert "cannot be written" in shown
    path = tmp_path / "copied.json"
    path.write_text(shown[shown.index("{\n") :])
    assert Recording.load(path).plan == swarm(5)


def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['typer'] = None\n"
        "try:\n    import typer\nexcept ModuleNotFoundError as error:\n    print(error.name)\n"
        "from journeyman.__main__ import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "pip install 'journeyman[cli]'" in done.stderr

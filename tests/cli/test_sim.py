"""`journeyman sim`, from outside."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from journeyman.sim.replay import Recording, examine
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


def test_run_for_a_time(tmp_path: Path) -> None:
    done = journeyman("sim", "run", "--minutes", "0.01", "--jobs", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


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


def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['typer'] = None\n"
        "try:\n    import typer\nexcept ModuleNotFoundError as error:\n    print(error.name)\n"
        "from journeyman.__main__ import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "pip install 'journeyman[cli]'" in done.stderr

"""Programs with an engine in the background that end in every way there is; what was acknowledged is there, and the journal is free."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from journeyman.engine.background import BackgroundEngine

# row 94

VICTIM = Path(__file__).with_name("background_victim.py")


class Program:
    """The victim, whose lines can be waited for."""

    def __init__(self, mode: str, path: Path, grace: float = 10.0) -> None:
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, str(VICTIM), mode, str(path)],
            env={**os.environ, "GRACE": str(grace), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.out: list[str] = []

    def until(self, line: str) -> None:
        assert self.process.stdout is not None
        for said in self.process.stdout:
            self.out.append(said)
            if said.startswith(line):
                return
        raise AssertionError(f"it never said {line!r}: {self.out} {self.process.communicate()}")

    def ended(self) -> tuple[int, str, str]:
        """Its exit code and what it said; it must end by itself."""
        try:
            out, err = self.process.communicate(timeout=40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        return self.process.returncode, "".join(self.out) + out, err


def states(path: Path) -> dict[str, int]:
    """How many tasks are in each state, for an engine that has nothing to run them with."""
    with BackgroundEngine(path) as engine:
        return {str(state): n for state, n in engine.stats()["q"].counts.items() if n}


def test_a_program_that_forgets_to_stop_ends_in_good_order(tmp_path: Path) -> None:
    code, out, err = Program("forgets", tmp_path).ended()
    assert (code, out) == (0, "3\nentered\nslept\n")
    assert "the engine was not stopped before the interpreter's exit" in err
    assert "Traceback" not in err
    assert states(tmp_path) == {"succeeded": 2}


def test_the_stop_at_the_exit_is_bounded(tmp_path: Path) -> None:
    program = Program("forgets_what_never_ends", tmp_path, grace=0.2)
    code, _, err = program.ended()
    assert code == 3
    assert "Traceback" not in err
    assert time.monotonic() - program.began < 20
    assert states(tmp_path) == {"pending": 1}, "given back, uncharged"


@pytest.mark.parametrize(("mode", "number", "code"), [("interrupted", signal.SIGINT, -2), ("terminated", signal.SIGTERM, 7)])
def test_an_interruption_ends_the_wait_and_the_engine(mode: str, number: signal.Signals, code: int, tmp_path: Path) -> None:
    program = Program(mode, tmp_path, grace=3600)
    program.until("entered")
    time.sleep(0.1)
    program.process.send_signal(number)
    sent = time.monotonic()
    ended, _, err = program.ended()
    assert time.monotonic() - sent < 20, "no grace is waited for"
    assert ended in (code, 130 if code == -2 else code)
    assert ("KeyboardInterrupt" in err) == (number is signal.SIGINT)
    assert states(tmp_path) == {"pending": 1}


def test_an_interruption_cuts_the_grace_of_stop_short(tmp_path: Path) -> None:
    program = Program("impatient", tmp_path)
    program.until("stopping")
    time.sleep(0.2)
    program.process.send_signal(signal.SIGINT)
    code, out, err = program.ended()
    assert (code, err) == (0, "")
    assert out.splitlines()[-2:] == ["interrupted", "False"]
    assert states(tmp_path) == {"pending": 1}


def test_an_interruption_at_any_instant_leaves_an_engine_that_works(tmp_path: Path) -> None:
    code, out, _ = Program("interrupted_anywhere", tmp_path).ended()
    assert (code, out) == (0, "struck 200\nstruck 25\n3 True\n")
    with BackgroundEngine(tmp_path) as engine:
        assert engine.count(state="running") == 0


def test_a_forked_child_is_told_and_the_parent_goes_on(tmp_path: Path) -> None:
    code, out, err = Program("forks", tmp_path).ended()
    lines = out.splitlines()
    assert code == 0, err
    assert [line.startswith("child: this engine was started in process") for line in lines] == [True, True, True, False, False]
    assert "gunicorn" in lines[0]
    assert lines[3:] == ["child ended 0", "3"]
    assert "Traceback" not in err


def test_one_that_is_started_after_the_fork_works(tmp_path: Path) -> None:
    code, out, err = Program("forks_first", tmp_path).ended()
    assert (code, out, err) == (0, "child: 3\nparent: 1 0\n", "")


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    program = Program("dies", tmp_path)
    assert program.process.stdout is not None
    ids = [program.process.stdout.readline().strip() for _ in range(200)]
    program.process.kill()
    rest = program.process.communicate()[0].splitlines()
    ids += rest[:-1] if rest and len(rest[-1]) < 36 else rest
    with BackgroundEngine(tmp_path) as engine:
        assert {task.id for task in engine.list(limit=10_000)} >= set(ids)


def test_threads_that_still_call_at_the_exit_hang_nobody(tmp_path: Path) -> None:
    code, _, err = Program("threads", tmp_path).ended()
    assert code == 0
    assert "Traceback" not in err or "EngineStopped" in err
    assert set(states(tmp_path)) <= {"succeeded", "pending"}

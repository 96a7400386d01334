"""Ctrl-C at the examining commands and at `repair`: exit code 130, no traceback, nothing left behind, no place among the readers taken."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import lmdb
import pytest

from journeyman.journal.building import PART
from tests.cli.journals import filled

ATTEMPTS = 20  # to be there while it works: on a busy machine it may be over before anybody has looked
PATIENCE = 60.0


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled(tmp_path_factory.mktemp("stopped") / "jobs", tasks=300)


def listen() -> None:
    """A shell that starts the tests in the background has Ctrl-C ignored, and children inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def started(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", "-m", "journeyman", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=listen)


def child_that_reads(process: subprocess.Popen[str]) -> int | None:
    """The child of the command, if it has the data open."""
    try:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        return next((int(child) for child in children if "data.mdb" in Path(f"/proc/{child}/maps").read_text()), None)
    except OSError:
        return None


def found_while(process: subprocess.Popen[str], look: Callable[[], int | None]) -> int | None:
    """What `look` found while the process ran; None if it ended before."""
    end = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < end:
        if (found := look()) is not None:
            return found
        time.sleep(0.001)
    return None


def readers(home: Path) -> list[str]:
    with lmdb.open(str(home), readonly=True, max_dbs=16) as env:
        return env.readers().splitlines()[1:]


def contents(home: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in home.iterdir() if file.name != "lock.mdb"}


# row 88
@pytest.mark.parametrize("command", ["verify", "replay", "verify-code"])
@pytest.mark.parametrize("whom", ["the command", "the whole group"])
def test_an_examination_ends_at_once(sound: Path, command: str, whom: str) -> None:
    before = contents(sound)
    for _ in range(ATTEMPTS):
        process = started(command, sound)
        child = found_while(process, partial(child_that_reads, process))
        if child is None:
            process.communicate()
            continue
        os.kill(child, signal.SIGSTOP)  # so that it cannot end before it is told to
        if child_that_reads(process) != child:
            process.communicate()
            continue
        if whom == "the whole group":  # as a terminal does
            os.kill(child, signal.SIGINT)
        process.send_signal(signal.SIGINT)
        os.kill(child, signal.SIGCONT)
        out, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, out, err) == (130, "", "journeyman: stopped\n")
        assert not Path(f"/proc/{child}").exists()
        break
    else:
        pytest.fail("it was never caught at work")
    assert readers(sound) == []
    assert contents(sound) == before


def test_a_repair_leaves_nothing(sound: Path, tmp_path: Path) -> None:
    before, new = contents(sound), tmp_path / "new"
    stopped = 0
    for _ in range(ATTEMPTS):
        process = started("repair", sound, new)
        found = found_while(process, lambda: 1 if Path(f"{new}{PART}").exists() else None)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
        if process.returncode == 130 and not new.exists():  # else it was whole already, and about to say so
            assert (found, out, err) == (1, "", "journeyman: stopped\n")
            assert list(tmp_path.iterdir()) == []
            stopped += 1
            break
        for file in new.iterdir():
            file.unlink()
        new.rmdir()
    assert stopped, "it was never caught at work"
    assert contents(sound) == before


def test_a_repair_that_verifies_leaves_nothing(sound: Path, tmp_path: Path) -> None:
    """The last minute of it: all is written, and a child looks at it."""
    new = tmp_path / "new"
    for _ in range(ATTEMPTS):
        process = started("repair", sound, new)
        child = found_while(process, partial(child_that_reads, process))
        if child is not None:
            os.kill(child, signal.SIGSTOP)
            process.send_signal(signal.SIGINT)
            os.kill(child, signal.SIGCONT)
        process.communicate(timeout=PATIENCE)
        if process.returncode == 130 and not new.exists():
            assert list(tmp_path.iterdir()) == []
            return
        for file in new.iterdir():
            file.unlink()
        new.rmdir()
    pytest.fail("it was never caught at work")

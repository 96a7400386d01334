"""Where an answer cannot go: a full disk, a closed stdout, a reader who has left, a terminal of another encoding; and what may be in it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping
from pathlib import Path

import pytest
import trio

from journeyman.cli.failures import Exit
from journeyman.engine import Engine, Queue
from tests.cli.journals import called, filled

ANSWERS = ("stats", "log", "at --seq 20", "verify")  # rich's console, lines of our own, a table after a fold, a child's report


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled(tmp_path_factory.mktemp("stdout") / "jobs")


def shell(line: str, **env: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **env, "JOURNEYMAN": f"{sys.executable} -W error -m journeyman"}
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60, check=False, env=environment, errors="replace")


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_full_disk_behind_stdout_is_no_damage(journal: Path, answer: str) -> None:
    done = shell(f"$JOURNEYMAN {answer.replace(' ', f' {journal} ', 1) if ' ' in answer else f'{answer} {journal}'} >/dev/full")
    assert done.returncode == Exit.FULL
    assert done.stderr.strip().splitlines() == [
        "journeyman: the answer could not be written (No space left on device): free some room where the output goes, or send it elsewhere"
    ]


def test_a_closed_stdout_is_said(journal: Path) -> None:
    done = shell(f"$JOURNEYMAN verify {journal} >&-")
    assert (done.returncode, done.stderr.strip()) == (Exit.FAILED, "journeyman: there is nowhere to write the answer: stdout is closed")


@pytest.mark.parametrize("answer", ["stats", "log"])
def test_a_reader_who_has_left_is_no_damage(journal: Path, answer: str) -> None:
    done = shell(f"$JOURNEYMAN {answer} {journal} | true; echo ${{PIPESTATUS[0]}}")
    assert (done.stdout.strip(), done.stderr) == (str(int(Exit.UNHEARD)), "")


def test_what_the_terminal_cannot_say_is_escaped(tmp_path: Path) -> None:
    queue = Queue("größe")

    @queue.handler
    async def wägen() -> None: ...

    async def main() -> None:
        async with Engine(tmp_path / "jöbs", [queue]) as engine:
            await (await engine.submit(wägen)).wait()

    trio.run(main)
    plain: Mapping[str, str] = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    done = shell(f"cd {tmp_path}; for each in queues log 'top --once' verify; do $JOURNEYMAN $each j*bs || exit; done", **plain)
    assert (done.returncode, done.stderr) == (0, "")
    assert "gr\\xf6\\xdfe" in done.stdout


def test_nobodys_words_can_look_like_a_line_of_ours(tmp_path: Path) -> None:
    queue = Queue("a\u202eb")

    @queue.handler
    async def fail() -> None:
        raise ValueError("first\n       9 2026-01-01 00:00:00.000Z forged\x1b[2J")

    ids: list[str] = []

    async def main() -> None:
        async with Engine(tmp_path / "jobs", [queue]) as engine:
            ids.append((await engine.submit(fail)).id)
            await engine.drain()
            await engine.pause(queue.name, reason="because\n       1 2026-01-01 forged", by="mallory\nX")

    trio.run(main)
    jobs = tmp_path / "jobs"
    lines = called("log", jobs).stdout.splitlines()
    assert [line.split()[0] for line in lines] == [str(n + 1) for n in range(len(lines))], "an event is a line"
    told = "".join(called(*each).stdout for each in (("queues", jobs), ("top", jobs, "--once"), ("task", jobs, ids[0])))
    assert not any(line.lstrip().startswith(("9 2026", "1 2026-01-01")) for line in told.splitlines())
    assert "\x1b" not in told
    assert "\u202e" not in told


def test_a_narrow_window_costs_no_column_and_no_unit(journal: Path) -> None:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    command = [sys.executable, "-m", "journeyman", "queues", str(journal)]
    with subprocess.Popen(command, stdout=slave, stderr=slave, stdin=slave, env={**environment, "TERM": "dumb"}) as process:
        os.close(slave)
        said = b""
        with contextlib.suppress(OSError):  # as a terminal ends on Linux
            while piece := os.read(master, 10_000):
                said += piece
        process.wait(30)
    os.close(master)
    words = said.decode().split()
    assert {"queue", "scheduled", "succeeded", "mail", "reports", "17"} <= set(words)


def test_a_long_argument_does_not_fill_the_screen(tmp_path: Path) -> None:
    queue = Queue("q")

    @queue.handler
    async def keep(text: str) -> str:
        return text

    ids: list[str] = []

    async def main() -> None:
        async with Engine(tmp_path / "jobs", [queue]) as engine:
            ids.append((await engine.submit(keep, "x" * 100_000)).id)
            await engine.drain()

    trio.run(main)
    told = called("task", tmp_path / "jobs", ids[0]).stdout
    assert len(told) < 10_000
    assert "[100,002 characters; --json has all of them]" in told
    assert len(called("task", tmp_path / "jobs", ids[0], "--json").stdout) > 200_000


def test_names_of_instants_in_json_say_their_unit(journal: Path) -> None:
    done = called("log", journal, "--json", "--kind", "TaskFailed").stdout.splitlines()[0]
    failed = json.loads(done)
    then = json.loads(called("at", journal, "--seq", failed["seq"], "--task", failed["task"], "--json").stdout)
    changes = [json.loads(line) for line in called("diff", journal, 1, failed["seq"], "--json").stdout.splitlines()]
    names = {*then, *(name for change in changes for name in change.get("fields", {}))}
    assert {"due_at_us", "finished_at_us"} <= names
    assert not {name for name in names if name.endswith("_at")}

"""A big damaged journal, which nobody looks through before it is read, kills no command."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trio

from journeyman.engine import Engine, Queue
from journeyman.journal.probe import SLACK, SMALL
from tests.cli.journals import journeyman


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A journal beyond what is looked through, and the id of the task whose arguments lie at its end."""
    home = tmp_path_factory.mktemp("big") / "jobs"
    ids: list[str] = []

    async def main() -> None:
        bulk = Queue("bulk", max_payload=8 << 20)

        @bulk.handler
        async def keep(data: bytes) -> None: ...

        async with Engine(home, [bulk]) as engine:
            await engine.pause("bulk")
            handles = [await engine.submit(keep, bytes([number]) * (6 << 20)) for number in range(7)]
            ids.extend(str(handle.id) for handle in handles)

    trio.run(main)
    assert (home / "data.mdb").stat().st_size > SMALL + SLACK
    return home, ids[-1]


def shortened(big: Path, tmp_path: Path) -> Path:
    """Cut so little that it could be healthy."""
    home = tmp_path / "jobs"
    shutil.copytree(big, home)
    os.truncate(home / "data.mdb", (home / "data.mdb").stat().st_size - (4 << 20))
    return home


def test_what_is_sound_is_read_as_ever(big: tuple[Path, str]) -> None:
    home, id = big
    for words in (["stats", home, "--json"], ["task", home, id], ["queues", home]):
        done = journeyman(*words)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        assert done.stdout
    assert journeyman("task", home, "00000000-0000-4000-8000-000000000000").returncode == 2


# row 88
def test_a_read_that_kills_is_damage(big: tuple[Path, str], tmp_path: Path) -> None:
    home = shortened(big[0], tmp_path)
    ends = {}
    for words in (
        ["stats", home],
        ["queues", home],
        ["log", home],
        ["task", home, big[1], "--reveal"],
        ["export", home, tmp_path / "out", "--reveal"],
    ):
        done = journeyman(*words)
        ends[words[0]] = done.returncode
        assert done.returncode in (0, 3), (words, done.returncode, done.stderr)
        assert "Traceback" not in done.stderr
        assert done.returncode == 0 or "is damaged" in done.stderr
    assert ends["export"] == 3
    assert journeyman("verify", home).returncode in (1, 3)


def test_ctrl_c_reaches_the_command_once(big: tuple[Path, str]) -> None:
    """Sent to the one that waits alone, and to the group, as a terminal does."""
    for whole_group in (False, True):
        process = subprocess.Popen(
            [sys.executable, "-m", "journeyman", "log", str(big[0]), "--follow", "--since", "1"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline()
        (os.killpg if whole_group else os.kill)(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=30)
        assert (process.returncode, err) == (130, "journeyman: stopped\n")


def test_a_parent_that_is_killed_takes_its_child_along(big: tuple[Path, str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "journeyman", "log", str(big[0]), "--follow", "--since", "1"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline()
    (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.kill()
    process.communicate()
    end = time.monotonic() + 30
    while Path(f"/proc/{child}").exists() and time.monotonic() < end:
        time.sleep(0.01)
    assert not Path(f"/proc/{child}").exists()

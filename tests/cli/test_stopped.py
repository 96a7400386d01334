"""Real signals to real commands: Ctrl-C leaves nothing behind, and what a kill leaves is gone with the next."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.big_journal import make
from journeyman.journal.fleeting import PREFIX
from journeyman.journal.view import open_journal
from tests.cli.beside import Beside
from tests.cli.journals import journeyman

pytestmark = pytest.mark.timeout(300)
EVENTS = 60_000  # enough that every command works for a second or more


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a journal and its export, which nothing may be added to."""
    folder = tmp_path_factory.mktemp("stopped")
    make(folder / "jobs", EVENTS)
    assert journeyman("export", folder / "jobs", folder / "export.cbor", "--reveal").returncode == 0
    return folder


def begun(*words: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "journeyman", *map(str, words)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )


def struck(command: subprocess.Popen[bytes], when: Callable[[], bool], signum: int) -> int:
    """Send a signal as soon as something can be seen; how the process ended."""
    while command.poll() is None and not when():
        time.sleep(0.001)
    command.send_signal(signum)
    command.communicate(timeout=60)
    return command.returncode


def there(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def alive(folder: Path) -> Iterator[int]:
    """Processes that still speak of a folder."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if str(folder).encode() in (entry / "cmdline").read_bytes():
                    yield int(entry.name)
            except OSError:
                continue


@pytest.mark.parametrize("moment", ["at work", "checking"])
@pytest.mark.parametrize("work", ["export", "import", "backup", "compact"])
def test_ctrl_c_leaves_nothing_behind(work: str, moment: str, source: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    words: list[object] = {
        "export": ["export", source / "jobs", tmp_path / "new.jsonl", "--reveal"],
        "import": ["import", source / "export.cbor", new],
        "backup": ["backup", source / "jobs", new],
        "compact": ["compact", source / "jobs"],
    }[work]
    folder = {"export": tmp_path / "new.jsonl.part", "compact": source / "jobs" / "compacting"}.get(work, tmp_path / "new.part")
    before = there(source) - {"jobs/lock.mdb", "jobs/owner.lock"}

    def seen() -> bool:
        if moment == "at work" or work == "export":
            return folder.exists()
        return any(True for _ in alive(folder))  # the child that checks it

    command = begun(*words)
    code = struck(command, seen, signal.SIGINT)
    assert code == 130, code
    assert list(tmp_path.iterdir()) == []
    assert there(source) - {"jobs/lock.mdb", "jobs/owner.lock"} == before
    deadline = time.monotonic() + 10  # a child that had only just begun has to find out first
    while left := list(alive(folder)):
        assert time.monotonic() < deadline, f"a child went on without its parent: {left}"
        time.sleep(0.01)
    with open_journal(source / "jobs") as view:
        assert view.last_seq >= EVENTS - 5_000


def test_a_killed_export_beside_an_engine_leaves_nothing_that_the_next_does_not_remove(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / f"{PREFIX}mine").mkdir()
    (folder / f"{PREFIX}mine" / "thesis.txt").write_text("years of work")  # somebody else's, by its contents

    def copies() -> list[Path]:
        return [path for path in folder.glob(f"{PREFIX}*") if path.name != f"{PREFIX}mine"]

    with Beside(tmp_path / "jobs") as engine:
        engine.tell("open")
        engine.tell("submit", 2_000)
        for _ in range(10):
            command = begun("export", tmp_path / "jobs", folder / "jobs.jsonl", "--reveal")
            assert struck(command, lambda: bool(copies()), signal.SIGKILL) == -signal.SIGKILL
            if copies():
                break
        assert copies(), "no kill came while there was a copy"
        done = journeyman("export", tmp_path / "jobs", folder / "jobs.jsonl", "--reveal")
        assert done.returncode == 0, done.stderr
    assert {path.name for path in folder.iterdir()} == {"jobs.jsonl", f"{PREFIX}mine"}
    assert (folder / f"{PREFIX}mine" / "thesis.txt").read_text() == "years of work"


def test_an_export_that_is_killed_while_it_writes_leaves_no_copy(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    with Beside(tmp_path / "jobs") as engine:
        engine.tell("open")
        engine.tell("submit", 2_000)
        command = begun("export", tmp_path / "jobs", folder / "jobs.jsonl", "--reveal")
        assert struck(command, (folder / "jobs.jsonl.part").exists, signal.SIGKILL) == -signal.SIGKILL
    assert {path.name for path in folder.iterdir()} == {"jobs.jsonl.part"}  # which the next export to jobs.jsonl takes over

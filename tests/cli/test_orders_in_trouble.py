"""Orders that cannot be carried out, or not to their end: what is refused leaves no trace, what was done stays done, and it is said."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from journeyman.engine import Engine, Queue
from journeyman.journal.backup import backup
from journeyman.journal.identity import identity_batch, read_identity
from journeyman.journal.lmdb_store import LmdbStore
from journeyman.journal.migrate import append_now
from journeyman.journal.opening import open_store
from journeyman.journal.view import JournalView, open_journal
from journeyman.kernel.events import TaskCancelled, TaskRescheduled
from tests.cli import corpus
from tests.cli.journals import called, copied, filled, journeyman

NOBODY = "0198c3a4-1f5e-7c3a-9b1e-3f2d5a6b7c8d"
# Every order, as it would touch something in a journal as `filled` makes it.
ORDERS: dict[str, tuple[str, ...]] = {
    "retry": ("--queue", "mail"),
    "cancel": ("--all",),
    "reschedule": ("--all", "--in", "60"),
    "reprioritise": ("--all", "--priority", "7"),
    "clear": ("reports",),
    "pause": ("mail",),
    "resume": ("reports",),
    "prune": ("mail", "--older-than", "0"),
}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled(tmp_path_factory.mktemp("trouble") / "jobs")


@pytest.fixture
def path(template: Path, tmp_path: Path) -> Path:
    return copied(template, tmp_path / "jobs")


def waiting(path: Path, count: int) -> Path:
    """A journal with so many tasks that wait in a paused queue."""

    async def main() -> None:
        bulk = Queue("bulk", max_pending=None)

        @bulk.handler
        async def work(number: int) -> None: ...

        async with Engine(path, [bulk], durability="relaxed") as engine:
            await engine.pause("bulk")
            for start in range(0, count, 10_000):
                await engine.submit_many([work.bind(n) for n in range(start, min(count, start + 10_000))])

    trio.run(main)
    return path


def traces(path: Path) -> dict[str, bytes]:
    """All that is in the directory, but for LMDB's own table of readers."""
    return {file.name: file.read_bytes() for file in path.iterdir() if file.name != "lock.mdb"}


def last_seq(path: Path) -> int:
    with JournalView(LmdbStore(str(path), readonly=True)) as view:
        return view.last_seq


# --- refused before anything is written -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "code", "words"),
    [
        (("retry", "--queue", "nope"), 2, "there are: mail, reports"),
        (("cancel", "--queue", "nope"), 2, "there are: mail, reports"),
        (("reschedule", "--queue", "nope", "--in", "1"), 2, "there are: mail, reports"),
        (("reprioritise", "--queue", "nope", "--priority", "1"), 2, "there are: mail, reports"),
        (("clear", "nope"), 2, "there are: mail, reports"),
        (("pause", "mail", "nope"), 2, "there are: mail, reports"),
        (("resume", "nope"), 2, "there are: mail, reports"),
        (("prune", "nope"), 2, "there are: mail, reports"),
        (("cancel", "--all", "--reason", "x" * 2000), 2, "say it shorter"),
        (("clear", "--all", "--reason", "x" * 2000), 2, "say it shorter"),
        (("prune", "--all", "--by", "x" * 2000), 2, "say it shorter"),
        (("pause", "mail", "--by", "x" * 2000), 2, "say it shorter"),
        (("reprioritise", "--all", "--priority", str(1 << 31)), 2, "priority"),
        (("retry", "--all", "--state", "succeeded"), 2, "cannot be retried"),
        (("retry", NOBODY), 1, "no task"),
        (("cancel", NOBODY), 1, "no task"),
        (("prune", "--id", NOBODY), 1, "no task"),
    ],
    ids=lambda value: " ".join(value)[:30] if isinstance(value, tuple) else "",
)
def test_what_is_refused_leaves_the_journal_as_it_was(call: tuple[str, ...], code: int, words: str, path: Path) -> None:
    before = traces(path)
    done = called(call[0], path, *call[1:])
    assert done.returncode == code
    assert words in done.stderr
    assert traces(path) == before


@pytest.mark.parametrize(
    "call",
    [
        ("retry", "--queue", "reports"),
        ("cancel", "--tag", "none"),
        ("reschedule", "--queue", "mail", "--in", "60"),
        ("reprioritise", "--queue", "mail", "--priority", "7"),
        ("clear", "mail"),
        ("pause", "reports"),
        ("resume", "mail"),
        ("prune", "mail"),
    ],
    ids=lambda call: call[0],
)
def test_so_does_what_touches_nothing(call: tuple[str, ...], path: Path) -> None:
    before = traces(path)
    done = called(call[0], path, *call[1:])
    assert (done.returncode, done.stdout[:2], done.stderr) == (0, "0 ", "")
    assert traces(path) == before


# --- somebody else has it ---------------------------------------------------------------------------------------------------

ENGINE = """
import sys, trio
from journeyman import Engine
async def main():
    async with Engine(sys.argv[1]):
        print("open", flush=True)
        await trio.sleep_forever()
trio.run(main)
"""


@pytest.fixture
def owned(path: Path) -> Iterator[tuple[Path, int]]:
    """A journal that the engine of another process has open, and that process."""
    with subprocess.Popen([sys.executable, "-c", ENGINE, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        yield path, process.pid
        process.send_signal(signal.SIGKILL)


def test_every_order_names_the_process_that_owns_the_journal(owned: tuple[Path, int]) -> None:
    path, pid = owned
    before = last_seq(path)
    for action, options in ORDERS.items():
        done = called(action, path, *options)
        assert (done.returncode, done.stdout) == (6, ""), action
        assert f"the engine of process {pid} has the journal at {path} open" in done.stderr, action
        counted = called(action, path, *options, "-n")
        assert (counted.returncode, counted.stderr) == (0, ""), action
        assert not counted.stdout.startswith("0 "), action
    assert last_seq(path) == before


def test_of_two_orders_at_once_each_is_done_once_or_refused(tmp_path: Path) -> None:
    path = waiting(tmp_path / "jobs", 3_000)
    command = [sys.executable, "-m", "journeyman", "cancel", str(path), "--all"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    told = [process.communicate(timeout=60) for process in both]
    codes = [process.returncode for process in both]
    assert set(codes) <= {0, 6} and 0 in codes, told
    assert sum(out.startswith("3000 tasks") for out, _ in told) == 1, told
    for code, (out, err) in zip(codes, told, strict=True):
        assert ("process" in err) if code == 6 else out.startswith(("0 tasks", "3000 tasks"))
    with open_journal(path) as view:
        assert view.verify().sound
        assert sum(isinstance(event, TaskCancelled) for _, event in view.events()) == 3_000


def test_an_order_while_a_backup_runs(tmp_path: Path) -> None:
    path, copy = waiting(tmp_path / "jobs", 3_000), tmp_path / "copy"
    said: list[subprocess.CompletedProcess[str]] = []

    def tell(*_: object) -> None:
        if not said:
            said.append(journeyman("cancel", path, "--all"))

    backup(path, copy, copying=tell)
    assert (said[0].returncode, said[0].stdout[:10]) == (0, "3000 tasks")
    for journal in (path, copy):
        with open_journal(journal) as view:
            assert view.verify().sound


# --- the disk, the bytes ----------------------------------------------------------------------------------------------------


def mounted(disk: Path, *options: str) -> bool:
    disk.mkdir(exist_ok=True)
    tool = shutil.which("mount")
    return tool is not None and not subprocess.run([tool, *options, str(disk)], capture_output=True, check=False).returncode


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    if not mounted(disk, "-t", "tmpfs", "-o", "size=24m", "tmpfs"):
        pytest.skip("needs the right to mount a small tmpfs")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_folder_that_may_only_be_read(small_disk: Path, path: Path) -> None:
    home = small_disk / "jobs"
    shutil.copytree(path, home, ignore=shutil.ignore_patterns("lock.mdb"))
    called("stats", home)  # makes the table of readers, which a read-only disk has no room for
    before = traces(home)
    assert mounted(small_disk, "-o", "remount,ro")
    for action, options in ORDERS.items():
        done = called(action, home, *options)
        assert (done.returncode, done.stdout) == (8, ""), (action, done)
        assert "mounted read-only" in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert traces(home) == before


def test_a_full_disk_stops_an_order_which_says_how_far_it_came(small_disk: Path) -> None:
    home = waiting(small_disk / "jobs", 20_000)
    free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
    (small_disk / "filler").write_bytes(b"x" * (free - 200_000))
    done = journeyman("cancel", home, "--all")
    assert done.returncode == 7, done
    assert "Traceback" not in done.stderr
    assert "Before that, " in done.stderr or "Nothing was done before" in done.stderr, done.stderr
    (small_disk / "filler").unlink()
    with open_journal(home) as view:
        assert view.verify().sound
        gone = sum(isinstance(event, TaskCancelled) for _, event in view.events())
    assert (f"Before that, {gone:,} tasks" in done.stderr) if gone else ("Nothing was done" in done.stderr)
    rest = called("cancel", home, "--all")
    assert rest.stdout.startswith(f"{20_000 - gone} tasks cancelled")


# Those that whoever reads the newest state meets; what lies deeper is for `verify`.
DAMAGE = ["data empty", "half a map", "roots in both meta pages", "a record's body", "a record of a newer version"]


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_journal_is_not_written_to(name: str, path: Path) -> None:
    change, codes, _, _ = corpus.CASES[name]
    change(path)
    before = traces(path)
    for action in ("retry", "pause", "prune"):  # what they open is the same for all
        done = called(action, path, *ORDERS[action])
        assert done.returncode in codes and done.returncode in (3, 4), (action, done)
        assert "Traceback" not in done.stderr
        assert traces(path) == before, action


@pytest.mark.parametrize("feature", ["incompat", "ro"])
def test_nor_is_one_of_another_version(feature: str, path: Path) -> None:
    store = open_store(path)
    identity = read_identity(store)
    assert identity is not None
    append_now(store, identity_batch(identity._replace(**{feature: ["from-the-future"]})))
    store.close()
    before = traces(path)
    for action, options in ORDERS.items():
        done = called(action, path, *options)
        assert (done.returncode, done.stdout) == (4, ""), (action, done)
        assert "from-the-future" in done.stderr and "newer version" in done.stderr
        assert traces(path) == before, action


# --- stopped in the middle --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("action", "options"), [("cancel", ("--all",)), ("clear", ("bulk",)), ("reschedule", ("--all", "--in", "1h"))])
def test_ctrl_c_in_the_middle(action: str, options: tuple[str, ...], tmp_path: Path) -> None:
    path = waiting(tmp_path / "jobs", 60_000)
    before = last_seq(path)
    command = [sys.executable, "-m", "journeyman", action, str(path), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and last_seq(path) < before + 5_000:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, ""), err
    assert "Traceback" not in err
    with open_journal(path) as view:
        assert view.owner is None
        assert view.verify().sound
        done = sum(isinstance(event, TaskCancelled | TaskRescheduled) for _, event in view.events())
    assert 4_000 < done < 60_000
    assert f"stopped\nBefore that, {done:,} tasks had been dealt with" in err
    if action != "reschedule":
        rest = called(action, path, *options)
        assert rest.stdout.startswith(f"{60_000 - done} tasks")

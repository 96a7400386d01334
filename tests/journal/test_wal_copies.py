"""Tools and copies of a journal whose write-ahead log is not empty: nothing is lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from journeyman.journal.backup import backup
from journeyman.journal.errors import JournalFull
from journeyman.journal.lmdb_store import LmdbStore
from journeyman.journal.lock import OwnerLock
from journeyman.journal.log import seq_key
from journeyman.journal.opening import open_store
from journeyman.journal.pages import PageFile
from journeyman.journal.prover import verify
from journeyman.journal.repair import repair
from journeyman.journal.shrink import shrink
from journeyman.journal.store import Table
from journeyman.journal.wal import ACKED, WAL
from tests.journal.logged import (
    Submitter,
    ask,
    bare,
    child,
    copied,
    events_of,
    killed,
    log_of,
    made_left,
    misplaced,
    poke,
    proven,
    refused,
    said,
    within,
)


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """Not to be changed."""
    return made_left(tmp_path_factory.mktemp("left") / "jobs")


def backed_up(path: Path, copy: Path) -> Path:
    backup(path, copy)
    return copy


def repaired(path: Path, copy: Path) -> Path:
    assert repair(path, copy).whole
    return copy


def shrunk(path: Path, copy: Path) -> Path:
    shrink(path)
    return path


@pytest.mark.parametrize("settled", [0, 40])
@pytest.mark.parametrize("tool", [backed_up, repaired, shrunk])
def test_tools_on_a_killed_journal_lose_nothing(tool: Callable[[Path, Path], Path], settled: int, tmp_path: Path) -> None:
    last = killed(tmp_path / "jobs", settled=settled)
    rows, _ = bare(tmp_path / "jobs")
    made = tool(tmp_path / "jobs", tmp_path / "copy")
    assert bare(made) == (rows, last)
    assert verify(made).sound
    store = open_store(made)
    newer = Submitter(store, 3).commit()
    store.close()
    assert bare(made)[1] == newer > last
    assert not (made / WAL).exists()
    assert verify(made).sound


def test_a_shrunk_journal_needs_its_log_no_more(tmp_path: Path) -> None:
    path = tmp_path / "jobs"
    last = killed(path)
    log = (path / WAL).read_bytes()
    shrink(path)
    assert not (path / WAL).exists()
    assert not (path / ACKED).exists()
    (path / WAL).write_bytes(log)  # as when it is killed before it has cleared up
    poke(path, log_of(path)[-1].end - 1, b"?")
    assert not refused(path, last)


@pytest.mark.parametrize("answered", ["all but the last", "nothing known"])
@pytest.mark.parametrize("tool", [backed_up, shrunk])
def test_whoever_owns_a_dead_engines_journal_and_does_not_write_hides_nothing(
    tool: Callable[[Path, Path], Path], answered: str, tmp_path: Path
) -> None:
    """`compact` itself, an engine that is still looking: to what was answered they have added nothing, and `acked` is the dead one's."""
    path = tmp_path / "jobs"
    last = killed(path)
    if answered == "nothing known":  # as after a power cut
        (path / ACKED).unlink()
    else:
        with (path / ACKED).open("r+b") as file:
            file.write((last - 1).to_bytes(8, sys.byteorder))
    if tool is shrunk:
        made = tool(path, tmp_path / "copy")
    else:
        lock = OwnerLock(str(path))
        made = tool(path, tmp_path / "copy")
        lock.release(clean=False)
    assert bare(made)[1] == last
    assert verify(made).sound
    store = open_store(path)
    assert Submitter(store, 3).commit() > last
    store.close()


@pytest.mark.parametrize("known", [True, False])
def test_what_an_engine_finds_in_the_log_is_shown_beside_it(known: bool, tmp_path: Path) -> None:
    path = tmp_path / "jobs"
    last = killed(path)
    if not known:
        (path / ACKED).unlink()
    store = open_store(path)
    tell = f"from journeyman.journal.lmdb_store import *; print(LmdbStore({str(path)!r}, readonly=True).last(Table.EVENTS)[0].hex())"
    shown = subprocess.run([sys.executable, "-c", tell], capture_output=True, text=True, check=True).stdout
    store.close()
    assert int(shown, 16) == last


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a namespace of process ids")
def test_an_engine_is_seen_from_another_container(tmp_path: Path) -> None:
    path = tmp_path / "jobs"
    ask = f"from journeyman.journal.lock import *; print(owner_of({str(path)!r}), looked_at({str(path)!r}), written_to({str(path)!r}))"
    beyond = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", ask]
    store = open_store(path)
    seen = subprocess.run(beyond, capture_output=True, text=True, check=False)
    store.close()
    if "unshare" in seen.stderr:
        pytest.skip(seen.stderr)
    assert seen.stdout == "0 True True\n"
    assert subprocess.run(beyond, capture_output=True, text=True, check=True).stdout == "None False False\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a small file system of its own")
def test_a_full_disk_at_the_end_of_a_copy_is_told_as_one(tmp_path: Path) -> None:
    """Its last write says that there is no log; an idle engine's is empty, so nothing else is written after the pages."""
    path, room = tmp_path / "jobs", tmp_path / "room"
    killed(path, settled=600, logged=0)
    room.mkdir()
    whole = backed_up(path, tmp_path / "whole")
    size = sum(each.stat().st_size for each in whole.iterdir())
    outcomes = set()
    for short in range(-20, 12, 4):
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size // 1024 + short}k", "tmpfs", str(room)]
        if subprocess.run(mount, check=False).returncode:
            pytest.skip("cannot mount here")
        try:
            backup(path, room / "copy")
            outcomes.add("done")
        except JournalFull as failure:
            outcomes.add(str(failure).partition(" for /")[0])
        finally:
            subprocess.run(["umount", str(room)], check=True)
    assert outcomes == {"done", "no room on the disk"}


def test_repair_takes_nothing_from_the_log_of_another_journal(left: tuple[Path, int], tmp_path: Path) -> None:
    path = copied(left[0], tmp_path / "jobs")
    killed(tmp_path / "other", settled=40, seed=2)
    shutil.copyfile(tmp_path / "other" / WAL, path / WAL)
    (path / ACKED).unlink()
    own, other = (dict(bare_events(each)) for each in (left[0], tmp_path / "other"))
    repair(path, tmp_path / "copy")
    kept = dict(bare_events(tmp_path / "copy"))
    assert kept
    assert not [seq for seq, record in kept.items() if own.get(seq) != record == other.get(seq)]


def bare_events(path: Path) -> list[tuple[bytes, bytes]]:
    store = LmdbStore(str(path), readonly=True)
    found = events_of(store)
    store.close()
    return found


def test_repair_saves_what_is_whole_behind_a_damaged_commit(left: tuple[Path, int], tmp_path: Path) -> None:
    path, last = copied(left[0], tmp_path / "jobs"), left[1]
    poke(path, log_of(path)[4].end - 1, b"?")
    found = repair(path, tmp_path / "copy")
    store = open_store(tmp_path / "copy", readonly=True)
    assert not found.whole
    assert store.get(Table.EVENTS, seq_key(last)) is not None or found.left_out
    store.close()
    assert verify(tmp_path / "copy").sound


def test_a_backup_beside_a_living_engine_has_what_was_acknowledged_before(tmp_path: Path) -> None:
    path = tmp_path / "jobs"
    with child("leave", path, 20, 10, 1) as process:
        last = int(said(process))
        assert backup(path, tmp_path / "first").last_seq == last
        last = int(ask(process, "one more"))
        assert backup(path, tmp_path / "second").last_seq == last
    assert not (tmp_path / "second" / WAL).exists()
    assert bare(tmp_path / "second") == bare(path)
    assert not refused(tmp_path / "second", last)
    assert verify(tmp_path / "second").sound


def test_a_copy_stays_readable_when_its_directory_is_gone(tmp_path: Path) -> None:
    """As one is read that an export has made for itself."""
    path = tmp_path / "jobs"
    last = killed(path)
    backup(path, tmp_path / "copy")
    store = open_store(tmp_path / "copy", readonly=True)
    shutil.rmtree(tmp_path / "copy")
    assert proven(store) == last
    store.close()


def test_repair_counts_what_was_acknowledged_and_is_not_in_the_log(left: tuple[Path, int], tmp_path: Path) -> None:
    path, last = copied(left[0], tmp_path / "jobs"), left[1]
    with (path / WAL).open("r+b") as file:
        file.truncate(log_of(path)[4].end)
    found = repair(path, tmp_path / "copy")
    assert (found.whole, found.lost) == (False, 5), last


@pytest.mark.parametrize("name", [WAL, ACKED, "entered"])
@pytest.mark.parametrize("kind", ["folder", "fifo", "unreadable"])
def test_repair_does_without_what_cannot_be_read_beside_data(name: str, kind: str, left: tuple[Path, int], tmp_path: Path) -> None:
    source, last = left
    path = misplaced(copied(source, tmp_path / "jobs"), name, kind)
    with within(20):
        saved = repair(path, tmp_path / "new")
    assert [str(path / name) in said for said in saved.unreadable] == [True]
    assert not saved.whole
    assert (saved.records, saved.lost) == ((last - 10, 10) if name == WAL else (last, 0))
    assert verify(tmp_path / "new").sound


def test_pages_that_the_disk_does_not_give_back_are_lost_like_others(left: tuple[Path, int]) -> None:
    with PageFile(str(left[0] / "data.mdb")) as file:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, file._fd)  # the system refuses every read from now on
        os.close(nowhere)
        assert list(file.table(Table.EVENTS)) == []
        assert file.losses["events"]


@pytest.mark.skipif(os.geteuid() != 0, reason="changes user")
def test_what_another_user_may_not_read_is_said_of_the_journal(left: tuple[Path, int], tmp_path: Path) -> None:
    path = copied(left[0], tmp_path / "jobs")
    for parent in list(path.parents)[:-2]:
        if parent.stat().st_uid == 0 and str(parent) != "/tmp":
            parent.chmod(0o755)
    tmp_path.chmod(0o777)
    for each in (path, *path.iterdir()):
        os.chown(each, 65534, 65534)
    os.chown(path / WAL, 0, 0)
    child = os.fork()
    if child == 0:
        code = 9
        try:
            os.setgid(65534)
            os.setuid(65534)
            said = repair(path, tmp_path / "new").unreadable
            code = 0 if said == [f"{path / WAL} cannot be read by user 65534"] else 8
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_backups_beside_a_busy_engine_are_whole(tmp_path: Path) -> None:
    path = tmp_path / "jobs"
    with child("commit", path, 1) as process:
        for n in range(4):
            last = int(said(process))
            assert backup(path, tmp_path / f"copy {n}").last_seq >= last
            assert bare(tmp_path / f"copy {n}")[1] >= last
            assert not refused(tmp_path / f"copy {n}", last)

"""The file of a journal that grows is kept a little longer than what it holds, and nothing of what it holds is touched."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import lmdb
import pytest

from journeyman.journal.headroom import LEAST, MATURE, MOST, Headroom
from journeyman.journal.lmdb_store import LmdbStore
from journeyman.journal.store import Batch, Table
from tests.journal.driver import commit

ROW = bytes(range(200)) * 3  # 64 of them are too much for the write-ahead log
GROWING = """
import os, signal, sys
from journeyman.journal.lmdb_store import LmdbStore
from tests.journal.test_headroom import fill
store = LmdbStore(sys.argv[1])
fill(store, 1, 200)
fill(store, 201, 1)  # the look after the last commit is over when the next begins
print(store._extent()[0], os.stat(sys.argv[1] + "/data.mdb").st_size, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def fill(store: LmdbStore, first: int, commits: int, rows: int = 64) -> None:
    for number in range(first, first + commits):
        batch = Batch()
        batch.put(Table.EVENTS, [((number * rows + n).to_bytes(8, "big"), ROW) for n in range(rows)], append=True)
        commit(store, batch)


def rows(path: Path) -> dict[bytes, bytes]:
    with lmdb.open(str(path), readonly=True, lock=False, max_dbs=16) as env, env.begin() as txn:
        return dict(txn.cursor(env.open_db(b"events", txn=txn, create=False)))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "journal").mkdir()
    return tmp_path / "journal"


def size(place: Path) -> int:
    return (place / "data.mdb").stat().st_size


def test_a_growing_file_is_kept_ahead_and_given_back_at_the_close(place: Path) -> None:
    store = LmdbStore(str(place))
    fill(store, 1, 200)
    fill(store, 201, 1)  # the look after the last commit is over when the next begins
    used = store._extent()[0]
    ahead = size(place) - used
    store.close()
    assert 0 < ahead <= MOST + MOST // 2
    assert size(place) == used
    assert len(rows(place)) == 201 * 64
    assert set(rows(place).values()) == {ROW}
    again = LmdbStore(str(place))
    fill(again, 202, 200)
    again.close()
    assert len(rows(place)) == 401 * 64


def test_what_a_killed_process_left_ahead_is_no_harm(place: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", GROWING, str(place)], capture_output=True, text=True, check=False)
    assert ended.returncode == -9, ended.stderr
    used, whole = map(int, ended.stdout.split())
    assert size(place) >= whole > used
    assert len(rows(place)) == 201 * 64
    store = LmdbStore(str(place))
    fill(store, 202, 200)
    used = store._extent()[0]
    store.close()
    assert size(place) == used
    assert len(rows(place)) == 401 * 64


def test_full_logs_find_room_in_the_file(place: Path) -> None:
    """Commits that go to the log are no sign that data.mdb grows slowly."""
    store, grown = LmdbStore(str(place)), list[int]()
    commit = store._writing._commit

    def watched(batches: list[Batch]) -> None:
        before = size(place)
        commit(batches)
        grown.append(size(place) - before)

    store._writing._commit = watched
    fill(store, 1, 600, rows=20)
    store.close()
    late = grown[len(grown) // 2 :]
    assert len(late) > 20
    assert not any(late), "by LMDB, in a commit"


def test_a_small_journal_stays_small(place: Path) -> None:
    store = LmdbStore(str(place))
    fill(store, 1, 5, rows=1)
    assert size(place) <= store._extent()[0]
    store.close()


def test_large_commits_are_not_written_twice(place: Path) -> None:
    store = LmdbStore(str(place))
    fill(store, 1, 10, rows=2_000)
    assert size(place) <= store._extent()[0]
    store.close()


def test_only_what_lies_behind_the_end_is_written(tmp_path: Path) -> None:
    file = tmp_path / "data.mdb"
    file.write_bytes(b"x" * MATURE)
    extents = iter([0, MATURE, MATURE])
    headroom = Headroom(str(file), lambda: (next(extents), 1 << 30))
    headroom._due = 4
    for _ in range(4):
        headroom.after_commit()
    assert file.read_bytes() == b"x" * MATURE + bytes(LEAST)
    headroom.settle()
    headroom.close(in_order=True)
    assert file.read_bytes() == b"x" * MATURE


def test_a_failed_store_leaves_its_file_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "data.mdb"
    file.write_bytes(b"x" * MATURE + bytes(LEAST))
    extents = iter([0, MATURE])
    headroom = Headroom(str(file), lambda: (next(extents), 1 << 30))
    headroom.settle()
    headroom.close(in_order=False)
    assert file.stat().st_size == MATURE + LEAST


@pytest.mark.parametrize("tail", [bytes(LEAST) + b"x", b"x" + bytes(LEAST), bytes(3 * MOST)])
def test_only_what_it_has_written_is_cut_off(tmp_path: Path, tail: bytes) -> None:
    file = tmp_path / "data.mdb"
    file.write_bytes(b"x" * MATURE + tail)
    headroom = Headroom(str(file), lambda: (MATURE, 1 << 30))
    headroom.settle()
    headroom.close(in_order=True)
    assert file.read_bytes() == b"x" * MATURE + tail


def test_a_disk_that_refuses_ends_it_and_nothing_else(place: Path) -> None:
    store = LmdbStore(str(place))
    for_reading = os.open(place / "data.mdb", os.O_RDONLY)
    os.dup2(for_reading, store._headroom._fd)  # which the system refuses to write through
    os.close(for_reading)
    fill(store, 1, 300)
    store.close()
    assert store._headroom._fd == -1
    assert len(rows(place)) == 300 * 64

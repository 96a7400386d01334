"""The contract on both stores, and what only LMDB has: growth, close, fork, marks that survive."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from journeyman.journal.errors import JournalError
from journeyman.journal.lmdb_store import LmdbStore
from journeyman.journal.memory_store import MemoryStore
from journeyman.journal.opening import open_store
from journeyman.journal.store import Batch, Store, Table
from tests.journal.store_contract import StoreContract, append, numbered, outcome


class TestMemory(StoreContract):
    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore()


class TestLmdb(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        store = LmdbStore(str(tmp_path), marks=_marks(tmp_path))
        yield store
        store.close()


def _marks(path: Path):  # type: ignore[no-untyped-def]
    from journeyman.journal.entered import EnteredMarks

    return EnteredMarks(str(path / "entered"))


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "jobs"


def test_a_full_map_grows_and_is_no_failure(journal: Path) -> None:
    store = open_store(journal, map_size=1 << 18)
    big = os.urandom(3_000)
    for n in range(400):
        append(store, (Table.PAYLOADS, [(n.to_bytes(8, "big"), big)], True))
    assert store.gauge().map_size >= 400 * 3_000
    assert store.count(Table.PAYLOADS) == 400
    store.close()
    again = open_store(journal, map_size=1 << 18)
    assert again.count(Table.PAYLOADS) == 400
    append(again, (Table.PAYLOADS, [((1000).to_bytes(8, "big"), big)], True))
    again.close()


def test_growth_does_not_disturb_readers(journal: Path) -> None:
    store = open_store(journal, map_size=1 << 18)
    append(store, (Table.META, [(b"k", b"v")], False))
    stop = threading.Event()
    failures: list[BaseException] = []

    def read() -> None:
        try:
            while not stop.is_set():
                assert store.get(Table.META, b"k") == b"v"
        except BaseException as failure:
            failures.append(failure)

    reader = threading.Thread(target=read)
    reader.start()
    for n in range(300):
        append(store, (Table.PAYLOADS, [(n.to_bytes(8, "big"), bytes(4_000))], True))
    stop.set()
    reader.join()
    store.close()
    assert not failures


def test_a_failed_commit_ends_the_writing_life(journal: Path) -> None:
    store = open_store(journal)
    append(store, (Table.PAYLOADS, numbered(5, 5), True))
    bad = Batch()
    bad.put(Table.PAYLOADS, numbered(1, 1), append=True)
    first = outcome(store, bad)
    good = Batch()
    good.put(Table.PAYLOADS, numbered(6, 6), append=True)
    assert isinstance(first, JournalError)
    assert outcome(store, good) is first
    assert store.count(Table.PAYLOADS) == 1
    store.close()
    again = open_store(journal)
    append(again, (Table.PAYLOADS, numbered(6, 6), True))
    again.close()


def test_close_writes_what_was_handed_over_and_is_idempotent(journal: Path) -> None:
    store = open_store(journal)
    heard: list[BaseException | None] = []
    for n in range(1, 101):
        batch = Batch()
        batch.put(Table.PAYLOADS, numbered(n, n), append=True)
        store.begin_append(batch, heard.append)
    store.close()
    store.close()
    assert heard == [None] * 100
    with pytest.raises(JournalError, match="closed"):
        store.get(Table.META, b"k")
    with pytest.raises(JournalError, match="closed"):
        store.begin_append(Batch(), heard.append)
    again = open_store(journal)
    assert again.count(Table.PAYLOADS) == 100
    again.close()


def test_a_forked_child_is_refused_and_does_not_hold_the_lock(journal: Path) -> None:
    store = open_store(journal)
    ready, go = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(go)
        try:
            store.get(Table.META, b"k")
        except JournalError as refusal:
            code = 0 if "fork" in str(refusal) else 1
        else:
            code = 2
        os.read(ready, 1)  # lives on after the parent has closed
        os._exit(code)
    os.close(ready)
    store.close()
    open_store(journal).close()
    os.close(go)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_marks_survive_a_kill(journal: Path) -> None:
    child = os.fork()
    if child == 0:
        store = open_store(journal)
        store.enter(0, 41)
        store.enter(700, 42)
        store.enter(1, 43)
        store.leave(1)
        os.kill(os.getpid(), 9)
    os.waitpid(child, 0)
    store = open_store(journal)
    assert store.entered() == {41, 42}
    store.close()


def test_the_oldest_reader_shows_in_the_gauge(journal: Path) -> None:
    store = open_store(journal)
    append(store, (Table.META, [(b"k", b"v")], False))
    assert store.gauge().readers <= 1
    store.close()

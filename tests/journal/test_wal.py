"""The write-ahead log at work: every read sees it, and it comes and goes as promised.  (Kills and damage: test_wal_damage.py.)"""

from __future__ import annotations

import os
import random
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from journeyman.journal import writing
from journeyman.journal.entered import EnteredMarks
from journeyman.journal.errors import JournalCorrupt
from journeyman.journal.lmdb_store import LmdbStore
from journeyman.journal.memory_store import MemoryStore
from journeyman.journal.opening import open_store
from journeyman.journal.store import Batch, Store, Table
from journeyman.journal.wal import ACKED, SMALL, WAL, WAL_BYTES, decode_log, read_log
from tests.journal.logged import ask, check_reads, child, killed, picture, proven, said
from tests.journal.store_contract import StoreContract, append, numbered, outcome


def key(seq: int) -> bytes:
    return seq.to_bytes(8, "big")


def in_log(store: LmdbStore) -> int:
    """Events that data.mdb lacks."""
    return store._writing.ahead.count(Table.EVENTS)


def until(true: Callable[[], object]) -> None:
    """Wait for it."""
    end = time.monotonic() + 5
    while not true():
        assert time.monotonic() < end
        time.sleep(0.002)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log is laid out after the first commit.  What META says of it is no part of the contract."""
    monkeypatch.setattr(writing.Writing, "_speak", lambda self: None)
    monkeypatch.setattr(writing, "SOON", 0)
    monkeypatch.setattr(writing, "QUICK", 0)


@pytest.fixture
def unsettled(at_once: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in the log stays there while nobody writes."""
    monkeypatch.setattr(writing, "PAUSE", 3600)


def with_log(path: Path) -> LmdbStore:
    """An empty store whose log is laid out."""
    store = LmdbStore(str(path), marks=EnteredMarks(str(path / "entered")))
    append(store, (Table.META, [(b"first", b"")], False), deletes=((Table.META, [b"second"]),))
    append(store, deletes=((Table.META, [b"first"]),))
    until(lambda: store._writing._log.ready)
    return store


class TestWithLog(StoreContract):
    """The contract, where the small commits of events are in the log."""

    @pytest.fixture
    def store(self, tmp_path: Path, unsettled: None) -> Iterator[Store]:
        store = with_log(tmp_path)
        yield store
        assert read_log(str(tmp_path)), "there was a log"
        store.close()

    def test_the_log_is_in_use(self, store: Store) -> None:
        assert isinstance(store, LmdbStore)
        append(store, (Table.EVENTS, numbered(1, 3), True), (Table.PAYLOADS, numbered(2, 3), True))
        append(store, (Table.EVENTS, numbered(4, 4), True))
        assert in_log(store) == 4
        assert [(each.first, len(each.events), len(each.payloads)) for each in decode_log(read_log(store.path))] == [(1, 3, 2), (4, 1, 0)]
        assert store.newest_in_data() == 0
        assert store.count(Table.EVENTS) == 4

    @pytest.mark.parametrize("boundary", [0, 1, 7, 19, 20])
    @pytest.mark.parametrize("reverse", [False, True])
    def test_scans_cross_the_boundary(self, store: Store, boundary: int, reverse: bool) -> None:
        assert isinstance(store, LmdbStore)
        plain = MemoryStore()
        for each in (store, plain):
            if boundary:
                append(each, (Table.EVENTS, numbered(1, boundary), True), (Table.META, [(b"k", b"v")], False))
            for n in range(boundary + 1, 21):
                append(each, (Table.EVENTS, numbered(n, n), True))
        assert (store.newest_in_data(), in_log(store)) == (boundary, 20 - boundary)
        for low in range(23):
            for stop in (None, *map(key, range(23))):
                for limit in (0, 1, 2, 7, 100):
                    one, other = (each.scan(Table.EVENTS, key(low), stop, reverse=reverse, limit=limit) for each in (store, plain))
                    assert one == other, (low, stop, limit)


def test_empty_payloads_are_found_by_get_many_as_by_get(tmp_path: Path, unsettled: None) -> None:
    store = with_log(tmp_path)
    append(
        store,
        (Table.EVENTS, [(key(n), bytes(SMALL // 20 + 1)) for n in range(1, 21)], True),
        (Table.PAYLOADS, [(key(n), b"") for n in range(1, 21)], True),
    )
    append(store, (Table.EVENTS, numbered(21, 25), True), (Table.PAYLOADS, [(key(n), b"") for n in range(21, 26)], True))
    assert in_log(store) == 5
    keys = [key(n) for n in range(1, 26)]
    assert [store.get(Table.PAYLOADS, each) for each in keys] == [b""] * 25
    many, few = store.get_many(Table.PAYLOADS, keys), [store.get_many(Table.PAYLOADS, [each])[0] for each in keys]
    store.close()
    assert many == few == [b""] * 25


@pytest.mark.parametrize("seed", range(4))
def test_whatever_happens_it_reads_as_a_store_in_memory(seed: int, tmp_path: Path, at_once: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "PAUSE", 0.1 if seed % 2 else 3600)
    dice = random.Random(seed)
    store, plain, newest, crossed = with_log(tmp_path), MemoryStore(), 0, 0

    def batch() -> Batch:
        nonlocal newest
        made = Batch()
        kind = dice.choice(("small", "small", "small", "small", "crowd", "many", "large", "meta", "both", "drop", "drop too"))
        if kind not in ("meta", "drop"):
            count = {"crowd": dice.randrange(17, 70), "many": SMALL // 200, "large": 1}.get(kind, dice.randrange(1, 6))
            size = SMALL * 2 if kind == "large" else 300
            seqs = range(newest + 1, newest + count + 1)
            newest += count
            made.put(Table.EVENTS, [(key(seq), dice.randbytes(dice.randrange(1, size))) for seq in seqs], append=True)
            owned = [(key(seq), dice.randbytes(dice.randrange(1, size))) for seq in seqs if dice.random() < 0.5]
            made.put(Table.PAYLOADS, owned, append=True)
        if kind in ("meta", "both"):
            made.put(Table.META, [(b"%d" % dice.randrange(9), dice.randbytes(8))])
        if kind.startswith("drop"):
            made.delete(Table.PAYLOADS, [key(dice.randrange(max(1, newest - 9), newest + 1)) for _ in range(3)] if newest else [key(1)])
        return made

    with child("look", tmp_path) as reader:
        for step in range(60):
            if dice.random() < 0.05:
                store.close()
                assert not (tmp_path / WAL).exists()
                store = with_log(tmp_path)
            for _ in range(dice.choice((1, 1, 2, 5))):
                made = batch()
                assert outcome(store, made) is None
                plain.commit(made)
            if seed % 2 and dice.random() < 0.1:
                until(lambda store=store: not in_log(store))
            crossed += 0 < store.newest_in_data() < newest
            expected = picture(plain, step)
            assert picture(store, step) == expected, step
            assert ask(reader, step) == expected, step
    store.close()
    assert crossed > 10 or seed % 2, "reads went over the boundary"


@pytest.mark.parametrize("pause", [0, 0.0005, 3600])
def test_readers_beside_it_see_whatever_was_acknowledged(
    pause: float, tmp_path: Path, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process and in another, while the log fills, settles and starts again."""
    monkeypatch.setattr(writing, "PAUSE", pause)
    (tmp_path / "jobs").mkdir()
    store, marks = with_log(tmp_path / "jobs"), EnteredMarks(str(tmp_path / "shown"))
    stop, failures = threading.Event(), list[BaseException]()

    def read() -> None:
        try:
            while not stop.is_set():
                check_reads(store, max(marks.all(), default=0))
        except BaseException as failure:
            failures.append(failure)

    dice, seq = random.Random(1), 0
    reader = threading.Thread(target=read)
    with child("watch", tmp_path / "jobs", tmp_path / "shown") as other:
        assert said(other) == "ready"
        reader.start()
        end = time.monotonic() + 4
        while time.monotonic() < end and not failures and other.poll() is None:
            many = dice.choice((1, 1, 1, 2, 3, 8, 20, 60, SMALL // 200))
            rows = [(key(n), bytes(dice.randrange(1, 400))) for n in range(seq + 1, seq + many + 1)]
            append(store, (Table.EVENTS, rows, True), (Table.PAYLOADS, rows, True))
            seq += many
            marks.set(0, seq)
            if dice.random() < 0.1:
                time.sleep(0.001)
        stop.set()
        reader.join()
        looks = ask(other, "stop")
    marks.close()
    store.close()
    assert not failures
    assert int(looks) > 5


class Interrupting(list[bytes]):
    """Keys; while they are gone through for the `when`th time, something happens after the first."""

    happens: Callable[[], None]
    when = 1

    def __iter__(self) -> Iterator[bytes]:
        self.when -= 1
        due = self.when == 0
        for at, each in enumerate(super().__iter__()):
            if due and at == 1:
                self.happens()
            yield each


@pytest.mark.parametrize(("many", "when"), [(2, 1), (3, 1), (8, 1), (8, 2)])
def test_no_read_sees_half_of_a_commit(many: int, when: int, tmp_path: Path, unsettled: None) -> None:
    """Of events that are committed together it has all or none, also if they come while it reads."""
    store = with_log(tmp_path)
    append(store, (Table.EVENTS, numbered(1, 1), True))
    keys = Interrupting(key(2 + n) for n in range(many))
    keys.happens, keys.when = lambda: append(store, (Table.EVENTS, numbered(2, many + 1), True)), when
    found = [value is not None for value in store.get_many(Table.EVENTS, keys)]
    store.close()
    assert len(set(found)) == 1


# --- how it comes and goes ----------------------------------------------------------------------------------------------------


def test_a_few_commits_make_no_log(tmp_path: Path) -> None:
    store = LmdbStore(str(tmp_path))
    for n in range(1, writing.SOON):
        append(store, (Table.EVENTS, numbered(n, n), True))
    assert not (tmp_path / WAL).exists() and not (tmp_path / ACKED).exists()
    for n in range(writing.SOON, writing.SOON + 5):
        append(store, (Table.EVENTS, numbered(n, n), True))
    assert (tmp_path / WAL).stat().st_size == WAL_BYTES
    store.close()


def test_only_the_owner_may_read_it(tmp_path: Path, unsettled: None) -> None:
    (tmp_path / WAL).write_bytes(b"")
    (tmp_path / WAL).chmod(0o666)
    before = os.umask(0)
    try:
        store = with_log(tmp_path)
    finally:
        os.umask(before)
    assert {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in (WAL, ACKED)} == {WAL: 0o600, ACKED: 0o600}
    store.close()


def test_a_crowd_shares_a_commit_of_the_log(tmp_path: Path, unsettled: None) -> None:
    store = with_log(tmp_path)
    append(store, (Table.EVENTS, numbered(1, 64), True), (Table.PAYLOADS, numbered(1, 64), True))
    assert (in_log(store), len(decode_log(read_log(str(tmp_path))))) == (64, 1)
    append(store, (Table.EVENTS, [(key(65), bytes(SMALL + 1))], True))
    assert (in_log(store), store.newest_in_data()) == (0, 65)
    store.close()


EVENTS, OWNED = [key(n) for n in range(11, 18)], [key(n) for n in (11, 13, 14, 17)]
SWAPPED, TWICE = [key(n) for n in (11, 12, 14, 13, 15, 16, 17)], [key(n) for n in (11, 12, 13, 13, 15, 16, 17)]

ALSO = [(key(14), key(13)), (key(13), key(13)), (key(19), key(13))]


@pytest.mark.parametrize(("events", "payloads"), [(SWAPPED, OWNED), (TWICE, OWNED), *((EVENTS, [key(11), *two, key(17)]) for two in ALSO)])
def test_keys_that_do_not_ascend_are_refused_before_anybody_is_told(
    events: list[bytes], payloads: list[bytes], tmp_path: Path, unsettled: None
) -> None:
    store = with_log(tmp_path)
    append(store, (Table.EVENTS, numbered(1, 10), True))
    assert in_log(store) == 10
    wrong = Batch()
    wrong.put(Table.EVENTS, [(each, b"event") for each in events], append=True)
    wrong.put(Table.PAYLOADS, [(each, b"payload") for each in payloads], append=True)
    assert isinstance(outcome(store, wrong), JournalCorrupt)
    store.close()
    assert [logged.last for logged in decode_log(read_log(str(tmp_path)))] == [10]


def test_a_full_log_goes_to_data_with_the_commit_that_it_has_no_room_for(tmp_path: Path, unsettled: None) -> None:
    store, newest = with_log(tmp_path), 0
    while not newest or in_log(store):
        assert in_log(store) == newest, "nothing went before it was full"
        newest += 1
        append(store, (Table.EVENTS, [(key(newest), bytes(SMALL // 2))], True))
    assert store.newest_in_data() == newest == WAL_BYTES // (SMALL // 2)
    append(store, (Table.EVENTS, numbered(newest + 1, newest + 1), True))
    assert (in_log(store), store.newest_in_data()) == (1, newest)
    store.close()


def test_a_close_in_good_order_leaves_all_in_data(tmp_path: Path, unsettled: None) -> None:
    store = with_log(tmp_path)
    for n in range(1, 30):
        append(store, (Table.EVENTS, numbered(n, n), True), (Table.PAYLOADS, numbered(n, n), True))
    assert in_log(store) == 29
    expected = picture(store, 1)
    store.close()
    assert not (tmp_path / WAL).exists() and not (tmp_path / ACKED).exists()
    (tmp_path / "alone").mkdir()
    (tmp_path / "data.mdb").rename(tmp_path / "alone" / "data.mdb")
    alone = LmdbStore(str(tmp_path / "alone"), readonly=True)
    assert picture(alone, 1) == expected
    alone.close()


def test_a_quiet_store_has_all_in_data_and_sleeps(tmp_path: Path, at_once: None) -> None:
    store = with_log(tmp_path)
    append(store, (Table.EVENTS, numbered(1, 3), True))
    append(store, (Table.EVENTS, numbered(4, 4), True))
    until(lambda: store.newest_in_data() == 4)
    until(lambda: not in_log(store))
    assert store._thread is not None

    def woken() -> dict[str, str]:
        status = Path(f"/proc/self/task/{store._thread.native_id}/status").read_text().splitlines()  # type: ignore[union-attr]
        return dict(line.split(":\t") for line in status if "ctxt_switches" in line)

    time.sleep(0.05)
    before = woken()
    time.sleep(0.6)
    assert before and woken() == before
    store.close()


def test_a_full_log_starts_again_and_grows_never(tmp_path: Path, unsettled: None) -> None:
    store, starts, before = with_log(tmp_path), 0, 0
    for n in range(1, 501):
        append(store, (Table.EVENTS, [(key(n), b"%d" % n * 300)], True))
        starts += in_log(store) < before
        before = in_log(store)
        assert (tmp_path / WAL).stat().st_size == WAL_BYTES
    assert starts > 2
    assert store.scan(Table.EVENTS, limit=1000) == [(key(n), b"%d" % n * 300) for n in range(1, 501)]
    store.close()


def test_a_failed_commit_leaves_the_log_to_the_next_owner(tmp_path: Path, unsettled: None) -> None:
    store = with_log(tmp_path)
    append(store, (Table.EVENTS, numbered(1, 3), True), (Table.PAYLOADS, numbered(1, 3), True))
    bad = Batch()
    bad.put(Table.EVENTS, numbered(2, 2), append=True)
    failure = outcome(store, bad)
    assert failure is not None and outcome(store, Batch()) is failure
    assert store.scan(Table.EVENTS, limit=9) == numbered(1, 3)
    store.close()
    assert (tmp_path / WAL).exists()
    again = LmdbStore(str(tmp_path))
    assert again.scan(Table.EVENTS, limit=9) == again.scan(Table.PAYLOADS, limit=9) == numbered(1, 3)
    append(again, (Table.EVENTS, numbered(4, 4), True))
    assert again.newest_in_data() == 4
    again.close()
    assert not (tmp_path / WAL).exists()


def test_a_forked_child_leaves_the_log_alone(tmp_path: Path, unsettled: None) -> None:
    store = with_log(tmp_path)
    append(store, (Table.EVENTS, numbered(1, 3), True))
    process = os.fork()
    if process == 0:
        store.close()
        del store
        os._exit(0)
    assert os.waitpid(process, 0)[1] == 0
    append(store, (Table.EVENTS, numbered(4, 4), True))
    assert [each.last for each in decode_log(read_log(str(tmp_path)))] == [3, 4]
    store.close()


def test_relaxed_durability_takes_a_log_over_and_makes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "SOON", 1)
    monkeypatch.setattr(writing, "QUICK", 0)
    path = tmp_path / "jobs"
    last = killed(path, logged=12)
    assert (path / WAL).exists()
    store = open_store(path, durability="relaxed")
    assert proven(store) == last
    for n in range(last + 1, last + 60):
        append(store, (Table.EVENTS, numbered(n, n), True))
    assert in_log(store) == 0
    store.close()
    assert not (path / WAL).exists() and not (path / ACKED).exists()
    again = open_store(path, durability="relaxed", examine_first="never")
    for n in range(last + 60, last + 120):
        append(again, (Table.EVENTS, numbered(n, n), True))
    assert not (path / WAL).exists()
    assert again.count(Table.EVENTS) == last + 119
    again.close()

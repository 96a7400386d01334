"""What every store must do.  `StoreContract` is inherited by one test class per store."""

from __future__ import annotations

import threading

import pytest

from journeyman.journal.errors import JournalError
from journeyman.journal.store import Batch, Done, Store, Table


def append(store: Store, *puts: tuple[Table, list[tuple[bytes, bytes]], bool], deletes: tuple[tuple[Table, list[bytes]], ...] = ()) -> None:
    batch = Batch()
    for table, items, ordered in puts:
        batch.put(table, items, append=ordered)
    for table, keys in deletes:
        batch.delete(table, keys)
    failure = outcome(store, batch)
    if failure is not None:
        raise failure


def outcome(store: Store, batch: Batch) -> BaseException | None:
    heard: list[BaseException | None] = []
    done = threading.Event()

    def on_done(failure: BaseException | None) -> None:
        heard.append(failure)
        done.set()

    store.begin_append(batch, on_done)
    assert done.wait(20)
    return heard[0]


def numbered(first: int, last: int) -> list[tuple[bytes, bytes]]:
    return [(n.to_bytes(8, "big"), b"v%d" % n) for n in range(first, last + 1)]


class StoreContract:
    @pytest.fixture
    def store(self) -> Store:
        raise NotImplementedError

    def test_what_was_appended_is_read(self, store: Store) -> None:
        append(store, (Table.EVENTS, numbered(1, 10), True), (Table.META, [(b"k", b"v")], False))
        assert store.get(Table.EVENTS, (3).to_bytes(8, "big")) == b"v3"
        assert store.get(Table.META, b"k") == b"v"
        assert store.get(Table.META, b"nothing") is None
        assert store.get(Table.PAYLOADS, b"k") is None
        assert store.count(Table.EVENTS) == 10

    def test_get_many_keeps_order_and_gaps(self, store: Store) -> None:
        append(store, (Table.EVENTS, numbered(1, 9), True))
        keys = [n.to_bytes(8, "big") for n in (7, 99, 2, 7, 5, 1)]
        assert store.get_many(Table.EVENTS, keys) == [b"v7", None, b"v2", b"v7", b"v5", b"v1"]
        assert store.get_many(Table.EVENTS, keys[:2]) == [b"v7", None]
        assert store.get_many(Table.EVENTS, []) == []

    @pytest.mark.parametrize("reverse", [False, True])
    def test_scan_has_an_inclusive_start_and_an_exclusive_stop(self, store: Store, reverse: bool) -> None:
        append(store, (Table.EVENTS, numbered(10, 30), True))

        def seqs(start: int | None, stop: int | None, limit: int = 100) -> list[int]:
            low = b"" if start is None else start.to_bytes(8, "big")
            high = None if stop is None else stop.to_bytes(8, "big")
            return [int.from_bytes(key, "big") for key, _ in store.scan(Table.EVENTS, low, high, reverse=reverse, limit=limit)]

        def expected(first: int, last: int) -> list[int]:
            wanted = list(range(first, last + 1))
            return wanted[::-1] if reverse else wanted

        assert seqs(None, None) == expected(10, 30)
        assert seqs(12, 15) == expected(12, 14)
        assert seqs(1, 12) == expected(10, 11)
        assert seqs(29, 99) == expected(29, 30)
        assert seqs(31, None) == []
        assert seqs(1, 5) == []
        assert seqs(12, 12) == []
        assert seqs(None, None, 3) == expected(10, 30)[:3]
        assert seqs(12, 20, 2) == expected(12, 19)[:2]

    def test_scan_of_an_empty_table(self, store: Store) -> None:
        assert store.scan(Table.EVENTS, limit=5) == []
        assert store.scan(Table.EVENTS, reverse=True, limit=5) == []
        assert store.scan(Table.EVENTS, b"a", b"b", reverse=True, limit=5) == []
        assert store.last(Table.EVENTS) is None

    def test_last(self, store: Store) -> None:
        append(store, (Table.EVENTS, numbered(1, 3), True))
        assert store.last(Table.EVENTS) == numbered(3, 3)[0]
        append(store, deletes=((Table.EVENTS, [numbered(3, 3)[0][0]]),))
        assert store.last(Table.EVENTS) == numbered(2, 2)[0]

    def test_deletes_come_before_puts_and_missing_keys_are_fine(self, store: Store) -> None:
        append(store, (Table.META, [(b"a", b"1"), (b"b", b"1")], False))
        append(store, (Table.META, [(b"a", b"2")], False), deletes=((Table.META, [b"a", b"b", b"never"]),))
        assert store.scan(Table.META, limit=9) == [(b"a", b"2")]

    def test_puts_overwrite_and_a_later_put_in_a_batch_wins(self, store: Store) -> None:
        append(store, (Table.META, [(b"a", b"1")], False), (Table.META, [(b"a", b"2")], False))
        assert store.get(Table.META, b"a") == b"2"

    def test_random_keys_come_out_sorted(self, store: Store) -> None:
        keys = [(n * 7919 % 1000).to_bytes(4, "big") for n in range(1000)]
        for at in range(0, 1000, 100):
            append(store, (Table.TASKS, [(key, key) for key in keys[at : at + 100]], False))
        append(store, deletes=((Table.TASKS, keys[::2]),))
        append(store, (Table.TASKS, [(keys[0], b"again")], False))
        left = sorted({*keys[1::2], keys[0]})
        assert [key for key, _ in store.scan(Table.TASKS, limit=5000)] == left
        assert store.count(Table.TASKS) == len(left)

    @pytest.mark.parametrize("bad", [[5, 6], [10], [11, 13, 12], [11, 11]])
    def test_an_append_out_of_order_fails_whole(self, store: Store, bad: list[int]) -> None:
        append(store, (Table.EVENTS, numbered(1, 10), True))
        batch = Batch()
        batch.put(Table.META, [(b"k", b"v")])
        batch.put(Table.EVENTS, [(n.to_bytes(8, "big"), b"x") for n in bad], append=True)
        assert isinstance(outcome(store, batch), JournalError)
        assert store.get(Table.META, b"k") is None
        assert store.scan(Table.EVENTS, limit=99) == numbered(1, 10)

    def test_batches_become_durable_in_order(self, store: Store) -> None:
        order: list[int] = []
        last = threading.Event()

        def listener(n: int) -> Done:
            def on_done(failure: BaseException | None) -> None:
                order.append(n if failure is None else -n)
                if n == 200:
                    last.set()

            return on_done

        for n in range(1, 201):
            batch = Batch()
            batch.put(Table.EVENTS, numbered(n, n), append=True)
            store.begin_append(batch, listener(n))
        assert last.wait(20)
        assert order == list(range(1, 201))
        assert store.count(Table.EVENTS) == 200

    def test_reads_see_whole_batches_only(self, store: Store) -> None:
        stop = threading.Event()
        torn: list[int] = []

        def read() -> None:
            while not stop.is_set():
                found = store.scan(Table.META, limit=100)
                if len({value for _, value in found}) > 1:
                    torn.append(len(found))

        reader = threading.Thread(target=read)
        reader.start()
        for n in range(50):
            append(store, (Table.META, [(b"%d" % key, b"%d" % n) for key in range(10)], False))
        stop.set()
        reader.join()
        assert not torn

    def test_marks(self, store: Store) -> None:
        assert store.entered() == set()
        for slot in range(2000):
            store.enter(slot, slot + 1_000_000)
        for slot in range(1, 2000):
            store.leave(slot)
        assert store.entered() == {1_000_000}
        store.enter(0, 5)
        assert store.entered() == {5}
        store.leave(0)
        assert store.entered() == set()

    def test_marks_of_starts_that_a_power_cut_has_taken_back(self, store: Store) -> None:
        for slot, seq in enumerate((7, 12, 9, 30)):
            store.enter(slot, seq)
        assert store.entered() == {7, 9, 12, 30}
        assert store.entered(through=9) == {7, 9}
        assert store.entered() == {7, 9}, "they are gone for good: other starts will have those seqs"
        store.leave(2)
        assert store.entered(through=100) == {7}

    def test_gauge_and_housekeeping(self, store: Store) -> None:
        append(store, (Table.EVENTS, numbered(1, 3), True))
        gauge = store.gauge()
        assert 0 <= gauge.map_used <= gauge.map_size
        assert 0 < gauge.disk_free <= gauge.disk_size
        assert store.space()[1] == gauge.disk_size
        store.tend()
        assert store.give_way() >= 0
        assert store.give_way() == 0

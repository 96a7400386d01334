"""Row 22: tasks and the application's own values in one commit, through the public door."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.lowlevel

from journeyman.engine import (
    Engine,
    Handle,
    Queue,
    State,
    TaskNotFound,
    TransactionConflict,
)
from journeyman.journal import open_journal
from journeyman.journal.memory_store import MemoryStore
from journeyman.journal.store import Table
from journeyman.kernel.events import TaskSubmitted, ValuePut
from tests.acceptance.stores import WatchedStore, events_in


def echoing(*names: str, **policy: Any) -> list[Queue]:
    """Queues with a handler `<name>.echo`."""
    queues = []

    def registered(queue: Queue) -> None:
        @queue.handler(name=f"{queue.name}.echo")
        async def echo(what: str) -> str:
            return what

    for name in names or ("q",):
        queues.append(Queue(name, **policy))
        registered(queues[-1])
    return queues


def handler(queue: Queue) -> Any:
    return queue.handlers[f"{queue.name}.echo"]


# row 22
async def test_row_22_values_and_tasks_of_several_queues_are_one_commit() -> None:
    a, b = echoing("a", "b")
    store = WatchedStore()
    async with Engine(None, [a, b], store=store) as engine:
        before = len(store.commits)
        async with engine.transaction() as tx:
            tx.put(b"cursor", b"17")
            one: Handle[str] = tx.submit(handler(a), "x")
            two = tx.submit(handler(b).using(delay=3600), "y")
            three = tx.submit("a.echo", "z")
            tx.put(b"other", b"")
            assert (tx.get(b"cursor"), tx.get(b"other"), tx.get(b"nothing")) == (b"17", b"", None)
            assert await engine.value(b"cursor") is None
            assert await engine.count() == 0
        assert store.commits[before] >= 5  # all five events, and what started with them
        assert await engine.value(b"cursor") == b"17"
        assert await engine.value(b"other") == b""
        assert [await one.result(5), await three.result(5)] == ["x", "z"]
        assert (await engine.get(two.id)).state is State.SCHEDULED
    kinds = [type(event) for event in events_in(store)]
    assert kinds.count(ValuePut) == 2
    assert kinds.count(TaskSubmitted) == 3


# row 22
async def test_row_22_an_exception_rolls_everything_back() -> None:
    [queue] = echoing()
    store = WatchedStore()
    async with Engine(None, [queue], store=store) as engine:
        await engine.value(b"k")
        before = len(store.commits)
        with pytest.raises(KeyError, match="of my own"):
            async with engine.transaction() as tx:
                tx.put(b"k", b"v")
                handle = tx.submit(handler(queue), "x")
                raise KeyError("of my own")
        assert len(store.commits) == before
        assert await engine.values() == []
        with pytest.raises(TaskNotFound):
            await handle.wait(1)


# row 22
async def test_row_22_a_body_that_is_cancelled_has_written_nothing() -> None:
    [queue] = echoing()
    async with Engine(None, [queue]) as engine:
        with trio.move_on_after(0.01):
            async with engine.transaction() as tx:
                tx.put(b"k", b"v")
                await trio.sleep_forever()
        assert await engine.value(b"k") is None


# row 22
async def test_row_22_the_block_is_left_when_it_is_durable_and_nobody_reads_it_before() -> None:
    store = WatchedStore()
    async with Engine(None, store=store) as engine, trio.open_nursery() as nursery:
        async with engine.transaction() as tx:
            tx.put(b"k", b"old")
        left: list[str] = []

        async def put() -> None:
            async with engine.transaction() as tx:
                tx.put(b"k", b"new")
                tx.put(b"l", b"new")
            left.append("left")

        store.hold = True
        nursery.start_soon(put)
        await trio.testing.wait_all_tasks_blocked()
        assert store.held == 1
        async with engine.transaction() as reader:  # what is on its way is not shown, nor that it replaces anything
            assert (reader.get(b"k"), reader.get(b"l")) == (b"old", None)
        assert not left
        store.release()
        await trio.testing.wait_all_tasks_blocked()
        assert left == ["left"]
        assert await engine.value(b"k") == b"new"


# row 22
async def test_row_22_gathered_and_under_way_at_once_each_reader_is_shown_what_is_durable() -> None:
    store = WatchedStore()
    async with Engine(None, store=store) as engine, trio.open_nursery() as nursery:

        async def put(value: bytes) -> None:
            async with engine.transaction() as tx:
                tx.put(b"k", value)

        def shown() -> bytes | None:
            return engine._opened().shell.values.durable(("", b"k"))[1]

        await put(b"1")
        store.hold = True
        for value in (b"2", b"3", b"4"):  # one is under way, two gather
            nursery.start_soon(put, value)
            await trio.testing.wait_all_tasks_blocked()
        assert (store.held, shown()) == (1, b"1")
        held, store._held = store._held, []
        MemoryStore.begin_append(store, *held[0])
        await trio.testing.wait_all_tasks_blocked()
        assert (store.held, shown()) == (1, b"2")
        store.release()
        await trio.testing.wait_all_tasks_blocked()
        assert shown() == b"4"
        assert store.count(Table.PAYLOADS) == 1  # and nothing is left of those between


# row 22
async def test_row_22_a_key_that_was_read_and_changed_by_somebody_else_is_a_conflict() -> None:
    [queue] = echoing()
    async with Engine(None, [queue]) as engine:
        with pytest.raises(TransactionConflict, match="begin anew"):
            async with engine.transaction() as tx:
                count = int(tx.get(b"n") or b"0")
                async with engine.transaction() as other:
                    other.put(b"n", b"7")
                tx.put(b"n", str(count + 1).encode())
                tx.submit(handler(queue), "x")
        assert await engine.value(b"n") == b"7"
        assert await engine.count() == 0
        async with engine.transaction() as tx:  # blind: the last one wins
            async with engine.transaction() as other:
                other.put(b"n", b"8")
            tx.put(b"n", b"9")
        assert await engine.value(b"n") == b"9"
        async with engine.transaction() as tx:  # nothing was to be written that rests on it
            tx.get(b"n")
            async with engine.transaction() as other:
                other.put(b"n", b"10")
        with pytest.raises(TransactionConflict):
            async with engine.transaction() as tx:
                tx.get(b"n")
                async with engine.transaction() as other:
                    other.delete(b"n")
                tx.put(b"m", b"")


# row 22
async def test_row_22_many_who_count_and_begin_anew_count_everything() -> None:
    async with Engine(None) as engine, trio.open_nursery() as nursery:
        conflicts = 0

        async def count() -> None:
            nonlocal conflicts
            for _ in range(20):
                while True:
                    try:
                        async with engine.transaction() as tx:
                            seen = int(tx.get(b"n") or b"0")
                            await trio.lowlevel.checkpoint()
                            tx.put(b"n", str(seen + 1).encode())
                        break
                    except TransactionConflict:
                        conflicts += 1

        async with trio.open_nursery() as counting:
            for _ in range(8):
                counting.start_soon(count)
        assert await engine.value(b"n") == b"160"
        assert conflicts
        nursery.cancel_scope.cancel()


# row 22
async def test_row_22_namespaces_have_keys_of_their_own() -> None:
    async with Engine(None) as engine:
        plugin = engine.namespace("plugin")
        async with engine.transaction() as tx:
            tx.put(b"k", b"the owner's")
        async with plugin.transaction() as tx:
            assert tx.get(b"k") is None
            tx.put(b"k", b"the plugin's")
            tx.put(b"k2", b"")
        assert await engine.values() == [(b"k", b"the owner's")]
        assert await plugin.values() == [(b"k", b"the plugin's"), (b"k2", b"")]
        assert await plugin.value(b"k") == b"the plugin's"


# row 22
async def test_row_22_values_are_listed_in_order_by_prefix_and_page() -> None:
    async with Engine(None) as engine:
        async with engine.transaction() as tx:
            for key in (b"a", b"a/1", b"a/2", b"a/\xff", b"a/\xff\xff", b"b", b"\xff"):
                tx.put(key, key)
        assert [key for key, _ in await engine.values(b"a/")] == [b"a/1", b"a/2", b"a/\xff", b"a/\xff\xff"]
        assert [key for key, _ in await engine.values(b"a/\xff")] == [b"a/\xff", b"a/\xff\xff"]
        assert [key for key, _ in await engine.values(b"a/", after=b"a/1", limit=2)] == [b"a/2", b"a/\xff"]
        assert [key for key, _ in await engine.values(after=b"a/\xff\xff")] == [b"b", b"\xff"]
        assert await engine.values(b"\xff") == [(b"\xff", b"\xff")]
        async with engine.transaction() as tx:
            tx.delete(b"b")
            tx.delete(b"never was")
        assert await engine.value(b"b") is None


# row 22
async def test_row_22_values_outlive_their_tasks_and_the_engine(tmp_path: Path) -> None:
    [queue] = echoing()
    for round in range(3):
        async with Engine(tmp_path / "jobs", [queue]) as engine:
            assert await engine.value(b"round") == (str(round - 1).encode() if round else None)
            async with engine.transaction() as tx:
                tx.put(b"round", str(round).encode())
                handle = tx.submit(handler(queue), "x")
            await handle.wait(5)
            assert await engine.prune(0) >= 1
    with open_journal(tmp_path / "jobs") as view:
        assert view.verify().sound


VICTIM = """
import sys, trio
from journeyman.engine import Context, Engine, Queue

queue = Queue("q", concurrency=4)

@queue.handler
async def note(ctx: Context, n: int) -> None:
    ctx.put(b"done/%d" % n, b"x" * n)

async def main():
    async with Engine(sys.argv[1], [queue]) as engine:
        n = int(await engine.value(b"n") or b"0")
        while True:
            async with engine.transaction() as tx:
                tx.put(b"n", str(n + 1).encode())
                tx.put(b"had/%d" % n, b"y" * n)
                handle = tx.submit(note, n)
            n += 1
            print(n, flush=True)

trio.run(main)
"""


# row 22, row 81
def test_row_22_kill_9_leaves_every_transaction_whole(tmp_path: Path) -> None:
    path = tmp_path / "jobs"
    acknowledged = 0
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", VICTIM, str(path)], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            said = [process.stdout.readline() for _ in range(30)]
            os.kill(process.pid, signal.SIGKILL)
            said += [line for line in process.stdout.readlines() if line.endswith("\n")]
        acknowledged = int(said[-1])

    async def look() -> None:
        async with Engine(path) as engine:  # which has no handler for it, so nothing runs
            n = int(await engine.value(b"n") or b"0")
            assert n - 1 <= acknowledged <= n
            assert await engine.values(b"had/", limit=1000) == sorted((b"had/%d" % k, b"y" * k) for k in range(n))
            tasks = {task.payload[0][0]: task for task in await engine.list(limit=1000) if task.payload}
            assert sorted(tasks) == list(range(n))
            succeeded = [k for k, task in tasks.items() if task.state is State.SUCCEEDED]
            assert succeeded
            assert await engine.values(b"done/", limit=1000) == sorted((b"done/%d" % k, b"x" * k) for k in succeeded)

    trio.run(look)
    with open_journal(path) as view:
        assert view.verify().sound

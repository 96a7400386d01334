"""Row 33: Ctrl-C stops the engine gracefully and charges nobody, wherever it strikes."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio

from journeyman.engine import Context, Engine, Queue
from journeyman.journal.memory_store import MemoryStore
from journeyman.journal.store import Batch, Done
from tests.acceptance.processes import Program


# row 33
async def test_row_33_keyboard_interrupt_of_a_handler_stops_the_engine_and_charges_nobody() -> None:
    queue, store, cleaned = Queue("q", concurrency=4), MemoryStore(), []

    @queue.handler
    async def bystander(ctx: Context) -> str:
        if ctx.attempt == 1:
            try:
                await trio.sleep_forever()
            finally:
                cleaned.append(ctx.id)
        return "second run"

    @queue.handler
    async def pressed(ctx: Context) -> str:
        if ctx.attempt == 1:
            raise KeyboardInterrupt
        return "second run"

    ids: list[str] = []
    with pytest.raises(KeyboardInterrupt):  # bare, not in a group
        async with Engine(None, [queue], store=store) as engine:
            ids += [h.id for h in await engine.submit_many([(bystander,), (bystander,), (pressed,)])]
            await trio.sleep(30)
    assert sorted(cleaned) == sorted(ids[:2])
    async with Engine(None, [queue], store=store) as engine:
        await engine.drain(timeout=5)
        for id in ids:
            task = await engine.get(id)
            assert (task.state, task.attempt, task.failures, task.crashes) == ("succeeded", 2, 0, 0)
            assert "AttemptReleased" in [e.kind for e in await engine.history(id)]


# row 33
async def test_row_33_keyboard_interrupt_in_a_thread_handler_too() -> None:
    queue, store = Queue("q"), MemoryStore()

    @queue.handler
    def pressed(ctx: Context) -> str:
        if ctx.attempt == 1:
            raise KeyboardInterrupt
        return "second run"

    with pytest.raises(KeyboardInterrupt):
        async with Engine(None, [queue], store=store) as engine:
            handle = await engine.submit(pressed)
            await trio.sleep(30)
    async with Engine(None, [queue], store=store) as engine:
        await engine.drain(timeout=5)
        task = await engine.get(handle.id)
        assert (task.state, task.failures, task.crashes) == ("succeeded", 0, 0)


async def _in_a_nursery() -> None:
    async def child() -> None:
        raise KeyboardInterrupt

    async with trio.open_nursery() as nursery:
        nursery.start_soon(child)
        await trio.sleep_forever()


def _in_groups() -> None:
    raise BaseExceptionGroup("outer", [ValueError("beside"), BaseExceptionGroup("inner", [KeyboardInterrupt()])])


# row 33: found by a stranger
@pytest.mark.parametrize("where", ["a nursery", "a group", "a thread"])
async def test_row_33_keyboard_interrupt_in_a_group_is_one_too(where: str) -> None:
    queue, store = Queue("q"), MemoryStore()

    @queue.handler
    async def pressed(ctx: Context) -> str:
        if ctx.attempt == 1:
            await _in_a_nursery() if where == "a nursery" else _in_groups()
        return "second run"

    @queue.handler
    def threaded(ctx: Context) -> str:
        if ctx.attempt == 1:
            _in_groups()
        return "second run"

    with pytest.raises(KeyboardInterrupt):  # bare
        async with Engine(None, [queue], store=store) as engine:
            handle = await engine.submit(threaded if where == "a thread" else pressed)
            await trio.sleep(30)
    async with Engine(None, [queue], store=store) as engine:
        await engine.drain(timeout=5)
        task = await engine.get(handle.id)
        assert (task.state, task.attempt, task.failures, task.crashes) == ("succeeded", 2, 0, 0)


# row 33, row 55
@pytest.mark.parametrize("where", ["idle", "busy"], ids=["in the block", "in a handler"])
def test_row_33_a_real_ctrl_c_ends_the_block_and_charges_nobody(where: str, tmp_path: Any) -> None:
    program = Program("sigint", tmp_path / "j", where)
    program.until("ready")
    program.signal(signal.SIGINT)
    ended = program.ended()
    assert "left the block with KeyboardInterrupt" in ended.out, ended
    assert ended.code == 0, ended
    after = Program("look", tmp_path / "j").ended()
    assert "sleeper pending attempt=1 failures=0 crashes=0" in after.out, after
    assert "AttemptReleased" in after.out


class Pressing(MemoryStore):
    """A store at which Ctrl-C is pressed, with every commit from the moment it is armed."""

    armed = False

    def begin_append(self, batch: Batch, done: Done) -> None:
        if self.armed:
            signal.raise_signal(signal.SIGINT)
        super().begin_append(batch, done)


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    yield
    signal.signal(signal.SIGINT, before)


# row 33, row 55: found by a stranger
@pytest.mark.parametrize("moment", ["entering", "leaving", "after a Ctrl-C", "after an error"])
def test_row_33_ctrl_c_while_the_engine_comes_or_goes(moment: str, ctrl_c: None) -> None:
    queue, store = Queue("q"), Pressing()

    @queue.handler
    async def work(ctx: Context) -> None:
        if ctx.attempt == 1:
            await trio.sleep_forever()

    async def press() -> None:
        store.armed = moment == "entering"
        async with Engine(None, [queue], store=store, grace=0.01) as engine:
            await engine.submit(work)
            await trio.sleep(0.05)
            store.armed = True
            if moment == "after a Ctrl-C":
                signal.raise_signal(signal.SIGINT)
            elif moment == "after an error":
                raise ValueError("the block's own")

    with pytest.raises(KeyboardInterrupt):
        trio.run(press)
    store.armed = False

    async def look() -> None:
        async with Engine(None, [queue], store=store) as engine:
            await engine.drain(timeout=5)
            for task in await engine.list():
                assert (task.state, task.failures, task.crashes) == ("succeeded", 0, 0)

    trio.run(look)


# row 33, row 55
def test_row_33_two_real_ctrl_c_in_a_row_end_the_block_in_good_order(tmp_path: Path) -> None:
    for gap in (0.0, 0.001, 0.002, 0.003, 0.005, 0.01):
        program = Program("sigint", tmp_path / str(gap), "idle")
        program.until("ready")
        program.signal(signal.SIGINT)
        time.sleep(gap)
        with suppress(ProcessLookupError):
            program.signal(signal.SIGINT)
        ended = program.ended()
        assert "TrioInternalError" not in ended.err, ended
        assert "KeyboardInterrupt" in ended.out + ended.err, ended
        after = Program("look", tmp_path / str(gap)).ended()
        assert "sleeper pending attempt=1 failures=0 crashes=0" in after.out, after

"""Row 90: durable steps.  What is done is not run again: on a retry, after a snooze, a stop, a crash; in async and in def handlers."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from journeyman.engine import (
    AttemptOver,
    Context,
    DuplicateStep,
    Engine,
    JournalFull,
    JournalLocked,
    Queue,
    Snooze,
    State,
    TaskFailed,
)
from tests.acceptance.processes import Program
from tests.acceptance.stepping import LOG, Receipt, charge, mail, never, queue_of
from tests.acceptance.virtual import TrioClock
from tests.actors.disks import MIB, Disk


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    LOG.clear()
    yield
    LOG.clear()


# --- what is done is done -------------------------------------------------------------------------------------------------------


# row 90
async def test_row_90_a_done_step_is_not_run_again_on_a_retry() -> None:
    queue = queue_of()

    @queue.handler
    async def order(ctx: Context, card: str) -> list[Any]:
        receipt = await ctx.step("charge", charge, card, 100)
        assert receipt == Receipt(100, (100, 1)), "typed by the annotation of what it ran"
        if ctx.attempt == 1:
            raise ConnectionError("no mail server")
        return [receipt.number, await ctx.step("mail", mail, to="ada@example.org")]

    async with Engine(None, [queue]) as engine:
        handle = await engine.submit(order, "visa")
        assert await handle.result(timeout=5) == [100, "250 ok"]
        kinds = [event.kind for event in await engine.history(handle.id)]
        assert (await engine.get(handle.id)).steps == ("charge", "mail")
    assert LOG == ["charge visa", "mail ada@example.org"]
    assert kinds == [
        "TaskSubmitted", "AttemptStarted", "StepRecorded", "AttemptFailed", "AttemptStarted", "StepRecorded", "TaskSucceeded",
    ]  # fmt: skip


# row 90
async def test_row_90_a_def_handler_calls_it_plainly(tmp_path: Path) -> None:
    queue = queue_of()
    loop = threading.get_ident()
    threads: list[int] = []

    def here() -> int:
        threads.append(threading.get_ident())
        return len(threads)

    @queue.handler
    def order(ctx: Context) -> list[Any]:
        found = [ctx.step("first", here), ctx.step("mail", mail, "ada"), ctx.step("nothing", lambda: None)]
        if ctx.attempt < 3:
            raise ConnectionError
        return found

    async with Engine(tmp_path / "j", [queue]) as engine:
        assert await (await engine.submit(order)).result(timeout=5) == [1, "250 ok", None]
    assert LOG == ["mail ada"]
    assert loop not in threads


# row 90
async def test_row_90_after_a_snooze_a_time_out_and_a_graceful_stop(tmp_path: Path) -> None:
    def fresh() -> Queue:
        queue = queue_of(timeout=0.3)

        @queue.handler
        async def order(ctx: Context) -> str:
            await ctx.step("charge", charge, "visa", 1)
            if ctx.attempt == 1:
                raise Snooze(0.01)
            if ctx.attempt == 2:
                await trio.sleep_forever()  # until its time-out
            await ctx.step("mail", mail, "ada")
            if ctx.attempt == 3:
                stopping.set()
                await trio.sleep_forever()
            return "done"

        return queue

    stopping = trio.Event()
    async with Engine(tmp_path / "j", [fresh()]) as engine:
        handle = await engine.submit("order")
        with trio.fail_after(5):
            await stopping.wait()
        await engine.stop(grace=0)
    async with Engine(tmp_path / "j", [fresh()]) as engine:
        task = await engine.wait(handle.id, timeout=5)
    assert (task.state, task.result) == (State.SUCCEEDED, "done")
    assert task.failures <= 2
    assert LOG == ["charge visa", "mail ada"]


# row 90
def test_row_90_after_a_real_kill(tmp_path: Path) -> None:
    log = tmp_path / "effects"
    victim = Program("steps", tmp_path / "j", log)
    victim.until("second step")
    victim.signal(signal.SIGKILL)
    victim.ended()
    assert log.read_text().split() == ["first", "second"]
    ended = Program("steps", tmp_path / "j", log).ended()
    assert "succeeded attempt=2" in ended.out, ended
    assert log.read_text().split() == ["first", "second", "second", "third"], "only the one under way is run again"


# row 90
async def test_row_90_a_retry_by_hand_goes_on_where_it_failed() -> None:
    queue, broken = queue_of(attempts=1), [True]

    @queue.handler
    async def order(ctx: Context) -> int:
        receipt = await ctx.step("charge", charge, "visa", 7)
        if broken[0]:
            raise ConnectionError
        return receipt.number

    async with Engine(None, [queue]) as engine:
        handle = await engine.submit(order)
        with pytest.raises(TaskFailed):
            await handle.result(timeout=5)
        broken[0] = False
        await engine.retry(handle.id)
        assert await handle.result(timeout=5) == 7
    assert LOG == ["charge visa"]


# row 90
async def test_row_90_a_changed_handler_is_given_what_it_asks_for_by_name(tmp_path: Path) -> None:
    def release(*names: str, ends: bool) -> Queue:
        queue = queue_of(attempts=2)

        @queue.handler
        async def order(ctx: Context) -> list[Any]:
            found = [await ctx.step(name, mail, name) for name in names]
            if not ends:
                raise Snooze(0.05)
            return found

        return queue

    async with Engine(tmp_path / "j", [release("a", "b", ends=False)]) as engine:
        handle = await engine.submit("order")
        with trio.fail_after(5):
            while len(LOG) < 2:  # noqa: ASYNC110 - the other engine's handler tells nobody
                await trio.sleep(0.005)
    async with Engine(tmp_path / "j", [release("c", "a", ends=True)]) as engine:
        assert (await engine.wait(handle.id, timeout=5)).result == ["250 ok", "250 ok"]
    assert LOG == ["mail a", "mail b", "mail c"]


# --- who may say so ---------------------------------------------------------------------------------------------------------------


# row 90, row 32
async def test_row_90_what_a_straggler_has_done_is_rejected_and_put_on_record() -> None:
    queue, told, done = queue_of(attempts=2, timeout=0.05), [], threading.Event()

    def slow() -> str:
        time.sleep(0.3)
        return "late"

    @queue.handler
    def order(ctx: Context) -> str:
        if ctx.attempt == 1:
            try:
                ctx.step("slow", slow)
            except AttemptOver as error:
                told.append(str(error))
            try:
                ctx.step("another", never)
            except AttemptOver as error:
                told.append(str(error))
            done.set()
        return "second"

    async with Engine(None, [queue]) as engine:
        handle = await engine.submit(order)
        assert await handle.result(timeout=5) == "second"
        assert done.is_set()
        rejected = [e.details["kind"] for e in await engine.history(handle.id) if e.kind == "TransitionRejected"]
        recorded = [e.kind for e in await engine.history(handle.id) if e.kind == "StepRecorded"]
    assert "has run, but is not recorded" in told[0]
    assert "was not begun" in told[1]
    assert "step" in rejected
    assert recorded == []


# row 90, row 32
@pytest.mark.parametrize("leaves", ["time-out", "nursery", "move_on"])
async def test_row_90_a_plain_function_left_behind_holds_its_tasks_slot(leaves: str) -> None:
    queue = queue_of(attempts=2, timeout=0.1 if leaves == "time-out" else None)
    inside: list[str] = []

    def slow() -> None:
        inside.append("in")
        time.sleep(0.4)
        inside.append("out")

    async def fails() -> None:
        await trio.sleep(0.1)
        raise ConnectionError

    @queue.handler
    async def order(ctx: Context) -> str:
        if ctx.attempt == 2:
            inside.append("second")
            return "second"
        if leaves == "time-out":
            await ctx.step("slow", slow)
        elif leaves == "nursery":
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ctx.step, "slow", slow)
                nursery.start_soon(fails)
        else:
            with trio.move_on_after(0.1):
                await ctx.step("slow", slow)
            with pytest.raises(DuplicateStep):
                await ctx.step("slow", slow)
            raise ConnectionError
        return "first"

    async with Engine(None, [queue]) as engine:
        assert await (await engine.submit(order)).result(timeout=5) == "second"
    assert inside == ["in", "out", "second"], "no two runs of one task at once"


# row 90
async def test_row_90_a_plain_function_of_an_async_handler_does_not_block_the_loop() -> None:
    queue = queue_of()

    @queue.handler
    async def order(ctx: Context) -> int:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await trio.sleep(0.01)
                ticks += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(tick)
            await ctx.step("blocks", time.sleep, 0.3)
            nursery.cancel_scope.cancel()
        return ticks

    async with Engine(None, [queue]) as engine:
        assert await (await engine.submit(order)).result(timeout=5) > 3


# row 90
async def test_row_90_what_is_done_is_recorded_though_the_run_was_just_told_to_end() -> None:
    queue = queue_of(attempts=2, timeout=0.1)

    async def stubborn() -> str:
        LOG.append("stubborn")
        with trio.CancelScope(shield=True):
            await trio.sleep(0.2)
        return "done"

    @queue.handler
    async def order(ctx: Context) -> str:
        value: str = await ctx.step("stubborn", stubborn)
        await trio.lowlevel.checkpoint()
        return f"{value} in run {ctx.attempt}"

    async with Engine(None, [queue]) as engine:
        assert await (await engine.submit(order)).result(timeout=5) == "done in run 2"
    assert LOG == ["stubborn"]


# row 90
async def test_row_90_it_is_a_sign_of_life(autojump_clock: trio.testing.MockClock) -> None:
    queue = queue_of(attempts=1, heartbeat=5)

    @queue.handler
    async def order(ctx: Context) -> str:
        for n in range(4):
            await ctx.step(f"step {n}", trio.sleep, 4)
        return "lived"

    async with Engine(None, [queue], clock=TrioClock()) as engine:
        assert await (await engine.submit(order)).result(timeout=60) == "lived"


# row 90
async def test_row_90_errors_steer_as_they_would_outside() -> None:
    queue = queue_of(attempts=1)

    def later(attempt: int) -> str:
        LOG.append(attempt)
        if attempt == 1:
            raise Snooze(0.01)
        return "now"

    @queue.handler
    async def order(ctx: Context) -> str:
        value: str = await ctx.step("later", later, ctx.attempt)
        return value

    async with Engine(None, [queue]) as engine:
        assert await (await engine.submit(order)).result(timeout=5) == "now"
    assert LOG == [1, 2]


# row 90
async def test_row_90_from_a_thread_of_the_handlers_own() -> None:
    queue = queue_of()

    @queue.handler
    async def order(ctx: Context) -> list[Any]:
        step: Callable[..., Any] = ctx.step
        value = await trio.to_thread.run_sync(step, "mail", mail, "ada")
        if ctx.attempt == 1:
            raise ConnectionError
        return [value]

    async with Engine(None, [queue]) as engine:
        assert await (await engine.submit(order)).result(timeout=5) == ["250 ok"]
    assert LOG == ["mail ada"]


# row 90
async def test_row_90_a_full_disk_begins_no_step_that_could_not_be_recorded() -> None:
    queue, disk = queue_of(attempts=1), Disk(8 * MIB)

    @queue.handler
    async def order(ctx: Context) -> str:
        await ctx.step("first", mail, "ada")
        disk.free, disk.ballast = 600_000, 0  # less than the last MiB, which is kept for outcomes
        await ctx.step("fills", mail, "bob")  # nobody has looked at the disk since
        with pytest.raises(JournalFull, match="was not begun"):
            await ctx.step("third", never)
        disk.free = 8 * MIB
        return str(await ctx.step("third", mail, "eve"))

    async with Engine(None, [queue], store=disk) as engine:
        assert await (await engine.submit(order)).result(timeout=5) == "250 ok"
    assert LOG == ["mail ada", "mail bob", "mail eve"]


# row 90, row 32
async def test_row_90_a_stop_with_a_plain_function_left_behind_keeps_the_journal_until_it_ends(tmp_path: Path) -> None:
    queue = queue_of()

    @queue.handler
    async def order(ctx: Context) -> int:
        await ctx.step("slow", time.sleep, 0.6)
        return ctx.attempt

    engine = Engine(tmp_path / "j", [queue])
    async with engine:
        handle = await engine.submit(order)
        await trio.sleep(0.2)
        assert not await engine.stop(grace=0)
    with pytest.raises(JournalLocked):
        await Engine(tmp_path / "j", [queue]).__aenter__()
    await trio.sleep(0.8)
    async with Engine(tmp_path / "j", [queue]) as engine:
        task = await engine.wait(handle.id, timeout=5)
    assert (task.result, task.failures, task.crashes) == (2, 0, 0)

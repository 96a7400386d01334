"""`RetryLater(..., scope="queue")`: one handler has heard "not before" for all of them."""

from __future__ import annotations

import pytest
import trio

from journeyman.engine import Constant, Context, Engine, Queue, Retry, RetryLater, State
from journeyman.journal.memory_store import MemoryStore
from tests.acceptance.virtual import EPOCH_US, TrioClock


def service(*, attempts: int = 3, concurrency: int = 1, refuses: int = 1, delay: float = 30.0) -> tuple[Queue, list[tuple[float, int]]]:
    """A queue whose first `refuses` runs are told to come back later; when which task was started."""
    queue, starts = Queue("api", concurrency=concurrency, retry=Retry(attempts=attempts, backoff=Constant(1))), list[tuple[float, int]]()

    @queue.handler
    async def call(n: int) -> None:
        starts.append((round(trio.current_time(), 3), n))
        if len(starts) <= refuses:
            raise RetryLater("429 Too Many Requests", delay=delay, scope="queue")

    return queue, starts


# row 28
async def test_row_28_the_task_is_retried_and_the_whole_queue_waits(autojump_clock: trio.testing.MockClock) -> None:
    queue, starts = service()
    async with Engine(None, [queue], clock=TrioClock()) as engine:
        begun = trio.current_time()
        first, second = await engine.submit("call", 1), await engine.submit("call", 2)
        await trio.sleep(1)
        assert (await engine.get(first.id)).state is State.RETRYING
        assert (await engine.get(first.id)).failures == 1
        [reason] = (await engine.explain(second.id)).reasons
        assert reason.kind == "parked until"
        parked_until = (await engine.stats())["api"].parked_until
        assert parked_until is not None
        assert reason.until_at == EPOCH_US + round((begun + 30) * 1_000_000) == round(parked_until.timestamp() * 1_000_000)
        await engine.drain()
        assert (await engine.stats())["api"].parked_until is None
    assert [(round(at - begun), n) for at, n in starts] == [(0, 1), (30, 1), (30, 2)]


# row 28
async def test_row_28_its_last_failure_parks_the_queue_too(autojump_clock: trio.testing.MockClock) -> None:
    queue, starts = service(attempts=1)
    async with Engine(None, [queue], clock=TrioClock()) as engine:
        begun = trio.current_time()
        handles = [await engine.submit("call", n) for n in (1, 2)]
        await engine.drain()
        assert (await engine.get(handles[0].id)).state is State.FAILED
        assert (await engine.get(handles[1].id)).state is State.SUCCEEDED
    assert [(round(at - begun), n) for at, n in starts] == [(0, 1), (30, 2)]


# row 28
async def test_row_28_a_parking_survives_a_restart(autojump_clock: trio.testing.MockClock) -> None:
    queue, starts = service()
    store = MemoryStore()
    async with Engine("x", [queue], clock=TrioClock(), store=store) as engine:
        begun = trio.current_time()
        await engine.submit("call", 1)
        await engine.submit("call", 2)
        await trio.sleep(1)
    for _ in range(3):
        async with Engine("x", [queue], clock=TrioClock(), store=store) as engine:
            await trio.sleep(3)
            assert (await engine.stats())["api"].parked_until is not None
    async with Engine("x", [queue], clock=TrioClock(), store=store) as engine:
        await engine.drain()
    assert [(round(at - begun), n) for at, n in starts] == [(0, 1), (30, 1), (30, 2)]


# row 28
async def test_row_28_resume_lifts_it(autojump_clock: trio.testing.MockClock) -> None:
    queue, starts = service()
    async with Engine(None, [queue], clock=TrioClock()) as engine:
        begun = trio.current_time()
        await engine.submit("call", 1)
        await engine.submit("call", 2)
        await trio.sleep(5)
        await engine.resume("api", reason="they called", by="ops")
        await engine.drain()
    assert [(round(at - begun), n) for at, n in starts] == [(0, 1), (5, 2), (30, 1)]


# row 28
async def test_row_28_other_queues_and_what_runs_go_on(autojump_clock: trio.testing.MockClock) -> None:
    api, other, ended = Queue("api", concurrency=2, retry=Retry(attempts=2)), Queue("other"), list[str]()

    @api.handler
    async def call(ctx: Context, name: str) -> None:
        if name == "refused" and ctx.attempt == 1:
            raise RetryLater(ConnectionError("busy"), 60, scope="queue")
        await trio.sleep(10)
        ended.append(name)

    @other.handler
    async def note() -> None:
        ended.append("note")

    async with Engine(None, [api, other], clock=TrioClock()) as engine:
        await engine.submit(call, "long")
        await engine.submit(call, "refused")
        await engine.submit(note)
        await trio.sleep(11)
        assert ended == ["note", "long"]
        await engine.drain()
    assert ended == ["note", "long", "refused"]


def test_row_28_a_scope_that_there_is_not() -> None:
    with pytest.raises(ValueError, match='"task" or "queue"'):
        RetryLater("no", 1, scope="engine")  # type: ignore[arg-type]

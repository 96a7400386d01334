"""Rows 39 to 42: reading and waiting."""

from __future__ import annotations

import time
from typing import Any

import pytest
import trio

from journeyman.engine import (
    Engine,
    EngineStopped,
    Queue,
    QueueNotFound,
    Retention,
    State,
    TaskNotFound,
)
from tests.acceptance.lanes import with_handlers
from tests.acceptance.virtual import TrioClock

UNKNOWN = "01890000-0000-7000-8000-000000000000"


# row 39
async def test_row_39_get_by_id_and_unknown_ids() -> None:
    async with Engine(None, [with_handlers("a", parameters=2)]) as engine:
        handle = await engine.submit("a", 5, text="x")
        task = await engine.get(handle.id)
        assert (task.id, task.queue, task.handler, task.payload) == (handle.id, "q", "a", ([5, "x"], {}))
        for wrong in (UNKNOWN, "", "not an id", handle.id[:-1], handle.id + "0"):
            with pytest.raises(TaskNotFound):
                await engine.get(wrong)


# row 40, row 41
async def test_row_40_filters_newest_first_and_pages() -> None:
    left, right = with_handlers("a", "b", parameters=1), Queue("other")
    async with Engine(None, [left, right]) as engine:
        a, b = left.handlers["a"], left.handlers["b"]
        ids = []
        for i in range(12):
            tags, source = (("even",) if i % 2 == 0 else ("odd", "all")), "api" if i < 6 else "cron"
            spec = (a if i % 3 else b).using(tags=tags, owner=("user", str(i % 4)), source=source, delay=None if i < 8 else 1000)
            ids.append((await engine.submit(spec, i)).id)
        await engine.drain(timeout=5)

        async def found(**filters: Any) -> list[int]:
            listed = await engine.list(**filters)
            assert await engine.count(**filters) == len(listed)
            return [ids.index(task.id) for task in listed]

        assert await found() == list(range(11, -1, -1))
        assert await found(queue="q", state="scheduled") == [11, 10, 9, 8]
        assert await found(state=["succeeded", State.FAILED]) == [7, 6, 5, 4, 3, 2, 1, 0]
        assert await found(handler="b") == [9, 6, 3, 0]
        assert await found(owner=("user", "1")) == [9, 5, 1]
        assert await found(source="cron", tag="odd") == [11, 9, 7]
        assert await found(tag="all", state="succeeded", handler="a") == [7, 5, 1]
        assert await found(queue="other") == await found(tag="none") == []
        paged: list[str] = []
        while page := await engine.list(limit=5, before=paged[-1] if paged else None):
            paged += [task.id for task in page]
        assert paged == ids[::-1]
        assert [t.id for t in await engine.list(limit=1, before=page[-1] if page else (await engine.get(ids[3])))] == [ids[2]]
        with pytest.raises(QueueNotFound):
            await engine.list("nowhere")
        for limit in (0, -1, 10_001, True):
            with pytest.raises(ValueError, match="limit"):
                await engine.list(limit=limit)
        task = await engine.get(ids[5])
        assert (task.owner, task.source, task.tags) == (("user", "1"), "api", ("odd", "all"))


# row 40
async def test_row_40_a_page_costs_by_its_results_and_not_by_the_table() -> None:
    queue = with_handlers("a", parameters=1)
    a = queue.handlers["a"]
    async with Engine(None, [queue]) as engine:

        async def cost(**filters: Any) -> float:
            best = 1.0
            for _ in range(15):
                began = time.perf_counter()
                await engine.list("q", limit=10, **filters)
                await engine.count("q", **filters)
                best = min(best, time.perf_counter() - began)
            return best

        await engine.submit_many([(a.using(delay=1000), (i,)) for i in range(300)])
        small = await cost(state="scheduled"), await cost(state="running")
        await engine.submit_many([(a.using(delay=1000), (i,)) for i in range(30_000)])
        large = await cost(state="scheduled"), await cost(state="running")
    assert large[0] < 5 * small[0] + 0.001
    assert large[1] < 5 * small[1] + 0.001


# row 42
async def test_row_42_waiting_is_pushed_and_has_its_own_deadline(autojump_clock: trio.testing.MockClock) -> None:
    queue = Queue("q", concurrency=2, retention=Retention(succeeded=100))

    @queue.handler
    async def work() -> int:
        await trio.sleep(60)
        return 5

    async with Engine(None, [queue], clock=TrioClock(), grace=0) as engine:
        handle = await engine.submit(work)
        with pytest.raises(trio.TooSlowError):
            await handle.wait(timeout=59)
        began = trio.current_time()
        async with trio.open_nursery() as nursery:  # several may wait
            for _ in range(3):
                nursery.start_soon(handle.result, 10)
        assert trio.current_time() == pytest.approx(began + 1, abs=0.001), "told when it happened, not at a next look"
        assert await handle.result(timeout=0) == 5
        await trio.sleep(101)
        with pytest.raises(TaskNotFound):
            await handle.wait()
        pending = await engine.submit(work)
        async with trio.open_nursery() as nursery:

            async def waits() -> None:
                with pytest.raises(EngineStopped):
                    await pending.wait()

            nursery.start_soon(waits)
            await trio.sleep(1)
            await engine.stop()
        with pytest.raises(EngineStopped):
            await engine.get(pending.id)

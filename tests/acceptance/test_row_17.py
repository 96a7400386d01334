"""Row 17: serialization keys; and aging, of row 93."""

from __future__ import annotations

import threading
from collections import defaultdict
from pathlib import Path
from uuid import UUID

import pytest
import trio

from journeyman.engine import Constant, Context, Engine, Queue, Retry
from journeyman.sim import EngineCrashed, Faults, World, simulate
from tests.acceptance.virtual import TrioClock


# row 17
@pytest.mark.parametrize("per_key", [1, 2])
async def test_row_17_so_many_of_a_key_at_a_time_and_in_order(per_key: int, autojump_clock: trio.testing.MockClock) -> None:
    queue = Queue("q", concurrency=50, per_key=per_key)
    inside: dict[str, int] = defaultdict(int)
    most: dict[str, int] = defaultdict(int)
    order: dict[str, list[int]] = defaultdict(list)

    @queue.handler
    async def work(key: str, n: int) -> None:
        inside[key] += 1
        most[key] = max(most[key], inside[key])
        order[key].append(n)
        await trio.sleep(0.01 + n % 3 * 0.01)
        inside[key] -= 1

    async with Engine(None, [queue], clock=TrioClock()) as engine:
        for n in range(20):
            for key in "abc":
                await engine.submit(work.using(key=key, priority=n % 7), key, n)
        await engine.drain()
    assert most == dict.fromkeys("abc", per_key)
    assert order == {key: list(range(20)) for key in "abc"}


# row 17
@pytest.mark.parametrize(("key_order", "expected"), [("strict", ["a", "a", "a", "b"]), ("relaxed", ["a", "b", "a", "a"])])
async def test_row_17_across_retries(key_order: str, expected: list[str], autojump_clock: trio.testing.MockClock) -> None:
    queue = Queue("q", concurrency=5, key_order=key_order, retry=Retry(attempts=3, backoff=Constant(10), jitter=0))  # type: ignore[arg-type]
    runs: list[str] = []

    @queue.handler
    async def work(ctx: Context, name: str) -> None:
        runs.append(name)
        if name == "a" and ctx.attempt < 3:
            raise OSError("not yet")

    async with Engine(None, [queue], clock=TrioClock()) as engine:
        await engine.submit(work.using(key="k"), "a")
        second = await engine.submit(work.using(key="k"), "b")
        if key_order == "strict":
            assert [reason.kind for reason in (await engine.explain(second.id)).reasons] == ["key busy"]
        await engine.drain()
    assert runs == expected


# row 17
async def test_row_17_a_parked_task_holds_its_key_and_drain_does_not_wait_for_it(tmp_path: Path) -> None:
    first, second = Queue("q", concurrency=5), Queue("q", concurrency=5)

    @first.handler
    async def gone() -> None: ...

    @second.handler
    async def here() -> str:
        return "ran"

    async with Engine(tmp_path, [first]) as engine:
        await engine.pause("q")
        await engine.submit(gone.using(key="k"))
    async with Engine(tmp_path, [second]) as engine:
        await engine.resume("q")
        behind = await engine.submit(here.using(key="k"))
        other = await engine.submit(here.using(key="other"))
        assert await other.result() == "ran"
        await engine.drain(timeout=5)
        assert (await engine.get(behind.id)).state == "pending"
        assert [task.key for task in await engine.list(key="k")] == ["k", "k"]


# row 17
async def test_row_17_a_thread_that_outlives_its_attempt_keeps_the_key(leaping_clock: trio.testing.MockClock) -> None:
    queue = Queue("q", concurrency=5)
    go, began = threading.Event(), trio.Event()
    token = trio.lowlevel.current_trio_token()

    @queue.handler(timeout=30)
    def stuck() -> None:
        token.run_sync_soon(began.set)
        go.wait(10)

    @queue.handler
    async def quick() -> str:
        return "ran"

    async with Engine(None, [queue]) as engine:
        failed = await engine.submit(stuck.using(key="k"))
        await began.wait()
        behind = await engine.submit(quick.using(key="k"))
        leaping_clock.jump(30)
        assert (await failed.wait(timeout=5)).state == "failed"
        assert [reason.kind for reason in (await engine.explain(behind.id)).reasons] == ["key busy"]
        go.set()
        assert await behind.result(timeout=5) == "ran"


# row 17, row 82
@pytest.mark.parametrize("seed", range(15))
def test_row_17_key_order_survives_crashes(seed: int) -> None:
    queue = Queue("q", concurrency=4, retry=Retry(attempts=3, crashes=1000, backoff=Constant(1)))
    ended: dict[str, list[int]] = defaultdict(list)

    @queue.handler
    async def work(ctx: Context, key: str, n: int) -> None:
        await trio.sleep(0.1)
        if n % 4 == 0 and ctx.attempt == 1:
            raise OSError("once more")
        await trio.sleep(0.1)

    async def scenario(world: World) -> None:
        ended.clear()
        async with world.engine(queues=[queue]) as engine:
            items = [work.using(key=f"key {n % 3}", id=str(UUID(int=n))).bind(f"key {n % 3}", n) for n in range(18)]
            handles = None
            while handles is None:  # ids make it safe to ask again
                try:
                    handles = await engine.submit_many(items)
                except EngineCrashed:
                    await engine.ready()
            tasks = [await handle.wait() for handle in handles]
        for task in sorted(tasks, key=lambda task: task.finished_at):  # type: ignore[arg-type,return-value]
            assert task.key is not None
            ended[task.key].append(tasks.index(task))
        assert all(numbers == sorted(numbers) for numbers in ended.values()), ended

    simulate(scenario, seed=seed, faults=Faults(crash=0.01, disk_latency=(0.001, 0.01)))


# row 93
@pytest.mark.parametrize(("aging", "place"), [(None, 40), (1.0, 11)])
async def test_row_93_aging_lets_the_low_ones_start_in_the_end(
    aging: float | None, place: int, autojump_clock: trio.testing.MockClock
) -> None:
    queue = Queue("q", aging=aging)
    order: list[str] = []

    @queue.handler
    async def work(name: str) -> None:
        order.append(name)
        await trio.sleep(1)

    async with Engine(None, [queue], clock=TrioClock()) as engine:
        await engine.submit(work, "first")
        await engine.submit(work.using(priority=0), "low")
        for n in range(40):  # a high one each second: somebody of priority 10 always waits
            await engine.submit(work.using(priority=10), f"high {n}")
            await trio.sleep(1)
        await engine.drain()
    assert abs(order.index("low") - place) <= 1, order

"""Redeploys, and disks that are full, slow or unreadable, as a scenario sees them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio

from journeyman import JournalFull, Queue, Retry
from journeyman.sim import EngineCrashed, Faults, World, simulate


def release(define: Callable[[Queue], None] | None) -> Queue:
    queue = Queue("jobs", retry=Retry(crashes=100))
    if define is not None:
        define(queue)
    return queue


def first(queue: Queue) -> None:
    @queue.handler
    async def work(name: str) -> str:
        return name


def stricter(queue: Queue) -> None:
    @queue.handler
    async def work(name: int) -> str:
        return f"number {name}"


def longer(queue: Queue) -> None:
    @queue.handler
    async def work(name: str, greeting: str = "dear") -> str:
        return f"{greeting} {name}"


@pytest.mark.parametrize("middle", [None, stricter], ids=["missing handler", "changed signature"])
def test_a_redeploy_parks_what_no_longer_fits_and_the_next_one_runs_it(middle: Callable[[Queue], None] | None) -> None:
    releases = [first, middle, longer]

    async def scenario(world: World) -> None:
        async with world.engine(queues=lambda: [release(releases[min(world.trace.boots, 2)])]) as engine:
            handle = await engine.submit(engine.handler("work", queue="jobs").using(delay=60), "Ada")
            await world.crash()
            await world.advance(hours=1)
            task = await engine.get(handle.id)
            assert task.state == "pending"
            assert task.attempt == 0 or task.failures == 0, "nothing is charged"
            assert (await engine.explain(handle.id)).reasons
            await world.crash()
            assert (await handle.wait()).result == "dear Ada"

    simulate(scenario)


def test_a_redeploy_with_another_policy() -> None:
    rates = iter([1, 4])
    most, now = 0, 0

    def queues() -> list[Queue]:
        queue = Queue("jobs", concurrency=next(rates), retry=Retry(crashes=100))

        @queue.handler
        async def work() -> None:
            nonlocal most, now
            now += 1
            most = max(most, now)
            await trio.sleep(1)
            now -= 1

        return [queue]

    async def scenario(world: World) -> None:
        nonlocal most, now
        async with world.engine(queues=queues) as engine:
            await engine.submit_many([("work", ())] * 10)
            await world.advance(seconds=3.5)
            assert most == 1
            await world.crash()
            most = now = 0
            await engine.ready()
            await engine.drain()
            assert most == 4

    simulate(scenario)


def test_a_full_disk_refuses_submits_runs_on_and_takes_them_again() -> None:
    """The engine keeps room for the ends of what runs; only what is new is refused."""
    told = []

    async def scenario(world: World) -> None:
        def make() -> list[Queue]:
            queue = Queue("jobs", concurrency=10, retry=Retry(crashes=100))

            @queue.handler
            async def work(n: int) -> int:
                await trio.sleep(5)
                return n

            return [queue]

        async with world.engine(queues=make) as engine:
            handles = []
            for n in range(120):
                try:
                    handles.append(await engine.submit("work", n))
                except JournalFull:
                    told.append("full")
                except EngineCrashed:
                    told.append("down")
                    await engine.ready()
                await world.advance(seconds=2)
            world.calm()
            await world.advance(minutes=2)
            handles.append(await engine.submit("work", 1000))
            for handle in handles:
                assert (await handle.wait()).state == "succeeded"

    for seed in range(6):
        simulate(scenario, seed=seed, faults=Faults(disk_full=(0.02, 20.0)))
    assert "full" in told


def test_an_engine_that_ends_of_an_injected_fault_is_started_again() -> None:
    down = 0

    async def scenario(world: World) -> None:
        nonlocal down
        async with world.engine(queues=lambda: [release(first)]) as engine:
            for n in range(40):
                try:
                    await engine.submit("work", str(n))
                except Exception:
                    await engine.ready()
                await world.advance(minutes=1)
            down += world.trace.counts["down"]

    for seed in range(6):
        simulate(scenario, seed=seed, faults=Faults(disk_full=0.05))
    assert down > 0

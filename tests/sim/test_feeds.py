"""Feeds in simulated worlds: they die with their process, and whoever goes on with the last cursor has missed nothing (row 85)."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import trio

from journeyman import EngineStopped, FeedEvent, FeedTruncated, Queue, Retention
from journeyman.sim import EngineCrashed, Faults, World, simulate
from journeyman.sim.engine import SimEngine
from tests.sim.errands import errands


class Read(NamedTuple):
    events: list[FeedEvent]
    lost: list[FeedTruncated]
    crashes: list[EngineCrashed]


class Reader:
    """A subscriber outside the process, which remembers the cursor of what it has dealt with."""

    def __init__(self, engine: SimEngine, pace: float = 0.0, queue: str | None = None) -> None:
        self.engine, self.pace, self.queue = engine, pace, queue
        self.read = Read([], [], [])
        self.cursor = engine.events(queue=queue).cursor

    async def run(self) -> None:
        while True:
            try:
                async for event in self.engine.events(self.cursor, queue=self.queue):
                    await trio.sleep(self.pace)
                    self.read.events.append(event)
                    self.cursor = event.cursor
            except EngineCrashed as error:
                self.read.crashes.append(error)
                await self.engine.ready()
            except FeedTruncated as error:
                self.read.lost.append(error)
                self.cursor = error.cursor
            except EngineStopped:
                return


def quick(**policy: float) -> Queue:
    queue = Queue("quick", concurrency=3, retention=Retention(**policy))  # type: ignore[arg-type]

    @queue.handler
    async def work(n: int) -> int:
        await trio.sleep(1)
        return n

    return queue


async def busy(world: World, engine: SimEngine, rounds: int, seconds: float) -> None:
    for n in range(rounds):
        try:
            await engine.submit("work", n)
        except EngineCrashed:
            await engine.ready()
        await trio.sleep(seconds)


def test_row_85_over_crashes_a_reader_sees_exactly_the_durable_events_in_order() -> None:
    crashes = 0

    async def scenario(world: World) -> None:
        nonlocal crashes
        async with world.engine(queues=[quick(succeeded=600.0)]) as engine, trio.open_nursery() as nursery:
            readers = [Reader(engine), Reader(engine, 0.2), Reader(engine, queue="quick")]
            for reader in readers:
                nursery.start_soon(reader.run)
            await busy(world, engine, 25, 4)
            world.calm()
            await engine.ready()
            await engine.drain()
            await trio.sleep(60)
            nursery.cancel_scope.cancel()
        durable = [(entry.seq, entry.kind) for entry in world.trace.events if entry.seq is not None]
        everything, slower, of_queue = ([(event.seq, event.kind) for event in reader.read.events] for reader in readers)
        assert everything[0][1] == "TaskSubmitted"
        assert everything == [one for one in durable if one[0] >= everything[0][0]][: len(everything)]
        assert slower == everything[: len(slower)]
        assert of_queue == [(event.seq, event.kind) for event in readers[0].read.events if event.queue == "quick"]
        assert len(everything) >= len(slower) > 75
        crashes += len(readers[0].read.crashes)

    for seed in range(6):
        simulate(scenario, seed=seed, faults=Faults(crash=0.01, disk_latency=(0.0001, 0.2), torn_commit=0.05))
    assert crashes > 10


def test_row_85_a_reader_slower_than_retention_is_told_and_goes_on() -> None:
    lost: list[FeedTruncated] = []

    async def scenario(world: World) -> None:
        async with world.engine(queues=[quick(succeeded=30.0)]) as engine, trio.open_nursery() as nursery:
            reader = Reader(engine, 20)
            nursery.start_soon(reader.run)
            await busy(world, engine, 400, 5)
            nursery.cancel_scope.cancel()
        lost.extend(reader.read.lost)
        seqs = [event.seq for event in reader.read.events]
        assert seqs == sorted(set(seqs))

    for seed in range(3):
        simulate(scenario, seed=seed, faults=Faults(crash=0.001))
    assert lost


def test_a_feed_dies_with_its_process() -> None:
    async def scenario(world: World) -> None:
        async with world.engine(queues=[errands()]) as engine:
            feed = engine.events()
            waiting = trio.Event()

            async def follow() -> None:
                with pytest.raises(EngineCrashed, match="died during events"):
                    await anext(feed)
                waiting.set()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(follow)
                await trio.sleep(1)
                await world.crash()
                await waiting.wait()
            with pytest.raises(EngineCrashed, match="the simulated process is down"):
                engine.events()
            await engine.ready()
            with pytest.raises(EngineCrashed, match="the process of this feed has died: open another one"):
                await anext(feed)
            booted = await anext(engine.events(feed.cursor))
            assert booted.kind == "EngineBooted"

    simulate(scenario)


def test_what_a_power_cut_took_back_is_not_passed_over_in_silence() -> None:
    """Under relaxed durability a shown event may vanish, and another get its seq: its cursor is refused."""

    async def scenario(world: World) -> None:
        async with world.engine(queues=[errands()], durability="relaxed") as engine:
            feed = engine.events()
            await engine.pause("errands")
            event = await anext(feed)
            assert event.kind == "QueuePaused"
            start = engine.events().cursor  # behind that event, without having been shown it
            await world.crash(power=True)
            await engine.ready()
            for cursor in (event.cursor, start):
                with pytest.raises(ValueError, match="has been taken back"):
                    engine.events(cursor)

    simulate(scenario)


def test_feeds_repeat_with_their_seed() -> None:
    async def scenario(world: World) -> None:
        async with world.engine(queues=[quick(succeeded=60.0)]) as engine, trio.open_nursery() as nursery:
            readers = [Reader(engine, 0.5) for _ in range(3)]
            for reader in readers:
                nursery.start_soon(reader.run)
            await busy(world, engine, 20, 3)
            nursery.cancel_scope.cancel()
        world.note("read", repr([[event.cursor for event in reader.read.events] for reader in readers]))

    faults = Faults(crash=0.005, disk_latency=(0.0001, 0.1))
    assert simulate(scenario, seed=3, faults=faults).digest == simulate(scenario, seed=3, faults=faults).digest

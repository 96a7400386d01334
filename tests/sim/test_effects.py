"""A process can die at each effect of a handler: the one place inside a `def` handler, and one more between two awaits."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import partial

import pytest
import trio

from journeyman import Context, Engine, Handle, Queue, Retry
from journeyman.sim import CrashSweepFailed, EngineCrashed, Faults, World, simulate

KEY = str(uuid.UUID(int=7))
Move = Callable[[World], None]


def carelessly(world: World) -> None:
    if "debit" not in world.effects:  # the mistake: who is killed between the two has lost the money
        world.effects.append("debit")
        world.effects.append("credit")


def carefully(world: World) -> None:
    world.effects.once("debit")
    world.effects.once("credit")


def in_a_thread(world: World) -> Queue:
    queue = Queue("q", retry=Retry(attempts=3, crashes=100))

    @queue.handler
    def move(ctx: Context) -> None:
        carelessly(world)

    return queue


def on_the_loop(world: World, how: Move = carelessly) -> Queue:
    queue = Queue("q", retry=Retry(attempts=3, crashes=100))

    @queue.handler
    async def move(ctx: Context) -> None:
        how(world)

    return queue


def in_a_thread_of_its_own(world: World) -> Queue:
    queue = Queue("q", retry=Retry(attempts=3, crashes=100))

    @queue.handler
    async def move(ctx: Context) -> None:
        await trio.to_thread.run_sync(carelessly, world)

    return queue


async def moved(engine: Engine) -> Handle[None]:
    """The money is moved, whatever it takes."""
    while True:
        try:
            handle = await engine.submit(engine.handler("move", queue="q").using(id=KEY))
            break
        except EngineCrashed:
            await engine.ready()  # type: ignore[attr-defined]
    await handle.wait()
    return handle


WHERE = [in_a_thread, on_the_loop, in_a_thread_of_its_own]


@pytest.mark.parametrize("queue", WHERE, ids=lambda queue: queue.__name__)
def test_a_death_between_two_effects_is_tried(queue: Callable[[World], Queue]) -> None:
    async def scenario(world: World) -> None:
        async with world.engine([queue(world)]) as engine:
            await moved(engine)
        assert "credit" in world.effects, "the money is lost"

    with pytest.raises(CrashSweepFailed, match="2 of .* crash points break something") as caught:
        simulate(scenario, crash_at="every")
    assert all("the money is lost" in str(error) for _, error in caught.value.broken)
    notes = ["".join(error.__notes__) for _, error in caught.value.broken]
    assert "after the effect debit" in notes[0]
    assert "before the effect credit" in notes[1]
    with pytest.raises(AssertionError, match="the money is lost"):
        for seed in range(100):
            simulate(scenario, seed=seed, faults=Faults(crash=0.05))


def test_who_takes_care_of_it_is_not_blamed() -> None:
    async def scenario(world: World) -> None:
        async with world.engine([on_the_loop(world, carefully)]) as engine:
            await moved(engine)
        assert list(world.effects) == ["debit", "credit"]

    swept = simulate(scenario, crash_at="every")
    assert swept.faults["crash"] == swept.points
    for seed in range(50):
        simulate(scenario, seed=seed, faults=Faults(crash=0.05, torn_commit=0.1))


def test_it_is_dead_from_that_instant_on() -> None:
    """Nothing that the handler still does is heard: no effect, no submit, no success; the crash is charged, the bystander unwound."""
    seen: list[object] = []

    async def scenario(world: World) -> None:
        queue = Queue("q", concurrency=3, retry=Retry(attempts=3, crashes=100))
        told: list[bool] = []

        @queue.handler
        def move(ctx: Context) -> str:
            world.effects.append(("one", ctx.attempt))
            world.effects.append(("two", ctx.attempt))
            told.append(world.effects.once(("three", ctx.attempt)))
            ctx.submit(child)
            return "done"

        @queue.handler
        async def child() -> None: ...

        @queue.handler
        async def bystander(ctx: Context) -> None:
            try:
                await trio.sleep(5)
            finally:
                world.effects.append(("bystander", ctx.attempt))

        async with world.engine([queue]) as engine:
            beside = await engine.submit(bystander)
            await trio.sleep(1)
            handle = await engine.submit(move)
            await handle.wait()
            life = await world.history(handle)
            seen[:] = list(world.effects), told[0], [run.outcome for run in life.attempts], (await engine.get(handle.id)).crashes
            await beside.wait()
            await engine.drain()
            assert await engine.count(handler="child") == 1
            seen.append(world.effects.count(("bystander", 1)))

    first, second = [[(what, run) for what in ("one", "two", "three")] for run in (1, 2)]
    deaths = []
    for point in simulate(scenario).worth:
        try:
            trace = simulate(scenario, crash_at=point)
        except EngineCrashed:  # while the scenario submits
            continue
        if "the effect" in next(entry.text for entry in trace.events if entry.kind == "fault") and len(deaths) < len(DIES):
            deaths.append(seen[:])
    assert deaths == [[[*first[:n], *second], told, ["lost", "succeeded"], 1, 0] for n, told in DIES]


# Effects that are recorded before the death, and whether the handler was told that the last one was new.
DIES = [(0, False), (1, False), (1, False), (2, False), (2, False), (3, True)]


def test_the_effects_of_the_scenario_are_no_points() -> None:
    async def scenario(world: World, effects: int) -> None:
        async with world.engine([on_the_loop(world)]) as engine:
            for n in range(effects):
                world.effects.append(n)
            await moved(engine)

    assert simulate(partial(scenario, effects=0)).points == simulate(partial(scenario, effects=10)).points

"""Worlds that go on without getting on are given up: time that stands still, boots without end."""

from __future__ import annotations

from functools import partial

import pytest
import trio

from journeyman import Constant, Context, EngineStopped, JournalError, Queue, Retry, Snooze
from journeyman.sim import EngineCrashed, Faults, OutOfTime, World, bounds, simulate

FAST = {"STILL": 4_000, "LOOK": 500, "SAMPLE": 500, "BOOTS": 100}


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bounds, reached sooner."""
    for name, number in FAST.items():
        monkeypatch.setattr(bounds, name, number)


async def restless(world: World, how: str) -> None:
    queue = Queue("q", retry=Retry(attempts=1_000_000, backoff=Constant(0)))

    @queue.handler
    async def loop(ctx: Context) -> None:
        match how:
            case "submit":
                ctx.submit(loop)
            case "snooze":
                raise Snooze(0)
            case "creep":
                raise Snooze(1e-6)
            case "fail":
                raise LookupError
            case "spin":
                while True:
                    await trio.lowlevel.checkpoint()

    async with world.engine([queue]) as engine:
        await world.advance(seconds=12)
        while how == "client":
            await engine.count()
        await engine.submit(loop)
        await world.advance(days=10)


@pytest.mark.parametrize("how", ["submit", "snooze", "creep", "fail", "spin", "client"])
def test_a_world_whose_time_stands_still_is_given_up(how: str, soon: None) -> None:
    with pytest.raises(OutOfTime) as caught:
        simulate(partial(restless, how=how), max_steps=20_000)
    said = str(caught.value)
    assert said.startswith("4,500 steps, and virtual time has ")
    assert ("has stood still at 12.000000 s, wall clock 2030-01-01 00:00:12\n" in said) == (how != "creep")
    assert ("has gone on by no more than 0.00" in said) == (how == "creep")
    assert ("the scenario itself" if how == "client" else "handler q/loop, in ") in said
    assert "test_bounds.py" in said.partition("the scenario waits in\n")[2]


def test_max_steps_raises_the_bound_and_may_strike_before_it(soon: None) -> None:
    with pytest.raises(OutOfTime, match="6,500 steps, and virtual time has stood still"):
        simulate(partial(restless, how="snooze"), max_steps=60_000)
    with pytest.raises(OutOfTime, match="3,000 steps and no end"):
        simulate(partial(restless, how="snooze"), max_steps=3_000)


def test_a_hundred_thousand_tasks_at_one_instant_are_no_such_world() -> None:
    steps = []

    async def crowd(world: World, tasks: int) -> None:
        queue = Queue("q", concurrency=1)

        @queue.handler
        def nothing() -> None: ...

        @queue.handler
        async def little() -> None:
            await trio.lowlevel.checkpoint()
            await trio.to_thread.run_sync(len, "")

        async with world.engine([queue]) as engine:
            before = world.pulse.steps
            await engine.submit_many([handler.using(delay=60).bind() for _ in range(tasks) for handler in (nothing, little)])
            await engine.drain()
            steps.append((world.pulse.steps - before) / tasks / 2)

    simulate(partial(crowd, tasks=500))
    assert steps[0] * 100_000 < bounds.STILL * 0.7


def test_a_world_that_goes_on_is_no_such_world(soon: None) -> None:
    async def busy(world: World) -> None:
        queue = Queue("q")

        @queue.handler
        async def nap() -> None:
            for _ in range(100):
                await trio.sleep(0.01)

        async with world.engine([queue]) as engine:
            for _ in range(100):
                await (await engine.submit(nap)).wait()
            assert world.pulse.steps > 10_000

    simulate(busy, max_steps=35_000)


async def asks_for_ever(world: World, pause: float) -> None:
    queue = Queue("q", retry=Retry(attempts=100, crashes=100_000))

    @queue.handler
    async def work() -> None:
        await trio.sleep(5)

    async with world.engine([queue]) as engine:
        while True:
            try:
                await (await engine.submit(work)).wait()
            except (EngineCrashed, EngineStopped, JournalError):
                await engine.ready()
                await world.advance(seconds=pause)


FAULTS = Faults(crash=0.1, power=0.3, restart=0.0, disk_full=(0.01, 30), read_error=0.02, handler_error=0.02)


def test_a_world_that_boots_without_end_is_given_up(soon: None) -> None:
    with pytest.raises(OutOfTime, match="100 boots within .* s of virtual time, and no end: the process dies again before") as caught:
        simulate(partial(asks_for_ever, pause=1), faults=FAULTS, max_steps=150_000)
    assert caught.value.trace.boots <= 101  # type: ignore[attr-defined]


def test_a_client_that_asks_a_full_disk_at_once_again_is_given_up(soon: None) -> None:
    with pytest.raises(OutOfTime, match=r"virtual time has stood still(.|\n)*the scenario itself(.|\n)*asks_for_ever"):
        simulate(partial(asks_for_ever, pause=0), faults=Faults(disk_full=(0.05, 30)), max_steps=150_000)

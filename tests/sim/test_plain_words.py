"""Mistakes of whoever writes a simulated test are named as such, and what there is of an engine there is of its namespaces."""

from __future__ import annotations

import math
from typing import Any

import pytest
import trio

from journeyman import Constant, Queue, Retry
from journeyman.sim import World, simulate


@pytest.mark.parametrize("seconds", [1e12, -1e12, 1e300, math.inf, -math.inf, math.nan])
def test_a_step_of_the_clock_that_no_clock_can_show(seconds: float) -> None:
    async def scenario(world: World) -> None:
        before = world.now()
        with pytest.raises(ValueError, match=r"a step of .* (before 1970|after 9500)|finite number of seconds"):
            world.step_clock(seconds)
        assert world.now() == before

    simulate(scenario)


@pytest.mark.parametrize("seconds", ["60", None, True])
def test_a_step_of_the_clock_that_is_no_number(seconds: Any) -> None:
    async def scenario(world: World) -> None:
        with pytest.raises(TypeError, match="a step of the wall clock is a number of seconds"):
            world.step_clock(seconds)

    simulate(scenario)


def test_a_simulation_within_a_loop_says_that_it_has_its_own() -> None:
    async def nothing(world: World) -> None: ...

    async def an_async_test() -> None:
        with pytest.raises(RuntimeError, match=r"a simulation runs a loop of its own: call simulate\(\) from a plain function or test"):
            simulate(nothing)

    async def a_scenario(world: World) -> None:
        await an_async_test()

    trio.run(an_async_test)
    simulate(a_scenario)
    assert simulate(nothing).seconds == 0


@pytest.mark.parametrize("tolerance", [10, 1.01, -0.1, math.nan])
def test_a_tolerance_is_a_share(tolerance: float) -> None:
    async def scenario(world: World) -> None:
        queue = Queue("q", retry=Retry(attempts=2, backoff=Constant(30)))

        @queue.handler
        async def fail() -> None:
            raise LookupError

        async with world.engine([queue]) as engine:
            handle = await engine.submit(fail)
            await handle.wait()
            life = await world.history(handle)
            with pytest.raises(ValueError, match=r"tolerance is a share from 0 to 1, where 0\.1 is 10 %, not"):
                life.assert_ran(2, apart=30, tolerance=tolerance)
            life.assert_ran(2, apart=30, tolerance=1)

    simulate(scenario)


def test_a_namespace_captures_as_its_engine_does() -> None:
    async def scenario(world: World) -> None:
        async with world.engine() as engine:
            plugin = engine.namespace("plugin")
            queue = Queue("q")

            @queue.handler
            async def work(n: int) -> None: ...

            await plugin.create_queue(queue)
            with plugin.capture() as captured:
                await plugin.submit(work, 1)
            await plugin.submit(work, 2)
            captured.assert_submitted(work, args=(1,), count=1)
            assert len(captured) == 1

    simulate(scenario)

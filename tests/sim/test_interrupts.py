"""Ctrl-C in the middle of a simulation, and what an invariant raises to end the program, come out bare."""

from __future__ import annotations

import signal

import pytest
import trio

from journeyman import Queue
from journeyman.sim import World, simulate


async def interrupt() -> None:
    await trio.sleep(1)
    signal.raise_signal(signal.SIGINT)
    await trio.sleep(1)


async def in_a_nursery(world: World) -> None:
    async with world.engine(), trio.open_nursery() as nursery:
        nursery.start_soon(interrupt)
        nursery.start_soon(trio.sleep_forever)


async def in_a_handler(world: World) -> None:
    queue = Queue("q")

    @queue.handler
    async def work() -> None:
        await in_a_nursery_of_its_own()

    async def in_a_nursery_of_its_own() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(interrupt)

    async with world.engine(queues=[queue]) as engine, trio.open_nursery() as nursery:
        handle = await engine.submit(work)
        nursery.start_soon(handle.wait)


async def in_the_engine(world: World) -> None:
    """Most of it is protected, so trio hands the Ctrl-C to the scenario at its next await."""

    @world.invariant
    def strike() -> None:
        if world.time() >= 1:
            signal.raise_signal(signal.SIGINT)

    queue = Queue("q")

    @queue.handler
    async def work() -> None:
        await trio.sleep(1)

    async with world.engine(queues=[queue]) as engine, trio.open_nursery() as nursery:
        handle = await engine.submit(work)
        nursery.start_soon(handle.wait)
        nursery.start_soon(trio.sleep_forever)


@pytest.mark.parametrize("scenario", [in_a_nursery, in_a_handler, in_the_engine])
def test_ctrl_c_is_a_keyboard_interrupt(scenario: object) -> None:
    with pytest.raises(KeyboardInterrupt):
        simulate(scenario)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_an_invariant_may_end_the_program(kind: type[BaseException]) -> None:
    async def scenario(world: World) -> None:
        @world.invariant
        def enough() -> None:
            if world.time() >= 1:
                raise kind("enough")

        queue = Queue("q")

        @queue.handler
        async def work() -> None:
            await trio.sleep(1)

        async with world.engine(queues=[queue]) as engine:
            await (await engine.submit(work)).wait()
            await trio.sleep_forever()

    with pytest.raises(kind, match="enough"):
        simulate(scenario)

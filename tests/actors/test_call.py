"""A call is answered once, to whoever waits for it or comes later, and leaves nothing behind."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable, Iterator

import pytest
import trio
import trio.testing

from journeyman.actors.call import Call
from journeyman.engine import Engine, Queue

Ask = Callable[[Call[int]], Awaitable[int]]
WAYS = pytest.mark.parametrize("wait", [Call.wait, Call.wait_through])


async def answered(wait: Ask, act: Callable[[Call[int]], None]) -> list[int | BaseException]:
    """What two hear of a call: who waits when `act` comes, and who asks again later."""
    call, heard = Call[int](), list[int | BaseException]()

    async def listen() -> None:
        try:
            heard.append(await wait(call))
        except ValueError as error:
            heard.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        await trio.testing.wait_all_tasks_blocked()
        assert not heard
        assert not call.settled
        act(call)
        assert call.settled
    await listen()
    return heard


def say(call: Call[int]) -> None:
    call.answer = 7
    call.settle()
    call.fail(ValueError("too late"))


@WAYS
async def test_an_answer_is_heard_by_who_waits_and_by_who_comes_later(wait: Ask) -> None:
    assert await answered(wait, say) == [7, 7]


@WAYS
async def test_an_error_is_raised_in_who_waits_and_in_who_comes_later(wait: Ask) -> None:
    error = ValueError("no")

    def fail(call: Call[int]) -> None:
        call.fail(error)
        call.settle()

    assert await answered(wait, fail) == [error, error]


async def test_who_is_cancelled_while_it_waits_goes_and_the_answer_may_come_still() -> None:
    call = Call[int]()
    with trio.move_on_after(0) as scope:
        await call.wait()
    assert scope.cancelled_caught
    say(call)
    assert await call.wait() == 7


async def test_a_shielded_wait_hears_the_answer_before_the_cancel() -> None:
    call, heard, scope = Call[int](), list[int](), trio.CancelScope()

    async def listen() -> None:
        with scope:
            heard.append(await call.wait_through())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        await trio.testing.wait_all_tasks_blocked()
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert not heard
        say(call)
    assert heard == [7]


# --- nothing for the collector ----------------------------------------------------------------------------------------------


@pytest.fixture
def uncollected() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


async def test_submits_leave_nothing_for_the_collector(uncollected: None) -> None:
    lane = Queue("lane")

    @lane.handler
    async def work(n: int) -> None: ...

    async def produce() -> None:
        for n in range(25):
            await engine.submit(work, n)

    async with Engine(None, [lane]) as engine:
        await engine.pause("lane")
        for _ in range(2):
            async with trio.open_nursery() as nursery:
                for _ in range(8):
                    nursery.start_soon(produce)
            found = gc.collect()  # what a nursery leaves of its own is by the dozen
        assert found < 100

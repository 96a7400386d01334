"""`world.history`: assertions about the life of a task that read like sentences, and what they show when they fail."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
import trio

from journeyman import Cancel, Constant, Context, Engine, Exponential, Queue, Retry, RetryLater, Snooze, TaskNotFound
from journeyman.sim import Life, World, life_of, simulate

Check = Callable[[Life], object]


def calls(retry: Retry | None = None, **options: object) -> Queue:
    """One handler, `ring`, that takes a second and does what the words of its argument say, attempt by attempt."""
    queue = Queue("calls", retry=retry or Retry(attempts=3, backoff=Constant(30), jitter=0.1), **options)  # type: ignore[arg-type]

    @queue.handler
    async def ring(ctx: Context, words: str) -> str:
        await trio.sleep(1)
        word = words.split()[ctx.attempt - 1]
        if word == "busy":
            raise ConnectionError("the line is busy")
        if word == "later":
            raise RetryLater("call again", delay=7)
        if word == "snooze":
            raise Snooze(5)
        if word == "cancel":
            raise Cancel("wrong number")
        return word

    return queue


def live(words: str, check: Check, queue: Queue | None = None, meanwhile: Callable[[World], Awaitable[object]] | None = None) -> None:
    async def scenario(world: World) -> None:
        async with world.engine(queues=[queue or calls()]) as engine:
            handle = await engine.submit("ring", words)
            if meanwhile is not None:
                await meanwhile(world)
            await handle.wait()
            check(await world.history(handle))

    simulate(scenario, seed=3)


def test_ran_three_times_apart_then_dead_lettered() -> None:  # row 69
    live("busy busy busy", lambda life: life.assert_ran(3, apart=30, tolerance=0.1).then_dead_lettered("busy"))


def test_each_pause_can_be_said() -> None:
    queue = calls(Retry(attempts=4, backoff=Exponential(1, factor=2), jitter=0))
    live("busy busy later ok", lambda life: life.assert_ran(4, apart=(1, 2, 7), tolerance=0).then_succeeded(), queue)


def test_a_pause_in_which_the_clock_is_set_back() -> None:
    """Pauses are differences of kernel time, which goes with the clock."""

    async def set_back(world: World) -> None:
        await trio.sleep(50)
        world.step_clock(-7200)

    queue = calls(Retry(attempts=2, backoff=Constant(300), jitter=0.1))
    live("busy ok", lambda life: life.assert_ran(2, apart=300 - 7200, tolerance=0.1).then_succeeded(), queue, set_back)
    with pytest.raises(AssertionError, match="not -6000 s"):
        live("busy ok", lambda life: life.assert_ran(2, apart=-6000, tolerance=0.1), queue, set_back)


def test_other_endings() -> None:
    live("snooze ok", lambda life: life.assert_ran(2, apart=5, tolerance=0).then_succeeded())
    live("cancel", lambda life: life.assert_ran(1).then_cancelled())
    queue = calls(on_crash="interrupt")

    async def crash(world: World) -> None:
        await trio.sleep(0.5)
        await world.crash()

    live("ok", lambda life: life.assert_ran(1).then_interrupted(), queue, crash)


def test_a_crash_is_an_attempt_that_was_lost() -> None:
    async def crash(world: World) -> None:
        await trio.sleep(0.5)
        await world.crash()

    def check(life: Life) -> None:
        life.assert_ran(2).then_succeeded()
        assert [run.outcome for run in life.attempts] == ["lost", "succeeded"]
        assert life.attempts[0].number == 1
        assert life.starts[1] - life.starts[0] == timedelta(seconds=1.5)

    live("lost ok", check, meanwhile=crash)


@pytest.mark.parametrize(
    ("words", "check", "message"),
    [
        ("ok", lambda life: life.assert_ran(2), "it ran once, not 2 times"),
        ("busy ok", lambda life: life.assert_ran(2, apart=60), r"between run 1 and run 2 there were \S+ s, not 60 s \+- 10%"),
        ("busy ok", lambda life: life.assert_ran(2, apart=30, tolerance=0), r"not 30 s \+- 0%"),
        ("busy ok", lambda life: life.then_dead_lettered(), "it should have been dead-lettered; it ended succeeded"),
        ("cancel", lambda life: life.then_succeeded(), "it should have succeeded; it ended cancelled"),
        ("busy busy busy", lambda life: life.then_dead_lettered("no such"), "its last error is 'ConnectionError: the line is busy'"),
    ],
)
def test_a_failed_assertion_shows_the_life(words: str, check: Check, message: str) -> None:
    with pytest.raises(AssertionError, match=message) as caught:
        live(words, check)
    assert "  task " in str(caught.value)
    assert "run 1: " in str(caught.value)


def test_so_many_runs_have_one_pause_less() -> None:
    with pytest.raises(ValueError, match="2 runs have 1 pauses between them, apart= names 2"):
        live("busy ok", lambda life: life.assert_ran(2, apart=(1, 2)))


def test_a_life_that_goes_on_and_one_that_began_again() -> None:
    async def scenario(world: World) -> None:
        async with world.engine(queues=[calls(Retry(attempts=1))]) as engine:
            handle = await engine.submit("ring", "busy ok")
            await trio.sleep(0.5)
            life = await world.history(handle.id)
            assert (life.state, life.attempts[0].outcome, life.attempts[0].ended_at, life.gaps) == (None, "running", None, [])
            with pytest.raises(AssertionError, match="it has not ended"):
                life.then_succeeded()
            (await world.history(await handle.wait())).then_dead_lettered()
            await engine.retry(handle.id)
            assert (await world.history(handle)).state is None
            await handle.wait()
            (await world.history(handle)).assert_ran(2).then_succeeded()

    simulate(scenario)


def test_it_waits_for_a_process_that_is_down_and_knows_several_engines() -> None:
    async def scenario(world: World) -> None:
        async with world.engine(queues=[calls()]), world.engine(queues=[calls()], path="other") as engine:
            handle = await engine.submit("ring", "ok")
            await handle.wait()
            await world.crash()
            (await world.history(handle)).assert_ran(1).then_succeeded()
            with pytest.raises(TaskNotFound, match="no engine that is open in this world"):
                await world.history("01890a5d-ac96-774b-bcce-b302099a8057")

    simulate(scenario)


async def test_a_real_engine() -> None:  # row 69
    queue = Queue("quick", retry=Retry(attempts=2, backoff=Constant(0.05), jitter=0))

    @queue.handler
    async def fail() -> None:
        raise ConnectionError("busy")

    async with Engine(None, queues=[queue]) as engine:
        handle = await engine.submit(fail)
        await handle.wait(timeout=10)
        (await life_of(engine, handle)).assert_ran(2, apart=0.075, tolerance=1.0).then_dead_lettered("busy")

"""Invariants of a user's own: when they are asked, how they say no, and what cannot be one."""

from __future__ import annotations

import pytest

from journeyman.sim import PromiseBroken, World, simulate
from tests.sim.errands import Mistake, two_errands


def test_an_invariant_is_asked_after_commits_at_boots_and_at_the_end() -> None:
    asked: list[float] = []

    async def scenario(world: World) -> None:
        @world.invariant
        def look() -> None:
            asked.append(world.time())

        await two_errands(world)
        await world.advance(hours=1)

    trace = simulate(scenario)
    assert asked[0] == 0
    assert asked[-1] == trace.seconds
    assert len(asked) >= trace.counts["TaskSucceeded"] + trace.boots + 1


@pytest.mark.parametrize("says_no", ["raises", "False"])
def test_an_invariant_that_does_not_hold_ends_the_run_there(says_no: str) -> None:
    async def scenario(world: World) -> None:
        def at_most_one_is_done() -> bool:
            done = world.trace.counts["TaskSucceeded"]
            if says_no == "raises":
                assert done < 2, f"{done} are done"
            return done < 2

        world.invariant(at_most_one_is_done)
        await two_errands(world)
        raise Mistake("it went on")

    expected = "2 are done" if says_no == "raises" else "at_most_one_is_done"
    with pytest.raises(AssertionError, match=expected) as caught:
        simulate(scenario)
    assert caught.value.trace.counts["TaskSucceeded"] == 2  # type: ignore[attr-defined]


def test_an_invariant_may_ask_for_the_world_and_cannot_await() -> None:
    async def scenario(world: World) -> None:
        @world.invariant
        def few(the: World) -> bool:
            return the is world

        with pytest.raises(TypeError, match="plain function"):

            @world.invariant
            async def late() -> None: ...

        await two_errands(world)

    simulate(scenario)


class Falsy:
    """As numpy's False: not the object `False`."""

    def __bool__(self) -> bool:
        return False


@pytest.mark.parametrize("said", [Falsy(), 0, ""], ids=["like numpy's", "0", "empty"])
def test_an_invariant_that_says_no_in_other_words_is_heard(said: object) -> None:
    async def scenario(world: World) -> None:
        world.invariant(lambda: said)
        await two_errands(world)

    with pytest.raises(PromiseBroken, match="your invariant"):
        simulate(scenario)


def test_an_invariant_whose_answer_would_have_to_be_awaited_is_refused() -> None:
    async def scenario(world: World) -> None:
        async def late() -> bool:
            return False

        world.invariant(lambda: late())
        await two_errands(world)

    with pytest.raises(TypeError, match="make it a plain function"):
        simulate(scenario)

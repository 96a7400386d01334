"""Wrong arguments of `simulate` are said to be wrong: a stranger's typos once gave green tests that tried nothing."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from journeyman.engine import Queue
from journeyman.sim import World, simulate


async def nothing(world: World) -> None: ...


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"crash_at": "all"}, ValueError),
        ({"crash_at": 5.5}, ValueError),
        ({"crash_at": -1}, ValueError),
        ({"crash_at": 10**9}, ValueError),
        ({"seed": None}, TypeError),
        ({"seed": True}, TypeError),
        ({"max_steps": 0}, ValueError),
        ({"faults": {"crash": 0.1}}, TypeError),
        ({"start": "2030"}, TypeError),
        ({"start": date(2030, 1, 1)}, TypeError),
        ({"start": datetime(2030, 1, 1)}, ValueError),
        ({"start": datetime(9999, 12, 31, tzinfo=UTC)}, ValueError),
        ({"start": datetime(1, 1, 1, tzinfo=UTC)}, ValueError),
        ({"converge": "yes"}, TypeError),
    ],
)
def test_wrong_arguments_are_refused(wrong: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=next(iter(wrong))):
        simulate(nothing, **wrong)


def test_a_scenario_is_an_async_function() -> None:
    with pytest.raises(TypeError, match="async function of one World"):
        simulate(lambda world: None)  # type: ignore[arg-type,return-value]


def test_a_life_is_that_of_a_task() -> None:
    async def scenario(world: World) -> None:
        async with world.engine([Queue("q")]):
            for wrong in (3, None):
                with pytest.raises(TypeError, match="by its handle, its id or as a Task"):
                    await world.history(wrong)  # type: ignore[arg-type]

    simulate(scenario)


def test_a_crash_that_nobody_awaits_is_a_crash() -> None:
    async def scenario(world: World) -> None:
        async with world.engine([Queue("q")]) as engine:
            world.crash()
            assert not engine.up
            await engine.ready()

    assert simulate(scenario).counts["crash"] == 1


@pytest.mark.parametrize("queues", [["mail"], "mail", Queue("q")], ids=repr)
def test_what_is_no_queue_is_refused_in_words(queues: Any) -> None:
    async def scenario(world: World) -> None:
        async with world.engine(queues):
            pass

    with pytest.raises(TypeError, match="an engine takes a list of Queues"):
        simulate(scenario)

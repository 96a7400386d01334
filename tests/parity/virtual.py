"""Tests that are scenarios: written as `async def test_x(world)`, run by the simulator, so that hours and crashes cost nothing."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from journeyman.engine import TaskNotFound
from journeyman.sim import Faults, World, simulate


def simulated(scenario: Callable[..., Awaitable[Any]]) -> Callable[..., None]:
    """A test of the scenario's name, for pytest: its parameters are the scenario's, without the world."""

    @functools.wraps(scenario)
    def test(**given: Any) -> None:
        async def run(world: World) -> None:
            await scenario(world, **given)

        simulate(run, faults=Faults(restart=1.0))

    signature = inspect.signature(scenario)
    test.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[one for name, one in signature.parameters.items() if name != "world"]
    )
    del test.__wrapped__  # type: ignore[attr-defined]
    return test


async def is_gone(engine: Any, id: str) -> bool:
    """Whether the engine has forgotten the task."""
    try:
        await engine.get(id)
    except TaskNotFound:
        return True
    return False

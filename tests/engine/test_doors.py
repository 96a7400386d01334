"""Both doors have every call of an engine, with its parameters and its words, and no others."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from journeyman.engine import Door, Engine, Namespace
from journeyman.engine.background import AioDoor, AioEngine, BackgroundEngine, BackgroundNamespace, BlockingDoor

# `wait_for` is for `Handle.wait`, `commit_transaction` for `Transaction`; the rest belongs to the other door alone.
OF_THE_ENGINE_ALONE = {"wait_for", "commit_transaction"}
OF_THE_LOOP = {
    "events",
    "transaction",
    "opened_anew",
    "put_from",
    "changes_of",
}  # what is read or written while it goes on is for the engine's own loop
CALLS = sorted(
    name
    for name, member in inspect.getmembers(Door)
    if inspect.iscoroutinefunction(member) and not name.startswith("_") and name not in OF_THE_ENGINE_ALONE
)


def parameters(call: Callable[..., Any]) -> list[inspect.Parameter]:
    return [each.replace(annotation=inspect.Parameter.empty) for each in list(inspect.signature(call).parameters.values())[1:]]


@pytest.mark.parametrize("name", CALLS)
def test_every_call_of_the_engine_is_there_twice(name: str) -> None:
    # row 94
    original, here, there = getattr(Door, name), getattr(BlockingDoor, name), getattr(AioDoor, name)
    assert not inspect.iscoroutinefunction(here)
    assert inspect.iscoroutinefunction(there)
    assert parameters(here) == parameters(original) == parameters(there)
    assert here.__doc__ and there.__doc__


def test_there_are_no_others() -> None:
    def public(door: type) -> set[str]:
        return {name for name in dir(door) if not name.startswith("_")}

    assert public(Door) - set(CALLS) - OF_THE_ENGINE_ALONE - OF_THE_LOOP == {"handler", "tally", "submit_from"}, (
        "a new call of Door: the doors want it too"
    )
    assert public(AioDoor) == {*CALLS, "handler", "tally"}
    assert public(BlockingDoor) == {*CALLS, "handler", "tally", "within"}
    assert {"start", "stop", "namespace"} == public(BackgroundEngine) - public(BlockingDoor) == public(AioEngine) - public(AioDoor)
    assert public(BackgroundNamespace) == public(BlockingDoor)
    assert public(Engine) - public(Door) == {"stop", "namespace"}, "a new call of Engine: it belongs into engine/background.py too"
    assert public(Namespace) - public(Door) == {"name"}


def test_it_is_made_as_an_engine_is() -> None:
    assert inspect.signature(BackgroundEngine) == inspect.signature(Engine)
    assert parameters(BackgroundEngine.namespace) == parameters(Engine.namespace) == parameters(AioEngine.namespace)
    with pytest.raises(ValueError, match="max_concurrency must be"):
        BackgroundEngine(None, max_concurrency=0)

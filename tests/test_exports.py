"""One public door: what it exports exists, is documented, is the same object everywhere, and every error stands in the tree."""

from __future__ import annotations

import importlib
import inspect
import re

import pytest

import journeyman
from journeyman import engine
from journeyman.engine import errors
from journeyman.kernel.errors import JourneymanError
from tests.sources import Source, sources

# DESIGN's fixed names, as far as this release has them.
FIXED = (
    "Engine", "Queue", "Retry", "Exponential", "Constant", "Linear", "Rate", "Retention", "Context", "Priority", "Task", "Handle",
    "State", "RetryLater", "Fatal", "Snooze", "Cancel", "QueueNotFound", "QueueExists", "QueueFull", "HandlerNotFound",
    "HandlerExists", "TaskNotFound", "NotCancellable", "InvalidPayload", "PayloadTooLarge", "InvalidName", "EngineStopped",
    "TaskFailed", "TaskCancelled", "BudgetExhausted", "JournalLocked", "JournalCorrupt", "JournalFull", "JournalVersion",
    "DuplicateTask", "NotRetryable", "QueueBroken", "FeedTruncated", "TransactionConflict", "JourneymanError",
)  # fmt: skip


@pytest.mark.parametrize("name", FIXED)
def test_fixed_names(name: str) -> None:
    assert getattr(journeyman, name) is getattr(engine, name)


def test_both_doors_say_the_same() -> None:
    assert journeyman.__all__ == engine.__all__
    assert len(set(engine.__all__)) == len(engine.__all__)
    public = {
        name for name, value in vars(engine).items() if not name.startswith("_") and not inspect.ismodule(value) and name != "annotations"
    }
    assert public == set(engine.__all__), "exported and not listed, or listed and not exported"


@pytest.mark.parametrize("name", engine.__all__)
def test_everything_public_is_documented(name: str) -> None:
    value = getattr(engine, name)
    if inspect.isclass(value):
        assert value.__doc__, f"{name} has no docstring"
        assert not value.__doc__.startswith(f"{name}("), f"{name} has only the docstring that dataclass made"
        for method, member in vars(value).items():
            if inspect.isfunction(member) and not method.startswith("_") and value.__module__.startswith("journeyman.engine"):
                assert len(inspect.getsource(member).splitlines()) <= 3 or member.__doc__, f"{name}.{method} has no docstring"


def test_every_error_is_in_the_tree() -> None:
    tree = errors.__doc__ or ""
    drawn = set(re.findall(r"[├└]── ([A-Z]\w+)", tree))
    exported = {
        name for name in engine.__all__ if inspect.isclass(getattr(engine, name)) and issubclass(getattr(engine, name), JourneymanError)
    }
    assert drawn | {"JourneymanError"} == exported


@pytest.mark.parametrize("source", sources(), ids=lambda source: source.name)
def test_modules_list_what_exists(source: Source) -> None:
    if source.name.endswith(("__main__.py", "probe.py")):
        return
    name = source.name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    module = importlib.import_module(name if name.startswith("journeyman") else f"journeyman.{name}")
    for exported in getattr(module, "__all__", ()):
        assert hasattr(module, exported)


def test_refusals_are_errors_of_the_tree() -> None:
    assert all(issubclass(kind, JourneymanError) and kind.__name__ == name for name, kind in errors.REFUSALS.items())

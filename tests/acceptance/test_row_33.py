"""Row 33: whatever a handler raises or returns ends its attempt, never the engine.  Ctrl-C: test_row_33_ctrl_c.py."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from journeyman.actors.ending import leaves
from journeyman.engine import Cancel, Constant, Context, Engine, Fatal, Queue, Retry, RetryLater, Snooze
from journeyman.journal.memory_store import MemoryStore
from tests.acceptance.virtual import TrioClock

NO_PAUSE = Constant(0.0)


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise SystemError("no text for you")

    __repr__ = __str__


class Liar(Exception):
    def __str__(self) -> Any:
        return 7


class Exiting(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


def cyclic() -> BaseException:
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    return one


def noted() -> BaseException:
    error = ValueError("with a note")
    error.__notes__ = [object()]
    return error


def deep(error: Exception) -> BaseException:
    for _ in range(3_000):
        error = ExceptionGroup("deeper", [error])
    return error


def named(qualname: str, module: str = __name__, ancestors: int = 0) -> BaseException:
    kind: type[Exception] = Exception
    for n in range(ancestors):
        kind = type(f"Ancestor{n}", (kind,), {})
    kind = type("Odd", (kind,), {"__module__": module})
    kind.__qualname__ = qualname
    return kind("odd name")


HOSTILE: dict[str, Callable[[], BaseException]] = {
    "SystemExit": lambda: SystemExit(2),
    "GeneratorExit": lambda: GeneratorExit(),
    "BaseException": lambda: BaseException("bare"),
    "StopIteration": lambda: StopIteration(1),
    "StopAsyncIteration": lambda: StopAsyncIteration(),
    "asyncio": lambda: asyncio.CancelledError(),
    "memory": lambda: MemoryError(),
    "recursion": lambda: RecursionError("deep"),
    "no str": lambda: Unspeakable(),
    "str is no str": lambda: Liar(),
    "str exits": lambda: Exiting(),
    "surrogate": lambda: ValueError("lone \ud800 surrogate"),
    "control": lambda: ValueError("nul \x00 and \x1b[2J"),
    "huge": lambda: ValueError("x" * 5_000_000),
    "cyclic": cyclic,
    "notes": noted,
    "group": lambda: ExceptionGroup("many", [ValueError("a"), ExceptionGroup("inner", [KeyError("b")])]),
    "base group": lambda: BaseExceptionGroup("many", [SystemExit(1), GeneratorExit()]),
    "name of a surrogate": lambda: named("a\ud800"),
    "module of a surrogate": lambda: named("Odd", "a\ud800"),
    "huge name": lambda: named("x" * 5_000_000, "y" * 5_000_000),
    "many ancestors": lambda: named("Odd", ancestors=1_000),
    "deep group": lambda: deep(ValueError("a")),
    "type with spaces": lambda: type("a b\n\ud800", (Exception,), {})("odd name"),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("threaded", [False, True], ids=["async", "thread"])
async def test_row_33_whatever_is_raised_ends_the_attempt_and_not_the_engine(name: str, threaded: bool) -> None:
    # row 33
    queue, store = Queue("q", concurrency=2), MemoryStore()

    if threaded:

        @queue.handler(name="bad")
        def bad() -> None:
            raise HOSTILE[name]()
    else:

        @queue.handler(name="bad")
        async def bad() -> None:  # type: ignore[misc]
            raise HOSTILE[name]()

    @queue.handler
    async def good() -> str:
        return "fine"

    async with Engine(None, [queue], store=store) as engine:
        handle = await engine.submit("bad")
        task = await handle.wait(timeout=5)
        assert (task.state, task.attempt, task.failures) == ("failed", 1, 1)
        assert task.error is not None
        assert len(task.error.message) <= 4096
        assert len(task.error.traceback) <= 16384
        assert len(task.error.type) <= 512
        for text in (task.error.type, task.error.message, task.error.traceback):
            text.encode("utf-8")
        assert await (await engine.submit(good)).result(timeout=5) == "fine"
        [lineage] = [event.details["error"][3] for event in await engine.history(handle.id) if event.kind == "TaskFailed"]
        assert 1 <= len(lineage) <= 64
        assert max(map(len, lineage)) <= 512
        assert lineage[-1] == "BaseException"
    async with Engine(None, [queue], store=store) as engine:
        again = await engine.get(handle.id)
        assert (again.state, again.error) == ("failed", task.error), "what was kept must be readable after a restart"


# row 33
def test_row_33_a_group_that_holds_its_parts_many_times_over_is_walked_once() -> None:
    error: Exception = ValueError("a")
    for _ in range(200):
        error = ExceptionGroup("twice", [error, error])
    assert [str(leaf) for leaf in leaves(error)] == ["a"]
    inner = ExceptionGroup("inner", [ValueError("b"), ValueError("c")])
    assert [str(leaf) for leaf in leaves(ExceptionGroup("g", [ValueError("a"), inner, ValueError("d")]))] == ["a", "b", "c", "d"]


async def test_row_33_a_deep_group_out_of_the_block_leaves_it_as_it_is() -> None:
    error = deep(ValueError("a"))
    with pytest.raises(ExceptionGroup) as raised:
        async with Engine(None, [Queue("q")]):
            raise error
    assert raised.value is error


# row 33
@pytest.mark.parametrize(
    ("on", "error", "state"),
    [
        ((ConnectionError,), lambda: ExceptionGroup("g", [ConnectionError(), ConnectionResetError()]), "retried"),
        ((ConnectionError,), lambda: ExceptionGroup("g", [ConnectionError(), ExceptionGroup("h", [ValueError()])]), "failed"),
        ((Exception,), lambda: ExceptionGroup("g", [Fatal("no use")]), "failed"),
        ((Exception,), lambda: ExceptionGroup("g", [ExceptionGroup("h", [Cancel("not wanted")])]), "cancelled"),
        ((ConnectionError,), lambda: ExceptionGroup("g", [RetryLater("soon", delay=0)]), "retried"),
        ((ConnectionError,), lambda: ExceptionGroup("g", [Snooze(0)]), "snoozed"),
        ((Exception,), lambda: ExceptionGroup("g", [Fatal("one"), ValueError("two")]), "retried"),
        ((ConnectionError,), lambda: deep(ConnectionError()), "retried"),
        ((ConnectionError,), lambda: deep(ValueError()), "failed"),
        ((ConnectionError,), lambda: deep(Cancel("not wanted")), "cancelled"),
        ((Exception,), lambda: SystemExit(1), "failed"),
        ((Exception, SystemExit), lambda: SystemExit(1), "retried"),
    ],
)
async def test_row_33_groups_and_what_is_retried(
    on: tuple[type[BaseException], ...], error: Callable[[], BaseException], state: str, autojump_clock: trio.testing.MockClock
) -> None:
    queue = Queue("q", retry=Retry(attempts=2, backoff=NO_PAUSE, on=on))

    @queue.handler
    async def once(ctx: Context) -> None:
        if ctx.attempt == 1:
            raise error()

    async with Engine(None, [queue], clock=TrioClock()) as engine:
        task = await (await engine.submit(once)).wait(timeout=5)
    expected = {
        "retried": ("succeeded", 2, 1),
        "snoozed": ("succeeded", 2, 0),
        "failed": ("failed", 1, 1),
        "cancelled": ("cancelled", 1, 0),
    }
    assert (task.state, task.attempt, task.failures) == expected[state]
    if state == "cancelled":
        assert task.reason == "not wanted"


# row 33
@pytest.mark.parametrize(
    "make",
    [object, threading.Lock, lambda: "lone \ud800 surrogate", lambda: {"deep": {1, object()}}, lambda: lambda: None],
    ids=["object", "lock", "surrogate", "nested", "function"],
)
async def test_row_33_a_result_that_cannot_be_stored_fails_the_attempt(make: Callable[[], Any]) -> None:
    queue = Queue("q", retry=Retry(attempts=2, backoff=NO_PAUSE))

    @queue.handler
    async def give() -> Any:
        return make()

    async with Engine(None, [queue]) as engine:
        handle = await engine.submit(give)
        task = await handle.wait(timeout=5)
        assert (task.state, task.failures) == ("failed", 2)
        assert task.error is not None
        assert "cannot be stored" in task.error.message
        causes = [e.details.get("cause") for e in await engine.history(handle.id) if e.kind.endswith("Failed")]
        assert causes == ["result", "result"]


# row 33
async def test_row_33_a_result_that_holds_itself_fails_the_attempt() -> None:
    queue = Queue("q")

    @queue.handler
    async def circle() -> Any:
        value: list[Any] = []
        value.append(value)
        return value

    async with Engine(None, [queue]) as engine:
        task = await (await engine.submit(circle)).wait(timeout=5)
        assert task.state == "failed"
        assert await engine.count(state="failed") == 1


# row 33: found by a stranger
@pytest.mark.parametrize("threaded", [False, True], ids=["async", "thread"])
async def test_row_33_a_cancelled_that_nobody_sent_is_an_error_like_any_other(threaded: bool) -> None:
    """Such as the one that a home-made cache has kept from an attempt that ran out of time."""
    queue = Queue("q", retry=Retry(attempts=3, backoff=NO_PAUSE))
    kept: list[BaseException] = []

    @queue.handler(timeout=0.05)
    async def compute() -> None:
        if kept:
            raise kept[0]
        try:
            await trio.sleep(5)
        except BaseException as error:
            kept.append(error)
            raise

    @queue.handler
    def raise_kept() -> None:
        raise kept[0]

    @queue.handler
    async def bystander() -> str:
        return "ran"

    async with Engine(None, [queue]) as engine:
        first = await (await engine.submit(compute)).wait(5)
        assert (first.state, first.attempt, first.failures) == ("failed", 2, 2)  # out of time, and then the kept one
        assert first.error is not None
        assert first.error.type == "trio.Cancelled"
        again = await (await engine.submit(raise_kept if threaded else compute)).wait(5)
        assert (again.state, again.attempt, again.failures) == ("failed", 1, 1)
        assert await (await engine.submit(bystander)).result(5) == "ran"


# row 33: found on the way
async def test_row_33_an_engine_whose_entry_is_cancelled_gives_up(tmp_path: Path) -> None:
    for n in range(40):
        with trio.fail_after(10), trio.move_on_after(n / 4000):
            async with Engine(tmp_path / "j", [Queue("q")]) as engine:
                await engine.count()
    async with Engine(tmp_path / "j") as engine:
        assert await engine.count() == 0


# row 33
async def test_row_33_an_engine_in_a_cancelled_scope_leaves_other_tasks_alone() -> None:
    """A handler that leaks its own cancellation is not taken for a stop."""
    queue = Queue("q")

    @queue.handler
    async def own_scope() -> str:
        with trio.CancelScope() as scope:
            scope.cancel()
            await trio.sleep_forever()
        return "went on"

    async with Engine(None, [queue]) as engine:
        assert await (await engine.submit(own_scope)).result(timeout=5) == "went on"

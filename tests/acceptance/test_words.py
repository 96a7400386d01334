"""What people and handlers say of what they do (reasons, names of actors, progress) can neither break the journal nor fill it."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from journeyman.engine import Cancel, Context, Engine, Queue, State

ORDERS: dict[str, Callable[[Any, str, dict[str, Any]], Awaitable[Any]]] = {
    "cancel": lambda engine, id, words: engine.cancel(id, **words),
    "cancel_all": lambda engine, id, words: engine.cancel_all(**words),
    "retry": lambda engine, id, words: engine.retry(id, **words),
    "retry_all": lambda engine, id, words: engine.retry_all("q", **words),
    "reschedule": lambda engine, id, words: engine.reschedule(id, delay=5, **words),
    "reschedule_all": lambda engine, id, words: engine.reschedule_all(delay=5, **words),
    "reprioritise": lambda engine, id, words: engine.reprioritise(id, 5, **words),
    "reprioritise_all": lambda engine, id, words: engine.reprioritise_all(priority=5, **words),
    "clear": lambda engine, id, words: engine.clear("q", **words),
    "pause": lambda engine, id, words: engine.pause("q", **words),
    "resume": lambda engine, id, words: engine.resume("q", **words),
    "configure": lambda engine, id, words: engine.configure("q", concurrency=2, **words),
    "unschedule": lambda engine, id, words: engine.unschedule("s", **words),
}


# row 33, row 45
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("word", [OSError("no"), 0, b"x", "\ud800", "x" * 100_000, ["x"]], ids=lambda word: type(word).__name__)
async def test_a_reason_that_cannot_be_kept_is_refused_where_it_is_given(order: str, word: Any) -> None:
    queue = Queue("q")

    @queue.handler
    async def work(n: int) -> int:
        return n

    async with Engine(None, [queue]) as engine:
        await engine.pause("q")
        handle = await engine.submit(work, 7)
        for words in ({"reason": word}, {"by": word}):
            with pytest.raises(ValueError, match=next(iter(words))):
                await ORDERS[order](engine, handle.id, words)
        await engine.resume("q")
        assert await handle.result(timeout=5) == 7


# row 33, row 35
async def test_what_a_handler_says_is_made_storable() -> None:
    queue = Queue("q")

    @queue.handler
    async def quit(ctx: Context) -> None:
        ctx.progress(0.5, os.fsdecode(b"caf\xe9.txt"))
        raise Cancel(OSError("550 no such user " + "x" * 5_000))  # type: ignore[arg-type]

    async with Engine(None, [queue]) as engine:
        task = await (await engine.submit(quit)).wait(timeout=5)
        assert task.state is State.CANCELLED
        assert task.reason is not None
        assert task.reason.startswith("550 no such user")
        assert len(task.reason) <= 1_024
        assert task.message == "caf\\udce9.txt"


# row 40
@pytest.mark.parametrize("filters", [{"tag": ["x"]}, {"key": 7}, {"source": 0}, {"handler": []}])
async def test_a_filter_of_another_type_is_refused(filters: dict[str, Any]) -> None:
    queue = Queue("q")

    @queue.handler
    async def work(n: int) -> int:
        return n

    async with Engine(None, [queue]) as engine:
        await (await engine.submit(work, 1)).wait()
        for ask in (engine.list, engine.count, engine.cancel_all):
            with pytest.raises(ValueError, match="must be a str"):
                await ask(**filters)
        assert await engine.count(handler=work) == await engine.count(handler="work") == 1  # type: ignore[arg-type]

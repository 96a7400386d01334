"""Rows 34 to 38: missing handlers, messages, results, progress, errors, nested submits."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trio

from journeyman.engine import (
    Constant,
    Context,
    Engine,
    Queue,
    QueueFull,
    Retry,
    TaskFailed,
    TaskNotFound,
)  # fmt: skip
from journeyman.journal.memory_store import MemoryStore
from tests.acceptance.lanes import with_handlers
from tests.acceptance.virtual import TrioClock

NO_PAUSE = Constant(0.0)
UNKNOWN = "01890000-0000-7000-8000-000000000000"


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Receipt:
    at: datetime
    place: Path
    colour: Colour
    lines: list[tuple[str, int]]


# row 34
async def test_row_34_a_task_without_its_handler_is_parked_until_the_handler_appears() -> None:
    store = MemoryStore()
    async with Engine(None, [with_handlers("here", "gone")], store=store) as engine:
        await engine.pause("q")
        parked = await engine.submit("gone")
        doomed = await engine.submit("gone")
        await engine.submit("here")
    async with Engine(None, [with_handlers("here")], store=store) as engine:
        await engine.resume("q")
        await engine.drain(timeout=5)  # a parked task neither blocks the lane nor counts as moving
        assert await engine.count(state="succeeded") == 1
        task = await engine.get(parked.id)
        assert (task.state, task.attempt, task.failures, task.crashes) == ("pending", 0, 0, 0)
        assert task.payload == ([], {})
        assert [r.kind for r in (await engine.explain(parked.id)).reasons] == ["no handler here"]
        assert "gone" in str(await engine.explain(parked.id))
        assert (await engine.stats())["q"].parked == 2
        assert await engine.count(handler="gone", state="pending") == 2
        await engine.cancel(doomed.id, "nobody will")
    async with Engine(None, [with_handlers("here", "gone")], store=store) as engine:
        await engine.drain(timeout=5)
        task = await engine.get(parked.id)
        assert (task.state, task.attempt, task.result) == ("succeeded", 1, "gone")
        assert (await engine.get(doomed.id)).reason == "nobody will"


# row 34, row 12
async def test_row_34_tasks_of_an_undeclared_queue_are_parked_countable_and_cancellable() -> None:
    store = MemoryStore()
    async with Engine(None, [with_handlers("here")], store=store) as engine:
        first, second = await engine.submit_many([(engine.handler("later", "q"),)] * 2)
    async with Engine(None, store=store) as engine:
        assert await engine.count("q", "pending") == 2
        assert not (await engine.stats())["q"].declared
        assert [r.kind for r in (await engine.explain(first.id)).reasons] == ["no handler here"]
        await engine.cancel(first.id)
        assert await engine.clear("q") == 1
        assert (await engine.get(second.id)).state == "cancelled"


# row 34
async def test_row_34_arguments_that_no_longer_fit_park_the_task_uncharged() -> None:
    store = MemoryStore()
    async with Engine(None, [with_handlers("here", parameters=2)], store=store) as engine:
        await engine.pause("q")
        handle = await engine.submit("here", 1, "x")
    async with Engine(None, [with_handlers("here")], store=store) as engine:  # now it takes no arguments
        await engine.resume("q")
        await engine.drain(timeout=5)
        task = await engine.get(handle.id)
        assert (task.state, task.attempt, task.failures) == ("pending", 0, 0)
        (reason,) = (await engine.explain(handle.id)).reasons
        assert (reason.kind, "do not fit" in reason.text) == ("unfit", True)
        assert (await engine.stats())["q"].parked == 1
    async with Engine(None, [with_handlers("here", parameters=2)], store=store) as engine:
        await engine.drain(timeout=5)
        assert (await engine.get(handle.id)).result == "here 1 x"


# row 35
async def test_row_35_results_are_any_value_and_typed_on_read() -> None:
    queue, store = Queue("q", concurrency=8), MemoryStore()
    receipt = Receipt(datetime(2024, 2, 29, 12, tzinfo=UTC), Path("var/x"), Colour.RED, [("a", 1)])
    plain = {
        "int": -(10**30),
        "float": 0.1,
        "none": None,
        "bytes": b"\x00\xff",
        "text": "é\U0001f600",
        "list": [True, [], {}],
        7: "int key",
    }

    @queue.handler
    async def typed() -> Receipt:
        return receipt

    @queue.handler
    async def loose() -> Any:
        return plain

    @queue.handler
    async def nothing() -> None: ...

    async with Engine(None, [queue], store=store) as engine:
        handles = await engine.submit_many([(typed,), (loose,), (nothing,)])
        assert [await h.result(timeout=5) for h in handles] == [receipt, plain, None]
    async with Engine(None, [queue], store=store) as engine:
        assert [(await engine.get(h.id)).result for h in handles] == [receipt, plain, None]


# row 35
async def test_row_35_the_last_message_is_kept_with_every_ending() -> None:
    queue, store = Queue("q", concurrency=8), MemoryStore()

    @queue.handler
    async def well(ctx: Context) -> None:
        await ctx.progress(0.25, "first")
        await ctx.progress(1.0, "last words")

    @queue.handler
    async def badly(ctx: Context) -> None:
        ctx.progress(0.5)
        ctx.progress(message="about to fail")
        raise ValueError

    async with Engine(None, [queue], store=store) as engine:
        good, bad = await engine.submit_many([(well,), (badly,)])
        await engine.drain(timeout=5)
    async with Engine(None, [queue], store=store) as engine:
        task = await engine.get(good.id)
        assert (task.message, task.progress) == ("last words", 1.0)
        task = await engine.get(bad.id)
        assert (task.message, task.progress) == ("about to fail", 0.5)


# row 36
async def test_row_36_progress_is_visible_at_once_and_sampled_once_a_second(autojump_clock: trio.testing.MockClock) -> None:
    queue, store, said, look = Queue("q"), MemoryStore(), trio.Event(), trio.Event()

    @queue.handler
    async def work(ctx: Context) -> None:
        if ctx.attempt > 1:
            return
        for i in range(100):
            await ctx.progress(i / 1000, f"step {i}")
        said.set()
        await look.wait()
        await trio.sleep(5)
        ctx.progress(0.5, "half")
        await trio.sleep_forever()

    async with Engine(None, [queue], store=store, clock=TrioClock(), grace=0) as engine:
        handle = await engine.submit(work)
        await said.wait()
        task = await engine.get(handle.id)
        assert (task.progress, task.message) == (0.099, "step 99")
        samples = [e for e in await engine.history(handle.id) if e.kind == "ProgressSampled"]
        assert len(samples) == 1, "a hundred words within a second are one event"
        look.set()
        await trio.sleep(6)
        samples = [e for e in await engine.history(handle.id) if e.kind == "ProgressSampled"]
        assert [e.details["message"] for e in samples] == ["step 0", "half"]
        await engine.pause("q")
    async with Engine(None, [queue], store=store, clock=TrioClock()) as engine:
        task = await engine.get(handle.id)
        assert (task.state, task.progress, task.message) == ("pending", 0.5, "half"), "the journal has the last sample"


# row 36
@pytest.mark.parametrize("wrong", [(-0.1, None), (1.1, None), (float("nan"), None), (0.5, b"bytes")])
async def test_row_36_progress_that_is_none_is_the_handlers_error(wrong: tuple[Any, Any]) -> None:
    queue = Queue("q")

    @queue.handler
    async def work(ctx: Context) -> None:
        ctx.progress(*wrong)

    async with Engine(None, [queue]) as engine:
        assert (await (await engine.submit(work)).wait(timeout=5)).state == "failed"


# row 37
async def test_row_37_every_attempts_error_is_kept(autojump_clock: trio.testing.MockClock) -> None:
    queue, store = Queue("q", retry=Retry(attempts=3, backoff=Constant(10), jitter=0)), MemoryStore()

    @queue.handler
    async def work(ctx: Context) -> None:
        raise [KeyError, ValueError, OSError][ctx.attempt - 1](f"trouble {ctx.attempt}")

    async with Engine(None, [queue], store=store, clock=TrioClock()) as engine:
        handle = await engine.submit(work)
        await trio.sleep(5)
        between = await engine.get(handle.id)
        assert between.state == "retrying"
        assert between.error is not None
        assert (between.error.type, between.error.message) == ("KeyError", "'trouble 1'")
        with pytest.raises(TaskFailed) as caught:
            await handle.result()
        assert caught.value.failure is not None
        assert "trouble 3" in str(caught.value)
    async with Engine(None, [queue], store=store, clock=TrioClock()) as engine:
        task = await engine.get(handle.id)
        assert task.error is not None
        assert (task.error.type, task.error.message, task.reason) == ("OSError", "trouble 3", "attempts")
        assert "in work" in task.error.traceback
        assert task.error.at == task.finished_at
        errors = [e.details["error"] for e in await engine.history(handle.id) if e.kind in ("AttemptFailed", "TaskFailed")]
        assert [(e[0], e[1]) for e in errors] == [("KeyError", "'trouble 1'"), ("ValueError", "trouble 2"), ("OSError", "trouble 3")]
        assert "LookupError" in errors[0][3]


# row 38
async def test_row_38_a_nested_submit_exists_only_with_the_success() -> None:
    queue, made = Queue("q", concurrency=2, retry=Retry(attempts=2, backoff=NO_PAUSE)), []

    @queue.handler
    async def child(n: int) -> int:
        return n

    @queue.handler
    async def parent(ctx: Context) -> None:
        handle = await ctx.submit(child, ctx.attempt)
        made.append(handle.id)
        with pytest.raises(RuntimeError, match=r"ctx\.engine\.submit"):
            await handle.wait()
        with pytest.raises(TaskNotFound):
            await ctx.engine.get(handle.id)
        if ctx.attempt == 1:
            raise ValueError("the child of this run must not exist")

    @queue.handler
    def threaded(ctx: Context) -> str:
        return ctx.submit(child, 7).id

    async with Engine(None, [queue]) as engine:
        handle = await engine.submit(parent)
        await handle.wait(timeout=5)
        await engine.drain(timeout=5)
        with pytest.raises(TaskNotFound):
            await engine.get(made[0])
        born = await engine.get(made[1])
        assert (born.result, born.parent) == (2, handle.id)
        assert [t.id for t in await engine.list(parent=handle.id)] == [born.id]
        seqs = [e.seq for e in await engine.history(handle.id)] + [e.seq for e in (await engine.history(born.id))[:1]]
        assert seqs[-1] == seqs[-2] + 1, "the child is recorded beside the success"
        from_thread = await (await engine.submit(threaded)).result(timeout=5)
        await engine.drain(timeout=5)
        assert (await engine.get(from_thread)).result == 7


# row 38
async def test_row_38_room_for_a_nested_submit_is_decided_at_the_call_and_given_back() -> None:
    queue, small, refused = Queue("q", retry=Retry(attempts=2, backoff=NO_PAUSE)), Queue("small", max_pending=2), []

    @small.handler
    async def child() -> None: ...

    @queue.handler
    async def parent(ctx: Context) -> None:
        for _ in range(3):
            try:
                ctx.submit(child)
            except QueueFull:
                refused.append(ctx.attempt)
        if ctx.attempt == 1:
            raise ValueError

    async with Engine(None, [queue, small]) as engine:
        await engine.pause("small")
        await (await engine.submit(parent)).wait(timeout=5)
        assert refused == [1, 2], "what the failed run reserved was given back"
        assert await engine.count("small") == 2


# row 71
async def test_row_71_a_task_submitted_by_a_task_names_its_parent() -> None:
    queue = Queue("q", concurrency=3)

    @queue.handler
    async def child(n: int) -> int:
        return n

    @queue.handler
    async def parent(ctx: Context) -> list[str]:
        return [ctx.submit(child, n).id for n in range(3)]

    async with Engine(None, [queue]) as engine:
        first = await engine.submit(parent)
        other = await engine.submit(child, 7)
        ids = await first.result()
        await engine.drain()
        assert [task.id for task in await engine.list(parent=first.id)] == list(reversed(ids))
        assert await engine.count(parent=first.id, state="succeeded") == 3
        assert {(await engine.get(id)).parent for id in ids} == {first.id}
        assert (await engine.get(other.id)).parent is None

"""Decisions 8, 9, 10 and 12, and law 3: nothing is said, refused, shown or started before it is durable."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import uuid4

import pytest
import trio

from journeyman.engine import Context, DuplicateTask, Engine, NotCancellable, Queue, QueueFull, State
from journeyman.journal.memory_store import MemoryStore
from tests.acceptance.stores import WatchedStore

ID = str(uuid4())


class Asked:
    """A question on its way: its answer or error, once there is one."""

    def __init__(self, ask: Callable[[], Awaitable[object]]) -> None:
        self._ask = ask
        self.answer: object = None

    async def run(self) -> None:
        try:
            self.answer = await self._ask() or "done"
        except Exception as error:
            self.answer = error


QUESTIONS: dict[str, tuple[Callable[[Engine], Awaitable[object]], object]] = {
    "submit": (lambda engine: engine.submit("work", 1), object),
    "full": (lambda engine: engine.submit("narrow", 2), QueueFull),
    "full batch": (lambda engine: engine.submit_many([("work", (1,)), ("narrow", (2,))]), QueueFull),
    "duplicate": (lambda engine: engine.submit(engine.handler("narrow", "tight").using(id=ID), 5), DuplicateTask),
    "the same": (lambda engine: engine.submit(engine.handler("narrow", "tight").using(id=ID), 1), object),
    "get": (lambda engine: engine.get(ID), object),
    "list": (lambda engine: engine.list(), object),
    "count": (lambda engine: engine.count(), object),
    "stats": (lambda engine: engine.stats(), object),
    "explain": (lambda engine: engine.explain(ID), object),
    "history": (lambda engine: engine.history(ID), object),
    "cancel": (lambda engine: engine.cancel(ID), str),
    "pause": (lambda engine: engine.pause("q"), str),
    "resume of what is not paused": (lambda engine: engine.resume("q"), str),
    "clear": (lambda engine: engine.clear("tight"), int),
}


# decision 9
@pytest.mark.parametrize("question", QUESTIONS)
async def test_decision_09_every_answer_waits_for_what_it_saw(question: str) -> None:
    queue, tight, store = Queue("q"), Queue("tight", max_pending=1), WatchedStore()
    ask, expected = QUESTIONS[question]

    @queue.handler
    async def work(n: int) -> None: ...

    @tight.handler
    async def narrow(n: int) -> None: ...

    async with Engine("x", [queue, tight], store=store) as engine, trio.open_nursery() as nursery:
        await engine.pause("tight")
        await trio.testing.wait_all_tasks_blocked()
        store.hold = True
        seen = Asked(lambda: engine.submit(narrow.using(id=ID), 1))
        nursery.start_soon(seen.run)
        await trio.testing.wait_all_tasks_blocked()
        asked = Asked(lambda: ask(engine))
        nursery.start_soon(asked.run)
        await trio.testing.wait_all_tasks_blocked()
        assert asked.answer is None, "what it saw may yet be lost"
        assert seen.answer is None
        store.release()
        await trio.testing.wait_all_tasks_blocked()
        assert isinstance(asked.answer, expected)  # type: ignore[arg-type]


# decision 12
async def test_decision_12_a_submit_to_an_idle_queue_is_recorded_and_started_in_one_commit() -> None:
    queue, store, entered = Queue("q"), WatchedStore(), list[int]()

    @queue.handler
    async def work(n: int) -> None:
        entered.append(n)
        await trio.sleep_forever()

    async with Engine("x", [queue], store=store, grace=0) as engine, trio.open_nursery() as nursery:
        await trio.testing.wait_all_tasks_blocked()
        store.commits.clear()
        store.hold = True
        submitted = Asked(lambda: engine.submit(work, 1))
        nursery.start_soon(submitted.run)
        await trio.testing.wait_all_tasks_blocked()
        assert store.commits == [2], "submitted and started"
        assert (entered, submitted.answer) == ([], None), "neither entered nor answered before the commit"
        store.release()
        await trio.testing.wait_all_tasks_blocked()
        assert entered == [1]
        [task] = await engine.list()
        assert task.state is State.RUNNING
        with pytest.raises(NotCancellable):  # documented: it may find it running
            await engine.cancel(task.id, running=False)


# law 3
async def test_law_03_an_end_and_the_next_start_share_a_commit_and_neither_shows_before_it() -> None:
    queue, store, entered, go = Queue("q"), WatchedStore(), list[int](), trio.Event()

    @queue.handler
    async def work(n: int) -> None:
        entered.append(n)
        await go.wait()

    async with Engine("x", [queue], store=store, grace=0) as engine, trio.open_nursery() as nursery:
        first = await engine.submit(work, 1)
        await engine.submit(work, 2)
        await trio.testing.wait_all_tasks_blocked()
        store.commits.clear()
        store.hold = True
        waiting = Asked(lambda: first.wait())
        nursery.start_soon(waiting.run)
        go.set()
        await trio.testing.wait_all_tasks_blocked()
        assert store.commits == [2], "the end of one and the start of the next"
        assert (entered, waiting.answer) == ([1], None)
        store.release()
        await trio.testing.wait_all_tasks_blocked()
        assert entered == [1, 2]
        assert waiting.answer is not None


# decision 8
async def test_decision_08_submits_decided_together_see_each_other() -> None:
    queue, store, errors = Queue("q", max_pending=5), MemoryStore(), list[Exception]()

    @queue.handler
    async def work(n: int) -> None: ...

    async def submit(engine: Engine, n: int) -> None:
        try:
            await engine.submit(work, n)
        except QueueFull as error:
            errors.append(error)

    async with Engine("x", [queue], store=store) as engine:
        await engine.pause("q")
        async with trio.open_nursery() as nursery:
            for n in range(20):
                nursery.start_soon(submit, engine, n)
        assert (await engine.count(), len(errors)) == (5, 15)


# decision 10
@pytest.mark.parametrize("threaded", [False, True])
async def test_decision_10_stop_from_inside_a_handler_is_refused(threaded: bool) -> None:
    queue = Queue("q")

    async def stopping(ctx: Context) -> str:
        with pytest.raises(RuntimeError, match="inside a handler"):
            await ctx.engine.stop()
        return "still here"

    def in_thread(ctx: Context) -> str:
        return trio.from_thread.run(stopping, ctx)

    handler = queue.handler(in_thread if threaded else stopping)
    async with Engine(None, [queue]) as engine:
        assert await (await engine.submit(handler)).result(timeout=5) == "still here"


# decision 10
async def test_decision_10_a_cancelled_scope_stops_at_once_and_charges_nothing() -> None:
    queue, store, runs = Queue("q"), MemoryStore(), list[int]()

    @queue.handler
    async def work(ctx: Context) -> str:
        runs.append(ctx.attempt)
        if ctx.attempt == 1:
            await trio.sleep_forever()
        return "done"

    id = str(uuid4())
    with trio.move_on_after(10) as scope:
        async with Engine("x", [queue], store=store, grace=1000) as engine:
            await engine.submit(work.using(id=id))
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
            await trio.lowlevel.checkpoint()
    async with Engine("x", [queue], store=store) as engine:
        task = await (await engine.submit(work.using(id=id))).wait(timeout=5)
    assert (task.state, task.attempt, task.failures, task.crashes, runs) == (State.SUCCEEDED, 2, 0, 0, [1, 2])

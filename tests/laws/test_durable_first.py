"""Law 3: nothing leaves before it is durable.  The store holds its commits back, and everything an engine can be asked has to wait."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest
import trio
import trio.testing

from journeyman.engine import Context, Engine, JourneymanError, Queue, Retention
from journeyman.journal.memory_store import MemoryStore
from journeyman.journal.recovery import recover
from journeyman.journal.store import Batch, Done
from journeyman.kernel.events import AttemptStarted, TaskSubmitted, TaskSucceeded
from tests.acceptance.stores import WatchedStore, events_in

FIRST, OTHER = str(uuid.UUID(int=1)), str(uuid.UUID(int=2))
queue = Queue("q", max_pending=1)


@queue.handler
async def noop(n: int) -> int:
    return n


# What is asked while the submit of FIRST is applied but not durable; refusals have to wait as replies do.
WORDS: dict[str, Callable[[Engine], Awaitable[Any]]] = {
    "submit refused: full": lambda engine: engine.submit(noop, 2),
    "submit again": lambda engine: engine.submit(noop.using(id=FIRST), 1),
    "submit refused: duplicate": lambda engine: engine.submit(noop.using(id=FIRST), 2),
    "submit_many refused": lambda engine: engine.submit_many([(noop, (1,)), (noop, (2,))]),
    "get": lambda engine: engine.get(FIRST),
    "get refused": lambda engine: engine.get(OTHER),
    "explain": lambda engine: engine.explain(FIRST),
    "history": lambda engine: engine.history(FIRST),
    "list": lambda engine: engine.list(),
    "count": lambda engine: engine.count(),
    "count by handler": lambda engine: engine.count(handler="noop"),
    "stats": lambda engine: engine.stats(),
    "cancel": lambda engine: engine.cancel(FIRST),
    "cancel refused": lambda engine: engine.cancel(OTHER),
    "retry refused": lambda engine: engine.retry(FIRST),
    "retry_all": lambda engine: engine.retry_all("q"),
    "clear": lambda engine: engine.clear("q"),
    "pause again": lambda engine: engine.pause("q"),
    "prune": lambda engine: engine.prune(older_than=0),
    "create_queue": lambda engine: engine.create_queue(Queue("late")),
}


@pytest.mark.parametrize("word", WORDS)
async def test_no_reply_no_refusal_no_read_before_the_commit(word: str) -> None:
    store = WatchedStore()
    said: dict[str, Any] = {}

    async def ask(word: str, call: Callable[[Engine], Awaitable[Any]]) -> None:
        try:
            said[word] = await call(engine)
        except JourneymanError as error:
            said[word] = error

    async with Engine("x", [queue], store=store) as engine, trio.open_nursery() as nursery:
        await engine.pause("q")
        store.hold = True
        nursery.start_soon(ask, "first", lambda engine: engine.submit(noop.using(id=FIRST), 1))
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ask, word, WORDS[word])
        await trio.testing.wait_all_tasks_blocked()
        assert said == {}
        store.release()
        await trio.testing.wait_all_tasks_blocked()
        assert len(said) == 2
        assert isinstance(said[word], JourneymanError) == ("refused" in word), said[word]


async def test_no_handler_is_entered_and_no_waiter_hears_before_the_commit() -> None:
    store, entered, heard = WatchedStore(), [], []
    free = Queue("free")

    @free.handler
    async def enter(n: int) -> int:
        entered.append(n)
        return n

    async def result() -> None:
        heard.append(await handle.result())

    async with Engine("x", [free], store=store) as engine, trio.open_nursery() as nursery:
        await engine.pause("free")
        handle = await engine.submit(enter, 1)
        nursery.start_soon(result)
        store.hold = True
        nursery.start_soon(engine.resume, "free")
        await trio.testing.wait_all_tasks_blocked()
        assert store.held == 1
        assert entered == [], "its start is decided, but not durable"
        store.release()
        store.hold = True
        await trio.testing.wait_all_tasks_blocked()
        assert (entered, heard) == ([1], []), "it has ended, but nobody may know"
        store.release()
        await trio.testing.wait_all_tasks_blocked()
        assert heard == [1]


class LaggingStore(MemoryStore):
    """A disk that takes its time: each commit is durable some turns of the loop after it was given."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.chance = Random(seed)
        self.nursery: trio.Nursery | None = None

    def begin_append(self, batch: Batch, done: Done) -> None:
        if self.nursery is None:
            super().begin_append(batch, done)
        else:
            self.nursery.start_soon(self._later, batch, done)

    async def _later(self, batch: Batch, done: Done) -> None:
        with trio.CancelScope(shield=True):
            for _ in range(self.chance.randrange(20)):
                await trio.lowlevel.checkpoint()
        super().begin_append(batch, done)


@pytest.mark.parametrize("seed", range(5))
async def test_whoever_knows_finds_it_on_the_disk(seed: int) -> None:
    """Handlers, submitters and waiters look at the disk itself the moment they are told."""
    store, lively = LaggingStore(seed), Queue("lively", concurrency=5)
    seen: list[str] = []

    def on_disk(kind: type, task: str, **fields: Any) -> bool:
        found = recover(store).journal
        events = (event for chunk in found.walk(1, found.next_seq - 1) for _, event in chunk)
        wanted = uuid.UUID(task).bytes
        return any(type(e) is kind and e.task == wanted and all(getattr(e, k) == v for k, v in fields.items()) for e in events)

    @lively.handler
    async def look(ctx: Context) -> None:
        assert on_disk(AttemptStarted, ctx.id, attempt=ctx.attempt)
        seen.append(ctx.id)

    async def ask(engine: Engine) -> None:
        for _ in range(4):
            handle = await engine.submit(look)
            assert on_disk(TaskSubmitted, handle.id)
            await handle.result()
            assert on_disk(TaskSucceeded, handle.id)

    async with trio.open_nursery() as disk, Engine("x", [lively], store=store) as engine:
        store.nursery = disk
        async with trio.open_nursery() as callers:
            for _ in range(5):
                callers.start_soon(ask, engine)
    assert len(seen) == 20
    assert sum(type(event) is TaskSucceeded for event in events_in(store)) == 20


class OneByOne(MemoryStore):
    """Commits wait until they are let through, one by one."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[tuple[Batch, Done]] | None = None

    def begin_append(self, batch: Batch, done: Done) -> None:
        if self.held is None:
            super().begin_append(batch, done)
        else:
            self.held.append((batch, done))

    async def let_one_through(self) -> None:
        assert self.held
        super().begin_append(*self.held.pop(0))
        await trio.testing.wait_all_tasks_blocked()


async def test_that_a_task_is_gone_is_said_when_its_end_is_durable() -> None:
    """Found by simulation (swarm seed 61536): dropped at its end, which was applied while `history` waited for an earlier commit."""
    store, lane, go, said = OneByOne(), Queue("q", retention=Retention(succeeded=0)), trio.Event(), list[object]()

    @lane.handler
    async def work() -> None:
        await go.wait()

    async def ask(engine: Engine, id: str) -> None:
        try:
            said.append(await engine.history(id))
        except JourneymanError as error:
            said.append(error)

    async with Engine("x", [lane], store=store) as engine, trio.open_nursery() as nursery:
        handle = await engine.submit(work)
        await trio.testing.wait_all_tasks_blocked()
        store.held = []
        nursery.start_soon(engine.pause, "q")
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ask, engine, handle.id)
        await trio.testing.wait_all_tasks_blocked()
        go.set()
        await trio.testing.wait_all_tasks_blocked()
        await store.let_one_through()
        assert said == [], "the pause is durable, the end is not"
        await store.let_one_through()
        assert len(said) == 1
        store.held = None

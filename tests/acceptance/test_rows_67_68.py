"""Row 67: namespaces.  A plugin has names, tasks and a budget of its own, and reaches nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import uuid4

import pytest
import trio
import trio.testing

from journeyman.engine import (
    Constant,
    Context,
    DuplicateTask,
    Engine,
    EngineStopped,
    HandlerExists,
    HandlerNotFound,
    InvalidName,
    Limits,
    Queue,
    QueueExists,
    QueueNotFound,
    Retry,
    State,
    TaskNotFound,
)
from journeyman.journal.memory_store import MemoryStore
from tests.acceptance.plugins import held, opened, plugin
from tests.acceptance.virtual import TrioClock


# row 67
async def test_row_67_two_plugins_have_the_same_names_and_keep_apart() -> None:
    (one, seen), (two, seen_too), (own, seen_own) = plugin(), plugin(), plugin()
    async with Engine(None, [own]) as engine:
        a, b = await opened(engine, "a", one), await opened(engine, "b", two)
        handles = [await a.submit("send", "from a"), await b.submit("send", "from b"), await engine.submit("send", "from the owner")]
        assert [await handle.result(5) for handle in handles] == ["from a", "from b", "from the owner"]
        assert seen == [("from a", "mail", "<Namespace 'a'>")]
        assert seen_too == [("from b", "mail", "<Namespace 'b'>")]
        assert [text for text, _, _ in seen_own] == ["from the owner"]
        for ns in (a, b):
            assert list(await ns.stats()) == ["mail"]
            [task] = await ns.list()
            assert (task.queue, task.handler) == ("mail", "send")
            assert await ns.count() == await ns.count("mail", "succeeded") == 1
        assert {task.queue for task in await engine.list()} == {"mail", "a/mail", "b/mail"}
        assert (await engine.list("a/mail"))[0].id == handles[0].id
        assert sorted(await engine.stats()) == ["a/mail", "b/mail", "mail"]
        assert [event.queue for event in await a.history(handles[0].id)] == ["mail"] * 3
        assert {event.queue for event in await engine.history(handles[0].id)} == {"a/mail"}


# row 67
async def test_row_67_what_is_anothers_is_not_there() -> None:
    (one, go), (two, _) = held(), held("secret")
    async with Engine(None) as engine:
        a, b = await opened(engine, "a", one), await opened(engine, "b", two)
        foreign = (await b.submit("send")).id
        calls: list[Callable[[str], Awaitable[object]]] = [a.get, a.explain, a.history, a.cancel, a.retry]
        for call in calls:
            with pytest.raises(TaskNotFound) as denied:
                await call(foreign)
            with pytest.raises(TaskNotFound) as unknown:
                await call(nowhere := str(uuid4()))
            assert str(denied.value).replace(foreign, "") == str(unknown.value).replace(nowhere, ""), "it is not told apart from none"
        with pytest.raises(TaskNotFound):
            await a.list(before=foreign)
        by_queue: list[Callable[[str], Awaitable[object]]] = [
            a.pause, a.resume, a.clear, a.configure, a.retry_all, a.list, a.count, lambda queue: a.prune(0, queue),
        ]  # fmt: skip
        for name in ("secret", "b/secret", "b\x1fsecret", "a/mail"):
            for by_name in by_queue:
                with pytest.raises(QueueNotFound):
                    await by_name(name)
            with pytest.raises((QueueNotFound, InvalidName)):
                await a.submit(a.handler("send", queue=name))
        with pytest.raises(HandlerNotFound):
            await a.submit(two.handlers["send"])
        assert await a.count() == 0
        assert await a.prune(0) == 0
        await a.drain(timeout=1)
        assert (await b.get(foreign)).state is State.RUNNING
        go.set()


# row 67
async def test_row_67_an_id_of_anothers_says_nothing_of_it() -> None:
    one, two = plugin()[0], plugin("secret")[0]
    async with Engine(None) as engine:
        a, b = await opened(engine, "a", one), await opened(engine, "b", two)
        id = str(uuid4())
        await b.submit(two.handlers["send"].using(id=id), "hidden")
        with pytest.raises(DuplicateTask) as taken:
            await a.submit(one.handlers["send"].using(id=id), "mine")
        assert "secret" not in str(taken.value)


# row 67
async def test_row_67_the_calls_of_a_namespace_stay_in_it() -> None:
    (one, go), (two, _) = held(retry=Retry(attempts=1)), held()
    async with Engine(None) as engine:
        a, b = await opened(engine, "a", one), await opened(engine, "b", two)
        for ns in (a, b):
            await ns.pause("mail", reason="not yet")
            await ns.submit_many([("send", (str(n),)) for n in range(3)])
        assert await a.clear("mail") == 3
        assert (await a.count(state="cancelled"), await b.count(state="pending")) == (3, 3)
        await a.resume("mail")
        assert (await b.stats())["mail"].paused
        assert await a.retry_all("mail", "cancelled") == 3
        await a.configure("mail", concurrency=3)
        assert (await b.stats())["mail"].policy.concurrency == 1
        go.set()
        await a.drain(timeout=5)
        assert await a.prune(0) == 3
        assert await b.count() == 3
        assert await engine.clear("b/mail") == 3, "the owner reaches all of them"


# row 67
async def test_row_67_a_handler_of_a_namespace_stays_in_it() -> None:
    queue, met = Queue("mail", concurrency=2), list[str]()

    @queue.handler
    async def first(ctx: Context) -> None:
        ctx.submit("second", "with success")
        await ctx.engine.submit("second", "at once")
        with pytest.raises(HandlerNotFound):
            ctx.submit("send", "the owner's")
        assert list(await ctx.engine.stats()) == ["mail"]

    @queue.handler
    async def second(text: str) -> None:
        met.append(text)

    own, seen = plugin()
    async with Engine(None, [own]) as engine:
        ns = await opened(engine, "a", queue)
        assert (await (await ns.submit(first)).wait(5)).state is State.SUCCEEDED
        await ns.drain(timeout=5)
        assert sorted(met) == ["at once", "with success"]
        assert seen == []
        assert {task.queue for task in await engine.list()} == {"a/mail"}


# row 67
# row 12
async def test_row_67_tasks_of_a_namespace_that_is_not_opened_stay_with_the_owner() -> None:
    store = MemoryStore()
    async with Engine("x", store=store) as engine:
        ns = await opened(engine, "a", plugin()[0])
        await ns.pause("mail")
        handle = await ns.submit("send", "later")
    async with Engine("x", store=store) as engine:
        [task] = await engine.list()
        assert (task.queue, task.payload) == ("a/mail", (["later"], {}))
        assert not (await engine.stats())["a/mail"].declared
        with pytest.raises(QueueExists):
            await engine.create_queue(Queue("a/mail"))
        queue, seen = plugin()
        ns = await opened(engine, "a", queue)
        assert await ns.count() == 1
        await ns.resume("mail")
        assert await ns.submit("send", "now")
        await ns.drain(timeout=5)
        assert [text for text, _, _ in seen] == ["later", "now"]
        assert (await ns.get(handle.id)).state is State.SUCCEEDED
    with pytest.raises(QueueExists):
        async with Engine("x", [Queue("a/mail")], store=store):
            pass


# row 67
async def test_row_67_one_plugin_cannot_starve_another(autojump_clock: trio.testing.MockClock) -> None:
    order = list[str]()

    def busy(name: str) -> Queue:
        queue = Queue("work", concurrency=50)

        @queue.handler
        async def send(text: str) -> None:
            order.append(name)
            await trio.sleep(1)

        return queue

    async with Engine(None, max_concurrency=6, clock=TrioClock()) as engine:
        a, b = await opened(engine, "a", busy("a"), max_concurrency=4), await opened(engine, "b", busy("b"), max_concurrency=4)
        await a.submit_many([("send", ("x",)) for _ in range(400)])
        await trio.sleep(10.5)
        ahead = len(order)
        await b.submit("send", "x")
        await trio.sleep(0.1)
        assert order[ahead:] == ["b"], "at once: four of six slots are all that a may take"
        assert await a.count(state="running") == 4


async def test_names_and_terms_of_a_namespace() -> None:
    async with Engine(None, [Queue("a/late")]) as engine:
        for name in ("", "x" * 129, "a\x1fb", "a/b"):
            with pytest.raises(InvalidName):
                engine.namespace(name)
        ns = engine.namespace("a", max_concurrency=2)
        assert repr(engine.namespace("a", max_concurrency=2)) == repr(ns) == "<Namespace 'a'>"
        with pytest.raises(ValueError, match="terms"):
            engine.namespace("a", max_concurrency=3)
        with pytest.raises(ValueError, match="max_concurrency"):
            engine.namespace("b", max_concurrency=0)
        for bad in ({"max_payload": -1}, {"retention": (5, 1)}, {"retention": 5}, {"queues": 0}, {"pending": "many"}):
            with pytest.raises(ValueError, match="limit|retention"):
                Limits(**bad)  # type: ignore[arg-type]
        with pytest.raises(QueueExists):
            await ns.create_queue(Queue("late"))
        with pytest.raises(InvalidName):
            Queue("a\x1fb")
        await ns.create_queue(plugin()[0])
        with pytest.raises(HandlerExists):
            await ns.create_queue(plugin("other")[0])
        await ns.create_queue(Queue("deep/er"))
        assert (await engine.stats())["a/deep/er"].declared


async def test_a_namespace_needs_its_queues_anew_at_each_start() -> None:
    engine = Engine("x", store=MemoryStore())
    async with engine:
        ns = await opened(engine, "a", plugin(retry=Retry(backoff=Constant(0)))[0])
    with pytest.raises(EngineStopped):
        await ns.count()
    async with Engine("y", store=MemoryStore()) as other:
        with pytest.raises(HandlerNotFound):
            await other.namespace("a").submit("send", "x")


async def test_the_path_of_a_journal_reads_back_names_of_namespaces(tmp_path: object) -> None:
    async with Engine(f"{tmp_path}/jobs") as engine:
        ns = await opened(engine, "plugin-ø", plugin("post/ut")[0])
        await (await ns.submit("send", "x")).wait(5)
    async with Engine(f"{tmp_path}/jobs") as engine:
        assert [task.queue for task in await engine.list()] == ["plugin-ø/post/ut"]
        assert await engine.count("plugin-ø/post/ut", "succeeded") == 1

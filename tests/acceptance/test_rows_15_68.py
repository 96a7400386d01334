"""Rows 11, 15 and 68: what a namespace may use, and what becomes of asking for more."""

from __future__ import annotations

import logging

import pytest
import trio
import trio.testing

from journeyman.engine import (
    BudgetExhausted,
    Context,
    Engine,
    Limits,
    Namespace,
    PayloadTooLarge,
    Queue,
    QueueExists,
    QueueFull,
    Retention,
)
from journeyman.journal.memory_store import MemoryStore
from tests.acceptance.plugins import held, opened, plugin
from tests.acceptance.virtual import until


# row 15
async def test_row_15_more_than_is_left_is_clamped_and_none_left_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    async with Engine(None) as engine:
        ns = engine.namespace("a", max_concurrency=5)
        await ns.create_queue(Queue("one", concurrency=3))
        with caplog.at_level(logging.WARNING, "journeyman"):
            await ns.create_queue(Queue("two", concurrency=4))
        assert "concurrency=4" in caplog.text
        stats = await ns.stats()
        assert [stats[name].policy.concurrency for name in ("one", "two")] == [3, 2]
        with pytest.raises(BudgetExhausted, match="5/5"):
            await ns.create_queue(Queue("three"))
        with pytest.raises(QueueExists):
            await ns.create_queue(Queue("two"))
        assert list(await ns.stats()) == ["one", "two"]
        assert (await ns.configure("one", concurrency=9)).concurrency == 3
        assert (await ns.configure("one", concurrency=1)).concurrency == 1
        assert (await ns.configure("two", concurrency=9)).concurrency == 4
        await engine.namespace("b", max_concurrency=1).create_queue(Queue("one"))


# row 15
async def test_row_15_the_budget_holds_for_live_attempts() -> None:
    one, go = held("one", concurrency=4)
    async with Engine(None) as engine:
        ns = await opened(engine, "a", one, max_concurrency=5)
        other = Queue("two")
        inside = list[int]()

        @other.handler
        async def more(n: int) -> None:
            inside.append(n)
            await go.wait()

        await ns.create_queue(other)
        await ns.submit_many([("send", ()) for _ in range(4)])
        await until(lambda: running(ns, 4))
        await ns.configure("one", concurrency=1)
        assert (await ns.configure("two", concurrency=4)).concurrency == 4
        handles = await ns.submit_many([("more", (n,)) for n in range(6)])
        await until(lambda: running(ns, 5))
        await trio.testing.wait_all_tasks_blocked()
        assert len(inside) == 1, "four of the other queue still run"
        assert [reason.kind for reason in (await ns.explain(handles[5].id)).reasons] == ["no namespace slot"]
        go.set()
        await ns.drain(timeout=5)
        assert len(inside) == 6


async def running(ns: Namespace, n: int) -> bool:
    return await ns.count(state="running") == n


# row 15
async def test_row_15_a_live_change_of_an_earlier_start_is_held_within_what_is_left() -> None:
    store = MemoryStore()
    async with Engine("x", store=store) as engine:
        ns = await opened(engine, "a", Queue("one"), max_concurrency=5)
        await ns.configure("one", concurrency=5)
    async with Engine("x", store=store) as engine:
        ns = engine.namespace("a", max_concurrency=5)
        await ns.create_queue(Queue("two", concurrency=3))
        await ns.create_queue(Queue("one"))
        assert (await ns.stats())["one"].policy.concurrency == 2


# row 68
# row 11
async def test_row_68_values_beyond_the_limits_are_clamped_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    limits = Limits(max_payload=100, retention=(60, 604_800))
    async with Engine(None) as engine:
        ns = engine.namespace("a", limits=limits)
        with caplog.at_level(logging.WARNING, "journeyman"):
            await ns.create_queue(Queue("mail", retention=Retention(succeeded=1, failed=None, cancelled=3600), max_payload=1 << 21))
        assert caplog.text.count("namespace 'a'") == 3
        policy = (await ns.stats())["mail"].policy
        assert (policy.retention.succeeded, policy.retention.failed, policy.retention.cancelled) == (60, 604_800, 3600)
        assert policy.max_payload == 100
        policy = await ns.configure("mail", retention=Retention(succeeded=0), max_payload=99)
        assert (policy.retention.succeeded, policy.max_payload) == (60, 99)
        assert (await engine.configure("a/mail", max_payload=5000)).max_payload == 5000, "the owner is not held to them"
        with pytest.raises(ValueError, match="concurrency"):
            await ns.configure("mail", concurrency=0)


# row 68
async def test_row_68_a_plugin_cannot_fill_up_anothers_room() -> None:
    one, two = plugin("one")[0], Queue("two")

    @two.handler
    async def other(text: str) -> None: ...

    async with Engine(None, max_concurrency=4) as engine:
        ns = await opened(engine, "a", one, limits=Limits(pending=5, queues=2, max_payload=50))
        await ns.create_queue(two)
        with pytest.raises(BudgetExhausted, match="2/2"):
            await ns.create_queue(Queue("three"))
        for name in ("one", "two"):
            await ns.pause(name)
        await ns.submit_many([("send", ("x",)), ("other", ("x",))])
        with pytest.raises(QueueFull):
            await ns.submit_many([("send", ("x",)), ("send", ("x",)), ("other", ("x",)), ("other", ("x",))])
        assert await ns.count() == 2, "all or none"
        await ns.submit_many([("send", ("x",)), ("other", ("x",)), ("other", ("x",))])
        for name in ("send", "other"):
            with pytest.raises(QueueFull, match="'a'"):
                await ns.submit(name, "x")
        with pytest.raises(PayloadTooLarge):
            await ns.submit("send", "x" * 100)
        assert await ns.clear("two") == 3
        await ns.submit("send", "x")
        await (await opened(engine, "b", plugin("one")[0])).submit("send", "y" * 1000)


# row 68
async def test_row_68_a_handlers_own_submits_count_too() -> None:
    queue, refused = Queue("q"), list[str]()

    @queue.handler
    async def parent(ctx: Context) -> None:
        for n in range(3):
            try:
                ctx.submit("child")
            except QueueFull:
                refused.append(str(n))
        await ctx.engine.pause("q")

    @queue.handler
    async def child() -> None: ...

    async with Engine(None) as engine:
        ns = await opened(engine, "a", queue, limits=Limits(pending=2))
        await (await ns.submit(parent)).wait(5)
        assert refused == ["2"]
        assert await ns.count(state="pending") == 2

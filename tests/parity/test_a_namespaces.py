"""Navidrome's plugin TaskQueue: what keeps plugins apart, and within their means."""

from __future__ import annotations

import logging

import pytest
import trio

from journeyman import (
    BudgetExhausted,
    DuplicateTask,
    Engine,
    Limits,
    PayloadTooLarge,
    Queue,
    QueueExists,
    QueueNotFound,
    Retention,
    TaskNotFound,
)
from journeyman.sim import World
from tests.parity.virtual import is_gone, simulated


async def test_a_the_budget(caplog: pytest.LogCaptureFixture) -> None:
    """A, budget: the queues of a plugin share its maxConcurrency: who asks for more than is left gets what is left, with a warning; when
    nothing is left, creating one is an error that says so.

    Same: in a namespace with max_concurrency.
    """
    async with Engine(None) as engine:
        plugin = engine.namespace("plugin-a", max_concurrency=5)
        await plugin.create_queue(Queue("one", concurrency=3))
        with caplog.at_level(logging.WARNING, "journeyman"):
            await plugin.create_queue(Queue("two", concurrency=9))
        assert any("two" in record.getMessage() for record in caplog.records)
        with pytest.raises(BudgetExhausted, match="5/5"):
            await plugin.create_queue(Queue("three"))


async def test_a_an_existing_name_with_a_full_budget() -> None:
    """A, duplicate: the budget is looked at first, so that a second create of an existing queue says "budget exhausted".

    Mended: an existing name is reported as QueueExists, whatever is left.
    """
    async with Engine(None) as engine:
        plugin = engine.namespace("plugin-a", max_concurrency=1)
        await plugin.create_queue(Queue("one"))
        with pytest.raises(QueueExists, match="one"):
            await plugin.create_queue(Queue("one"))


@simulated
async def test_a_no_more_than_the_budget_runs(world: World) -> None:
    """A, budget: no more than maxConcurrency tasks of a plugin run at once.

    Same.
    """
    inside, most = {"a": 0, "b": 0}, {"a": 0, "b": 0}

    def queues(plugin: str) -> list[Queue]:
        made = []
        for name, concurrency in (("one", 3), ("two", 9)):
            queue = Queue(name, concurrency=concurrency)

            @queue.handler(name=f"work {name}")
            async def work() -> None:
                inside[plugin] += 1
                most[plugin] = max(most[plugin], inside[plugin])
                await trio.sleep(1)
                inside[plugin] -= 1

            made.append(queue)
        return made

    async with world.engine() as engine:
        for plugin in "ab":
            space = engine.namespace(plugin, max_concurrency=5)
            for queue in queues(plugin):
                await space.create_queue(queue)
            await space.submit_many([(f"work {name}", (), {}) for name in ("one", "two") for _ in range(30)])
        await engine.drain()
    assert most == {"a": 5, "b": 5}


@simulated
async def test_a_plugins_do_not_see_each_other(world: World) -> None:
    """A, isolation: one database and one budget for each plugin; the same queue name in two of them means two queues.

    Same: namespaces of one engine: names, tasks, figures and operations are its own.
    """
    ran = []

    def mail(who: str) -> Queue:
        queue = Queue("mail")

        @queue.handler
        async def send() -> None:
            ran.append(who)

        return queue

    async with world.engine() as engine:
        one, other = engine.namespace("a"), engine.namespace("b")
        await one.create_queue(mail("a"))
        await other.create_queue(mail("b"))
        await other.pause("mail")
        mine, theirs = await one.submit("send"), await other.submit("send")
        await mine.wait()
        assert ran == ["a"]
        assert [task.id for task in await one.list()] == [mine.id]
        assert [task.queue for task in await one.list()] == ["mail"]
        assert (await one.count(), await other.count(), await engine.count()) == (1, 1, 2)
        assert set(await one.stats()) == {"mail"}
        for call in (one.get, one.cancel, one.history, one.explain, one.wait):
            with pytest.raises(TaskNotFound):
                await call(theirs.id)
        assert (await one.wait(mine.id)).state == "succeeded"
        assert await one.clear("mail") == 0
        assert await other.clear("mail") == 1
        with pytest.raises(QueueNotFound):
            await one.clear("elsewhere")


@simulated
async def test_a_the_clamps(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A, clamps: a retention below a minute or above a week is clamped to these, with a warning and no error.

    Same: in a namespace, for whatever limits its host sets; its payloads too.
    """
    brief = Queue("brief", retention=Retention(succeeded=1, failed=1))
    long = Queue("long", retention=Retention(succeeded=None), max_payload=8 << 20)

    async def work(data: bytes = b"") -> None: ...

    brief.handler(name="brief")(work)
    long.handler(name="long")(work)
    async with world.engine() as engine:
        plugin = engine.namespace("plugin-a", limits=Limits(retention=(60, 7 * 86_400), max_payload=1 << 20))
        with caplog.at_level(logging.WARNING, "journeyman"):
            await plugin.create_queue(brief)
            await plugin.create_queue(long)
        said = [record.getMessage() for record in caplog.records]
        assert any("brief" in one for one in said)
        assert any("long" in one for one in said)
        with pytest.raises(PayloadTooLarge):
            await plugin.submit("long", bytes(2 << 20))
        one, other = await plugin.submit("brief"), await plugin.submit("long")
        await one.wait()
        await other.wait()
        await world.advance(seconds=59)
        assert not await is_gone(plugin, one.id)
        await world.advance(seconds=2)
        assert await is_gone(plugin, one.id)
        await world.advance(days=6.9)
        assert not await is_gone(plugin, other.id)
        await world.advance(days=0.2)
        assert await is_gone(plugin, other.id)


async def test_a_the_budget_comes_back() -> None:
    """A, budget: what a queue has been given is gone until the restart, for queues cannot be deleted or made smaller.

    Mended: what is in force counts: a queue that is made smaller leaves room for another.
    """
    async with Engine(None) as engine:
        plugin = engine.namespace("plugin-a", max_concurrency=5)
        await plugin.create_queue(Queue("one", concurrency=5))
        with pytest.raises(BudgetExhausted):
            await plugin.create_queue(Queue("two"))
        await plugin.configure("one", concurrency=2)
        await plugin.create_queue(Queue("two", concurrency=3))
        with pytest.raises(BudgetExhausted, match="5/5"):
            await plugin.create_queue(Queue("three"))


@simulated
async def test_a_one_worker_unless_more_is_asked_for(world: World) -> None:
    """A, budget: a manifest that says nothing has a maxConcurrency of 1.

    Different: a namespace has the bounds its host gives it, none unless told; a queue has a concurrency of 1, as there.
    """
    queue, inside, most = Queue("q"), 0, 0

    @queue.handler
    async def work() -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await trio.sleep(1)
        inside -= 1

    async with world.engine() as engine:
        plugin = engine.namespace("plugin-a")
        await plugin.create_queue(queue)
        for n in range(9):
            await plugin.create_queue(Queue(f"other {n}", concurrency=50))
        await plugin.submit_many([work.bind() for _ in range(3)])
        await engine.drain()
    assert most == 1


@simulated
async def test_a_what_two_plugins_may_both_say(world: World) -> None:
    """A, isolation: whatever one plugin names, another may name as well.

    Same: also keys, unique keys and schedules; an id or a dependency of another's task is refused.
    """
    ran = []

    def queue_of(who: str) -> Queue:
        queue = Queue("q", concurrency=5)

        @queue.handler
        async def work() -> None:
            ran.append((who, world.time()))
            await trio.sleep(5)

        return queue

    async with world.engine() as engine:
        one, other = engine.namespace("a"), engine.namespace("b")
        await one.create_queue(queue_of("a"))
        await other.create_queue(queue_of("b"))
        mine = await one.submit(one.handler("work", "q").using(key="k", unique="u"))
        theirs = await other.submit(other.handler("work", "q").using(key="k", unique="u"))
        assert mine.id != theirs.id
        await world.advance(seconds=1)
        assert sorted(ran) == [("a", 0), ("b", 0)]
        with pytest.raises(DuplicateTask):
            await one.submit(one.handler("work", "q").using(id=theirs.id))
        with pytest.raises(TaskNotFound):
            await one.submit(one.handler("work", "q").using(after=[theirs.id]))
        for plugin in (one, other):
            await plugin.schedule("hourly", "work", every=3600)
        assert [schedule.name for schedule in await one.schedules()] == ["hourly"]
        assert [schedule.name for schedule in await engine.schedules()] == ["a/hourly", "b/hourly"]
        await one.unschedule("hourly")
        assert await one.schedules() == []
        await world.advance(hours=1, seconds=1)
        assert [who for who, at in ran if at > 3000] == ["b"]

"""Decision 36: one id is one task; paging; pruning by hand."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
import trio

from journeyman.engine import (
    DuplicateTask,
    Engine,
    Queue,
    Retention,
    TaskFailed,
    TaskNotFound,
)
from journeyman.journal.memory_store import MemoryStore

CATALOGUE = Queue("catalogue")


@CATALOGUE.handler
async def listed(n: int) -> int:
    return n


# decision 36
async def test_decision_36_the_same_id_means_the_same_handler_queue_and_payload() -> None:
    one, two, store = Queue("one"), Queue("two"), MemoryStore()

    @one.handler
    async def work(n: int) -> int:
        return n

    @one.handler
    async def other(n: int) -> int:
        return n

    @two.handler
    async def elsewhere(n: int) -> int:
        return n

    id, fresh = str(uuid4()), str(uuid4())
    async with Engine("x", [one, two], store=store) as engine:
        await (await engine.submit(work.using(id=id), 1)).wait(timeout=5)
        await engine.prune(older_than=9e6)  # a checkpoint: the ended task is on disk now
        assert (await engine.submit(work.using(id=id), 1)).id == id
        for target, n in ((work, 2), (other, 1), (elsewhere, 1), (engine.handler("work", queue="two"), 1)):
            with pytest.raises(DuplicateTask):
                await engine.submit(target.using(id=id), n)  # type: ignore[attr-defined]
        with pytest.raises(DuplicateTask):  # in one batch over two queues, of which neither has seen it
            await engine.submit_many([work.using(id=fresh).bind(1), elsewhere.using(id=fresh).bind(1)])
        assert await engine.count() == 1
        await engine.submit_many([work.using(id=fresh).bind(1), work.using(id=fresh).bind(1)])
        assert await engine.count() == 2


# decision 36
async def test_decision_36_submits_of_one_id_at_the_same_moment_make_one_task() -> None:
    one, two, store, errors = Queue("one"), Queue("two"), MemoryStore(), list[Exception]()

    @one.handler
    async def work(n: int) -> int:
        return n

    @two.handler
    async def elsewhere(n: int) -> int:
        return n

    old, new = str(uuid4()), str(uuid4())

    async def submit(target: Any, id: str) -> None:
        try:
            await engine.submit(target.using(id=id), 1)
        except DuplicateTask as error:
            errors.append(error)

    async with Engine("x", [one, two], store=store) as engine:
        await (await engine.submit(work.using(id=old), 1)).wait(timeout=5)
        await engine.prune(older_than=9e6)
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                for id in (old, new):
                    nursery.start_soon(submit, work, id)
                    nursery.start_soon(submit, elsewhere, id)
        await engine.drain(timeout=5)
        assert await engine.count() == 2
        assert await engine.count("two") in (0, 1)
    assert len(errors) == 6


# decision 36
async def test_decision_36_list_before_takes_a_task_an_id_or_a_seq() -> None:
    async with Engine(None, [CATALOGUE]) as engine:
        await engine.pause("catalogue")
        handles = await engine.submit_many([listed.bind(n) for n in range(10)])
        await engine.submit(listed.using(priority=20), 10)
        assert await engine.clear("catalogue") == 11
        page = await engine.list(limit=4)
        assert [task.payload for task in page] == [([n], {}) for n in (10, 9, 8, 7)]
        for before in (page[-1], page[-1].id, page[-1].seq):
            assert [task.payload for task in await engine.list(limit=4, before=before)] == [([n], {}) for n in (6, 5, 4, 3)]
        assert await engine.list(before=handles[0].id) == []
        with pytest.raises(TaskNotFound):
            await engine.list(before=str(uuid4()))
        assert await engine.retry_all("catalogue", state="cancelled") == 11


# decision 36
async def test_decision_36_prune_overrides_for_ever() -> None:
    queue = Queue("q", retention=Retention(succeeded=None, failed=None))

    @queue.handler
    async def work(n: int) -> None:
        if n < 0:
            raise ValueError("no")

    async with Engine(None, [queue]) as engine:
        handles = [await engine.submit(work, n) for n in (1, 2, -1)]
        for handle in handles:
            assert (await handle.wait(timeout=5)).expires_at is None
        assert await engine.prune(older_than=100) == 0
        assert await engine.prune(older_than=0) == 2, "failed ones only when they are named"
        assert await engine.prune(older_than=0, states=("failed",)) == 1
        assert await engine.count() == 0
        with pytest.raises(TaskNotFound):
            await engine.get(handles[0].id)
        with pytest.raises(TaskFailed):
            await (await engine.submit(work, -1)).result(timeout=5)

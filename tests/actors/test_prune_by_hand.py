"""A prune by hand takes what nobody sees any more too: expired tasks that housekeeping, once a minute, has not come to yet."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from journeyman.engine import Engine, Queue, Retention
from journeyman.engine.foresee import foresee
from journeyman.engine.orders import Order
from journeyman.journal import open_journal


@pytest.mark.parametrize("where", ["memory", "tables"])
async def test_expired_tasks_are_pruned_by_hand(tmp_path: Path, where: str) -> None:
    queue = Queue("q", concurrency=8, retention=Retention(succeeded=0.3))

    @queue.handler
    async def noop() -> None: ...

    async with Engine(tmp_path / "jobs", [queue]) as engine:
        handles = await engine.submit_many([noop.bind() for _ in range(20)])
        await engine.drain()
        if where == "tables":
            assert await engine.prune(older_than=3600) == 0  # which takes a checkpoint, and memory lets go of them
        await trio.sleep(0.4)
        assert await engine.count(queue="q") == 0
        assert await engine.prune(older_than=0, queue="q") == len(handles)
    with open_journal(tmp_path / "jobs") as view:
        assert (view.stats().tasks, view.stats().expired) == (0, 0)


async def test_a_dry_run_counts_them_as_well(tmp_path: Path) -> None:
    queue = Queue("q", retention=Retention(succeeded=0.05))

    @queue.handler
    async def noop() -> None: ...

    async with Engine(tmp_path / "jobs", [queue]) as engine:
        await engine.submit_many([noop.bind() for _ in range(7)])
        await engine.drain()
    await trio.sleep(0.1)
    with open_journal(tmp_path / "jobs") as view:
        assert foresee(view, Order("prune", queues=("q",), by="me", older_than=0)).count == 7

"""An id that a caller uses again when retention has dropped its task, but no prune has come by: the old task goes whole, the new stays."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from journeyman.engine import Context, DuplicateTask, Engine, Queue, Retention, Retry
from journeyman.journal.view import open_journal
from journeyman.kernel.events import TaskSubmitted
from tests.acceptance.virtual import HandClock

ID = str(uuid4())
ways = pytest.mark.parametrize("way", ["submit", "submit_many", "after a look in vain"])
places = pytest.mark.parametrize("settled", [True, False], ids=["on disk", "in memory"])


def lanes() -> list[Queue]:
    work_queue, parents = Queue("work", retention=Retention(succeeded=600)), Queue("parents", retry=Retry(attempts=1))

    @work_queue.handler
    async def work(n: int) -> int:
        return n

    @parents.handler
    async def parent(ctx: Context, n: int) -> None:
        with pytest.raises(DuplicateTask):
            ctx.submit(work.using(id=ID), n)

    return [work_queue, parents]


class Stepped(HandClock):
    """A wall clock that somebody has set forward, which the monotonic one does not know."""

    ahead = 0

    def wall(self) -> int:
        return self.us + self.ahead


async def again(engine: Engine, way: str, queues: list[Queue]) -> None:
    """The id's second life, when the first is over and nobody has pruned it."""
    work, parent = queues[0].handlers["work"], queues[1].handlers["parent"]
    if way == "after a look in vain":
        await (await engine.submit(parent, 2)).wait(timeout=5)  # refused, as Context.submit says, and the deletion begun
    if way == "submit_many":
        await engine.submit_many([work.using(id=ID).bind(2)])
    else:
        await engine.submit(work.using(id=ID), 2)


async def first_life(engine: Engine, queues: list[Queue], settled: bool) -> None:
    await (await engine.submit(queues[0].handlers["work"].using(id=ID), 1)).wait(timeout=5)
    if settled:
        await engine.prune(older_than=9e6)  # takes nothing, but a checkpoint: the row is on disk now, and memory has let go of it


def only_life(path: Path) -> int:
    """How many tasks of queue work left anything in the journal, which is sound."""
    with open_journal(path) as view:
        verdict = view.verify()
        assert verdict.sound, verdict.findings
        return sum(isinstance(event, TaskSubmitted) and event.queue == "work" for _, event in view.events())


@ways
@places
async def test_the_old_task_goes_whole_and_the_new_one_stays(way: str, settled: bool, tmp_path: Path) -> None:
    path, clock, queues = tmp_path / "jobs", Stepped(), lanes()
    async with Engine(path, queues, clock=clock) as engine:
        await first_life(engine, queues, settled)
        clock.forward(601)
        await again(engine, way, queues)
        assert await engine.wait(ID, timeout=5) is not None
        for _ in range(2):
            assert (await engine.get(ID)).result == 2
            assert [task.id for task in await engine.list("work")] == [ID]
            assert await engine.count("work") == 1
            await engine._opened().runtime.housekeeper.tidy(at_once=True)
    assert only_life(path) == 1
    async with Engine(path, queues, clock=clock) as engine:
        assert (await engine.get(ID)).result == 2
        clock.forward(601)
        await engine._opened().runtime.housekeeper.tidy(at_once=True)
    assert only_life(path) == 0


@places
async def test_while_the_clock_is_in_doubt_the_id_is_taken(settled: bool, tmp_path: Path) -> None:
    """After a large step forward nothing is pruned before a second look.  Until then the old task is there, and no other takes its row."""
    path, clock, queues = tmp_path / "jobs", Stepped(), lanes()
    async with Engine(path, queues, clock=clock) as engine:
        await first_life(engine, queues, settled)
        clock.ahead = 4_000_000_000
        await engine._opened().runtime.housekeeper.tidy(at_once=True)
        with pytest.raises(DuplicateTask):
            await engine.submit(queues[0].handlers["work"].using(id=ID), 2)
        with pytest.raises(DuplicateTask):
            await engine.submit_many([queues[0].handlers["work"].using(id=ID).bind(2)])
        assert await engine.count("work") == 0
        await engine._opened().runtime.housekeeper.tidy(at_once=True)
        await (await engine.submit(queues[0].handlers["work"].using(id=ID), 2)).wait(timeout=5)
        assert (await engine.get(ID)).result == 2
    assert only_life(path) == 1

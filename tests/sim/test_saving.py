"""`World.save`: what a world left on its disk, as a journal that tools and engines open."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from journeyman import Engine, Queue, Retention
from journeyman.journal import open_journal
from journeyman.journal.recovery import check_records
from journeyman.sim import Faults, World, simulate


def test_a_saved_world_is_a_journal_like_any_other(tmp_path: Path) -> None:
    queue = Queue("q", retention=Retention(succeeded=None))

    @queue.handler
    async def work(n: int) -> int:
        await trio.sleep(60)
        return n

    async def scenario(world: World) -> None:
        async with world.engine(queues=[queue]) as engine:
            await engine.submit_many([work.bind(n) for n in range(5)])
            await world.advance(seconds=150)
            world.save(tmp_path / "middle")
            with pytest.raises(FileExistsError):
                world.save(tmp_path / "middle")
            with pytest.raises(KeyError):
                world.save(tmp_path / "other", path="no such disk")

    trace = simulate(scenario, seed=3, faults=Faults(disk_latency=(0.001, 0.01)))
    recorded = [(entry.seq, entry.event) for entry in trace.events if entry.event is not None]
    with open_journal(tmp_path / "middle") as journal:
        found = list(journal.events())
        assert found == recorded[: len(found)]
        assert sum(type(event).__name__ == "TaskSucceeded" for _, event in found) == 2
        assert check_records(journal.store) == len(found)

    async def carry_on() -> list[int]:
        async with Engine(tmp_path / "middle", [Queue("other")]) as engine:
            return [await engine.count(state=state) for state in ("succeeded", "pending")]

    assert trio.run(carry_on) == [2, 3]

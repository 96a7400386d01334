"""The housekeeper leaves a quiet engine's disk alone, and still nothing that has expired stays for long."""

from __future__ import annotations

from typing import Any

import trio

from journeyman.actors.housekeeper import Pause
from journeyman.engine import Queue, Retention
from journeyman.journal.store import Table
from journeyman.kernel.bounds import PRUNE_TASKS
from journeyman.sim import Faults, World, simulate
from journeyman.sim.disk import Disk

MINUTE = 60


def queue(kept: float) -> tuple[Queue, Any]:
    lane = Queue("q", retention=Retention(succeeded=kept))

    @lane.handler
    async def noop() -> None: ...

    return lane, noop


def disk_of(world: World) -> Disk:
    return world._disks["journal"]


def commits_of(engine: Any) -> int:
    return int(engine._opened().shell.writer.commits)


def test_pauses_double_up_to_their_most() -> None:
    pause = Pause(10)
    assert [minute for minute in range(1, 40) if pause.over(at_once=False)] == [1, 3, 7, 15, 25, 35]
    assert pause.over(at_once=True)
    pause.cut_short()
    assert pause.over(at_once=False)


def test_an_engine_in_which_nothing_happens_writes_nothing() -> None:
    lane, noop = queue(kept=86_400)

    async def scenario(world: World) -> None:
        async with world.engine([lane]) as engine:
            await engine.submit(noop)
            await world.advance(minutes=5)
            before = commits_of(engine)
            await world.advance(hours=10)
            assert commits_of(engine) == before

    simulate(scenario)


def test_most_short_lives_never_get_a_row() -> None:
    lane, noop = queue(kept=5 * MINUTE)

    async def scenario(world: World) -> None:
        rows: set[bytes] = set()
        async with world.engine([lane]) as engine:
            await world.advance(minutes=2.5)  # the checkpoint of the first minute is over
            for _ in range(60):
                await engine.submit(noop)
                await world.advance(minutes=1)
                rows.update(disk_of(world).tables[Table.TASKS].rows)
            assert disk_of(world).count(Table.PAYLOADS) < 20, "what has expired is gone"
        assert len(rows) <= 25, "only those that a checkpoint happened to meet, at 3, 7, 15 and 31 minutes"

    simulate(scenario)


def test_what_lived_across_the_checkpoint_goes_within_ten_minutes_too() -> None:
    lane, noop = queue(kept=5 * MINUTE)

    async def scenario(world: World) -> None:
        async with world.engine([lane]) as engine:
            handle = await engine.submit(noop.using(delay=40 * MINUTE))
            await world.advance(minutes=2)
            assert engine._opened().shell.checkpoint.through_seq
            await handle.wait()
            await world.advance(minutes=16)
            assert disk_of(world).count(Table.PAYLOADS) == 0
            assert disk_of(world).count(Table.LIVE) == disk_of(world).count(Table.TASKS) == 0

    simulate(scenario)


def test_all_that_has_expired_goes_in_one_round() -> None:
    lane, noop = queue(kept=5 * MINUTE)
    tasks = 2 * PRUNE_TASKS + 50

    async def scenario(world: World) -> None:
        async with world.engine([lane]) as engine:
            await engine.submit_many([(noop, (), {})] * tasks)
            await world.advance(minutes=6.5)
            assert disk_of(world).count(Table.PAYLOADS) == tasks
            await world.advance(minutes=1)  # housekeeping has pruned at 1, 3 and 7 minutes
            assert disk_of(world).count(Table.PAYLOADS) == 0

    simulate(scenario)


def test_a_checkpoint_that_was_broken_off_is_finished_in_a_minute() -> None:
    lane, noop = queue(kept=10 * MINUTE)

    async def scenario(world: World) -> None:
        async with world.engine([lane]) as engine:
            await world.advance(hours=17)  # from here on the pause before a checkpoint is of hours
            await engine.submit_many([(noop, (), {})] * 150)
            await engine.drain()
            with trio.move_on_after(0.11):
                await engine.prune(older_than=3600)
            assert engine._opened().shell.checkpoint.running
            await world.advance(minutes=2)
            assert not engine._opened().shell.checkpoint.running
            await world.advance(minutes=20)
            assert disk_of(world).count(Table.PAYLOADS) == 0

    simulate(scenario, faults=Faults(disk_latency=(0.05, 0.05)))

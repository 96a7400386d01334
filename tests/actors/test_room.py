"""Admission before the disk is full, what the ballast is for, and what leaves the reserve alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio
import trio.testing

from journeyman.actors.room import LAST, RESERVE_MIN, Room
from journeyman.engine import Engine, Queue, Retention
from journeyman.engine.errors import JourneymanError
from journeyman.journal.errors import JournalFull
from journeyman.journal.opening import open_store
from journeyman.journal.prover import verify
from journeyman.journal.recovery import recover
from journeyman.journal.store import Table
from tests.actors.disks import MIB, Disk, Filling


def test_admission_stops_at_the_reserve_and_resumes_above_it() -> None:
    disk = Disk(8 * MIB)
    room = Room(disk)
    assert room.refuse(100) is None
    disk.free = RESERVE_MIN
    room.look()
    assert "bytes left" in (room.refuse(100) or "")
    assert disk.ballast, "the reserve is still there"
    disk.free = 8 * MIB
    assert room.refuse(100) is None


def test_within_a_commit_what_was_admitted_counts() -> None:
    disk = Disk(RESERVE_MIN + 800_000)
    room = Room(disk)
    room.look()
    looks = disk.looks
    for _ in range(200):
        room.refuse(10_000)
    assert disk.looks > looks, "100,000 bytes were spare; two million were asked for"


def test_the_ballast_goes_when_the_reserve_goes_and_is_not_for_new_tasks() -> None:
    disk = Disk(RESERVE_MIN // 4)
    room = Room(disk)
    room.look()
    assert not disk.ballast
    assert disk.free > RESERVE_MIN, "there is room"
    assert room.refuse(1) is not None, "but not for new tasks"
    disk.free = 12 * MIB
    assert room.refuse(1) is None


# decision 24
async def test_decision_24_somebody_else_fills_the_disk_and_outcomes_go_on() -> None:
    disk, queue = Disk(8 * MIB), Queue("q")

    @queue.handler
    async def work(n: int) -> int:
        return n

    async with Engine("x", [queue], store=disk) as engine:
        later = await engine.submit(work.using(delay=0.05), 1)
        disk.free = 300_000
        assert await later.result(timeout=5) == 1  # its commits are when the engine looks
        with pytest.raises(JournalFull) as refused:
            await engine.submit(work, 2)
        assert isinstance(refused.value, JourneymanError)
        assert not disk.ballast
        assert await engine.prune(older_than=0) == 1
        disk.free = 12 * MIB
        assert await (await engine.submit(work, 3)).result(timeout=5) == 3


async def test_a_checkpoint_takes_nothing_of_the_reserve() -> None:
    disk, queue = Filling(14 * MIB), Queue("q")

    @queue.handler
    async def work(n: int) -> None: ...

    async with Engine("x", [queue], store=disk) as engine:
        await engine.pause("q")
        await engine.submit_many([work.bind(n) for n in range(1_000)])
        snapshotter, checkpoint = engine._opened().runtime.snapshotter, engine._opened().shell.checkpoint
        disk.free = RESERVE_MIN
        assert not await snapshotter.take()
        assert not checkpoint.running, "none is begun"
        disk.free, disk.taken = RESERVE_MIN + MIB, MIB // 4
        assert not await snapshotter.take()
        assert disk.count(Table.LIVE) and not checkpoint.running and checkpoint.through_seq == 0, "one that has no more room is given up"
        assert disk.free > RESERVE_MIN - MIB // 2
        disk.free, disk.taken = 14 * MIB, 0
        assert await snapshotter.take()
        assert checkpoint.through_seq > 1_000 and disk.count(Table.LIVE) == 1_000


async def test_retention_may_use_the_reserve_for_the_checkpoint_that_it_needs() -> None:
    disk, queue = Disk(14 * MIB), Queue("q", concurrency=100, retention=Retention(succeeded=0.01))

    @queue.handler
    async def work(n: int) -> None: ...

    async with Engine("x", [queue], store=disk) as engine:
        await engine.pause("q")
        await engine.submit_many([work.bind(n) for n in range(100)])
        runtime = engine._opened().runtime
        assert await runtime.snapshotter.take()
        disk.free, disk.ballast = LAST + MIB // 2, 0
        await engine.resume("q")
        await engine.drain(timeout=5)
        await trio.sleep(0.02)
        assert not await runtime.snapshotter.take()
        await runtime.housekeeper.tidy(at_once=True)
        assert disk.count(Table.PAYLOADS) == 0, "they lived across a checkpoint, so it takes another to let go of them"


async def test_orders_leave_the_last_of_the_room_and_prune_is_always_possible() -> None:
    disk, queue = Filling(14 * MIB), Queue("q")

    @queue.handler
    async def work(n: int) -> None: ...

    async with Engine("x", [queue], store=disk) as engine:
        await engine.pause("q")
        await engine.submit_many([work.bind(n) for n in range(5_000)])
        disk.free, disk.ballast, disk.taken = LAST + MIB, 0, MIB // 4
        with pytest.raises(JournalFull, match="`prune`"):
            await engine.clear("q")
        cancelled = await engine.count("q", "cancelled")
        assert 1_000 <= cancelled < 5_000
        assert disk.free > 0
        disk.taken = 0
        with pytest.raises(JournalFull, match="`prune`"):
            await engine.cancel_all("q")
        assert await engine.prune(older_than=0) == cancelled
        disk.free = 14 * MIB
        assert await engine.clear("q") == 5_000 - cancelled


async def test_a_journal_that_has_filled_its_own_disk_opens_again_and_can_be_emptied(volume: Path) -> None:
    queue = Queue("q")

    @queue.handler
    async def work(n: int, text: str) -> int:
        return n

    submitted = 0
    async with Engine(volume / "jobs", [queue]) as engine:
        await engine.pause("q")
        with pytest.raises(JournalFull, match="kept for running tasks"):
            while True:
                await engine.submit_many([work.bind(n, "x" * 200) for n in range(100)])
                submitted += 100
    disk = os.statvfs(volume)
    assert disk.f_bavail * disk.f_frsize > RESERVE_MIN
    assert (volume / "jobs" / "owner.lock").read_text().startswith("closed")
    store = open_store(volume / "jobs", readonly=True)
    assert recover(store).checkpoint.through_seq == 0, "it is the checkpoint that had no room"
    store.close()
    left, rounds = submitted, 0
    while left:
        rounds += 1
        assert rounds < 10
        async with Engine(volume / "jobs", [queue]) as engine:
            try:
                left -= await engine.clear("q")
            except JournalFull:
                left = await engine.count("q", "pending")
            await engine.prune(older_than=0)
            assert await engine.count("q") == left
    assert rounds > 1, "the reserve is less than what the orders took"
    async with Engine(volume / "jobs", [queue]) as engine:
        await engine.resume("q")
    assert verify(volume / "jobs").sound

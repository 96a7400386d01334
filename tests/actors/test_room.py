"""Admission before the disk is full, what the ballast is for, and what leaves the reserve alone."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from journeyman.actors.room import LAST, RESERVE_MIN, Room
from journeyman.engine import Engine, Queue, Retention
from journeyman.engine.errors import JourneymanError
from journeyman.journal.errors import JournalFull
from journeyman.journal.memory_store import MemoryStore
from journeyman.journal.opening import open_store
from journeyman.journal.prover import verify
from journeyman.journal.recovery import recover
from journeyman.journal.store import Batch, Done, Gauge, Table

MIB = 1 << 20


class Disk(MemoryStore):
    """A disk of 16 MiB whose free space the test sets; 4 MiB of ballast."""

    def __init__(self, free: int) -> None:
        super().__init__()
        self.free, self.ballast, self.looks = free, 4 * MIB, 0

    def space(self) -> tuple[int, int]:
        self.looks += 1
        return self.free, 16 * MIB

    def gauge(self) -> Gauge:
        return super().gauge()._replace(disk_free=self.free, disk_size=16 * MIB)

    def give_way(self) -> int:
        given, self.ballast = self.ballast, 0
        self.free += given
        return given


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


class Filling(Disk):
    """One of which each commit takes as much as the test says."""

    taken = 0

    def begin_append(self, batch: Batch, done: Done) -> None:
        self.free -= self.taken
        super().begin_append(batch, done)


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


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """A disk of 40 MiB."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small disk")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", tmp_path], capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


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


# --- pages inside the file ---------------------------------------------------------------------------------------------------


class Emptied(Disk):
    """One whose journal has filled the disk, and has free pages inside."""

    def __init__(self, free: int, reusable: int, *, lag: int = 0) -> None:
        super().__init__(free)
        self.inside, self.lag = reusable, lag

    def gauge(self) -> Gauge:
        return super().gauge()._replace(map_used=12 * MIB, reusable=self.inside, reader_lag=self.lag)


def test_pages_that_prune_has_freed_are_room() -> None:
    disk = Emptied(RESERVE_MIN, 8 * MIB)
    room = Room(disk)
    assert room.refuse(100) is None and not room.holds_starts
    disk.inside = RESERVE_MIN
    room = Room(disk)
    assert room.refuse(100) is not None, "those are kept for outcomes and for prune"
    assert not room.holds_starts


@pytest.mark.parametrize("disk", [Emptied(RESERVE_MIN, 8 * MIB, lag=10_000), Emptied(LAST // 8, 4 * MIB)], ids=["a reader", "no disk"])
def test_pages_are_no_room_while_a_reader_holds_them_or_the_file_cannot_grow_at_all(disk: Emptied) -> None:
    disk.ballast = 0
    assert Room(disk).refuse(100) is not None


def test_a_large_payload_needs_pages_in_a_row() -> None:
    disk = Emptied(RESERVE_MIN, 8 * MIB)
    room = Room(disk)
    assert room.refuse(100_000) is None
    assert "`journeyman compact`" in (room.refuse(1_000_000) or "")
    assert room.refuse(1_000_000, lambda: 3_000) is None, "many small ones"
    disk.inside = 6 * MIB
    room.look()
    assert "one piece" in (room.refuse(5_000) or ""), "what is free is scattered"
    assert room.refuse(3_000) is None


# decision 24
@pytest.mark.parametrize("size", [200, 20_000], ids=["small payloads", "payloads of several pages"])
async def test_decision_24_a_disk_that_was_full_takes_tasks_again_after_a_prune(volume: Path, size: int) -> None:
    queue = Queue("q", max_payload=MIB)

    @queue.handler
    async def work(n: int, text: str) -> None: ...

    async with Engine(volume / "jobs", [queue]) as engine:
        await engine.pause("q")
        rounds: list[int] = []
        for _ in range(4):
            submitted = 0
            with pytest.raises(JournalFull):
                while True:
                    submitted += len(await engine.submit_many([work.bind(n, "x" * size) for n in range(20_000 // size)]))
            rounds.append(submitted)
            while await engine.count("q", "pending"):
                with contextlib.suppress(JournalFull):
                    await engine.clear("q")
                assert await engine.prune(older_than=0)
        assert min(rounds[1:]) > max(rounds) // 2, "each round has as much room, nearly"
    assert verify(volume / "jobs").sound


# --- nothing starts ----------------------------------------------------------------------------------------------------------


async def test_nothing_starts_on_a_full_disk_until_there_is_room() -> None:
    disk, queue = Disk(8 * MIB), Queue("q", concurrency=2)
    gates = [trio.Event() for _ in range(4)]
    begun: set[int] = set()

    @queue.handler
    async def work(n: int) -> int:
        begun.add(n)
        await gates[n].wait()
        return n

    async with Engine("x", [queue], store=disk) as engine:
        first, second, _, last = await engine.submit_many([work.bind(n) for n in range(4)])
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert begun == {0, 1}
        disk.free, disk.ballast = LAST // 2, 0
        assert (await engine.explain(last.id)).reasons[0].kind == "no free slot"
        gates[0].set()
        assert await first.result(timeout=5) == 0, "what runs finishes; with this commit the disk is looked at"
        gates[1].set()
        assert await second.result(timeout=5) == 1
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert begun == {0, 1, 2}, "nothing starts"
        assert [reason.kind for reason in (await engine.explain(last.id)).reasons] == ["disk full"]
        gates[2].set()
        gates[3].set()
        disk.free = 8 * MIB
        assert await last.result(timeout=5) == 3, "within a second"


async def test_nothing_starts_while_a_prune_makes_room() -> None:
    disk, queue = Disk(8 * MIB), Queue("q")
    ran: list[int] = []

    @queue.handler
    async def work(n: int) -> None:
        ran.append(n)

    async with Engine("x", [queue], store=disk) as engine:
        shell = engine._opened().shell
        await engine.pause("q")
        one = await engine.submit(work, 1)
        with shell.standstill.prune():
            disk.free = RESERVE_MIN
            shell.look_at_the_disk()
            await engine.resume("q")
            await trio.testing.wait_all_tasks_blocked(0.01)
            shell.actors["q"].wake()
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert shell.room.short and not shell.room.holds_starts
            assert ran == []
        await one.result(timeout=5)
        assert ran == [1]


async def test_what_has_expired_is_pruned_at_once_where_tasks_wait_for_room() -> None:
    disk, queue = Disk(8 * MIB), Queue("q", retention=Retention(succeeded=0.01))

    @queue.handler
    async def work(n: int) -> None: ...

    async with Engine("x", [queue], store=disk) as engine:
        await engine.submit_many([work.bind(n) for n in range(10)])
        await engine.drain(timeout=5)
        last = await engine.submit(work.using(delay=0.05), 11)
        disk.free, disk.ballast = LAST // 2, 0
        engine._opened().shell.look_at_the_disk()
        kept = disk.count(Table.PAYLOADS)
        with trio.move_on_after(0.5):
            await last.wait()
        assert kept - disk.count(Table.PAYLOADS) == 10, "no minute of housekeeping has come"
        disk.free = 8 * MIB
        await last.result(timeout=5)


async def test_one_at_a_time_while_pages_are_free_inside_the_file() -> None:
    disk, queue = Emptied(8 * MIB, 4 * MIB), Queue("q", concurrency=4)
    most = running = 0

    @queue.handler
    async def work(n: int) -> None:
        nonlocal most, running
        running += 1
        most = max(most, running)
        await trio.sleep(0.01)
        running -= 1

    async with Engine("x", [queue], store=disk) as engine:
        await engine.pause("q")
        await engine.submit_many([work.bind(n) for n in range(8)])
        disk.free, disk.ballast = LAST + MIB // 4, 0
        room = engine._opened().shell.room
        room.look()
        room._step = 2 * MIB  # as after large results
        room.look()
        assert room.holds_starts and room.trickles
        await engine.resume("q")
        await engine.drain(timeout=5)
        assert most == 1


async def test_who_waits_for_nothing_leaves_the_disk_alone() -> None:
    disk, queue = Disk(8 * MIB), Queue("q")

    @queue.handler
    async def work(n: int) -> None: ...

    async with Engine("x", [queue], store=disk) as engine:
        disk.free, disk.ballast = LAST // 2, 0
        task = await engine.submit(work.using(delay=0.01), 1)
        engine._opened().shell.look_at_the_disk()
        await trio.sleep(0.05)
        assert await engine.count("q", "pending") == 1
        await engine.cancel(task.id)
        await trio.sleep(1.1)
        looks = disk.looks
        await trio.sleep(1.2)
        assert disk.looks == looks


async def test_a_prune_for_whose_checkpoint_there_is_no_room_says_so_also_above_the_reserve() -> None:
    disk, queue = Disk(14 * MIB), Queue("q", concurrency=1_000)

    @queue.handler
    async def work(n: int) -> None: ...

    async with Engine("x", [queue], store=disk) as engine:
        await engine.pause("q")
        await engine.submit_many([work.bind(n) for n in range(6_000)])
        assert await engine._opened().runtime.snapshotter.take()
        await engine.resume("q")
        await engine.drain(timeout=30)
        disk.free = RESERVE_MIN + MIB // 2
        with pytest.raises(JournalFull, match="after a checkpoint only"):
            await engine.prune(older_than=0)
        assert not engine._opened().shell.room.short


async def test_a_prune_that_can_do_nothing_for_lack_of_room_says_so() -> None:
    disk, queue = Disk(14 * MIB), Queue("q", concurrency=100)

    @queue.handler
    async def work(n: int) -> None: ...

    async with Engine("x", [queue], store=disk) as engine:
        await engine.pause("q")
        await engine.submit_many([work.bind(n) for n in range(100)])
        assert await engine._opened().runtime.snapshotter.take()
        await engine.resume("q")
        await engine.drain(timeout=5)
        disk.free, disk.ballast = LAST + 1_000, 0
        with pytest.raises(JournalFull, match="after a checkpoint only"):
            await engine.prune(older_than=0)
        disk.free = 14 * MIB
        assert await engine.prune(older_than=0) == 100


# decision 24
@pytest.mark.parametrize("size", [200, 20_000], ids=["small results", "results of several pages"])
async def test_decision_24_a_backlog_that_has_filled_the_disk_can_be_run_down(volume: Path, size: int) -> None:
    """Each run writes as much again as its task, so without prunes the disk would not do for a tenth of them."""
    queue = Queue("q", concurrency=8)

    @queue.handler
    async def work(n: int, text: str) -> str:
        return text

    async with Engine(volume / "jobs", [queue]) as engine:
        await engine.pause("q")
        submitted = pruned = 0
        with pytest.raises(JournalFull):
            while True:
                submitted += len(await engine.submit_many([work.bind(n, "x" * size) for n in range(20_000 // size)]))
        await engine.resume("q")
        with trio.fail_after(120):
            while pruned < submitted:
                await trio.sleep(0.1)
                pruned += await engine.prune(older_than=0)
    assert verify(volume / "jobs").sound

"""A journal that has filled its disk: pages inside the file are room, and nothing starts without room for outcomes."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import trio
import trio.testing

from journeyman.actors.room import LAST, RESERVE_MIN, Room
from journeyman.engine import Engine, Queue, Retention
from journeyman.journal.errors import JournalFull
from journeyman.journal.prover import verify
from journeyman.journal.store import Table
from tests.actors.disks import MIB, Disk, Emptied

# --- pages inside the file ---------------------------------------------------------------------------------------------------


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

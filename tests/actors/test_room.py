"""Admission before the disk is full, and what the ballast is for."""

from __future__ import annotations

import pytest

from journeyman.actors.room import RESERVE_MIN, Room
from journeyman.engine import Engine, Queue
from journeyman.engine.errors import JourneymanError
from journeyman.journal.errors import JournalFull
from journeyman.journal.memory_store import MemoryStore

MIB = 1 << 20


class Disk(MemoryStore):
    """A disk of 16 MiB whose free space the test sets; 4 MiB of ballast."""

    def __init__(self, free: int) -> None:
        super().__init__()
        self.free, self.ballast, self.looks = free, 4 * MIB, 0

    def space(self) -> tuple[int, int]:
        self.looks += 1
        return self.free, 16 * MIB

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

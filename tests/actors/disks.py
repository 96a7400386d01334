"""Disks of memory whose room the test sets."""

from __future__ import annotations

from journeyman.journal.memory_store import MemoryStore
from journeyman.journal.store import Batch, Done, Gauge

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


class Filling(Disk):
    """One of which each commit takes as much as the test says."""

    taken = 0

    def begin_append(self, batch: Batch, done: Done) -> None:
        self.free -= self.taken
        super().begin_append(batch, done)


class Emptied(Disk):
    """One whose journal has filled the disk, and has free pages inside."""

    def __init__(self, free: int, reusable: int, *, lag: int = 0) -> None:
        super().__init__(free)
        self.inside, self.lag = reusable, lag

    def gauge(self) -> Gauge:
        return super().gauge()._replace(map_used=12 * MIB, reusable=self.inside, reader_lag=self.lag)

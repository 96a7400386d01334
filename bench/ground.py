"""Where a benchmark runs: a real file system, or not at all.

Problem. A durable queue measured on a RAM disk, or on a disk that ignores flushes, gives figures that mean nothing. Choice: name
the file system, refuse the ones that never reach a disk unless told otherwise, time a bare flush, and print all of it beside the
results, so that a reader can tell a fast engine from a forgetful disk. Every baseline gets a fresh directory on the same ground.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

NEVER_ON_DISK = frozenset({"tmpfs", "ramfs", "devtmpfs", "hugetlbfs"})
RESTLESS = 3.0  # times slower at its slowest than at its fastest
FLUSHES = 200  # single-block flushes timed for the report


class UnfitGround(Exception):
    """The benchmark directory is on a file system where durability means nothing."""


@dataclass(frozen=True, slots=True)
class Ground:
    """A directory to measure in.  `flushes_us`: median microseconds of a 4 KiB overwrite and fdatasync there, timed before each round."""

    root: Path
    filesystem: str
    device: str
    flushes_us: list[float]

    @property
    def flush_us(self) -> float:
        return statistics.median(self.flushes_us)

    def restless(self) -> bool:
        """Whether the disk's own speed varied so much that figures of different minutes cannot be compared."""
        return max(self.flushes_us) > RESTLESS * min(self.flushes_us)

    def fresh(self, name: str) -> Path:
        """A new empty directory, for one measurement."""
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.root))

    def discard(self, directory: Path) -> None:
        shutil.rmtree(directory, ignore_errors=True)

    def durability(self) -> str:
        return (
            f"{self.filesystem} on {self.device}, a 4 KiB overwrite with fdatasync takes {self.flush_us:.0f} us "
            f"({min(self.flushes_us):.0f} to {max(self.flushes_us):.0f} in the course of the run); "
            "every figure flushes at every commit (LMDB sync, SQLite WAL synchronous=FULL)"
        )


def mount_of(path: Path) -> tuple[str, str]:
    """The (file system type, device) that holds `path`, from the kernel's mount table."""
    wanted = os.path.realpath(path)
    best = ("", "unknown", "unknown")
    try:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return best[1], best[2]
    for line in lines:
        before, _, after = line.partition(" - ")
        point = before.split()[4].encode().decode("unicode_escape")
        kind, device = after.split()[:2]
        inside = wanted == point or wanted.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best[0]):
            best = (point, kind, device)
    return best[1], best[2]


def flush_cost(root: Path) -> float:
    """Median microseconds of overwriting one block in place and flushing it."""
    block = b"\xa5" * 4096
    spent: list[float] = []
    with tempfile.TemporaryFile(dir=root) as file:
        descriptor = file.fileno()
        os.pwrite(descriptor, block, 0)
        os.fsync(descriptor)
        for _ in range(FLUSHES):
            begun = time.perf_counter()
            os.pwrite(descriptor, block, 0)
            os.fdatasync(descriptor)
            spent.append(time.perf_counter() - begun)
    return statistics.median(spent) * 1e6


def survey(root: Path, *, allow_tmpfs: bool = False) -> Ground:
    """Look at `root` (created if missing).  Raises UnfitGround on a memory file system unless `allow_tmpfs`."""
    root.mkdir(parents=True, exist_ok=True)
    kind, device = mount_of(root)
    if kind in NEVER_ON_DISK and not allow_tmpfs:
        raise UnfitGround(f"{root} is on {kind}, which never reaches a disk: choose another --dir, or pass --allow-tmpfs to try things out")
    return Ground(root, kind, device, [flush_cost(root)])

"""A disk that fills up under a working engine, and is freed again.  Started by inject.py on a small volume.

    python -m crash.fullness VOLUME TRACE LEFT

1. Work normally.  2. Somebody else fills the disk but for LEFT bytes.  3. Submits are refused with JournalFull, before the disk is really
full, and the engine lives: what was submitted runs to its end (outcomes use the reserve), ended tasks can be pruned.  4. The filler goes:
submits work again, in the same engine.  5. The checker passes.

With nothing left at all, a commit may fail before anybody looked: then the engine must stop with JournalFull, and the next open, after
the filler is gone, must show everything that was acknowledged.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import trio

from crash.check import check
from crash.lanes import Lanes, Trace, build
from journeyman.engine import Engine
from journeyman.journal.errors import JournalFull

NOTICE = 0.05  # seconds between somebody else's filling the disk and the next submit: the engine looks at every commit


class Violation(Exception):
    pass


def fill(volume: Path, left: int) -> None:
    with open(volume / "filler", "ab", buffering=0) as file:
        while True:
            disk = os.statvfs(volume)
            more = disk.f_bavail * disk.f_frsize - left
            if more < 4096:
                return
            try:
                file.write(b"\0" * min(more, 1 << 16))
            except OSError:
                return


class Story:
    def __init__(self, volume: Path, left: int, lanes: Lanes, acked: list[str]) -> None:
        self.volume, self.left, self.lanes, self.acked = volume, left, lanes, acked
        self.engine: Engine

    async def submit(self, blob: bytes, *, delay: float = 0.0) -> None:
        digest: Any = self.lanes.handlers["digest"]
        handle = await self.engine.submit(digest.using(delay=delay) if delay else digest, blob)
        self.acked.append(f"A {handle.id} files digest {len(blob)}\n")

    async def tell(self) -> str:
        for n in range(1, 200):
            await self.submit(os.urandom(n))
        await self.engine.drain(timeout=30)
        remind: Any = self.lanes.handlers["remind"]
        waiting = [await self.engine.submit(remind.using(delay=NOTICE + 1.5), n) for n in range(1, 101)]
        self.acked += [f"A {h.id} later remind {n}\n" for n, h in enumerate(waiting, 1)]
        fill(self.volume, self.left)
        await trio.sleep(NOTICE)
        accepted = await self._until_refused()
        for handle in waiting:  # outcomes of what was taken before still reach the disk
            await handle.wait(timeout=30)
        await self.engine.drain(timeout=30)
        await self.engine.prune(older_than=0.0, queue="brief")
        (self.volume / "filler").unlink()
        with trio.move_on_after(90) as patience:
            while not await self._taken(b"again"):  # noqa: ASYNC110 - nothing tells of room on a disk
                await trio.sleep(0.2)
        if patience.cancelled_caught:
            raise Violation("submits are still refused 90 s after the disk was freed")
        note: Any = self.lanes.handlers["note"]
        await (await self.engine.submit(note, 1)).wait(timeout=30)
        return f"{accepted} taken, then refused, then resumed"

    async def _taken(self, blob: bytes) -> bool:
        try:
            await self.submit(blob, delay=0.5)
        except JournalFull:
            return False
        return True

    async def _until_refused(self) -> int:
        accepted = 0
        while await self._taken(os.urandom(4000)):
            accepted += 1
            if accepted > 10_000:
                raise Violation(f"{accepted} submits of 4 kB were taken on a full disk and none was refused")
        return accepted


async def scenario(volume: Path, trace_path: str, left: int, acked: list[str]) -> str:
    lanes = build(Trace(trace_path), pace=0.0)
    story = Story(volume, left, lanes, acked)
    try:
        async with Engine(volume / "journal", queues=lanes.queues) as story.engine:
            return await story.tell()
    except JournalFull as error:
        if left:
            raise Violation(f"the engine stopped although {left:,} bytes were left: {error}") from error
    (volume / "filler").unlink(missing_ok=True)
    return "stopped with JournalFull, opened again when there was room"


def main() -> int:
    volume, trace, left = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    acked: list[str] = []
    try:
        said = trio.run(scenario, volume, str(trace), left, acked)
    except Violation as violation:
        print(violation)
        return 1
    problem = check(str(volume / "journal"), "".join(acked).encode(), trace)
    print(problem or said)
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())

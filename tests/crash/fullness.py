"""A disk that fills up under a working engine, and is freed again.  Started by inject.py on a small volume.

    python -m crash.fullness VOLUME TRACE

1. Work normally.  2. Somebody else fills the disk.  3. Submits are refused with JournalFull, before the disk is really full, and the engine
lives: what was submitted runs to its end (outcomes use the reserve), ended tasks can be pruned.  4. The filler goes: submits work
again, in the same engine.  5. The checker passes.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import trio

from crash.check import check
from crash.lanes import Trace, build
from journeyman.engine import Engine
from journeyman.journal.errors import JournalFull

KEEP_FREE = 1 << 19  # bytes the filler leaves


class Violation(Exception):
    pass


def fill(volume: Path) -> None:
    with open(volume / "filler", "ab") as file:
        while True:
            disk = os.statvfs(volume)
            left = disk.f_bavail * disk.f_frsize - KEEP_FREE
            if left < 4096:
                return
            file.write(b"\0" * min(left, 1 << 16))
            file.flush()


async def scenario(volume: Path, trace_path: str, acked: list[str]) -> str:
    lanes = build(Trace(trace_path), pace=0.0)
    note, digest = lanes.handlers["note"], lanes.handlers["digest"]
    refused = accepted = 0

    async def submit(blob: bytes, *, delay: float = 0.0) -> None:
        fn = digest.using(delay=delay) if delay else digest  # type: ignore[attr-defined]
        handle = await engine.submit(fn, blob)
        acked.append(f"A {handle.id} files digest {len(blob)}\n")

    async with Engine(volume / "journal", queues=lanes.queues) as engine:
        for n in range(1, 200):
            await submit(os.urandom(n))
        await engine.drain(timeout=30)
        waiting = [await engine.submit(lanes.handlers["remind"].using(delay=1.0), n) for n in range(1, 101)]  # type: ignore[attr-defined]
        acked += [f"A {h.id} later remind {n}\n" for n, h in enumerate(waiting, 1)]
        fill(volume)
        for _ in range(400):
            try:
                await submit(os.urandom(4000), delay=0.5)
                accepted += 1
            except JournalFull:
                refused += 1
            if refused >= 20:
                break
        if not refused:
            raise Violation(f"{accepted} submits of 4 kB were taken on a full disk and none was refused")
        for handle in waiting:  # outcomes of what was taken before still reach the disk
            await handle.wait(timeout=30)
        await engine.drain(timeout=30)
        await engine.prune(older_than=0.0, queue="brief")
        (volume / "filler").unlink()
        with trio.move_on_after(90) as patience:
            while True:
                try:
                    await submit(b"again")
                    break
                except JournalFull:
                    await trio.sleep(0.2)
        if patience.cancelled_caught:
            raise Violation("submits are still refused 90 s after the disk was freed")
        await (await engine.submit(note, 1)).wait(timeout=30)  # type: ignore[arg-type]
    return f"{accepted} taken, {refused} refused, then resumed"


def main() -> int:
    volume, trace = Path(sys.argv[1]), Path(sys.argv[2])
    acked: list[str] = []
    try:
        said = trio.run(scenario, volume, str(trace), acked)
    except Violation as violation:
        print(violation)
        return 1
    problem = check(str(volume / "journal"), "".join(acked).encode(), trace)
    print(problem or said)
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())

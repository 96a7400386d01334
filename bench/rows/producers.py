"""64 tasks of one program submit at once, each awaiting its own acknowledgement: group commit at work."""

from __future__ import annotations

import time
from pathlib import Path

import raw_sqlite
import trio
from load import in_engine, noop_queue
from row import Figures, Round, Row, Target

from journeyman.engine import Engine

PRODUCERS = 64


def submits_per_second(directory: Path, tasks: int) -> float:
    queue, noop = noop_queue(concurrency=1)
    each = tasks // PRODUCERS

    async def together(engine: Engine) -> float:
        async def produce() -> None:
            for number in range(each):
                await engine.submit(noop, number)

        begun = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for _ in range(PRODUCERS):
                nursery.start_soon(produce)
        return each * PRODUCERS / (time.perf_counter() - begun)

    return in_engine(directory, queue, together, paused=True)


def measure(turn: Round) -> Figures:
    return turn.in_turn(
        {
            "sqlite3": lambda directory: raw_sqlite.inserts_per_second(directory, turn.size(4000, 1000)),
            "ours": lambda directory: submits_per_second(directory, turn.size(64_000, 12_800)),
        }
    )


ROW = Row(
    name="producers",
    title="64 concurrent producers",
    measure=measure,
    targets=(
        Target("of sqlite3, one by one", of="ours", per="sqlite3", unit="x", least=8, aim=15),
        Target("submits", of="ours", unit="/s"),
        Target("sqlite3 inserts", of="sqlite3", unit="/s"),
    ),
)

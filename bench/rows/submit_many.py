"""submit_many of 1,000 tasks: all of them or none, one commit, encoding and checking of every call included."""

from __future__ import annotations

import time
from pathlib import Path

from load import BATCH, in_engine, noop_queue, store
from row import Figures, Round, Row, Target

from journeyman.engine import Engine


def submits_per_second(directory: Path, tasks: int) -> float:
    queue, noop = noop_queue(concurrency=1)

    async def in_batches(engine: Engine) -> float:
        begun = time.perf_counter()
        await store(engine, noop, tasks)
        return tasks / (time.perf_counter() - begun)

    return in_engine(directory, queue, in_batches, paused=True)


def measure(turn: Round) -> Figures:
    return turn.in_turn({"ours": lambda directory: submits_per_second(directory, turn.size(100 * BATCH, 20 * BATCH))})


ROW = Row(
    name="submit-many",
    title="submit_many of 1,000",
    measure=measure,
    targets=(Target("tasks", of="ours", unit="/s", least=100_000, aim=250_000),),
)

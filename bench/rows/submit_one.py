"""One caller submits one task after another and awaits each: what a single durable acknowledgement costs.

The judged figure stores only (the queue is paused): one event a commit, as the raw baseline. The figure beside it has the queue
running, where the same commit also starts the task and the next one ends it.
"""

from __future__ import annotations

import time
from pathlib import Path

import raw_lmdb
from load import in_engine, noop_queue
from row import Figures, Round, Row, Target

from journeyman.engine import Engine


def submits_per_second(directory: Path, tasks: int, *, paused: bool) -> float:
    queue, noop = noop_queue(concurrency=1)

    async def one_by_one(engine: Engine) -> float:
        begun = time.perf_counter()
        for number in range(tasks):
            await engine.submit(noop, number)
        return tasks / (time.perf_counter() - begun)

    return in_engine(directory, queue, one_by_one, paused=paused)


def measure(turn: Round) -> Figures:
    tasks = turn.size(2000, 1000)
    return turn.in_turn(
        {
            "raw lmdb": lambda directory: raw_lmdb.commits_per_second(directory, tasks),
            "ours": lambda directory: submits_per_second(directory, tasks, paused=True),
            "ours running": lambda directory: submits_per_second(directory, tasks, paused=False),
        }
    )


ROW = Row(
    name="submit-one",
    title="submit one after another, awaiting each",
    measure=measure,
    rounds=9,
    targets=(
        Target("of raw py-lmdb, one event a commit", of="ours", per="raw lmdb", unit="x", least=0.55, aim=0.8),
        Target("submits", of="ours", unit="/s"),
        Target("submits while the queue also runs them", of="ours running", unit="/s"),
        Target("raw py-lmdb commits", of="raw lmdb", unit="/s"),
    ),
)

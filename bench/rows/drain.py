"""Drain 20,000 stored no-op tasks at concurrency 64: submitted, started and ended, an event each, all flushed.

The tasks are stored by one engine and drained by another, which has just opened their journal. Timed from `resume` to the end of
`drain`.
"""

from __future__ import annotations

import time
from pathlib import Path

import huey_worker
import raw_sqlite
from load import in_engine, noop_queue, store
from row import Figures, Round, Row, Target

from journeyman.engine import Engine

_chosen: list[huey_worker.Configuration] = []


def drained_per_second(directory: Path, tasks: int, concurrency: int) -> float:
    queue, noop = noop_queue(concurrency)

    async def fill(engine: Engine) -> float:
        await store(engine, noop, tasks)
        return 0.0

    async def empty(engine: Engine) -> float:
        begun = time.perf_counter()
        await engine.resume("bench")
        await engine.drain()
        spent = time.perf_counter() - begun
        left = tasks - await engine.count(queue="bench", state="succeeded")
        if left:
            raise AssertionError(f"{left} of {tasks} tasks have not succeeded")
        return tasks / spent

    in_engine(directory, queue, fill, paused=True)
    return in_engine(directory, queue, empty)  # a pause survives the restart


def configuration(turn: Round) -> huey_worker.Configuration:
    if not _chosen:
        turn.announce("trying huey's workers")
        fresh = [turn.ground.fresh("huey-trial") for _ in huey_worker.WORKERS]
        _chosen.append(huey_worker.fastest(fresh))
        for directory in fresh:
            turn.ground.discard(directory)
    return _chosen[0]


def measure(turn: Round) -> Figures:
    tasks = turn.size(20_000, 5_000)
    fewer = turn.size(3_000, 1_000)  # the baselines drain at a steady rate from the first task on
    workers = configuration(turn)
    figures = turn.in_turn(
        {
            "huey": lambda directory: huey_worker.drained_per_second(directory, fewer, workers),
            "sqlite3": lambda directory: raw_sqlite.drained_per_second(directory, fewer),
            "ours": lambda directory: drained_per_second(directory, tasks, concurrency=64),
        }
    )
    return {**figures, "huey workers": workers.workers}


ROW = Row(
    name="drain",
    title="drain 20,000 stored tasks, concurrency 64",
    measure=measure,
    targets=(
        Target("of huey with fsync", of="ours", per="huey", unit="x", least=5),
        Target("tasks", of="ours", unit="/s", least=15_000, aim=30_000),
        Target("of a hand-written sqlite3 worker", of="ours", per="sqlite3", unit="x"),
        Target("huey", of="huey", unit="/s"),
        Target("sqlite3 worker", of="sqlite3", unit="/s"),
        Target("threads huey was fastest with", of="huey workers", unit=""),
    ),
)

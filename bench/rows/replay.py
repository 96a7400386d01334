"""Replay: the fold of a journal's events from the first one on, as recovery and `verify` do it.

Every record is read from LMDB, its crc and the chain of the commits are checked, it is decoded and applied.  A third of the events are
TaskSubmitted, a third AttemptStarted, a third TaskSucceeded: the life of a task that goes well.
"""

from __future__ import annotations

import time
from pathlib import Path

from load import in_engine, noop_queue, store
from row import Figures, Round, Row, Target

from journeyman.engine import Engine
from journeyman.journal.opening import open_store
from journeyman.journal.recovery import fold_everything, recover


def live(directory: Path, tasks: int) -> float:
    """Fill the journal by running the tasks."""
    queue, noop = noop_queue(concurrency=512)

    async def run(engine: Engine) -> float:
        await store(engine, noop, tasks)
        await engine.drain()
        return 0.0

    return in_engine(directory, queue, run)


def events_per_second(directory: Path, tasks: int) -> float:
    live(directory, tasks)
    opened = open_store(str(directory / "journal"))
    try:
        journal = recover(opened).journal
        begun = time.perf_counter()
        state = fold_everything(journal)
        spent = time.perf_counter() - begun
        held = sum(len(queue.tasks) for queue in state.queues.values())
        if held != tasks:
            raise AssertionError(f"{held} of {tasks} tasks were replayed")
        return journal.sealed / spent
    finally:
        opened.close()


def measure(turn: Round) -> Figures:
    return turn.in_turn({"ours": lambda directory: events_per_second(directory, turn.size(50_000, 10_000))})


ROW = Row(
    name="replay",
    title="replay",
    measure=measure,
    targets=(Target("events", of="ours", unit="/s", least=150_000, aim=400_000),),
)

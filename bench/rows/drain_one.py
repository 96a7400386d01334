"""Drain at concurrency 1: nothing to share a commit with but the end of one task and the start of the next."""

from __future__ import annotations

import raw_lmdb
from row import Figures, Round, Row, Target

from rows.drain import drained_per_second


def measure(turn: Round) -> Figures:
    tasks = turn.size(2000, 1000)
    return turn.in_turn(
        {
            "raw lmdb": lambda directory: raw_lmdb.commits_per_second(directory, tasks),
            "ours": lambda directory: drained_per_second(directory, tasks, concurrency=1),
        }
    )


ROW = Row(
    name="drain-one",
    title="drain at concurrency 1",
    measure=measure,
    rounds=9,
    targets=(
        Target("of raw py-lmdb, one event a commit", of="ours", per="raw lmdb", unit="x", least=0.5, aim=0.8),
        Target("tasks", of="ours", unit="/s"),
    ),
)

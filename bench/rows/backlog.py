"""The drain rate with 200,000 tasks waiting against that with 2,000: whether a long queue slows its own head down.

Rates are taken between handler entries, away from the first and last moments. Few: 4,000 stored, timed while the waiting go from
3,000 to 1,000 (2,000 on average), several times over. Many: 201,000 stored, timed over the 20,000 entries after the first 1,000.
"""

from __future__ import annotations

import functools
import statistics
from pathlib import Path

from load import Marks, in_engine, marking_queue, store
from row import Figures, Round, Row, Target

from journeyman.engine import Engine

STEP = 1000  # handler entries between two marks


def entries_per_second(directory: Path, stored: int, steps: int) -> float:
    """The rate of handler entries over `steps` marks, counted from the first mark."""
    marks = Marks(every=STEP, wanted=steps + 1)
    queue, noop = marking_queue(64, marks)

    async def run(engine: Engine) -> float:
        await store(engine, noop, stored)
        await engine.resume("bench")
        await marks.made.wait()
        return steps * STEP / (marks.at[-1] - marks.at[0])

    return in_engine(directory, queue, run, paused=True)


def several(directory: Path, times: int) -> float:
    return statistics.median(entries_per_second(directory / str(n), stored=4 * STEP, steps=2) for n in range(times))


def measure(turn: Round) -> Figures:
    return turn.in_turn(
        {
            "few waiting": functools.partial(several, times=turn.size(7, 3)),
            "many waiting": functools.partial(entries_per_second, stored=turn.size(201_000, 51_000), steps=turn.size(20, 10)),
        }
    )


ROW = Row(
    name="backlog",
    title="drain rate with 200,000 waiting against 2,000",
    measure=measure,
    rounds=3,
    targets=(
        Target("of the rate with 2,000 waiting", of="many waiting", per="few waiting", unit="x", least=0.8, aim=1.0),
        Target("tasks, 200,000 waiting", of="many waiting", unit="/s"),
        Target("tasks, 2,000 waiting", of="few waiting", unit="/s"),
    ),
)

"""From submit to the handler's first line, at a steady 200 tasks a second.

The arrivals are an open loop: they do not wait for one another, so a stall delays all that arrive in it. The judged time counts
from the call of `submit`; the time from the *planned* instant is reported too, because it contains what a stalled event loop
would hide (and, unavoidably, the up to 1 ms by which the event loop's timer oversleeps).
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import trio
from row import Figures, Round, Row, Target

from journeyman.engine import Engine, Queue

RATE = 200


def latencies(directory: Path, tasks: int) -> tuple[list[float], list[float]]:
    """Milliseconds (from the call, from the planned instant) of each task."""
    queue = Queue("bench", concurrency=64)
    entered = [0.0] * tasks
    called = [0.0] * tasks
    planned = [0.0] * tasks

    @queue.handler
    async def stamp(number: int) -> None:
        entered[number] = time.perf_counter()

    async def main() -> None:
        async with Engine(directory / "journal", queues=[queue]) as engine, trio.open_nursery() as nursery:

            async def submit(number: int) -> None:
                called[number] = time.perf_counter()
                handle = await engine.submit(stamp, number)
                await handle.wait()

            begun = time.perf_counter()
            for number in range(tasks):
                planned[number] = begun + number / RATE
                await trio.sleep(max(0.0, planned[number] - time.perf_counter()))
                nursery.start_soon(submit, number)

    trio.run(main)
    warm = range(RATE // 4, tasks)  # the first quarter of a second touches every code path for the first time
    return [(entered[n] - called[n]) * 1e3 for n in warm], [(entered[n] - planned[n]) * 1e3 for n in warm]


def measure(turn: Round) -> Figures:
    samples: list[tuple[list[float], list[float]]] = []

    def job(directory: Path) -> float:
        samples.append(latencies(directory, turn.size(10 * RATE, 3 * RATE)))
        return 0.0

    turn.run("ours", job)
    from_call, from_plan = samples[0]
    call_cuts, plan_cuts = statistics.quantiles(from_call, n=100), statistics.quantiles(from_plan, n=100)
    return {"p50": call_cuts[49], "p99": call_cuts[98], "max": max(from_call), "planned p50": plan_cuts[49], "planned p99": plan_cuts[98]}


ROW = Row(
    name="latency",
    title="submit to handler start at 200 tasks/s",
    measure=measure,
    rounds=3,
    targets=(
        Target("p99", of="p99", unit="ms", least=5.0, lower=True),
        Target("p50", of="p50", unit="ms", aim=0.6, lower=True),
        Target("worst", of="max", unit="ms", lower=True),
        Target("p50 from the planned instant", of="planned p50", unit="ms", lower=True),
        Target("p99 from the planned instant", of="planned p99", unit="ms", lower=True),
    ),
)

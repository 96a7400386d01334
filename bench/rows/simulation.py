"""Simulation: how quickly worlds live, with every check of the simulator on.

Three figures on one core: crash-and-recover cycles of a small scenario, no-op tasks in bulk, and a week of a queue that gets one task a
minute (with everything an engine does in a week: ten thousand rounds of housekeeping, checkpoints and prunes).  Worlds share nothing, so
`journeyman sim run --jobs` uses every core: the tasks once more, a world on each, say what a machine does.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import trio
from row import Figures, Round, Row, Target

from journeyman.engine import Queue
from journeyman.sim import World, simulate

CYCLES = 5  # in one world


def _queue() -> tuple[Queue, object]:
    queue = Queue("bench", concurrency=64)

    @queue.handler
    async def noop(n: int) -> int:
        return n

    return queue, noop


def cycles_per_second(_: Path, worlds: int) -> float:
    queue, noop = _queue()

    async def scenario(world: World) -> None:
        async with world.engine([queue]) as engine:
            for number in range(CYCLES):
                handle = await engine.submit(noop, number)  # type: ignore[arg-type]
                await world.crash()
                await engine.ready()
                await handle.wait()

    begun = time.perf_counter()
    for seed in range(worlds):
        simulate(scenario, seed=seed)
    return worlds * CYCLES / (time.perf_counter() - begun)


def tasks_per_second(_: Path, tasks: int) -> float:
    queue, noop = _queue()

    async def scenario(world: World) -> None:
        async with world.engine([queue]) as engine:
            await engine.submit_many([(noop, (n,), {}) for n in range(tasks)])  # type: ignore[misc]
            await engine.drain()

    begun = time.perf_counter()
    simulate(scenario)
    return tasks / (time.perf_counter() - begun)


def tasks_on_every_core(directory: Path, tasks: int) -> float:
    cores = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(cores, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(tasks_per_second, [directory] * cores, [100] * cores))  # everything is imported
        begun = time.perf_counter()
        list(pool.map(tasks_per_second, [directory] * cores, [tasks] * cores))
        return cores * tasks / (time.perf_counter() - begun)


def seconds_for_a_week(_: Path, minutes: int) -> float:
    queue, noop = _queue()

    async def scenario(world: World) -> None:
        async with world.engine([queue]) as engine:
            for number in range(minutes):
                await engine.submit(noop, number)  # type: ignore[arg-type]
                await trio.sleep(60)

    begun = time.perf_counter()
    simulate(scenario)
    return (time.perf_counter() - begun) * 10_080 / minutes


def measure(turn: Round) -> Figures:
    return turn.in_turn(
        {
            "cycles": lambda directory: cycles_per_second(directory, turn.size(60, 10)),
            "tasks": lambda directory: tasks_per_second(directory, turn.size(10_000, 2_000)),
            "tasks, every core": lambda directory: tasks_on_every_core(directory, turn.size(10_000, 2_000)),
            "week": lambda directory: seconds_for_a_week(directory, turn.size(10_080, 1_440)),
        }
    )


ROW = Row(
    name="simulation",
    title="simulation, virtual time",
    measure=measure,
    rounds=3,
    targets=(
        Target("crash and recover", of="cycles", unit="/s", least=300),
        Target("no-op tasks", of="tasks", unit="/s", least=20_000),
        Target("no-op tasks, a world on each core", of="tasks, every core", unit="/s"),
        Target("a week at a task a minute", of="week", unit="s", least=2, lower=True),
    ),
)

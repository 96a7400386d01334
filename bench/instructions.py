"""Instructions a task costs, counted by Valgrind: a figure that a busy machine cannot change.

    python bench/instructions.py [--only NAME] [--json]        # in two checkouts, to compare two commits

Problem.  On a shared machine the same code differs by a third from minute to minute, so a loss of 3 % cannot be timed.  Choice: count.
Each piece of work runs at two sizes below `valgrind --tool=cachegrind`, and what the larger one costs more is divided by the tasks it has
more, so that the start of the interpreter falls out.  The store is memory, the cyclic collector is off, hashing is fixed, and the clock
is one that moves on by 15 microseconds a reading: ids are made anew each millisecond, and below Valgrind a millisecond holds a task or
two.  What is not in it: the disk, the writer's thread, caches, the collector.  Needs `valgrind`.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import trio

from journeyman.engine import Engine, Queue
from journeyman.journal.opening import open_store
from journeyman.journal.recovery import fold_everything, recover
from journeyman.sim import World, simulate

BULK = 500
PRODUCERS = 64
SIZES = {
    "submit_many": (1_000, 4_000),
    "drain, concurrency 64": (0, 3_000),
    "submit one by one": (200, 1_200),
    "64 producers": (640, 3_200),
    "submit and wait": (100, 600),
    "replay": (2_000, 4_000),
    "simulated minute": (200, 800),
    "simulated task": (7_000, 9_000),  # both with a checkpoint at the close
}


class Ticks:
    """A clock that does not follow the machine: each reading is 15 us after the last, about what passes between two on a quiet one."""

    def __init__(self) -> None:
        self._us = 0

    def monotonic(self) -> int:
        self._us += 15
        return self._us

    def wall(self) -> int:
        return 1_700_000_000_000_000 + self._us


def queue() -> tuple[Queue, Any]:
    lane = Queue("q", concurrency=64)

    @lane.handler
    async def noop() -> None: ...

    return lane, noop


async def submit_many(engine: Engine, noop: Any, tasks: int) -> None:
    await engine.pause("q")
    for _ in range(tasks // BULK):
        await engine.submit_many([noop.bind() for _ in range(BULK)])


async def drain(engine: Engine, noop: Any, tasks: int) -> None:
    """As many are submitted whatever `tasks` says, so that the submits fall out of the difference."""
    await submit_many(engine, noop, SIZES["drain, concurrency 64"][1])
    await engine.resume("q")
    if tasks:
        await engine.drain()


async def one_by_one(engine: Engine, noop: Any, tasks: int) -> None:
    await engine.pause("q")
    for _ in range(tasks):
        await engine.submit(noop)


async def producers(engine: Engine, noop: Any, tasks: int) -> None:
    await engine.pause("q")

    async def produce() -> None:
        for _ in range(tasks // PRODUCERS):
            await engine.submit(noop)

    async with trio.open_nursery() as nursery:
        for _ in range(PRODUCERS):
            nursery.start_soon(produce)


async def and_wait(engine: Engine, noop: Any, tasks: int) -> None:
    for _ in range(tasks):
        await (await engine.submit(noop)).wait()


WORK: dict[str, Callable[[Engine, Any, int], Coroutine[Any, Any, None]]] = {
    "submit_many": submit_many,
    "drain, concurrency 64": drain,
    "submit one by one": one_by_one,
    "64 producers": producers,
    "submit and wait": and_wait,
}


def work(name: str, tasks: int) -> None:
    """In the counted process: do it, and end before anything is cleared up."""
    gc.disable()
    lane, noop = queue()

    async def main() -> None:
        async with Engine(None, [lane], clock=Ticks(), entropy=random.Random(0).randbytes) as engine:
            await WORK[name](engine, noop, tasks)
            os._exit(0)

    trio.run(main)


def replay(tasks: int) -> None:
    """In the counted process: write a journal of BULK tasks, and read it `tasks // BULK` times."""
    gc.disable()
    directory = Path(tempfile.mkdtemp())
    lane, noop = queue()

    async def main() -> None:
        async with Engine(directory / "journal", [lane]) as engine:
            await engine.submit_many([noop.bind() for _ in range(BULK)])
            await engine.drain()

    trio.run(main)
    journal = recover(open_store(directory / "journal")).journal
    for _ in range(tasks // BULK):
        fold_everything(journal)
    shutil.rmtree(directory)
    os._exit(0)


def simulated(name: str, tasks: int) -> None:
    """In the counted process: a simulated queue that gets a task a minute, or all of them at once."""
    gc.disable()
    lane, noop = queue()

    async def scenario(world: World) -> None:
        async with world.engine([lane]) as engine:
            if name == "simulated task":
                await engine.submit_many([noop.bind() for _ in range(tasks)])
                await engine.drain()
                return
            for _ in range(tasks):
                await engine.submit(noop)
                await trio.sleep(60)

    simulate(scenario)
    os._exit(0)


def counted(name: str, tasks: int) -> int:
    command = [
        "valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null",
        sys.executable, __file__, "--inside", name, "--tasks", str(tasks),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONHASHSEED": "0"})
    found = re.search(r"I\s+refs:\s+([\d,]+)", done.stderr)
    if found is None:
        raise SystemExit(f"valgrind did not count:\n{done.stderr[-500:]}")
    return int(found[1].replace(",", ""))


def main() -> None:
    parser = argparse.ArgumentParser(description="Instructions a task costs, by Valgrind.")
    parser.add_argument("--only", choices=SIZES, action="append", help="this work; can be repeated")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--inside", choices=SIZES, help=argparse.SUPPRESS)
    parser.add_argument("--tasks", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside is not None:
        if options.inside == "replay":
            replay(options.tasks)
        elif options.inside.startswith("simulated"):
            simulated(options.inside, options.tasks)
        else:
            work(options.inside, options.tasks)
        return
    if shutil.which("valgrind") is None:
        raise SystemExit("this needs valgrind: apt install valgrind")
    figures = {}
    for name in options.only or SIZES:
        small, large = SIZES[name]
        figures[name] = (counted(name, large) - counted(name, small)) // (large - small)
        if not options.json:
            print(f"{name:24}{figures[name]:>10,} instructions a task", flush=True)
    if options.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()

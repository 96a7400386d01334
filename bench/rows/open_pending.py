"""Open a journal with 200,000 pending tasks, until the first handler is entered; after a clean stop and after SIGKILL.

One task runs (its handler never ends) and the others wait. A child process opens the journal and is killed once its handler runs,
so the next open finds an unclean journal; then it is opened and stopped in good order, and opened again. Everything is in the
page cache: this measures the engine's own work, not a cold disk.
"""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import trio
from load import store
from row import Figures, Round, Row, Target

from journeyman.engine import Engine, Handler, Queue, Retry


def endless_queue(first_start: trio.Event) -> tuple[Queue, Handler[[int], None]]:
    queue = Queue("bench", concurrency=1, retry=Retry(crashes=1_000_000))

    @queue.handler
    async def wait_for_ever(number: int) -> None:
        first_start.set()
        await trio.sleep_forever()

    return queue, wait_for_ever


async def fill(journal: Path, tasks: int) -> None:
    queue, handler = endless_queue(trio.Event())
    async with Engine(journal, queues=[queue]) as engine:
        await store(engine, handler, tasks)
        await engine.stop(grace=0)


async def open_until_start(journal: Path) -> float:
    """Seconds from before the engine is made until its first handler is entered; then a stop in good order."""
    begun = time.perf_counter()
    first_start = trio.Event()
    queue, _ = endless_queue(first_start)
    async with Engine(journal, queues=[queue]) as engine:
        await first_start.wait()
        spent = time.perf_counter() - begun
        await engine.stop(grace=0)
    return spent


async def run_until_killed(journal: Path) -> None:
    first_start = trio.Event()
    queue, _ = endless_queue(first_start)
    async with Engine(journal, queues=[queue]):
        await first_start.wait()
        print("started", flush=True)
        await trio.sleep_forever()


def kill_one(journal: Path) -> None:
    program = "from rows.open_pending import child; child()"
    paths = os.pathsep.join(filter(None, sys.path))  # -P below: only these, not the working directory
    child = subprocess.Popen(
        [sys.executable, "-P", "-c", program, str(journal)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": paths},
    )
    with child:
        assert child.stdout is not None
        line = child.stdout.readline()
        child.send_signal(signal.SIGKILL)
    if line != b"started\n":
        raise AssertionError(f"the child said {line!r}")


def child() -> None:
    trio.run(run_until_killed, Path(sys.argv[1]))


def measure(turn: Round) -> Figures:
    directory = turn.ground.fresh("open")
    try:
        journal = directory / "journal"
        turn.announce("storing")
        trio.run(fill, journal, turn.size(200_000, 50_000))
        turn.announce("killing")
        kill_one(journal)
        turn.announce("ours")
        opened = functools.partial(trio.run, open_until_start, journal)
        return {"killed": opened(), "clean": opened()}
    finally:
        turn.ground.discard(directory)


ROW = Row(
    name="open",
    title="open with 200,000 pending until the first starts",
    measure=measure,
    rounds=3,
    targets=(
        Target("after a clean stop", of="clean", unit="s", least=3.0, aim=0.5, lower=True),
        Target("after SIGKILL", of="killed", unit="s", least=3.0, aim=0.5, lower=True),
    ),
)

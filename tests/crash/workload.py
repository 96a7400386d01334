"""A program under load, made to be killed: it submits without end and acknowledges each id after `submit` returned.

    python -m crash.workload JOURNAL TRACE [--seconds S] [--seed N] [--die MARK:N] [--unsafe] [--small-map] [--pace P]

Acknowledgements go to descriptor 77, one line each, written after the call returned:
    A <task> <queue> <handler> <n>     submitted          c <task>   a cancel was asked for        C <task>   ... and granted
    R                                  the engine is open (recovery done)
Nothing in the product knows of it: a mark is reached by wrapping the store that is handed to the engine (marks.py).
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import random
import time

import trio

from crash import marks
from crash.lanes import EVIDENCE, Lanes, Trace, build
from crash.programs import ACK_FD
from journeyman.engine import Engine, JourneymanError, NotCancellable, Priority, TaskNotFound

HANDLER_QUEUE = {"send": "mail", "digest": "files", "note": "brief", "grind": "slow", "remind": "later", "pay": "once", "tick": "paced"}
# How often each is submitted.  The expensive ones are rare, so that the backlog stays small.
MIX = ["note"] * 40 + ["send"] * 30 + ["digest"] * 12 + ["remind"] * 6 + ["pay"] * 3 + ["grind"] * 1 + ["tick"] * 2
OUTSTANDING = 150  # submitted and not yet left: more would only make the recovery at the end slow


def acknowledge(*lines: str) -> None:
    os.write(ACK_FD, "".join(line + "\n" for line in lines).encode())


class Load:
    def __init__(self, engine: Engine, lanes: Lanes, trace: Trace, chance: random.Random) -> None:
        self.engine, self.lanes, self.trace, self.chance = engine, lanes, trace, chance
        self.submitted = 0
        self.recent: list[str] = []

    def _call(self, handler: str) -> tuple[object, int, tuple[object, ...]]:
        """A handler as it is to be submitted, its number, its arguments."""
        n = self.chance.randrange(1, 1_000_000)
        fn = self.lanes.handlers[handler]
        if handler == "digest":
            return fn, n, (self.chance.randbytes(self.chance.choice((0, 1, 100, 1000, 5000))),)
        if handler == "remind":
            return fn.using(delay=self.chance.random(), priority=self.chance.choice(list(Priority))), n, (n,)  # type: ignore[attr-defined]
        return fn, n, (n,)

    async def submit_one(self) -> None:
        handler = self.chance.choice(MIX)
        fn, n, args = self._call(handler)
        handle = await self.engine.submit(fn, *args)  # type: ignore[arg-type]
        acknowledge(f"A {handle.id} {HANDLER_QUEUE[handler]} {handler} {n}")
        self.submitted += 1
        self.recent.append(handle.id)
        del self.recent[:-50]

    async def submit_lot(self) -> None:
        names = [self.chance.choice(MIX) for _ in range(self.chance.choice((2, 10, 40)))]
        calls = [(name, *self._call(name)) for name in names]
        handles = await self.engine.submit_many([(fn, args, {}) for _, fn, _, args in calls])  # type: ignore[misc]
        acknowledge(*(f"A {h.id} {HANDLER_QUEUE[name]} {name} {n}" for h, (name, _, n, _) in zip(handles, calls, strict=True)))
        self.submitted += len(calls)

    async def cancel_one(self) -> None:
        if not self.recent:
            return
        task = self.chance.choice(self.recent)
        acknowledge(f"c {task}")
        with contextlib.suppress(NotCancellable, TaskNotFound):
            await self.engine.cancel(task, "changed my mind")
            acknowledge(f"C {task}")

    async def look(self) -> None:
        """Reads under load: what was just acknowledged must be there unless its retention is over."""
        if self.recent:
            task = self.recent[-1]
            with contextlib.suppress(TaskNotFound):
                found = await self.engine.get(task)
                assert found.id == task
        await self.engine.count(state="pending")

    async def producer(self, until: float) -> None:
        steps = [self.submit_one] * 30 + [self.submit_lot] + [self.cancel_one] * 2 + [self.look]
        while time.monotonic() < until:
            if self.submitted - self.trace.left > OUTSTANDING:
                await trio.sleep(0.005)
                continue
            await self.chance.choice(steps)()
            if self.chance.random() < 0.05:
                await trio.sleep(self.chance.random() * 0.01)

    async def pruner(self, until: float) -> None:
        """Prune what has ended long enough ago, far more often than housekeeping would: kills are to meet snapshots and prunes too."""
        while time.monotonic() < until:
            await trio.sleep(0.05 + self.chance.random() * 0.3)
            for queue, kept in EVIDENCE.items():
                await self.engine.prune(older_than=kept, queue=queue)


async def main(options: argparse.Namespace) -> None:
    chance = random.Random(options.seed)
    mark = marks.Mark.parse(options.die)
    trace = Trace(options.trace, mark.entered if mark else None)
    lanes = build(trace, pace=options.pace)
    store = marks.store_for(options.journal, mark) if mark and mark.needs_store else None
    engine = Engine(options.journal, queues=lanes.queues, **({"store": store} if store else {}))
    async with engine:
        acknowledge("R")
        load = Load(engine, lanes, trace, chance)
        until = time.monotonic() + options.seconds
        async with trio.open_nursery() as nursery:
            for _ in range(options.producers):
                nursery.start_soon(load.producer, until)
            nursery.start_soon(load.pruner, until)
        if options.drain:
            await engine.drain(timeout=30)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("journal")
    parser.add_argument("trace")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--die", default="")
    parser.add_argument("--pace", type=float, default=1.0)
    parser.add_argument("--producers", type=int, default=4)
    parser.add_argument("--drain", action="store_true")
    parser.add_argument("--unsafe", action="store_true", help="the control group: LMDB without sync")
    parser.add_argument("--small-map", action="store_true", help="a tiny map, so that it must grow again and again")
    return parser.parse_args()


if __name__ == "__main__":
    chosen = arguments()
    logging.basicConfig(level=logging.WARNING)
    if chosen.unsafe or chosen.small_map or chosen.die.startswith("grow"):
        from crash import tampered

        tampered.lmdb(unsafe=chosen.unsafe, small_map=chosen.small_map or chosen.die.startswith("grow"), die=chosen.die)
    try:
        trio.run(main, chosen)
    except JourneymanError as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from None

"""The one checker of every crash test: is this journal what was promised?

    python -m crash.check JOURNAL --acks FILE --trace FILE [--bound BYTES] [--light] [--seconds S]

    exit 0: everything holds          exit 1: a violation, one a line on standard output
    a signal: the interpreter died, which is a violation too (the caller says so)

In this order:
 1. anatomy: the bytes, read by a second hand (anatomy.py): crc, order, chain, transitions, attempts, payloads;
 2. the public door opens it, with recovery, and shows every acknowledged task, or the outside world knows why it is gone;
 3. no attempt number was ever entered twice, nothing that had ended is run again;
 4. with its handlers everything ends: nothing is stuck, results are right, cancels that were granted were kept;
 5. it can still be written to;
 6. the engine closes, the next open shows the same tasks in the same states, and the anatomy holds again;
 7. the file is no larger than the bound.
`--light` stops after 2 and 5: that is what a crash state of milliseconds gets, with a full check for one in forty.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from pathlib import Path

import trio

from crash.anatomy import Findings, examine
from crash.evidence import Acks, TraceLog
from crash.lanes import EVIDENCE, Lanes, Trace, build, expected
from journeyman.engine import Engine, State, Task, TaskNotFound
from journeyman.journal.opening import open_store

LIMITS = {"mail": 8, "files": 3, "brief": 16, "slow": 4, "later": 4, "once": 2, "paced": 2}
TERMINAL = {State.SUCCEEDED, State.FAILED, State.CANCELLED, State.INTERRUPTED}
PAGE = 500
DAMAGED = ("bytes on disk are not those that were submitted", "they are no longer stored")  # what explain says of lost arguments


class Check:
    def __init__(self, path: str, acks: Acks, trace_path: Path, *, light: bool = False, seconds: float = 20.0, bound: int = 0) -> None:
        self.path, self.acks, self.trace_path = path, acks, trace_path
        self.light, self.seconds, self.bound = light, seconds, bound
        self.problems: list[str] = []
        self.before = TraceLog.read(trace_path)
        self.engine_lanes: Lanes
        self.tasks: dict[str, Task] = {}
        self.ended_before: set[str] = set()  # as the bytes say, before any engine looked at them
        self.damage_allowed = False  # a task may be parked for its damaged arguments
        self.damaged: set[str] = set()

    def wrong(self, text: str) -> None:
        self.problems.append(text)

    # --- 1, 6: bytes ---

    def anatomy(self, when: str) -> Findings | None:
        data = os.path.join(self.path, "data.mdb")
        if not os.path.exists(data) or not os.path.getsize(data):
            return None  # killed while it was made: there is nothing to read, and LMDB says so by "Bad file descriptor"
        found = examine(self.path, LIMITS)
        self.problems += [f"{when}: {problem}" for problem in found.problems]
        return found

    # --- 2: every acknowledged task ---

    def present(self, tasks: dict[str, Task]) -> None:
        now = time.time()
        for task, acked in self.acks.tasks.items():
            if task in tasks:
                found = tasks[task]
                if (found.queue, found.handler) != (acked.queue, acked.handler):
                    self.wrong(f"{task} was acknowledged in {acked.queue}/{acked.handler}, found in {found.queue}/{found.handler}")
                continue
            kept = EVIDENCE.get(acked.queue)
            if kept is None:
                self.wrong(f"acknowledged task {task} of {acked.queue!r}, which keeps everything, is lost")
                continue
            if task in self.acks.cancels_asked:
                continue
            ended = self.before.finished(task)
            if ended is None:
                self.wrong(f"acknowledged task {task} of {acked.queue!r} is lost: it never ended")
            elif ended + kept > now + 0.05:
                self.wrong(f"task {task} of {acked.queue!r} is gone {ended + kept - now:.2f} s before its retention ends")

    # --- 4: ends ---

    def ended_well(self, tasks: dict[str, Task]) -> None:
        for task in tasks.values():
            acked = self.acks.tasks.get(task.id)
            if task.id in self.damaged:
                continue
            if task.state not in TERMINAL:
                self.wrong(f"{task.id} of {task.queue!r} is stuck: still {task.state} after everything drained")
            elif task.state is State.SUCCEEDED and acked is not None and task.handler != "digest":
                if task.result != expected(task.handler, acked.n):
                    self.wrong(f"{task.id} of {task.handler!r}({acked.n}) holds the result {task.result!r}")
            elif task.state is State.INTERRUPTED and task.queue != "once":
                self.wrong(f"{task.id} of {task.queue!r} was interrupted, but its queue runs crashed attempts again")
        for task_id in self.acks.cancels_granted & tasks.keys():
            # a running async handler that returns all the same succeeds (DECISIONS 13); one that waited must never have run after
            if tasks[task_id].state not in TERMINAL:
                self.wrong(f"{task_id} was cancelled, and is {tasks[task_id].state}")

    async def _all(self, engine: Engine) -> dict[str, Task]:
        found: dict[str, Task] = {}
        before: Task | None = None
        while page := await engine.list(limit=PAGE, before=before):
            for task in page:
                if task.id in found:
                    self.wrong(f"{task.id} is listed twice")
                found[task.id] = task
                _ = task.result  # read now: a task's result cannot be fetched any more when the engine is closed
            before = page[-1]
        return found

    async def _drained(self, engine: Engine) -> None:
        """Until nothing waits, nothing runs.  Scheduled tasks (drain ignores them) are at most a second away."""
        with trio.move_on_after(self.seconds) as patience:
            while True:
                await engine.drain()
                # One question for all states: a task may go from one to another between two.
                left = await engine.count(state=[state for state in State if state not in TERMINAL])
                if left == 0 or (self.damage_allowed and await self._only_damaged_left(engine)):
                    return
                await trio.sleep(0.05)
        if patience.cancelled_caught:
            await self._say_what_is_stuck(engine)

    async def _only_damaged_left(self, engine: Engine) -> bool:
        """Whether all that waits is parked because its arguments are damaged, which the engine says of each."""
        left = [t for state in State if state not in TERMINAL for t in await engine.list(state=state)]
        for task in left:
            reasons = (await engine.explain(task.id)).reasons
            if not any(words in reason.text for reason in reasons for words in DAMAGED):
                return False
        self.damaged = {task.id for task in left}
        return True

    async def _say_what_is_stuck(self, engine: Engine) -> None:
        for state in State:
            for task in await engine.list(state=state, limit=3) if state not in TERMINAL else ():
                why = "; ".join(str(reason) for reason in (await engine.explain(task.id)).reasons)
                self.wrong(
                    f"stuck for {self.seconds:g} s: {task.id} of {task.queue!r} is {state}, attempt {task.attempt}: {why or 'no reason'}"
                )

    async def door(self) -> None:
        trace = Trace(str(self.trace_path))
        lanes = build(trace, pace=0.0)
        # A light check runs in a process that may die of what it reads, so it needs no probe to go ahead of it.
        store = open_store(self.path, examine_first="never") if self.light else None
        async with Engine(self.path, queues=lanes.queues, store=store) as engine:
            tasks = await self._all(engine)
            self.present(tasks)
            for queue in lanes.queues:
                await engine.resume(queue.name)  # a pause survives, as it should
            if not self.light:
                await self._drained(engine)
            handle = await engine.submit(lanes.handlers["send"], 1)  # type: ignore[arg-type]
            result = await handle.result(timeout=30)
            if result != "sent 1":
                self.wrong(f"a new task gave {result!r}")
            mine = handle.id
            if not self.light:
                self.tasks = await self._all(engine)
                self.ended_well(self.tasks)
        log = TraceLog.read(self.trace_path)
        self.problems += log.twice()
        for task, attempt in log.entered[len(self.before.entered) :]:
            if task in self.ended_before and task != mine:
                self.wrong(f"{task} had ended, and attempt {attempt} of it ran again")

    async def door_again(self) -> None:
        """6: what was closed is what opens."""
        idle = build(Trace(os.devnull), pace=0.0)
        async with Engine(self.path, queues=idle.queues) as engine:
            again = await self._all(engine)
        for task_id, task in self.tasks.items():
            found = again.get(task_id)
            if found is None:
                if task.queue not in EVIDENCE:
                    self.wrong(f"{task_id} of {task.queue!r} was there before the close and is gone after the next open")
            elif (found.state, found.attempt, found.failures, found.result) != (task.state, task.attempt, task.failures, task.result):
                self.wrong(f"{task_id} was {task.state} at attempt {task.attempt} before the close, {found.state} at {found.attempt} after")
        for task_id in again.keys() - self.tasks.keys():
            self.wrong(f"{task_id} appeared out of nothing between close and open")

    def run(self) -> list[str]:
        found = self.anatomy("as found")
        if found is not None:
            if self.problems:
                return self.problems
            self.ended_before = {task for task, state in found.tasks.items() if State(state) in TERMINAL}
        trio.run(self.door)
        if self.light:
            return self.problems
        self.anatomy("after the drain")
        if not self.problems:
            trio.run(self.door_again)
        if self.bound:
            size = os.stat(os.path.join(self.path, "data.mdb")).st_blocks * 512
            if size > self.bound:
                self.wrong(f"data.mdb takes {size:,} bytes on disk, more than {self.bound:,}")
        return self.problems


def check(path: str, acks: bytes, trace: Path, *, light: bool = False) -> str | None:
    """For a forked child: the first violations as one text, None when all is well."""
    problems = Check(path, Acks.read(acks), trace, light=light).run()
    return " | ".join(problems[:3]) or None


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("journal")
    parser.add_argument("--acks", required=True)
    parser.add_argument("--trace", required=True)
    parser.add_argument("--bound", type=int, default=0)
    parser.add_argument("--light", action="store_true")
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    acks = Acks.read(Path(options.acks).read_bytes())
    checker = Check(options.journal, acks, Path(options.trace), light=options.light, seconds=options.seconds, bound=options.bound)
    try:
        problems = checker.run()
    except TaskNotFound as error:
        problems = [*checker.problems, f"TaskNotFound: {error}"]
    except Exception as error:
        problems = [*checker.problems, f"{type(error).__name__}: {error}"]
        import traceback

        traceback.print_exc()
    for problem in problems[:40]:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

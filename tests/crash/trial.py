"""What a failing disk does to each public operation.  Runs under the shim (inject.py starts it) and prints one JSON line a case.

    python -m crash.trial HOME [--share F] [--seed N]

For every operation and every class of disk call, the operation is first made on a healthy disk to count its calls; then, on a
fresh copy of the journal each time, the n-th of them fails.  Allowed outcomes:
    done        the operation succeeded (and is therefore durable)
    refused     a JourneymanError, and the engine goes on
    stopped     the engine closed with a JourneymanError; the next open decides what happened
Anything else is a violation: another exception, a hang, a dead interpreter, an acknowledged task that the checker does not find.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import trio

from crash import marks, patients
from crash.check import check
from crash.lanes import Lanes, Trace, build
from crash.shim import ERRORS, Injector
from journeyman.engine import Engine, JourneymanError, State
from journeyman.journal.store import Batch, Done

PATIENCE = 20.0  # seconds an operation may take before it counts as hung
MOST_CALLS = 4  # the first few calls of each class are failed one by one


@dataclass
class Case:
    operation: str
    kind: str
    nth: int
    error: str
    count: int
    after: int

    def __str__(self) -> str:
        times = "once" if self.count == 1 else "from then on"
        made = ("", ", after it was made", ", after it was made, and the disk is gone")[self.after]
        return f"{self.operation}: {self.error} on {self.kind} call {self.nth}, {times}{made}"


class Scene:
    """One engine on a journal with a past, and the operations that can be asked of it."""

    def __init__(self, engine: Engine, lanes: Lanes, acked: list[str], arm: Callable[[], None]) -> None:
        self.engine, self.lanes, self.acked, self.arm = engine, lanes, acked, arm

    def ack(self, task: str, handler: str, queue: str, n: int) -> None:
        self.acked.append(f"A {task} {queue} {handler} {n}\n")

    async def submit(self) -> None:
        self.arm()
        handle = await self.engine.submit(self.lanes.handlers["remind"].using(delay=0.5), 5)  # type: ignore[attr-defined]
        self.ack(handle.id, "remind", "later", 5)

    async def submit_many(self) -> None:
        fn: Any = self.lanes.handlers["grind"]
        self.arm()
        for handle in await self.engine.submit_many([(fn, (n,), {}) for n in range(1, 60)]):
            self.ack(handle.id, "grind", "slow", 1)

    async def finish(self) -> None:
        handle = await self.engine.submit(self.lanes.handlers["remind"], 3)  # type: ignore[arg-type]
        self.arm()
        self.ack(handle.id, "remind", "later", 3)
        await handle.wait()

    async def _one(self, state: State, queue: str) -> str:
        return (await self.engine.list(queue=queue, state=state, limit=1))[0].id

    async def cancel(self) -> None:
        task = await self._one(State.SCHEDULED, "later")
        self.arm()
        await self.engine.cancel(task, "no longer wanted")

    async def retry(self) -> None:
        task = await self._one(State.CANCELLED, "slow")
        self.arm()
        await self.engine.retry(task)

    async def pause(self) -> None:
        self.arm()
        await self.engine.pause("mail")

    async def resume(self) -> None:
        await self.engine.pause("mail")
        self.arm()
        await self.engine.resume("mail")

    async def clear(self) -> None:
        self.arm()
        await self.engine.clear("later")

    async def prune(self) -> None:
        self.arm()
        await self.engine.prune(older_than=0.0, queue="brief")

    async def nothing(self) -> None:
        """`open` and `close` are armed outside."""


OPERATIONS = (
    "submit",
    "submit_many",
    "finish",
    "cancel",
    "retry",
    "pause",
    "resume",
    "clear",
    "prune",
    "checkpoint",
    "open",
    "close",
)


class _Armed:
    """A store that arms the injector when a commit of a snapshot comes by."""

    def __init__(self, inner: Any, arm: Callable[[], None]) -> None:
        self._inner, self._arm = inner, arm

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def begin_append(self, batch: Batch, done: Done) -> None:
        if marks.is_snapshot(batch):
            self._arm()
        self._inner.begin_append(batch, done)


async def _past(path: str, acked: list[str]) -> None:
    """A journal with tasks in every state."""
    lanes = build(Trace(os.devnull), pace=0.0)
    async with Engine(path, queues=lanes.queues) as engine:
        calls: list[tuple[Any, tuple[int, ...], dict[str, Any]]] = []
        names: list[tuple[str, str, int]] = []
        for n in range(1, 40):
            for handler, queue in (("send", "mail"), ("grind", "slow"), ("remind", "later")):
                calls.append((lanes.handlers[handler], (n,), {}))
                names.append((handler, queue, n))
            calls.append((lanes.handlers["note"], (n,), {}))
            names.append(("note", "brief", n))
        for n in range(20):
            calls.append((lanes.handlers["remind"].using(delay=900), (n,), {}))  # type: ignore[attr-defined]
            names.append(("remind", "later", n))
        for handle, (handler, queue, n) in zip(await engine.submit_many(calls), names, strict=True):
            if queue not in ("brief", "mail"):
                acked.append(f"A {handle.id} {queue} {handler} {n}\n")
        await engine.drain(timeout=30)


async def _perform(path: str, case: Case, acked: list[str], injector: Injector, counted: dict[str, int]) -> str:
    def arm() -> None:
        if counted.setdefault("armed", 0) == 0:
            counted["armed"] = 1
            counted["before"] = injector.calls(case.kind)
            if case.nth:
                injector.arm(case.kind, case.nth, ERRORS[case.error], count=case.count, after=case.after)

    lanes = build(Trace(os.devnull), pace=0.0)
    outcome = "done"
    store: Any = None
    try:
        if case.operation == "open":
            arm()
        if case.operation == "checkpoint":
            from journeyman.journal.opening import open_store

            store = _Armed(open_store(path), arm)
        async with Engine(path, queues=lanes.queues, **({"store": store} if store else {})) as engine:
            scene = Scene(engine, lanes, acked, arm)
            operation: Callable[[], Awaitable[None]]
            operation = {"open": scene.nothing, "close": scene.nothing, "checkpoint": scene.prune}.get(case.operation) or getattr(
                scene, case.operation
            )
            if case.operation == "checkpoint":
                scene.arm = lambda: None
            try:
                await operation()
            except JourneymanError as error:
                outcome = f"refused: {type(error).__name__}"
            if case.operation == "close":
                arm()
        if case.operation != "close":
            counted["after"] = injector.calls(case.kind)
    except JourneymanError as error:
        outcome = f"stopped: {type(error).__name__}"
    counted["after"] = injector.calls(case.kind)
    return outcome


def perform(path: str, case: Case, injector: Injector) -> dict[str, Any]:
    """In a forked child: do it, and say how it went, what was acknowledged, how many calls there were."""
    acked: list[str] = []
    counted: dict[str, int] = {}

    async def bounded() -> str:
        with trio.move_on_after(PATIENCE):
            return await _perform(path, case, acked, injector, counted)
        return "hung"

    outcome = trio.run(bounded)
    return {
        "outcome": outcome,
        "acked": "".join(acked),
        "calls": counted.get("after", 0) - counted.get("before", 0),
        "failed": injector.failed,
        "armed": counted.get("armed", 0),
    }


class Trials:
    def __init__(self, home: Path, chance: random.Random, share: float) -> None:
        self.home, self.chance, self.share = home, chance, share
        self.injector = Injector()
        self.past = home / "past"
        self.acked = ""

    def prepare(self) -> str | None:
        told = self.home / "past.acks"

        def make() -> str | None:
            acked: list[str] = []
            trio.run(_past, str(self.past), acked)
            told.write_text("".join(acked))
            return None

        problem = patients.in_child(make, seconds=60)
        self.acked = told.read_text() if told.exists() else ""
        return problem

    def attempt(self, case: Case) -> tuple[dict[str, Any] | None, str | None]:
        """One case on a fresh copy.  What it said, and the violation if there is one."""
        place = self.home / "patient"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(self.past, place / "journal")
        said = place / "said"

        def child() -> str | None:
            said.write_text(json.dumps(perform(str(place / "journal"), case, self.injector)))
            return None

        problem = patients.in_child(child, seconds=PATIENCE + 15)
        if problem:
            return None, problem
        told = json.loads(said.read_text())
        if told["outcome"] == "hung":
            return told, f"hung for {PATIENCE:g} s"
        acks = (self.acked + told["acked"]).encode()
        problem = patients.in_child(lambda: check(str(place / "journal"), acks, place / "trace", light=True), seconds=60)
        return told, f"{told['outcome']}, then the checker: {problem}" if problem else None

    def cases(self, operation: str, kind: str) -> Iterator[Case]:
        told, problem = self.attempt(Case(operation, kind, 0, "EIO", 1, 0))
        if problem or told is None:
            yield Case(operation, kind, 0, "nothing", 1, 0)
            return
        for nth in range(1, min(told["calls"], MOST_CALLS) + 1):
            for error in ("EIO", "ENOSPC") if kind == "sync" else ("EIO", "ENOSPC", "short"):
                for count in (1, 1 << 30):
                    for after in (0, 1, 2) if kind in ("sync", "meta") and error == "EIO" and count == 1 else (0,):
                        if self.share >= 1 or self.chance.random() < self.share:
                            yield Case(operation, kind, nth, error, count, after)

    def run(self) -> None:
        for operation in OPERATIONS:
            for kind in ("write", "sync", "meta", "size", "name") if operation in ("open", "close") else ("write", "sync", "meta"):
                for case in self.cases(operation, kind):
                    began = time.monotonic()
                    told, problem = self.attempt(case)
                    say(case=asdict(case), text=str(case), told=told and told["outcome"], hit=bool(told and told["failed"]),
                        problem=problem, seconds=time.monotonic() - began)  # fmt: skip


def say(**what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("home")
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    trials = Trials(Path(options.home), random.Random(options.seed), options.share)
    problem = trials.prepare()
    if problem:
        say(case=None, text="preparing the journal", told=None, hit=False, problem=problem, seconds=0)
        return
    trials.run()
    say(end=True)


if __name__ == "__main__":
    main()

"""When nothing moves: every unfinished task and why it does not run, what time will bring, and where the scenario waits.

100 columns, so that it can be read in a terminal and pasted into a report.
"""

from __future__ import annotations

import linecache
import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

import trio

from journeyman.kernel.explain import explain
from journeyman.kernel.wakeup import next_wakeup
from journeyman.sim import scheduler

if TYPE_CHECKING:
    from journeyman.sim.witness import Witness
    from journeyman.sim.world import World

SHOWN: Final = 20
WIDTH: Final = 100


def of(world: World, witnesses: Iterable[Witness]) -> str:
    """The whole picture."""
    lines = [f"at {world.time():.6f} s, wall clock {world.now():%Y-%m-%d %H:%M:%S}"]
    for witness in witnesses:
        lines += _journal(witness)
    lines += _timers(world)
    lines += waiting(world)
    return "\n".join(line[:WIDTH] for line in lines)


def waiting(world: World) -> list[str]:
    """Where the scenario is."""
    return ["the scenario waits in", *_stack(world.nursery.parent_task)]


def _journal(witness: Witness) -> Iterator[str]:
    oracle, shell = witness.oracle, witness.shell
    unfinished = [work for work in oracle.tasks.values() if not work.ended]
    path = "" if witness.boot is None else repr(witness.boot.machine.path)
    state = "its engine is up" if witness.up else "no engine is up on it"
    yield f"journal {path}: {len(unfinished)} unfinished tasks, {oracle.newest_seq} records; {state}"
    if unfinished:
        yield f"  {'task':<12}  {'queue/handler':<24}  {'state':<9}  {'run':>3}  why"
    for work in unfinished[:SHOWN]:
        where = f"{work.queue}/{work.handler}"
        yield f"  {work.id.hex()[-12:]:<12}  {where:<24.24}  {work.state:<9}  {work.attempt:>3}  {_why(shell, work)}"
    if len(unfinished) > SHOWN:
        yield f"  and {len(unfinished) - SHOWN} more"
    for asked in list(witness.under_way.values())[:SHOWN]:
        about = "" if asked.task is None else f" for task {asked.task.hex()[-12:]}"
        yield f"  {asked.name}(){about} has been under way since {asked.moment_us / 1e6:.6f} s"
    if shell is None:
        return
    if not shell.writer.idle:
        yield "  a commit is under way, or waits to be"
    for name, actor in sorted(shell.actors.items()):
        at = next_wakeup(actor.state, shell.now(), actor.view())
        wakes = "never by itself" if at is None else f"in {(at - shell.now()) / 1e6:.6g} s"
        inside = witness.inside_of.get(name, 0)
        yield f"  queue {name!r}: wakes {wakes}; {len(actor.attempts)} attempts, {inside} of them inside their handler"


def _why(shell: Any, work: Any) -> str:
    if shell is None:
        return "the process is down"
    actor = shell.actors.get(work.queue)
    reasons = [] if actor is None else explain(actor.state, work.id, shell.now(), actor.view())
    return "; ".join(str(reason) for reason in reasons) or "the engine does not know it"


def _timers(world: World) -> Iterator[str]:
    at = scheduler.next_deadline()
    then = "none is due" if math.isinf(at) else f"the next in {at - world.time():.6g} s"
    yield f"timers: {scheduler.deadlines()} set, {then}"


def stuck(tasks: Iterable[trio.lowlevel.Task]) -> str:
    """Who does not end though everything is cancelled, in one line for each: the innermost line that is neither trio's nor ours."""
    where = [line for task in tasks for line in list(_frames(task, ours=False))[-1:]]
    return "\n".join(["these tasks do not end when they are cancelled:", *sorted(where)[:SHOWN]])


def _stack(task: trio.lowlevel.Task) -> Iterator[str]:
    """The innermost lines of a task, trio's and ours left out but for the one that was called."""
    yield from list(_frames(task))[-8:]


def _frames(task: trio.lowlevel.Task, *, ours: bool = True) -> Iterator[str]:
    inside = not ours
    for frame, line in task.iter_await_frames():
        file, module = frame.f_code.co_filename, frame.f_globals.get("__name__", "")
        if "trio" in file.replace("\\", "/").split("/"):
            continue
        our = module.startswith("journeyman.")
        if not our or not inside:
            short = "/".join(file.replace("\\", "/").split("/")[-2:])
            yield f"  {short}:{line} {frame.f_code.co_name}: {linecache.getline(file, line).strip()}"
        inside = our or not ours

"""`simulate`: run a scenario in a world of its own."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Literal

import trio

from journeyman.actors.ending import leaves
from journeyman.actors.logs import LOG
from journeyman.kernel.bounds import DURATION_MAX_US, SECOND_US
from journeyman.kernel.lifecycle import State
from journeyman.kernel.wakeup import next_wakeup
from journeyman.sim import scheduler
from journeyman.sim.engine import SimEngine
from journeyman.sim.errors import Deadlock, EngineCrashed, OutOfTime, PromiseBroken
from journeyman.sim.faults import Faults
from journeyman.sim.stillness import BrokenOff
from journeyman.sim.trace import Trace
from journeyman.sim.world import World

Scenario = Callable[[World], Awaitable[Any]]
LAST_MINUTES = 3.0  # virtual, for schedules to fire once more when the faults have stopped
REST_DAYS = 30.0  # virtual, for what is left to do when the faults have stopped; more for what is due later
DAY = 86_400.0
EARLIEST, LATEST = datetime(1971, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)  # of a wall clock's first instant
MAX_STEPS = 10_000_000  # a year and a half of an idle engine


def simulate(
    scenario: Scenario,
    *,
    seed: int = 0,
    faults: Faults | None = None,
    crash_at: int | Literal["every"] | None = None,
    start: datetime | None = None,
    converge: bool | None = None,
    max_steps: int = MAX_STEPS,
) -> Trace:
    """Run `scenario(world)` on virtual time; what happened.

    seed: decides everything that chance decides.  faults: what may go wrong.  crash_at: die at this one of the points where a process can
    die (`Trace.points` says how many a run has), or at "every" one of them in turn.  start: the wall clock's first instant, aware.
    converge: when the scenario has ended, stop all faults, open its engines once more and require that everything that can move comes to an
    end; by default where something can go wrong.  max_steps: of tasks, before the run is given up; no more than a tenth of them within one
    second of virtual time, but a million in any case, and a boot for each two thousand, but five thousand in any case.

    Raises what the scenario raises; PromiseBroken when an invariant does not hold; Deadlock when nothing can happen any more; OutOfTime
    after these, or a thousand boots in a row that died before they were open.  Each carries notes: the seed, and the end of the trace.
    With crash_at="every": CrashSweepFailed, naming each point that broke something.
    """
    plan = faults if faults is not None else Faults.none()
    if trio.lowlevel.in_trio_run():
        raise RuntimeError("a simulation runs a loop of its own: call simulate() from a plain function or test, not from an async one")
    _check(scenario, seed, plan, crash_at, max_steps)
    _check_start(start)
    if converge is not None and not isinstance(converge, bool):
        raise TypeError(f"converge must be True, False or None, not {converge!r}")
    if crash_at == "every":
        from journeyman.sim.sweep import sweep

        return sweep(
            lambda at: simulate(scenario, seed=seed, faults=plan, crash_at=at, start=start, converge=converge, max_steps=max_steps)
        )
    world = World(seed, plan, start=start, crash_at=crash_at, max_steps=max_steps)
    rest = converge if converge is not None else (plan.any or crash_at is not None)
    deaths = _Deaths()
    LOG.addFilter(deaths)
    failure: BaseException | None = None
    try:
        scheduler.run(seed, _main, world, scenario, rest, instruments=(world.pulse,), asleep=world.stillness.press)
    except BaseException as error:
        failure = _meant(error, world)
        _explain(failure, world)
        if failure is error:
            raise
    finally:
        LOG.removeFilter(deaths)
    if failure is not None:
        raise failure
    if isinstance(crash_at, int) and world.pulse.struck is None:
        raise ValueError(f"crash_at={crash_at} struck nothing: this run has {world.trace.points} points, counted from 0")
    return world.trace


def _meant(error: BaseException, world: World) -> BaseException:
    """What to raise for what came out of the loop."""
    if isinstance(error, trio.TrioInternalError) and isinstance(error.__cause__, BrokenOff):
        return world.failure or error
    found = leaves(error)
    if all(isinstance(leaf, KeyboardInterrupt) for leaf in found):  # Ctrl-C in a scenario's nursery: whoever runs us knows it bare
        return found[0]
    return error


class _Deaths(logging.Filter):
    """A simulated death is in the trace.  In the log it would read like trouble with a disk, thousands of times in a sweep."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not any(isinstance(about, EngineCrashed) for about in record.args or ())


def _check(scenario: object, seed: object, faults: object, crash_at: object, max_steps: object) -> None:
    """What is wrong with the arguments is said before a world is made of them."""
    plain = inspect.isfunction(scenario) or inspect.ismethod(scenario)  # other callables are taken at their word
    if not callable(scenario) or (plain and not inspect.iscoroutinefunction(scenario)):
        raise TypeError(f"a scenario is an async function of one World, not {scenario!r}")
    if type(seed) is not int:
        raise TypeError(f"seed must be a whole number, so that it gives the same run again, not {seed!r}")
    if not isinstance(faults, Faults):
        raise TypeError(f"faults must be Faults(...), not {faults!r}")
    if crash_at not in (None, "every") and (type(crash_at) is not int or crash_at < 0):
        raise ValueError(f'crash_at must be the number of a point, counted from 0, or "every", not {crash_at!r}')
    if type(max_steps) is not int or max_steps < 1:
        raise ValueError(f"max_steps must be a whole number of at least 1, not {max_steps!r}")


def _check_start(start: object) -> None:
    if start is None:
        return
    wanted = "start must be an aware datetime, such as datetime(2030, 1, 1, tzinfo=UTC)"
    if not isinstance(start, datetime):
        raise TypeError(f"{wanted}, not {start!r}")
    if start.tzinfo is None:
        raise ValueError(f"{wanted}, not {start!r}")
    if not EARLIEST <= start <= LATEST:
        raise ValueError(f"start must leave its clock room to go on and to be set back: from {EARLIEST:%Y} to {LATEST:%Y}, not {start}")


async def _main(world: World, scenario: Scenario, rest: bool) -> None:
    raised: BaseException | None = None
    world.clock.read = scheduler.time_source()
    async with trio.open_nursery() as nursery:
        world.nursery = nursery
        with trio.CancelScope() as world.scope:
            nursery.start_soon(world.clockwork)
            nursery.start_soon(world.stillness.watch)
            try:
                await scenario(world)
                if rest:
                    await _come_to_rest(world)
                world.watch.finish()
            except Exception as error:  # raised bare, below: a nursery would wrap it
                raised = error
            except BaseException as error:
                raised = error
                if _ours(error, world):
                    raised = None
        world.end(raised)
        nursery.cancel_scope.cancel()
    if world.failure is not None:
        raise world.failure


def _ours(error: BaseException, world: World) -> bool:
    """Whether this is only the cancellation with which the world gives up."""
    return isinstance(error, trio.Cancelled) and world.failure is not None


async def _come_to_rest(world: World) -> None:
    """The second phase: no faults any more, and everything that can move must come to an end."""
    world.calm()
    world.note("calm", "no faults from here on")
    for engine in list({id(engine.machine.disk): engine for engine in world.engines}.values()):
        async with engine:
            await _end_schedules(engine)
            await _drain(world, engine)


async def _drain(world: World, engine: SimEngine) -> None:
    """Wait for all that moves: a month, and for what a task asked for beyond that (a snooze, a backoff) until it is due and a day more.

    Two looks in a row that see nothing but the next day are of something that goes on for ever.
    """
    began, patience = world.time(), REST_DAYS * DAY
    while True:
        with trio.move_on_after(patience):
            return await engine.drain()
        before, ahead = patience, _ahead(engine)
        patience = ahead + DAY
        waited = world.time() - began
        if ahead <= 0 or max(before, patience) < 2 * DAY or waited + patience > DURATION_MAX_US / SECOND_US:
            said = f"not within {waited / DAY:.4g} days without faults"
            raise PromiseBroken("everything comes to rest", f"{said}\n{world.watch.dump()}")


def _ahead(engine: SimEngine) -> float:
    """Seconds until the last instant that we know of at which time by itself lets something move."""
    shell = engine._opened().shell
    now = shell.now()
    instants = [now]
    for actor in shell.actors.values():
        waiting = [task for state in (State.RETRYING, State.SCHEDULED) for task in actor.state.listed(state, now)]
        instants += [task.due_at for task in waiting if task.attempt]  # `drain` does not wait for what has never run
        instants.append(next_wakeup(actor.state, now, actor.view()) or now)  # a token, a parking
    return (max(instants) - now) / SECOND_US


async def _end_schedules(engine: SimEngine) -> None:
    """What recurs never comes to an end by itself; until it is ended here it has had its chance to fire."""
    if any(actor.state.schedules for actor in engine._opened().shell.actors.values()):
        await trio.sleep(LAST_MINUTES * 60)
        for schedule in await engine.schedules():
            await engine.unschedule(schedule.name, by="simulation")


def _explain(error: BaseException, world: World) -> None:
    """Notes on a failure: how to see it again, and what went before."""
    if not isinstance(error, Exception):
        return
    trace = world.trace
    faults = f", faults={world_faults}" if (world_faults := trace_faults(world)) else ""
    error.__dict__.setdefault("trace", trace)
    error.add_note(f"simulated with seed={world.seed}{faults}; digest {trace.digest}")
    where = world.pulse.struck
    if where is not None:
        error.add_note(f"the process had died {where}")
    error.add_note(trace.render(last=25))


def trace_faults(world: World) -> str:
    facts = world.plan.facts()
    return f"Faults({', '.join(f'{name}={value!r}' for name, value in facts.items())})" if facts else ""


__all__ = ["Deadlock", "OutOfTime", "simulate"]

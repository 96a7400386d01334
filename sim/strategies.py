"""Hypothesis strategies: fault plans, policies, workloads, and whole scenarios.

    @given(scenarios(queues, calls=st.tuples(st.just(send), st.tuples(st.text(max_size=9)))))
    def test_letters(scenario):
        scenario.run()

What is drawn is plain data (a `Plan` for the swarm's handlers, a `Scenario` for yours), so an example prints as what it is and
shrinks to few faults and few steps.  The scheduler's seed is drawn like the rest: under plain `@given` every example would run one and the
same schedule, because Hypothesis seeds trio's generator itself (EXEMPLARS 3.9).

This module needs the extra `sim` (`pip install 'journeyman[sim]'`); nothing else of journeyman.sim does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import trio
from hypothesis import Phase
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from journeyman.engine import JourneymanError
from journeyman.sim import odds
from journeyman.sim.examples import FOLDER, Outline, play
from journeyman.sim.faults import SIZED, Faults
from journeyman.sim.patience import CUT_SHORT, come_to_rest, insist
from journeyman.sim.plan import Plan
from journeyman.sim.scripts import policy_of
from journeyman.sim.simulate import simulate
from journeyman.sim.trace import Trace
from journeyman.sim.world import Queues, World, asks_for_world, of_each_boot

Call = tuple[Any, tuple[Any, ...]]  # (handler or handler.using(...), arguments)
Action = tuple[str, Any]
CLIENT_WAITS = 3600.0  # virtual seconds
# For `@settings(phases=PHASES)`: all but explain, which traces every line of a world's engine (where Python has no sys.monitoring, several
# times as long and a gigabyte of memory) to say which lines only failing examples run: with an engine inside, no news.
PHASES = tuple(phase for phase in Phase if phase is not Phase.explain)


def seeds() -> SearchStrategy[int]:
    """Seeds of the scheduler and of every chance.  They shrink to 0."""
    return st.integers(0, 2**32 - 1)


# --- faults -----------------------------------------------------------------------------------------------------------


def fault_plans(*, only: Sequence[str] | None = None, most: float = 0.05) -> SearchStrategy[Faults]:
    """A few faults, each with a chance of up to `most`; they shrink to none.  only: those that may be in it."""
    names = [name for name in odds.FAULTS if only is None or name in only]
    sized = {"slow_disk": 60.0, "disk_full": 600.0, "clock_step": 7200.0, "stall": 30.0, "handler_slow": 60.0}
    chance = st.floats(0, most).map(lambda share: round(share, 5))
    values: dict[str, SearchStrategy[Any]] = dict.fromkeys(names, chance)
    for name in names:
        if name in sized:
            values[name] = st.tuples(chance, st.sampled_from((sized[name] / 100, sized[name])))
    special: dict[str, SearchStrategy[Any]] = {
        "restart": st.sampled_from((1.0, 0.0, 30.0, 900.0)),
        "power": st.sampled_from((0.0, 0.3, 1.0)),
        "disk_latency": st.sampled_from(((0.0, 0.0), (0.0001, 0.002), (0.0, 0.5), (1.0, 5.0))),
        "clock_drift": st.sampled_from((0.0, 20.0, -200.0)),
    }
    values |= {name: strategy for name, strategy in special.items() if name in names}
    return st.fixed_dictionaries({}, optional=values).map(_plan_of)


def _plan_of(facts: dict[str, Any]) -> Faults:
    """What never strikes is off: a plan reads as what can go wrong in it, and no more."""
    return Faults.of({name: value for name, value in facts.items() if (value[0] if name in SIZED else value)})


# --- policies ---------------------------------------------------------------------------------------------------------


def policies(*, only: Sequence[str] | None = None) -> SearchStrategy[dict[str, Any]]:
    """Keyword arguments for `Queue`; they shrink to none.  `Queue("mail", **policy)`.  only: those that may be in it."""
    seconds = st.sampled_from((60.0, 1.0, 0.1, 600.0))
    kept = st.sampled_from((None, 0, 1, 3600))
    jitter = st.sampled_from((0.0, 0.5, 1.0))
    backoff = st.sampled_from((["constant", 1], ["linear", 2, 10], ["exponential", 0.5, 2.0, 60]))
    values: dict[str, SearchStrategy[Any]] = {
        "concurrency": st.integers(1, 8),
        "retry": _some({"attempts": st.integers(1, 5), "backoff": backoff, "jitter": jitter, "crashes": st.integers(0, 5)}),
        "on_crash": st.sampled_from(("retry", "interrupt")),
        "rate": st.fixed_dictionaries({"limit": st.integers(1, 10)}, optional={"per": seconds, "burst": st.integers(1, 5)}),
        "timeout": seconds,
        "heartbeat": seconds,
        "retention": _some(
            {
                **dict.fromkeys(("succeeded", "failed", "cancelled", "interrupted"), kept),
                "payload": st.sampled_from((True, False, "failed")),
                "result": st.booleans(),
            }
        ),
        "max_pending": st.integers(0, 50),
        "max_payload": st.sampled_from((1 << 20, 1_000, 100)),
        "per_key": st.integers(1, 3),
        "key_order": st.sampled_from(("strict", "relaxed")),
        "aging": st.sampled_from((None, 60.0, 1.0)),
    }
    return _some({name: value for name, value in values.items() if only is None or name in only}).map(policy_of)


def _some(values: dict[str, SearchStrategy[Any]]) -> SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=values)


# --- workloads --------------------------------------------------------------------------------------------------------


def workloads(calls: SearchStrategy[Call], *, most: int = 20, crash: bool = True) -> SearchStrategy[list[Action]]:
    """What a client does, in order: submit one of `calls`, let time pass, wait for or cancel a task, kill the process.

    The number of "wait" and "cancel" says which task, counted back from the newest.
    """
    back = st.integers(0, 5)
    actions: list[SearchStrategy[Action]] = [
        st.tuples(st.just("submit"), calls),
        st.tuples(st.just("sleep"), st.sampled_from((1.0, 0.01, 30.0, 600.0, 7200.0))),
        st.tuples(st.just("wait"), back),
        st.tuples(st.just("cancel"), back),
    ]
    if crash:
        actions.append(st.tuples(st.just("crash"), st.just(None)))
    return st.lists(st.one_of(actions), max_size=most)


@dataclass(frozen=True)
class Scenario:
    """A workload on your queues, under faults.  `run(check)` simulates it."""

    queues: Callable[..., Queues]
    workload: list[Action]
    faults: Faults
    seed: int
    save_to: Path | str | None = FOLDER  # the folder for the smallest failing example; None: nowhere

    def __repr__(self) -> str:
        return f"Scenario(seed={self.seed}, faults={self.faults.facts()}, workload={self.workload})"

    def run(self, check: Callable[[World, Any], Any] | None = None, **options: Any) -> Trace:
        """The trace.  Raises what `simulate` raises; options are its.

        `check(world, engine)` is awaited when the faults have stopped and nothing moves any more; what it raises is raised here.  A handler
        that waits for ever ends the run before that with Deadlock, unless `Faults(handler_hang=...)` made it hang: then `check` is awaited
        after a virtual day.
        """

        async def scenario(world: World) -> None:
            made = of_each_boot(world, self.queues) if asks_for_world(self.queues) else self.queues()
            async with world.engine(queues=made) as engine:
                handles: list[Any] = []
                for verb, value in self.workload:
                    await _act(world, engine, handles, verb, value)
                if check is not None:
                    await come_to_rest(world, engine)
                    await insist(world, engine, check)

        outline = Outline(self.seed, self.faults.facts(), [f"{verb} {value!r}" for verb, value in self.workload])
        return play(partial(simulate, scenario, seed=self.seed, faults=self.faults, **options), outline, self.save_to)


async def _act(world: World, engine: Any, handles: list[Any], verb: str, value: Any) -> None:
    """One action; that the process is down, and what the engine refuses, is part of a client's day."""
    try:
        if verb == "submit":
            handler, arguments = value
            handles.append(await engine.submit(handler, *arguments))
        elif verb == "sleep":
            await trio.sleep(value)
        elif verb == "crash":
            await world.crash()
        elif handles:
            handle = handles[-1 - value % len(handles)]
            await (handle.wait(CLIENT_WAITS) if verb == "wait" else handle.cancel())
    except CUT_SHORT:
        await engine.ready()
    except (JourneymanError, trio.TooSlowError):
        pass


def scenarios(
    queues: Callable[..., Queues],
    calls: SearchStrategy[Call],
    *,
    faults: SearchStrategy[Faults] | None = None,
    most: int = 20,
    save_to: Path | str | None = FOLDER,
) -> SearchStrategy[Scenario]:
    """Workloads of `calls` on `queues()`, under faults, each with a seed of its own.

    queues: `queues(world)` is called at each boot, and a `world.invariant` made in it holds until the next.  `queues()` is called once for
    each world; it returns queues, or a callable that does, called at each boot.

    save_to: the folder for the smallest failing example, which `journeyman sim replay FILE` runs again; None: nowhere.
    """
    drawn = fault_plans() if faults is None else faults
    return st.builds(Scenario, st.just(queues), workloads(calls, most=most), drawn, seeds(), st.just(save_to))


def plans(*, most: int = 12) -> SearchStrategy[Plan]:
    """Plans for the swarm's own handlers, which need no code of yours: how the engine itself is tested."""
    acts = (["effect", 0], ["sleep", 1.0], ["fail", 1], ["fail", 99], ["later", [1, 3]], ["snooze", [1, 3]], ["once", 0])
    script = st.lists(st.sampled_from(acts), max_size=3)
    label = st.sampled_from("abcd")
    steps = st.one_of(
        st.tuples(st.just("submit"), st.fixed_dictionaries({"handler": st.just("mail.async"), "script": script, "label": label})),
        st.tuples(st.just("sleep"), st.fixed_dictionaries({"seconds": st.sampled_from((1.0, 0.01, 60.0))})),
        st.tuples(st.sampled_from(("get", "cancel", "retry", "history")), st.fixed_dictionaries({"label": label})),
        st.tuples(st.just("wait"), st.fixed_dictionaries({"label": label, "timeout": st.just(100.0)})),
        st.tuples(st.sampled_from(("pause", "resume", "clear")), st.fixed_dictionaries({"queue": st.just("mail")})),
        st.tuples(st.sampled_from(("crash", "stats")), st.just({})),
    ).map(list)
    lanes = st.lists(st.lists(steps, max_size=most), min_size=1, max_size=2)
    handlers = [{"name": "mail.async", "kind": "async"}]
    return st.builds(
        lambda seed, faults, policy, lanes: Plan(seed, faults, {}, [[{"name": "mail", "policy": policy, "handlers": handlers}]], lanes),
        seeds(),
        fault_plans(most=0.03).map(Faults.facts),
        st.fixed_dictionaries({}, optional={"concurrency": st.integers(1, 3), "max_pending": st.integers(0, 5)}),
        lanes,
    )

"""Every field of `Faults`: off by default, really strikes when it is on, refuses what makes no sense, and travels as data."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Awaitable, Callable
from math import inf, nan
from typing import Any

import pytest
import trio

from journeyman import Constant, Context, JournalFull, JourneymanError, Queue, Retry
from journeyman.sim import EngineCrashed, Faults, Trace, World, simulate
from journeyman.sim.faults import KINDS, SIZED

FIELDS = [field.name for field in dataclasses.fields(Faults)]
Scenario = Callable[[World], Awaitable[object]]


def work() -> Queue:
    queue = Queue("work", concurrency=4, retry=Retry(attempts=20, backoff=Constant(1), crashes=1000), timeout=600)

    @queue.handler
    async def do(ctx: Context, n: int) -> int:
        await trio.sleep(0.5)
        return n

    return queue


async def a_busy_quarter(world: World) -> None:
    """Fifteen minutes of work by a client that knows what can happen to it."""
    async with world.engine(queues=lambda: [work()]) as engine:
        for n in range(15):
            try:
                await engine.submit("do", n)
                await engine.list(limit=5)
            except (EngineCrashed, JournalFull):
                await engine.ready()
            await world.advance(minutes=1)


def struck(faults: Faults, scenario: Scenario = a_busy_quarter, seeds: int = 8) -> Trace:
    """The first of some runs in which something struck."""
    for seed in range(seeds):
        trace = simulate(scenario, seed=seed, faults=faults)
        if trace.faults:
            return trace
    raise AssertionError(f"{faults} never struck in {seeds} runs")


def test_a_calm_world_has_no_faults() -> None:
    trace = simulate(a_busy_quarter)
    assert not trace.faults
    assert trace.boots == 1
    assert not Faults.none().any
    assert Faults() == Faults.none()
    assert trace.counts["TaskSucceeded"] == trace.counts["AttemptStarted"] == 15


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_strikes_and_strikes_alone(kind: str) -> None:
    """Damage to what is read may be found at a boot or not at all; the run is then no failure, or an honest one."""
    chance = {"crash": 0.01, "torn_commit": 0.1, "stall": (0.02, 3.0), "read_error": 0.05, "bit_flip": 0.05}.get(kind, 0.3)
    honest = JourneymanError if kind in ("bit_flip", "read_error") else ()
    try:
        trace = struck(Faults(**{kind: chance}))
    except honest:
        return
    assert set(trace.faults) == {kind}
    assert Faults(**{kind: chance}).any


def test_crash_restart_and_power() -> None:
    trace = struck(Faults(crash=0.01, restart=20))
    down = [entry.at for entry in trace.events if entry.kind == "crash"]
    up = [entry.at for entry in trace.events if entry.kind == "boot"][1:]
    assert down
    assert all(round(later - earlier, 6) == 20 for earlier, later in zip(down, up, strict=False))
    powerless = struck(Faults(crash=0.01, power=1.0))
    assert all("power and all" in entry.text for entry in powerless.events if entry.kind == "crash")


def timed(faults: Faults) -> float:
    """Virtual seconds of one submit."""
    took = -1.0

    async def scenario(world: World) -> None:
        nonlocal took
        async with world.engine(queues=[work()]) as engine:
            before = world.time()
            await engine.submit("do", 1)
            took = world.time() - before

    simulate(scenario, faults=faults, converge=False)
    return took


def test_disk_latency_and_slow_disk() -> None:
    assert timed(Faults()) == 0.0
    assert timed(Faults(disk_latency=(0.2, 0.3))) == pytest.approx(0.25, abs=0.05)
    assert timed(Faults(disk_latency=0.5)) <= 0.5  # type: ignore[arg-type]  # a number is the upper end
    assert timed(Faults(slow_disk=(1.0, 7.0))) == 7.0
    assert timed(Faults(slow_disk=1.0, disk_latency=(0.02, 0.02))) == pytest.approx(2.0)


def test_disk_full_lasts_its_time_and_no_longer() -> None:
    trace = struck(Faults(disk_full=(0.1, 30.0)))
    assert any("the disk is full" in entry.text and "for 30 s" in entry.text for entry in trace.events)
    assert trace.counts["TaskSucceeded"] > 0


def test_a_flipped_bit_is_reported_and_never_believed() -> None:
    """What the engine read wrong it names, or it did not matter: no task ends with a wrong result."""
    reported = 0
    for seed in range(12):

        async def scenario(world: World) -> None:
            async with world.engine(queues=lambda: [work()]) as engine:
                handles = []
                for n in range(10):
                    handles.append((n, await engine.submit("do", n)))
                    await world.advance(seconds=2)
                await world.crash()
                await engine.ready()
                for n, handle in handles:
                    assert (await handle.wait()).result == n

        try:
            simulate(scenario, seed=seed, faults=Faults(bit_flip=0.05), converge=False)
        except JourneymanError:
            reported += 1
    assert reported


def test_clock_step_and_clock_drift() -> None:
    seen: list[float] = []

    async def an_hour(world: World) -> None:
        began, ticks = world.now(), world.time()
        await world.advance(hours=1)
        seen.append((world.now() - began).total_seconds() - (world.time() - ticks))

    simulate(an_hour)
    simulate(an_hour, faults=Faults(clock_drift=100))
    simulate(an_hour, faults=Faults(clock_drift=-100))
    assert [round(gap, 3) for gap in seen] == [0.0, 0.36, -0.36]
    trace = struck(Faults(clock_step=(0.1, 60.0)), an_hour)
    steps = [float(entry.text.split()[-2]) for entry in trace.events if "the wall clock is set by" in entry.text]
    assert steps
    assert all(abs(step) <= 60 for step in steps)


def test_a_stall_is_time_in_which_nobody_runs() -> None:
    async def scenario(world: World) -> None:
        async with world.engine(queues=[work()]) as engine:
            handle = await engine.submit("do", 1)
            task = await handle.wait()
            assert task.finished_at is not None
            assert task.started_at is not None
            world.took = (task.finished_at - task.started_at).total_seconds()
            assert world.took > 0.5

    trace = simulate(scenario, faults=Faults(stall=(1.0, 1.0)), converge=False)
    assert trace.faults["stall"] > 1


def test_trouble_in_handlers() -> None:
    """HandlerTrouble is an ordinary failure, a hang ends by the time-out, slowness is only slow."""
    lives: dict[str, list[str]] = {}

    def scenario(name: str) -> Scenario:
        async def run(world: World) -> None:
            async with world.engine(queues=[work()]) as engine:
                handle = await engine.submit("do", 1)
                await world.advance(minutes=30)
                world.calm()
                await handle.wait()
                lives[name] = [run.error or run.outcome for run in (await world.history(handle)).attempts]

        return run

    simulate(scenario("error"), faults=Faults(handler_error=1.0))
    simulate(scenario("hang"), faults=Faults(handler_hang=1.0))
    simulate(scenario("slow"), faults=Faults(handler_slow=(1.0, 100.0)))
    assert set(lives["error"]) == {"journeyman.sim.errors.HandlerTrouble: trouble, by the fault plan"}
    assert len(lives["error"]) == 20
    assert [error.partition(":")[0] for error in lives["hang"]][:2] == ["journeyman.actors.ending.AttemptTimeout"] * 2
    assert lives["slow"] == ["succeeded"]


def test_trouble_comes_to_handlers_of_queues_created_later_too() -> None:
    ends = []

    async def scenario(world: World) -> None:
        queues = [Queue(name, retry=Retry(attempts=1)) for name in ("declared", "created", "plugged")]
        for queue in queues:

            @queue.handler(name=f"{queue.name}.run")
            async def run() -> None: ...

        async with world.engine(queues=queues[:1]) as engine:
            await engine.create_queue(queues[1])
            plugin = engine.namespace("plugin")
            await plugin.create_queue(queues[2])
            for door, queue in zip((engine, engine, plugin), queues, strict=True):
                ends.append(await (await door.submit(queue.handlers[f"{queue.name}.run"])).wait())

    simulate(scenario, faults=Faults(handler_error=1.0))
    assert [(task.state, task.error.type) for task in ends if task.error] == [("failed", "journeyman.sim.errors.HandlerTrouble")] * 3


# --- the value itself -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", sorted(set(FIELDS) - {"restart", "disk_latency", "clock_drift"}))
def test_a_chance_is_from_0_to_1(field: str) -> None:
    for wrong in (-0.1, 1.1):
        with pytest.raises(ValueError, match=field):
            Faults(**{field: wrong})
    if field in SIZED:
        assert getattr(Faults(**{field: [0.5, 3]}), field) == (0.5, 3.0)
        with pytest.raises(ValueError, match=field):
            Faults(**{field: (0.5, -1)})
    else:
        with pytest.raises(ValueError, match=field):
            Faults(**{field: (0.5, 3)})


@pytest.mark.parametrize(
    "wrong", [{"disk_latency": (2, 1)}, {"disk_latency": (-1, 1)}, {"restart": -1}, {"clock_drift": 1e6}, {"restart": float("nan")}]
)
def test_ranges_are_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Faults(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("field", sorted(FIELDS))
def test_nonsense_is_refused_in_plain_words(field: str) -> None:
    wrong: list[Any] = [nan, -inf, inf, 1e308, 10**400, "0.1", None, 1j, (), (0.5,), (0.1, inf), (0.1, nan), (0.1, "x"), (0.1, 1e308)]
    for value in wrong:
        with pytest.raises(ValueError, match=field):
            Faults(**{field: value})


def test_a_latency_may_be_one_number_or_a_pair() -> None:
    assert Faults.of({"disk_latency": 3}).disk_latency == (0.0, 3.0)
    listed = Faults.of({"disk_latency": [0.1, 5]})
    assert (listed, hash(listed)) == (Faults(disk_latency=(0.1, 5)), hash(Faults(disk_latency=(0.1, 5))))
    with pytest.raises(ValueError, match="disk_latency"):
        Faults.of({"disk_latency": -1})
    with pytest.raises(ValueError, match="no such fault: nope"):
        Faults().without("nope")


def test_a_plan_is_data() -> None:
    plan = Faults(crash=0.01, stall=(0.5, 3), disk_latency=(0.1, 0.2), restart=5)
    facts = json.loads(json.dumps(plan.facts()))
    assert facts == {"crash": 0.01, "stall": [0.5, 3.0], "disk_latency": [0.1, 0.2], "restart": 5}
    assert Faults.of(facts) == plan
    assert plan.without("crash", "stall") == Faults(disk_latency=(0.1, 0.2), restart=5)
    with pytest.raises(ValueError, match="no such fault: crush"):
        Faults.of({"crush": 1})


def test_leaving_a_fault_out_leaves_the_others_where_they_were() -> None:
    """That is what lets a failing plan be made smaller."""

    async def scenario(world: World) -> None:
        await world.advance(hours=2)

    def steps(faults: Faults) -> list[str]:
        trace = simulate(scenario, seed=4, faults=faults)
        return [entry.text for entry in trace.events if "wall clock" in entry.text]

    assert steps(Faults(clock_step=0.1, stall=0.5, slow_disk=0.5)) == steps(Faults(clock_step=0.1)) != []


def test_every_field_is_explained() -> None:
    text = Faults.__doc__ or ""
    assert [name for name in FIELDS if name not in text] == []

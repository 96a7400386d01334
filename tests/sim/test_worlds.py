"""A world and a run, from outside: several engines, invariants, failures and their notes, deadlock, limits, digests."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time

import pytest
import trio

from journeyman import Engine, JournalLocked, JourneymanError, Queue, Retry
from journeyman.sim import Deadlock, EngineCrashed, Faults, OutOfTime, PromiseBroken, World, simulate
from tests.sim.errands import Mistake, errands, two_errands
from tests.sources import ROOT

# --- engines --------------------------------------------------------------------------------------------------------------------------


def test_two_engines_on_two_paths_die_together_and_know_their_own() -> None:
    async def scenario(world: World) -> None:
        one, two = errands(), errands()
        async with world.engine(queues=[one]) as first, world.engine(queues=[two], path="other") as second:
            handle = await first.submit("run", 1)
            await second.submit_many([("run", (n,)) for n in range(3)])
            assert (await first.count(), await second.count()) == (1, 3)
            await world.crash()
            assert (first.up, second.up) == (False, False)
            assert (await handle.wait()).result == 1
            await second.ready()
            await second.drain()
            assert await second.count(state="succeeded") == 3

    assert simulate(scenario).boots == 4


@pytest.mark.parametrize("options", [{}, {"max_concurrency": 2}])
def test_one_path_has_one_engine_at_a_time(options: dict[str, int]) -> None:
    async def scenario(world: World) -> None:
        engine = world.engine(queues=[errands()])
        async with engine:
            with pytest.raises(JournalLocked, match="'journal' is open in another engine of this world"):
                async with world.engine(queues=[errands()], **options):
                    raise AssertionError("entered")
            with pytest.raises(RuntimeError, match="already entered"):
                async with engine:
                    raise AssertionError("entered")
            handle = await engine.submit("run", 1)
            await handle.wait()
        async with world.engine(queues=[errands()], **options) as later:
            assert (await later.get(handle.id)).state == "succeeded", "the same journal"

    simulate(scenario)


def test_a_disk_keeps_the_durability_it_began_with() -> None:
    async def scenario(world: World) -> None:
        async with world.engine(queues=[errands()], durability="relaxed"):
            pass
        with pytest.raises(ValueError, match="the disk 'journal' of this world began with the other durability"):
            world.engine(queues=[errands()])
        async with world.engine(queues=[errands()], path="other"):
            pass

    simulate(scenario)


def test_an_engine_that_cannot_be_opened_says_why_to_whoever_enters_it() -> None:
    async def scenario(world: World) -> None:
        async with world.engine(queues=[errands(), errands()]):
            raise AssertionError("entered")

    with pytest.raises(JourneymanError, match="errands"):
        simulate(scenario)


# --- what a scenario may do -----------------------------------------------------------------------------------------------------------


def test_a_world_takes_attributes() -> None:
    async def scenario(world: World) -> None:
        world.bank = ["empty"]
        assert world.bank == ["empty"]

    simulate(scenario)


def test_what_a_scenario_raises_comes_out_bare_with_notes() -> None:
    async def scenario(world: World) -> None:
        await two_errands(world)
        raise Mistake("of mine")

    with pytest.raises(Mistake, match="of mine") as caught:
        simulate(scenario, seed=41, faults=Faults(crash=0.00001, clock_drift=3))
    notes = "\n".join(caught.value.__notes__)
    assert "seed=41, faults=Faults(crash=1e-05, clock_drift=3)" in notes
    assert "TaskSucceeded" in notes
    trace = caught.value.trace  # type: ignore[attr-defined]
    assert f"digest {trace.digest}" in notes
    assert trace.seed == 41


def test_notes_of_a_chosen_crash_say_where_it_struck() -> None:
    async def scenario(world: World) -> None:
        await two_errands(world)

    with pytest.raises(EngineCrashed) as caught:
        for point in range(5, 60):
            simulate(scenario, crash_at=point)
    assert any("the process had died at point" in note for note in caught.value.__notes__)


def test_other_errors_of_a_scenario_end_the_engine_and_come_out() -> None:
    async def scenario(world: World) -> None:
        async with world.engine(queues=[errands()]) as engine:
            await engine.submit("run", 1)
            raise Mistake("inside the block")

    with pytest.raises(Mistake, match="inside the block"):
        simulate(scenario)


# --- invariants -----------------------------------------------------------------------------------------------------------------------


def test_effects() -> None:
    async def scenario(world: World) -> None:
        effects = world.effects
        effects.append("a")
        await world.advance(seconds=5)
        assert effects.once("b")
        assert not effects.once("b")
        assert (list(effects), len(effects), effects.count("a"), "b" in effects) == (["a", "b"], 2, 1, True)
        assert effects == ["a", "b"]
        assert effects.times == [(0, "a"), (5, "b")]
        effects.assert_at_most_once()
        for record in (effects.append, effects.once):
            with pytest.raises(TypeError, match="must be hashable"):
                record(["a"])  # type: ignore[arg-type]
        effects.append("a")
        with pytest.raises(PromiseBroken, match="'a' 2 times"):
            effects.assert_at_most_once()

    simulate(scenario)


def test_a_long_trace_keeps_its_beginning_and_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = simulate(two_errands)
    monkeypatch.setattr("journeyman.sim.trace.ROWS", 4)
    short = simulate(two_errands)
    assert short.digest == whole.digest
    assert whole.counts.total() == len(whole.events) > 8
    lines, all_lines = short.render().splitlines(), whole.render().splitlines()
    assert lines[:5] == all_lines[:5]
    assert lines[5].strip() == f"... {len(whole.events) - 8} events left out ..."
    assert lines[6:] == all_lines[-4:]
    assert short.render(last=4).splitlines() == [lines[0], *all_lines[-4:]]
    assert short.render(around=whole.seconds).splitlines()[-1] == all_lines[-1]


def test_what_the_factory_of_queues_raises_is_the_scenarios_to_catch() -> None:
    def broken() -> list[Queue]:
        raise LookupError("no such release")

    async def scenario(world: World) -> None:
        with pytest.raises(LookupError, match="no such release"):
            async with world.engine(queues=broken):
                pass
        with pytest.raises(TypeError, match="takes a list of Queues.* not one with 1 in it"):
            async with world.engine(queues=[1, 2]):  # type: ignore[list-item]
                pass
        with pytest.raises(TypeError, match="store"):
            async with world.engine(store=1):
                pass
        async with world.engine(queues=[errands()]) as engine:  # the disk is free again
            assert (await (await engine.submit("run", 1)).wait()).result == 1

    simulate(scenario)


def test_what_it_raises_at_a_later_boot_ends_the_run_as_it_is() -> None:
    releases = iter([[errands()]])

    async def scenario(world: World) -> None:
        async with world.engine(queues=lambda: next(releases)) as engine:
            await world.crash()
            await engine.ready()

    with pytest.raises(RuntimeError, match="queues= has no release left"):
        simulate(scenario)


# --- ends -----------------------------------------------------------------------------------------------------------------------------


def test_a_deadlock_is_told_at_once_with_what_stands_still() -> None:
    async def scenario(world: World) -> None:
        queue = errands()
        async with world.engine(queues=[queue]) as engine:
            await engine.pause("errands")
            handle = await engine.submit("run", 1)
            await handle.wait()

    began = time.monotonic()
    with pytest.raises(Deadlock, match="nothing can happen any more") as caught:
        simulate(scenario)
    assert time.monotonic() - began < 20
    said = str(caught.value)
    assert "errands/run" in said
    assert "queue 'errands' was paused" in said
    assert "scenario: await handle.wait()" in said
    assert caught.value.trace.seconds < 7200  # type: ignore[attr-defined]


def test_a_scenario_that_never_ends_is_given_up() -> None:
    async def scenario(world: World) -> None:
        while True:
            await world.advance(seconds=1)

    with pytest.raises(OutOfTime, match="10,000 steps and no end"):
        simulate(scenario, max_steps=10_000)


@pytest.mark.parametrize("faults", [Faults(crash=1.0), Faults(torn_commit=1.0), Faults(read_error=1.0)], ids=lambda plan: str(plan.facts()))
def test_an_engine_that_never_comes_to_be_open_is_given_up(faults: Faults) -> None:
    async def scenario(world: World) -> None:
        queue = errands()
        async with world.engine(queues=[queue]):
            await world.advance(hours=1)

    with pytest.raises(OutOfTime, match="1,000 boots in a row ended before they were open"):
        simulate(scenario, faults=faults)


def test_the_calm_phase_brings_everything_to_an_end_or_says_what_hangs() -> None:
    ended = []
    queue = Queue("hanging", retry=Retry(attempts=2), timeout=30)

    @queue.handler
    async def work() -> None:
        await trio.sleep(10)
        ended.append(trio.current_time())

    async def leave_it(world: World) -> None:
        async with world.engine(queues=[queue]) as engine:
            await engine.submit(work)

    simulate(leave_it, converge=False)
    before = list(ended)
    simulate(leave_it, converge=True)
    assert len(ended) >= len(before) + 1


# --- the same again -------------------------------------------------------------------------------------------------------------------

PROGRAM = """
import trio
from journeyman import Queue, Retry
from journeyman.sim import EngineCrashed, Faults, simulate

async def scenario(world):
    queue = Queue("q", concurrency=4, retry=Retry(attempts=3, crashes=100))

    @queue.handler
    async def work(n):
        await trio.sleep(world.random.random())
        if n % 3 == 0:
            raise ValueError(f"{object()} will not do")
        return {str(n), "x", "y"} and n

    async with world.engine(queues=[queue]) as engine:
        for n in range(30):
            await engine.ready()
            try:
                await engine.submit(work, n)
            except EngineCrashed:
                pass

for seed in range(4):
    print(simulate(scenario, seed=seed, faults=Faults(crash=0.01, disk_latency=(0, 0.1), clock_step=0.01, stall=0.001)).digest)
"""


@pytest.mark.parametrize("flags", [[], ["-X", "dev"], ["-O"]], ids=["plain", "dev", "optimized"])
def test_equal_seeds_give_equal_digests_in_any_process(flags: list[str]) -> None:
    digests = set()
    for hash_seed in ("0", "1"):
        env = {**os.environ, "PYTHONHASHSEED": hash_seed}
        command = [sys.executable, "-W", "ignore", *flags, "-c", PROGRAM]
        ran = subprocess.run(command, capture_output=True, text=True, env=env, cwd=ROOT, timeout=100, check=False)
        assert ran.returncode == 0, ran.stderr
        digests.add(ran.stdout)
    assert len(digests) == 1
    assert len(set(digests.pop().split())) == 4, "other seeds, other runs"


def test_a_simulation_leaves_trio_and_handlers_as_they_were() -> None:
    queue = errands()
    function = queue.handlers["run"].function

    async def scenario(world: World) -> None:
        async with world.engine(queues=[queue]) as engine:
            await engine.submit("run", 1)
            assert queue.handlers["run"].function is not function

    simulate(scenario, faults=Faults(handler_slow=1.0))
    assert queue.handlers["run"].function is function

    async def real() -> None:
        before = time.monotonic()
        await trio.sleep(0.05)
        assert time.monotonic() - before >= 0.04
        assert await trio.to_thread.run_sync(asyncio.new_event_loop().close) is None
        async with Engine(None, queues=[queue]) as engine:
            assert await (await engine.submit("run", 7)).result(timeout=10) == 7

    trio.run(real)

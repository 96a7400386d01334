"""What a scenario sees of a crash: calls cut off, handles that carry on, and everything acknowledged still there."""

from __future__ import annotations

import gc
import uuid
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import trio

from journeyman import Context, EngineStopped, Queue, Retry, TaskNotFound
from journeyman.sim import EngineCrashed, Faults, Trace, World, simulate


def letters(log: list[str] | None = None) -> Queue:
    queue = Queue("letters", concurrency=2, retry=Retry(crashes=1000))

    @queue.handler
    async def send(ctx: Context, to: str) -> str:
        try:
            await trio.sleep(1)
        finally:
            if log is not None:
                log.append(f"{to} {ctx.attempt}")
        return f"dear {to}"

    return queue


def chosen(n: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"letter {n}"))


async def cut_off(world: World, call: Callable[[], Any]) -> BaseException | None:
    """Make a call, kill the process while it is under way; what the caller is told."""
    told: list[BaseException | None] = []

    async def make() -> None:
        try:
            await call()
        except Exception as error:
            told.append(error)
        else:
            told.append(None)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(make)
        await trio.sleep(0.05)
        await world.crash()
    return told[0]


def test_a_call_under_way_is_told_that_its_outcome_is_unknown() -> None:  # row 89
    async def scenario(world: World) -> None:
        async with world.engine(queues=[letters()]) as engine:
            error = await cut_off(world, lambda: engine.submit("send", "Ada"))
            assert isinstance(error, EngineCrashed)
            assert str(error) == "the process died during submit(): its outcome is unknown"
            assert not engine.up
            await engine.ready()
            assert engine.up
            known = await engine.count()
            error = await cut_off(world, lambda: engine.pause("letters"))
            assert isinstance(error, EngineCrashed)
            await engine.ready()
            assert await engine.count() == known

    simulate(scenario, faults=Faults(disk_latency=(0.1, 0.1)))


def test_calls_while_it_is_down_are_refused_and_ready_waits_for_it() -> None:
    async def scenario(world: World) -> None:
        async with world.engine(queues=[letters()]) as engine:
            handle = await engine.submit("send", "Ada")
            await world.crash()
            for call in (
                lambda: engine.submit("send", "Bob"), lambda: engine.get(handle.id), engine.list, engine.count, engine.stats,
                lambda: engine.cancel(handle.id), lambda: engine.pause("letters"), engine.drain, engine.stop,
            ):  # fmt: skip
                with pytest.raises(EngineCrashed, match="is down; it is started again after"):
                    await call()
            before = world.time()
            await engine.ready()
            assert world.time() - before == 20
            assert (await engine.get(handle.id)).state == "running"

    simulate(scenario, faults=Faults(restart=20))


@pytest.mark.parametrize("patience", [None, 60.0])
def test_wait_and_result_carry_on_across_crashes(patience: float | None) -> None:
    async def scenario(world: World) -> None:
        async with world.engine(queues=[letters()]) as engine:
            handle = await engine.submit("send", "Ada")
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def await_the_result() -> None:
                    assert await handle.result(timeout=patience) == "dear Ada"

                for _ in range(3):
                    await trio.sleep(0.5)
                    await world.crash()
                    await engine.ready()
            await world.crash()
            assert (await handle.wait(timeout=patience)).attempt == 4, "asked while the process is down"

    assert simulate(scenario).boots == 5


def test_a_wait_has_its_own_patience_across_crashes() -> None:
    async def scenario(world: World) -> None:
        async with world.engine(queues=[letters()]) as engine:
            handle = await engine.submit("send", "Ada")
            await world.crash()
            before = world.time()
            with pytest.raises(trio.TooSlowError):
                await handle.wait(timeout=5)
            assert world.time() - before == 5

    simulate(scenario, faults=Faults(restart=100))


def test_an_id_makes_a_submit_safe_to_repeat() -> None:  # row 89
    async def scenario(world: World) -> None:
        async with world.engine(queues=lambda: [letters()]) as engine:
            for n in range(5):
                while True:
                    try:
                        await engine.submit(engine.handler("send", queue="letters").using(id=chosen(n)), f"reader {n}")
                        break
                    except EngineCrashed:
                        await engine.ready()
            while True:
                try:
                    assert await engine.count() == 5
                    break
                except EngineCrashed:
                    await engine.ready()

    simulate(scenario, crash_at="every")
    assert sum(simulate(scenario, seed=seed, faults=Faults(crash=0.02, torn_commit=0.05)).faults["crash"] for seed in range(20)) > 5


@pytest.mark.parametrize("durability", ["full", "relaxed"])
def test_nothing_acknowledged_is_lost_with_the_process(durability: str) -> None:
    """With the machine, "relaxed" may lose the newest commit; the process alone takes nothing."""

    async def scenario(world: World) -> None:
        async with world.engine(queues=lambda: [letters()], durability=durability) as engine:
            acknowledged = []
            for n in range(10):
                await engine.ready()
                try:
                    acknowledged.append(await engine.submit("send", str(n)))
                except EngineCrashed:
                    continue
            for handle in acknowledged:
                assert (await handle.wait()).state == "succeeded"

    for seed in range(20):
        simulate(scenario, seed=seed, faults=Faults(crash=0.02, torn_commit=0.05, disk_latency=(0.0, 0.2)))


def test_what_is_not_committed_is_gone_and_what_is_in_flight_by_chance() -> None:
    kept = []

    async def scenario(world: World) -> None:
        async with world.engine(queues=[letters()]) as engine:
            submit = engine.handler("send", queue="letters").using(id=chosen(0))
            await cut_off(world, lambda: engine.submit(submit, "Ada"))
            await engine.ready()
            kept.append(await engine.count())

    for seed in range(16):
        simulate(scenario, seed=seed, faults=Faults(disk_latency=(0.1, 0.1)), converge=False)
    assert set(kept) == {0, 1}, "a commit under way at the crash is there whole or not at all"


def newest_after_a_power_cut(durability: str, power: bool) -> int:
    """How many of three tasks, each acknowledged in a commit of its own, are there after a crash right behind."""
    found = -1

    async def scenario(world: World) -> None:
        nonlocal found
        async with world.engine(queues=[letters()], durability=durability) as engine:
            await engine.pause("letters")
            handles = [await engine.submit("send", str(n)) for n in range(3)]
            await world.crash(power=power)
            await engine.ready()
            found = 0
            for handle in handles:
                try:
                    await engine.get(handle.id)
                except TaskNotFound:
                    continue
                found += 1

    simulate(scenario)
    return found


def test_relaxed_durability_may_lose_the_newest_commit_to_a_power_cut() -> None:
    assert newest_after_a_power_cut("full", power=True) == 3
    assert newest_after_a_power_cut("relaxed", power=False) == 3
    assert newest_after_a_power_cut("relaxed", power=True) == 2


def test_finally_runs_and_what_it_does_to_the_world_of_effects_does_not_count() -> None:
    """DECISIONS 37: trio must unwind a world; a dead boot is not heard."""
    log: list[str] = []
    queue = letters(log)

    async def scenario(world: World) -> None:
        @queue.handler
        async def charge(ctx: Context) -> None:
            try:
                world.effects.append(("charge", ctx.attempt))
                await trio.sleep(1)
            finally:
                world.effects.append(("refund", ctx.attempt))
                ctx.progress(1.0, "from the grave")

        async with world.engine(queues=[queue]) as engine:
            handle = await engine.submit("send", "Ada")
            charged = await engine.submit("charge")
            await trio.sleep(0.5)
            await world.crash()
            await trio.sleep(0.5)
            assert log == ["Ada 1"], "plain Python side effects are not taken back"
            assert list(world.effects) == [("charge", 1)]
            await handle.wait()
            task = await charged.wait()
            assert list(world.effects) == [("charge", 1), ("charge", 2), ("refund", 2)]
            assert [event.kind for event in await engine.history(task.id)].count("ProgressSampled") <= 1

    simulate(scenario)


def test_a_dead_handler_asks_in_vain_in_the_next_boot_too() -> None:
    """DECISIONS 37: its `finally` may sleep past the restart; the engine of the scenario is another process then."""
    queue = letters()
    told: list[str] = []

    async def scenario(world: World) -> None:
        engine = world.engine(queues=[queue])
        calls: list[Callable[[], Any]] = [lambda: engine.submit("send", "Ada"), engine.count, engine.stop]

        @queue.handler
        async def charge(ctx: Context) -> None:
            try:
                await trio.sleep(2)
            finally:
                if ctx.attempt == 1:
                    with trio.CancelScope(shield=True):
                        await trio.sleep(5)
                        for call in calls:
                            try:
                                await call()
                            except EngineCrashed as error:
                                told.append(str(error))

        async with engine:
            handle = await engine.submit("charge")
            await trio.sleep(1)
            await world.crash()
            assert (await handle.wait()).state == "succeeded"
            await trio.sleep(10)
            assert len(told) == len(calls)
            assert all("process of this handler is dead" in words for words in told)
            assert await engine.count(handler="send") == 0

    simulate(scenario)


def test_queues_may_be_made_anew_at_each_boot() -> None:
    made = []

    def queues() -> list[Queue]:
        made.append(letters())
        return made[-1:]

    async def scenario(world: World) -> None:
        async with world.engine(queues=queues) as engine:
            await (await engine.submit(made[-1].handlers["send"], "Ada")).wait()
            await world.crash()
            await engine.ready()
            await (await engine.submit(made[-1].handlers["send"], "Bob")).wait()

    simulate(scenario)
    assert len(made) == 2


def test_crash_at_a_number_strikes_there_and_once() -> None:
    async def scenario(world: World) -> None:
        async with world.engine(queues=[letters()]) as engine:
            try:
                handle = await engine.submit("send", "Ada")
            except EngineCrashed:
                return
            await handle.wait()

    points = simulate(scenario).points
    whats = set()
    for point in range(points):
        trace = simulate(scenario, crash_at=point)
        assert trace.counts["crash"] == 1
        whats |= {entry.text.partition(", ")[2] for entry in trace.events if entry.text.startswith("the process dies at point")}
    assert whats == {"at an await", "before a commit", "after a commit"}
    swept: Trace = simulate(scenario, crash_at="every")
    assert 0 < swept.faults["crash"] <= points
    assert swept.boots > swept.faults["crash"]
    with pytest.raises(ValueError, match="struck nothing"):
        simulate(scenario, crash_at=10**9)


def test_a_handle_of_an_engine_that_was_left() -> None:
    async def scenario(world: World) -> None:
        async with world.engine(queues=[letters()]) as engine:
            handle = await engine.submit("send", "Ada")
        for call in (handle.wait, engine.count, lambda: engine.submit("send", "Bob")):
            with pytest.raises(EngineStopped):
                await call()
        async with engine:
            assert (await handle.wait()).state == "succeeded"

    simulate(scenario)


def test_simulated_deaths_are_not_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """In a sweep there are thousands, and each would read like a disk that failed."""

    async def scenario(world: World) -> None:
        async with world.engine(queues=[letters()]) as engine:
            handle = await engine.submit("send", "Ada")
            await world.crash()
            await handle.wait()

    simulate(scenario)
    assert caplog.records == []


def test_a_world_keeps_no_boot_that_is_over() -> None:
    """Thousands of them would be tens of megabytes."""
    queue = Queue("q", retry=Retry(crashes=1000))

    @queue.handler
    async def work() -> None:
        await trio.sleep(5)

    async def scenario(world: World) -> None:
        dead = []
        async with world.engine(queues=[queue]) as engine:
            handle = await engine.submit(work)
            for _ in range(50):
                dead.append(weakref.ref(engine._boot.engine))  # type: ignore[union-attr]
                await world.crash()
                await engine.ready()
            assert len(world.boots) == 1
            assert (await handle.wait()).attempt == 51
        gc.collect()
        assert sum(one() is not None for one in dead) <= 2

    assert simulate(scenario).boots == 51

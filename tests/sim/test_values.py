"""The application's key-values in simulated worlds: crashes everywhere, and what a transaction leaves."""

from __future__ import annotations

import pytest
import trio

from journeyman.engine import Context, Queue, Retry
from journeyman.kernel.policy import Constant
from journeyman.sim import EngineCrashed, Faults, World, capture, simulate
from tests.sim.planted import planted
from tests.sim.shop import days, gathered, patiently, shop, whole
from tests.sim.test_half_a_step import half


# row 22, row 81
def test_a_crash_at_every_point_leaves_each_effect_once() -> None:
    trace = simulate(whole, crash_at="every")
    assert trace.boots > 50


# row 81
def test_so_do_random_crashes_torn_commits_and_slow_disks() -> None:
    boots = 0
    for seed in range(60):
        faults = Faults(crash=0.02, torn_commit=0.1, disk_latency=(0.0001, 0.02), handler_error=0.1, clock_step=0.05)
        boots += simulate(whole, seed=seed, faults=faults).boots
    assert boots > 100


def test_power_cuts_too_where_durability_is_relaxed() -> None:
    async def scenario(world: World) -> None:
        async with world.engine(queues=[shop()], durability="relaxed") as engine:
            for order in range(1, 6):
                await patiently(engine, order)
                await trio.sleep(0.05)
            while True:
                try:
                    await engine.drain()
                    values = dict(await engine.values())
                    break
                except EngineCrashed:
                    await engine.ready()
            seen = {int(key[5:]) for key in values if key.startswith(b"seen/")}  # what a power cut took back, it took back whole
            assert int(values.get(b"total", b"0")) == sum(seen)
            assert int(values.get(b"posted", b"0")) == len(seen)

    for seed in range(30):
        simulate(scenario, seed=seed, faults=Faults(crash=0.03, torn_commit=0.1))


def test_a_transaction_over_a_crash_is_told_so_and_has_written_nothing() -> None:
    told: list[str] = []

    async def scenario(world: World) -> None:
        async with world.engine(queues=[shop()]) as engine:
            try:
                async with engine.transaction() as tx:
                    tx.put(b"k", b"v")
                    await world.crash()
                    await engine.ready()
            except EngineCrashed as error:
                told.append(str(error))
            assert await engine.value(b"k") is None
            async with engine.namespace("plugin").transaction() as tx:
                tx.put(b"k", b"v")
            assert await engine.namespace("plugin").value(b"k") == b"v"

    simulate(scenario)
    assert told == ["the simulated process died during this transaction; nothing of it was written"]


def test_days_of_overwriting_leave_a_journal_that_does_not_grow() -> None:
    simulate(days)


def test_what_gathers_for_one_commit_is_what_came_last() -> None:
    simulate(gathered, faults=Faults(disk_latency=(0.01, 0.02)))


def test_capture_hears_what_a_transaction_submits() -> None:
    queue = shop()
    bill = queue.handlers["bill"]

    async def scenario(world: World) -> None:
        async with world.engine(queues=[queue]) as engine:
            await engine.pause("shop")
            with capture(engine) as captured:
                async with engine.transaction() as tx:
                    handle = tx.submit(bill, 7)
                    captured.assert_nothing_submitted()
                try:
                    async with engine.transaction() as tx:
                        tx.submit(bill, 8)
                        raise KeyError
                except KeyError:
                    pass
            [one] = captured
            assert captured.assert_submitted(bill, args=(7,)) is one
            assert one.handle.id == handle.id

    simulate(scenario)


@pytest.mark.parametrize("seed", range(8))
def test_a_step_that_fails_half_way_puts_nothing(seed: int) -> None:
    """A bug in a queue's code: its step is undone, and the values of it too; a transaction waits until the queue is read anew."""
    media = Queue("media", concurrency=3, retry=Retry(attempts=100, backoff=Constant(0.1)))

    @media.handler
    async def count(ctx: Context, n: int) -> None:
        await trio.sleep(0.01 * (n % 3))
        ctx.put(b"done", b"%d" % (int(ctx.get(b"done") or b"0") + 1))

    async def scenario(world: World) -> None:
        async with world.engine(queues=[media]) as engine:
            for n in range(30):
                async with engine.transaction() as tx:
                    tx.put(b"sent", b"%d" % (n + 1))
                    tx.submit(count, n)
                await trio.sleep(0.02 * (seed % 3))
            await trio.sleep(600)
            assert engine._opened().shell.actors["media"].state.epoch > 1  # it was read anew
            assert await engine.value(b"sent") == b"30"
            assert await engine.count(state="succeeded") == 30
            assert await engine.value(b"done") == b"30"

    with planted(half(60 + seed, "kind.__name__ in ('TaskSucceeded', 'AttemptStarted')")):
        simulate(scenario, seed=seed, faults=Faults(disk_latency=(0.0, 0.05)))

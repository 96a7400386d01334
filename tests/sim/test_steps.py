"""Durable steps in simulated worlds: charge, then mail, with a death at every await and every commit."""

from __future__ import annotations

import contextlib

import pytest
import trio

from journeyman.engine import Constant, Context, Queue, Retention, Retry, State
from journeyman.sim import EngineCrashed, Faults, World, simulate
from tests.sim.workloads import stepping

ID = "0198c0de-0000-7000-8000-000000000090"


def shop(world: World, kind: str) -> Queue:
    """One handler that charges, then mails, then fails once, then ends.  What it does outside is in `world.effects`, by amount."""
    queue = Queue("orders", retry=Retry(attempts=3, backoff=Constant(5), jitter=0), retention=Retention(succeeded=None))

    async def charge(amount: int) -> str:
        await trio.sleep(0.5)
        world.effects.append(("charge", amount))
        return f"receipt of {amount}"

    def charge_at_once(amount: int) -> str:
        world.effects.append(("charge", amount))
        return f"receipt of {amount}"

    def mail(text: str) -> int:
        world.effects.append(("mail", int(text.split()[-1])))
        return len(text)

    if kind == "async":

        @queue.handler(name="order")
        async def order(ctx: Context, amount: int) -> int:
            receipt = await ctx.step("charge", charge, amount)
            returned(world, ctx, ("charge", amount))
            sent: int = await ctx.step("mail", mail, receipt)
            returned(world, ctx, ("mail", amount))
            if ctx.attempt == 1:
                raise ConnectionError
            return sent
    else:

        @queue.handler(name="order")
        def order_at_once(ctx: Context, amount: int) -> int:
            receipt = ctx.step("charge", charge_at_once, amount)
            returned(world, ctx, ("charge", amount))
            sent: int = ctx.step("mail", mail, receipt)
            returned(world, ctx, ("mail", amount))
            if ctx.attempt == 1:
                raise ConnectionError
            return sent

    return queue


def returned(world: World, ctx: Context, effect: tuple[str, int]) -> None:
    """The handler has the value of a step: its effect must not come again."""
    counts = vars(world).setdefault("counts_when_returned", {})
    counts.setdefault((ctx.id, effect), world.effects.count(effect))
    assert world.effects.count(effect) == counts[ctx.id, effect], f"{effect} was done again after its step had returned"


async def order_one(world: World, kind: str) -> None:
    async with world.engine(queues=[shop(world, kind)]) as engine:
        while True:
            try:
                handle = await engine.submit(engine.handler("order", "orders").using(id=ID), 40)
                break
            except EngineCrashed:
                await engine.ready()
        task = await handle.wait()
        assert (task.state, task.result) == (State.SUCCEEDED, len("receipt of 40"))
    times = [world.effects.count((name, 40)) for name in ("charge", "mail")]
    assert times in ([1, 1], [1, 2], [2, 1]), "one death finds one step under way, and only that is run again"


# row 90
@pytest.mark.parametrize("kind", ["async", "def"])
def test_row_90_charge_then_mail_through_every_crash(kind: str) -> None:
    async def scenario(world: World) -> None:
        await order_one(world, kind)

    trace = simulate(scenario, faults=Faults(disk_latency=(0.01, 0.2)), crash_at="every")
    assert trace.counts["StepRecorded"] == 2


# row 90
@pytest.mark.parametrize("kind", ["async", "def"])
def test_row_90_and_through_many_crashes_on_a_bad_disk(kind: str) -> None:
    async def scenario(world: World) -> None:
        async with world.engine(queues=[shop(world, kind)]) as engine:
            for n in range(3):
                with contextlib.suppress(EngineCrashed):
                    await engine.ready()
                    await engine.submit("order", n)
            await trio.sleep(600)
            await engine.ready()
            assert {task.state for task in await engine.list()} <= {State.SUCCEEDED, State.FAILED}

    runs = [simulate(scenario, seed=seed, faults=Faults(crash=0.03, torn_commit=0.05, disk_latency=(0.0, 0.5))) for seed in range(15)]
    assert sum(trace.reached["sometimes a done step passed over"] for trace in runs) > 10
    assert sum(trace.reached["sometimes a step run again"] for trace in runs) > 0


def test_worlds_with_steps_repeat_themselves() -> None:
    assert [stepping(seed).digest for seed in range(4)] == [stepping(seed).digest for seed in range(4)]


async def test_a_def_handlers_step_takes_no_virtual_time_and_is_durable_all_the_same() -> None:
    """See sim/inline.py: it stands on the loop, so its commits arrive at once."""
    seen: list[tuple[float, float]] = []

    async def scenario(world: World) -> None:
        queue = Queue("q")

        @queue.handler
        def work(ctx: Context) -> None:
            began = world.time()
            for n in range(3):
                ctx.step(f"step {n}", len, "abc")
            seen.append((began, world.time()))

        async with world.engine(queues=[queue]) as engine:
            handles = [await engine.submit(work) for _ in range(3)]
            for handle in handles:
                await handle.wait()

    await trio.to_thread.run_sync(lambda: simulate(scenario, faults=Faults(disk_latency=(1.0, 1.0))))
    assert len(seen) == 3
    assert all(began == ended for began, ended in seen)


def test_a_step_from_a_thread_that_a_handler_has_started_itself() -> None:
    seen: list[object] = []

    async def scenario(world: World) -> None:
        queue = Queue("q", retry=Retry(attempts=2, backoff=Constant(0)))

        @queue.handler
        async def work(ctx: Context) -> None:
            seen.append(await trio.to_thread.run_sync(ctx.step, "one", len, "abc"))
            if ctx.attempt == 1:
                raise ConnectionError

        async with world.engine(queues=[queue]) as engine:
            await (await engine.submit(work)).result()

    simulate(scenario)
    assert seen == [3, 3]

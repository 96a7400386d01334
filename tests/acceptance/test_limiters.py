"""Rows 16 and 82 for limiters that queues share: one rate for all of them, each task by its cost, nobody starves, no free start."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import trio

from journeyman.engine import Context, Engine, Queue, Rate, State
from journeyman.journal.memory_store import MemoryStore
from journeyman.sim import EngineCrashed, Faults, World, simulate
from tests.acceptance.virtual import SlowStore, TrioClock

Starts = list[tuple[float, str, int]]  # when, in which queue, at which cost


def sharing(rate: Rate, *names: str, concurrency: int = 8) -> tuple[list[Queue], Starts]:
    """Queues that share one limiter, whose handlers put down when they were entered."""
    starts: Starts = []

    def made(name: str) -> Queue:
        queue = Queue(name, concurrency=concurrency, rate=rate)

        @queue.handler(name=f"{name}.call")
        async def call(ctx: Context, cost: int = 1) -> None:
            starts.append((round(trio.current_time(), 3), name, cost))

        return queue

    return [made(name) for name in names], starts


# row 16
async def test_row_16_queues_that_name_one_limiter_share_it(autojump_clock: trio.testing.MockClock) -> None:
    queues, starts = sharing(Rate(2, per=1.0, name="llm"), "a", "b")
    async with Engine(None, queues, clock=TrioClock()) as engine:
        begun = trio.current_time()
        await engine.submit_many([("a.call",)] * 4 + [("b.call",)] * 4)
        await engine.drain()
    assert [at - begun for at, _, _ in starts] == pytest.approx([n * 0.5 for n in range(8)], abs=0.01)


# row 16
@pytest.mark.parametrize("flood_first", [True, False])
async def test_row_16_nobody_starves_beside_a_flood(flood_first: bool, autojump_clock: trio.testing.MockClock) -> None:
    queues, starts = sharing(Rate(10, per=1.0, burst=3, name="llm"), "a", "b", "c")
    flood, few = ("a", "b") if flood_first else ("b", "a")
    async with Engine(None, queues, clock=TrioClock()) as engine:
        await engine.submit_many([(f"{flood}.call",)] * 500)
        await trio.sleep(5)
        begun = len(starts)
        await engine.submit_many([(f"{few}.call",)] * 10 + [("c.call",)] * 10)
        await trio.sleep(4)
    after = [name for _, name, _ in starts[begun:]]
    assert after.count(few) == after.count("c") == 10
    last = max(len(after) - after[::-1].index(name) for name in (few, "c"))
    assert last <= 32, "in turns: ten of each among thirty, and one or two on the way"


# row 16
async def test_row_16_a_cost_takes_as_many_tokens(autojump_clock: trio.testing.MockClock) -> None:
    queues, starts = sharing(Rate(10, per=1.0, burst=10, name="tokens"), "a", "b")
    async with Engine(None, queues, clock=TrioClock()) as engine:
        begun = trio.current_time()
        call = engine.handler("a.call", queue="a")
        for cost in (10, 5, 1, 20, 1):
            await engine.submit(call.using(cost=cost), cost)
        dear = (await engine.list(queue="a", limit=4))[0]
        assert [reason.kind for reason in (await engine.explain(dear.id)).reasons] == ["rate limited until"]
        await engine.drain()
    # 10 at once; 5 half a second on; 1 a tenth; 20 when the bucket is full, one second after; 1 when all but one bucket is paid
    assert [(round(at - begun, 2), cost) for at, _, cost in starts] == [(0, 10), (0.5, 5), (0.6, 1), (1.6, 20), (2.7, 1)]


# row 16
async def test_row_16_whoever_takes_dear_things_comes_the_less_often(autojump_clock: trio.testing.MockClock) -> None:
    queues, starts = sharing(Rate(10, per=1.0, burst=5, name="tokens"), "dear", "cheap")
    async with Engine(None, queues, clock=TrioClock()) as engine:
        await engine.submit_many([(engine.handler("dear.call", queue="dear").using(cost=5), (5,))] * 100)
        await engine.submit_many([("cheap.call",)] * 500)
        await trio.sleep(20)
    taken = {name: sum(cost for _, queue, cost in starts if queue == name) for name in ("dear", "cheap")}
    assert taken["dear"] + taken["cheap"] == pytest.approx(205, abs=5)
    assert taken["dear"] == pytest.approx(taken["cheap"], abs=15), "they share the tokens, not the starts"


# row 82
async def test_row_82_a_shared_limiter_gives_no_free_start_after_a_restart(autojump_clock: trio.testing.MockClock) -> None:
    store, rate = MemoryStore(), Rate(1, per=10.0, burst=2, name="llm")
    queues, starts = sharing(rate, "a", "b")
    async with Engine("x", queues, clock=TrioClock(), store=store) as engine:
        await engine.submit_many([("a.call",)] * 4 + [("b.call",)] * 4)
        await trio.sleep(1)
    for _ in range(12):
        async with Engine("x", queues, clock=TrioClock(), store=store) as engine:
            await trio.sleep(3)
    # A queue that is not declared any more has used the limiter all the same.
    async with Engine("x", queues[1:], clock=TrioClock(), store=store) as engine:
        await trio.sleep(15)
    async with Engine("x", queues, clock=TrioClock(), store=store) as engine:
        await engine.drain()
    assert len(starts) == 8
    for i, (first, _, _) in enumerate(starts):
        for n, (at, _, _) in enumerate(starts[i:], 1):
            assert n <= 2 + (at - first) / 10.0 + 1e-3


# row 82
@pytest.mark.parametrize("seed", range(8))
def test_row_82_a_shared_limiter_survives_crashes(seed: int) -> None:
    """The invariants of every world watch journalled starts and entries of all queues of a limiter."""
    queues, _ = sharing(Rate(3, per=10.0, burst=2, name="llm"), "a", "b", "c")

    async def scenario(world: World) -> None:
        async with world.engine(queues=queues) as engine:
            await engine.submit_many(
                [(engine.handler(f"{name}.call", queue=name).using(cost=1 + n % 3),) for n in range(8) for name in "abc"]
            )
            await trio.sleep(20)
            await world.crash()
            while True:
                try:
                    await engine.ready()
                    await engine.drain(timeout=100_000)
                    break
                except EngineCrashed:
                    continue
            await engine.ready()
            world.calm()
            assert await engine.count(state="succeeded") == 24

    simulate(scenario, seed=seed, faults=Faults(crash=0.002, restart=3.0, disk_latency=(0.0, 0.02)), converge=True)


# row 82
@pytest.mark.parametrize("at_run_time", [False, True])
def test_row_82_a_limiter_that_another_queue_takes_over_keeps_its_entries(at_run_time: bool) -> None:
    """Only a queue that no longer uses it has used it (FOUND 209): the entries of the boot before count all the same."""
    entries: list[float] = []

    def boot(a: Rate | None, b: Rate | None) -> list[Queue]:
        made = [Queue("a", rate=a), Queue("b", rate=b)]
        for queue in made:

            @queue.handler(name=f"{queue.name}.call")
            async def call() -> None:
                entries.append(trio.current_time())

        return made

    async def scenario(world: World) -> None:
        entries.clear()
        rate = Rate(2, per=1.0, name="llm")
        async with world.engine(queues=boot(None, rate)) as engine:
            await engine.pause("a")
            await engine.submit_many([("b.call",)] * 2 + [("a.call",)])
            await trio.sleep(0.65)
        async with world.engine(queues=boot(None if at_run_time else rate, None)) as engine:
            if at_run_time:
                await engine.configure("a", rate=rate)
            await engine.resume("a")
            await engine.drain()
        assert len(entries) == 3
        assert all(later - earlier >= 0.5 - 1e-5 for earlier, later in pairwise(entries)), entries

    for seed in range(10):
        simulate(scenario, seed=seed, faults=Faults(disk_latency=(0.0, 0.04)))


# row 16
async def test_row_16_entries_are_spaced_over_all_queues_of_a_limiter(autojump_clock: trio.testing.MockClock) -> None:
    """Commits take their time: journalled starts are spaced by the kernel, entries by the gate that the queues share."""
    queues, starts = sharing(Rate(20, per=1.0, name="llm"), "a", "b")
    store = SlowStore()
    async with Engine("x", queues, clock=TrioClock(), store=store) as engine:
        store.seconds = 0.13
        await engine.submit_many([("a.call",)] * 6 + [("b.call",)] * 6)
        await engine.drain()
    times = sorted(at for at, _, _ in starts)
    assert min(later - earlier for earlier, later in pairwise(times)) >= 0.05 - 0.002


# row 16
async def test_row_16_a_limiter_has_one_rate() -> None:
    one, other = Queue("one", rate=Rate(1, name="llm")), Queue("other", rate=Rate(2, name="llm"))
    with pytest.raises(ValueError, match="share the limiter 'llm'"):
        async with Engine(None, [one, other]):
            pass
    third = Queue("third", rate=Rate(1, name="llm"))
    async with Engine(None, [one, third]) as engine:
        with pytest.raises(ValueError, match="share the limiter 'llm'"):
            await engine.create_queue(other)
        with pytest.raises(ValueError, match="share the limiter 'llm'"):
            await engine.configure("third", rate=Rate(5, name="llm"))
        await engine.configure("third", rate=Rate(5, name="another"))
        assert (await engine.stats())["third"].policy.rate == Rate(5, name="another")


# row 16
async def test_row_16_a_paused_queue_does_not_hold_up_those_it_shares_with(autojump_clock: trio.testing.MockClock) -> None:
    queues, starts = sharing(Rate(1, per=1.0, name="llm"), "a", "b")
    async with Engine(None, queues, clock=TrioClock()) as engine:
        await engine.submit_many([("a.call",)] * 3 + [("b.call",)] * 3)
        await trio.sleep(0.5)
        await engine.pause("a")
        await trio.sleep(3)
        assert [name for _, name, _ in starts].count("b") == 3, "one a second, and at most one of a before it was paused"
        await engine.resume("a")
        await engine.drain()
        assert await engine.count(state=State.SUCCEEDED) == 6


# row 16: found by a stranger
@pytest.mark.parametrize("keyed", [False, True], ids=["queue", "key"])
async def test_row_16_a_cost_beyond_all_time_leaves_a_journal_that_opens(keyed: bool, tmp_path: Path) -> None:
    """A million tokens of a year each: what the limiter comes to must still be a number that a record holds."""
    rate = Rate(1, per=365 * 86_400, burst=10**9)

    def made() -> Queue:
        queue = Queue("q", rate_per_key=rate) if keyed else Queue("q", rate=rate)

        @queue.handler(name="call")
        async def call() -> str:
            return "called"

        return queue

    async with Engine(tmp_path / "j", [made()]) as engine:
        dear = engine.handler("call", queue="q").using(cost=10**6, key="k")
        assert await (await engine.submit(dear)).result(5) == "called"
    async with Engine(tmp_path / "j", [made()]) as engine:
        assert await engine.count(state="succeeded") == 1


# row 16
def test_row_16_costs_are_checked() -> None:
    queue = Queue("q")

    @queue.handler
    async def call() -> None: ...

    for cost in (0, -1, 1.5, True):
        with pytest.raises(ValueError, match="cost"):
            call.using(cost=cost)  # type: ignore[arg-type]

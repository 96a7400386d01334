"""Rows 14 and 93: queues share the engine by weight, tenants share a queue in turns, and nobody is delayed by what another has waiting."""

from __future__ import annotations

from collections import Counter

import pytest
import trio

from journeyman.engine import Context, Engine, Queue, Rate
from journeyman.journal.memory_store import MemoryStore
from tests.acceptance.virtual import TrioClock


def shared(**policy: object) -> tuple[Queue, list[tuple[float, str]]]:
    """A queue shared by owners, and who was entered when."""
    queue, entered = Queue("q", fair_by="owner", **policy), list[tuple[float, str]]()  # type: ignore[arg-type]

    @queue.handler
    async def work(ctx: Context, who: str, seconds: float = 1.0) -> None:
        entered.append((round(trio.current_time(), 3), who))
        await trio.sleep(seconds)

    return queue, entered


# row 93
@pytest.mark.parametrize("concurrency", [1, 4])
async def test_row_93_a_small_tenants_first_does_not_wait_for_a_flood(concurrency: int, autojump_clock: trio.testing.MockClock) -> None:
    queue, entered = shared(concurrency=concurrency)
    work = queue.handlers["work"]
    async with Engine(None, [queue], clock=TrioClock(), grace=0) as engine:
        await engine.submit_many([(work.using(owner=("user", "flood")), ("flood",))] * 5_000)
        await trio.sleep(10.5)
        came = trio.current_time()
        for n in range(5):
            await engine.submit(work.using(owner=("user", f"small {n}")), f"small {n}")
        await trio.sleep(8)
    waits = {who: at - came for at, who in entered if who.startswith("small")}
    assert len(waits) == 5
    # one of the flood may go first, then each small one in turn, as slots come free every second
    assert max(waits.values()) <= 6 / concurrency + 1


# row 93
async def test_row_93_a_rate_is_shared_too(autojump_clock: trio.testing.MockClock) -> None:
    queue, entered = shared(concurrency=100, rate=Rate(1, per=1.0))
    work = queue.handlers["work"]
    async with Engine(None, [queue], clock=TrioClock(), grace=0) as engine:
        await engine.submit_many([(work.using(owner=("user", "flood")), ("flood", 0.0))] * 1_000)
        await trio.sleep(5.5)
        await engine.submit_many([(work.using(owner=("user", "small")), ("small", 0.0))] * 3)
        await trio.sleep(6.1)
    assert [who for _, who in entered[-6:]] in (["small", "flood"] * 3, ["flood", "small"] * 3)


# row 93
async def test_row_93_tenants_are_shared_after_a_restart(autojump_clock: trio.testing.MockClock) -> None:
    queue, entered = shared(concurrency=1)
    work, store = queue.handlers["work"], MemoryStore()
    async with Engine("x", [queue], clock=TrioClock(), store=store, grace=0) as engine:
        await engine.pause("q")
        await engine.submit_many([(work.using(owner=("user", "flood")), ("flood",))] * 200)
        await engine.submit_many([(work.using(owner=("user", "small")), ("small",))] * 3)
    async with Engine("x", [queue], clock=TrioClock(), store=store, grace=0) as engine:
        await engine.resume("q")
        await trio.sleep(6.5)
    assert Counter(who for _, who in entered[:6]) == {"flood": 3, "small": 3}


# row 93
async def test_row_93_by_key_without_owners(autojump_clock: trio.testing.MockClock) -> None:
    queue, entered = Queue("q", concurrency=2, per_key=2, fair_by="key"), list[str]()

    @queue.handler
    async def work(who: str) -> None:
        entered.append(who)
        await trio.sleep(1)

    async with Engine(None, [queue], clock=TrioClock(), grace=0) as engine:
        await engine.submit_many([(work.using(key="flood"), ("flood",))] * 100)
        await engine.submit_many([(work.using(key=f"k{n}"), (f"k{n}",)) for n in range(4)])
        await trio.sleep(4.5)
    assert {"k0", "k1", "k2", "k3"} <= set(entered)


# row 83
async def test_row_83_explain_says_that_it_is_the_turn_of_others(autojump_clock: trio.testing.MockClock) -> None:
    queue, _ = shared(concurrency=1)
    work = queue.handlers["work"]
    async with Engine(None, [queue], clock=TrioClock(), grace=0) as engine:
        handles = [await engine.submit(work.using(owner=("user", "a")), "a", 60.0) for _ in range(3)]
        assert (await engine.explain(handles[2].id)).reasons


# row 14
@pytest.mark.parametrize("slots", [1, 3])
async def test_row_14_queues_share_the_engine_by_weight(slots: int, autojump_clock: trio.testing.MockClock) -> None:
    queues, entered = [Queue("heavy", concurrency=8, weight=3), Queue("light", concurrency=8)], Counter[str]()

    def made(queue: Queue) -> None:
        @queue.handler(name=f"{queue.name}.work")
        async def work() -> None:
            entered[queue.name] += 1
            await trio.sleep(1)

    for queue in queues:
        made(queue)
    async with Engine(None, queues, max_concurrency=slots, clock=TrioClock(), grace=0) as engine:
        await engine.submit_many([("heavy.work",)] * 500 + [("light.work",)] * 500)
        await trio.sleep(60)
    assert sum(entered.values()) == pytest.approx(60 * slots, abs=2 * slots)
    assert entered["heavy"] == pytest.approx(3 * entered["light"], rel=0.15)


# row 14
async def test_row_14_a_queue_that_comes_late_is_owed_nothing_and_owes_nothing(autojump_clock: trio.testing.MockClock) -> None:
    queues, entered = [Queue(name, concurrency=8) for name in ("early", "late")], list[str]()

    def made(queue: Queue) -> None:
        @queue.handler(name=f"{queue.name}.work")
        async def work() -> None:
            entered.append(queue.name)
            await trio.sleep(1)

    for queue in queues:
        made(queue)
    async with Engine(None, queues, max_concurrency=2, clock=TrioClock(), grace=0) as engine:
        await engine.submit_many([("early.work",)] * 500)
        await trio.sleep(50.5)
        begun = len(entered)
        await engine.submit_many([("late.work",)] * 500)
        await trio.sleep(20)
    assert Counter(entered[begun:])["late"] == pytest.approx(20, abs=2)


def test_row_14_a_weight_is_a_number() -> None:
    for weight in (0, -1, 1.5, True, 1_001):
        with pytest.raises(ValueError, match="weight"):
            Queue("q", weight=weight)  # type: ignore[arg-type]

"""Rows 13, 14 and 16: how much may run at once, and how often something may start."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import pairwise

import pytest
import trio

from journeyman.engine import Constant, Context, Engine, Queue, Rate, Retry, State
from journeyman.journal.memory_store import MemoryStore
from tests.acceptance.virtual import TrioClock, until


class Crowd:
    """How many are inside, and how many there were at most; safe in threads."""

    def __init__(self) -> None:
        self.inside = self.most = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self.inside -= 1


# row 13
@pytest.mark.parametrize("concurrency", [1, 3, 50])
async def test_row_13_never_more_than_n_and_n_when_there_is_work(concurrency: int, autojump_clock: trio.testing.MockClock) -> None:
    queue, crowd = Queue("q", concurrency=concurrency, retry=Retry(attempts=2, backoff=Constant(0))), Crowd()

    @queue.handler
    async def work(ctx: Context, n: int) -> None:
        with crowd:
            await trio.sleep(0.01 + 0.001 * (n % 7))
            if ctx.attempt == 1 and n % 5 == 0:
                raise ValueError("once more")

    async with Engine(None, [queue], clock=TrioClock()) as engine:
        await engine.submit_many([work.bind(n) for n in range(200)])
        for n in range(20):
            await engine.submit(work, n)
        await engine.drain()
        assert await engine.count(state="succeeded") == 220
    assert crowd.most == concurrency


# row 13
async def test_row_13_holds_for_thread_handlers() -> None:
    queue, crowd = Queue("q", concurrency=4), Crowd()
    gate = threading.Barrier(4, timeout=10)

    @queue.handler
    def work(n: int) -> None:
        with crowd:
            gate.wait()  # passes only if four are in at once

    async with Engine(None, [queue]) as engine:
        await engine.submit_many([work.bind(n) for n in range(20)])
        await engine.drain(timeout=20)
        assert await engine.count(state="succeeded") == 20
    assert crowd.most == 4


# row 14
async def test_row_14_all_queues_together_stay_below_the_engines_bound(autojump_clock: trio.testing.MockClock) -> None:
    queues, crowd = [Queue(name, concurrency=5) for name in "abc"], Crowd()

    async def work(n: int) -> None:
        with crowd:
            await trio.sleep(0.01 + 0.001 * (n % 3))

    for queue in queues:
        queue.handler(name=f"work_{queue.name}")(work)
    async with Engine(None, queues, max_concurrency=7, clock=TrioClock()) as engine:
        await engine.submit_many([(f"work_{name}", (n,)) for n in range(60) for name in "abc"])
        await engine.drain()
        assert await engine.count(state="succeeded") == 180
    assert crowd.most == 7


# row 14
@pytest.mark.parametrize("slots", [1, 2, 4])
async def test_row_14_no_queue_starves_another(slots: int, autojump_clock: trio.testing.MockClock) -> None:
    busy, small = Queue("busy", concurrency=8), Queue("small", concurrency=8)
    order: list[str] = []

    @busy.handler
    async def much() -> None:
        order.append("busy")
        await trio.sleep(0.01)

    @small.handler
    async def little() -> None:
        order.append("small")
        await trio.sleep(0.01)

    async with Engine(None, [busy, small], max_concurrency=slots, clock=TrioClock()) as engine:
        await engine.submit_many([much.bind() for _ in range(200)])
        await trio.sleep(0.05)
        ahead = len(order)
        await engine.submit_many([little.bind() for _ in range(20)])
        await engine.drain()
    assert order.count("small") == 20
    last = len(order) - order[::-1].index("small")
    assert last - ahead <= 4 * 20 + slots, "the small queue gets its turn: its twenty among a few times as many of the busy one's"


# row 14
async def test_row_14_explain_names_the_engines_bound() -> None:
    one, two = Queue("one"), Queue("two")

    @one.handler
    async def hold() -> None:
        await trio.sleep_forever()

    @two.handler
    async def wait() -> None: ...

    async with Engine(None, [one, two], max_concurrency=1, grace=0) as engine:
        await engine.submit(hold)
        waiting = await engine.submit(wait)
        assert [reason.kind for reason in (await engine.explain(waiting.id)).reasons] == ["no engine slot"]
        assert (await engine.get(waiting.id)).state is State.PENDING


def gaps(starts: list[float]) -> Iterator[float]:
    return (later - earlier for earlier, later in pairwise(starts))


# row 16
async def test_row_16_first_at_once_then_spaced_over_all_slots(autojump_clock: trio.testing.MockClock) -> None:
    queue, starts = Queue("q", concurrency=8, rate=Rate(4, per=1.0)), list[float]()

    @queue.handler
    async def work() -> None:
        starts.append(trio.current_time())
        await trio.sleep(0.6)

    async with Engine(None, [queue], clock=TrioClock()) as engine:
        begun = trio.current_time()
        await engine.submit_many([work.bind() for _ in range(12)])
        await engine.drain()
    assert starts[0] - begun == pytest.approx(0, abs=0.001)
    assert list(gaps(starts)) == pytest.approx([0.25] * 11, abs=0.001)
    assert all(gap >= 0.25 for gap in gaps(starts)), "late by a hair is allowed, early is not"


# row 16
async def test_row_16_a_burst_is_allowed_once_and_grows_back(autojump_clock: trio.testing.MockClock) -> None:
    queue, starts = Queue("q", concurrency=50, rate=Rate(1, per=1.0, burst=3)), list[float]()

    @queue.handler
    async def work() -> None:
        starts.append(round(trio.current_time() - begun, 2))

    async with Engine(None, [queue], clock=TrioClock()) as engine:
        begun = trio.current_time()
        await engine.submit_many([work.bind() for _ in range(5)])
        await engine.drain()
        assert starts == [0, 0, 0, 1, 2]
        starts.clear()
        await trio.sleep(60)
        begun = trio.current_time()
        await engine.submit_many([work.bind() for _ in range(5)])
        await engine.drain()
        assert starts == [0, 0, 0, 1, 2]


# row 16
async def test_row_16_retries_take_tokens_too(autojump_clock: trio.testing.MockClock) -> None:
    queue = Queue("q", concurrency=8, rate=Rate(1, per=2.0), retry=Retry(attempts=3, backoff=Constant(0), jitter=0))
    starts: list[float] = []

    @queue.handler
    async def fail() -> None:
        starts.append(trio.current_time())
        raise ValueError("no")

    async with Engine(None, [queue], clock=TrioClock()) as engine:
        await engine.submit_many([fail.bind() for _ in range(2)])
        await engine.drain()
    assert len(starts) == 6
    assert list(gaps(starts)) == pytest.approx([2.0] * 5, abs=0.001)


# row 16
async def test_row_16_what_waits_for_a_token_is_pending_and_can_be_cancelled() -> None:
    queue, ran = Queue("q", concurrency=8, rate=Rate(1, per=3600.0)), list[int]()

    @queue.handler
    async def work(n: int) -> None:
        ran.append(n)

    async with Engine(None, [queue]) as engine:
        handles = [await engine.submit(work, n) for n in range(3)]
        await handles[0].wait(timeout=5)
        assert [(await engine.get(handle.id)).state for handle in handles[1:]] == [State.PENDING] * 2
        reasons = (await engine.explain(handles[1].id)).reasons
        assert [reason.kind for reason in reasons] == ["rate limited until"]
        assert reasons[0].until_at is not None
        await handles[1].cancel("no need")
        assert (await handles[1].wait(timeout=5)).state is State.CANCELLED
    assert ran == [0]


# row 16
async def test_row_16_a_restart_gives_no_free_start(autojump_clock: trio.testing.MockClock) -> None:
    queue, store, starts = Queue("q", concurrency=8, rate=Rate(2, per=20.0, burst=2)), MemoryStore(), list[float]()

    @queue.handler
    async def work() -> None:
        starts.append(trio.current_time())

    for boot in range(6):
        async with Engine("x", [queue], clock=TrioClock(), store=store) as engine:
            if not boot:
                await engine.submit_many([work.bind() for _ in range(6)])
            await trio.sleep(3)
    async with Engine("x", [queue], clock=TrioClock(), store=store) as engine:
        await engine.drain()
    assert len(starts) == 6
    for i, first in enumerate(starts):
        for j in range(i, len(starts)):
            assert j - i + 1 <= 2 + 2 * (starts[j] - first) / 20.0 + 1e-6, "starts in any window <= burst + limit * w / per"
    assert starts[-1] - starts[0] == pytest.approx(40, abs=0.1), "and not slower than it must be"


# row 16
async def test_row_16_the_window_holds_at_handler_entry_on_a_real_disk(tmp_path: object) -> None:
    queue, starts = Queue("q", concurrency=8, rate=Rate(50, per=1.0)), list[float]()

    @queue.handler
    async def work() -> None:
        starts.append(trio.current_time())

    async with Engine(f"{tmp_path}/jobs", [queue]) as engine:
        await engine.submit_many([work.bind() for _ in range(20)])

        async def started() -> bool:
            return len(starts) == 20

        await until(started)
    assert min(gaps(starts)) >= 0.02 - 0.0002, "the handler reads the clock a little after the gate does"

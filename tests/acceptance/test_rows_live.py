"""Rows 4, 12 and 13, live: `engine.configure` changes a queue while it works."""

from __future__ import annotations

import inspect

import pytest
import trio
import trio.testing

from journeyman.engine import Constant, Context, Engine, Exponential, Queue, QueueNotFound, Rate, Retention, Retry, State
from journeyman.journal.memory_store import MemoryStore
from journeyman.kernel.events import QueueConfigured
from tests.acceptance.test_rows_01_05 import events_in
from tests.acceptance.virtual import TrioClock, until


def lane(concurrency: int = 1, **policy: object) -> tuple[Queue, trio.Event, list[int]]:
    """A queue whose handlers stay until the event is set; who is inside."""
    queue, go, inside = Queue("q", concurrency=concurrency, **policy), trio.Event(), list[int]()  # type: ignore[arg-type]

    @queue.handler
    async def work(n: int) -> None:
        inside.append(n)
        await go.wait()

    return queue, go, inside


# row 13
async def test_row_13_a_raised_limit_starts_more_now_and_a_lowered_one_lets_running_finish() -> None:
    queue, go, inside = lane()
    async with Engine(None, [queue]) as engine:
        handles = await engine.submit_many([("work", (n,)) for n in range(6)])
        await until(lambda: grown(inside, 1))
        policy = await engine.configure("q", concurrency=4, reason="a backlog", by="ops")
        assert (policy.concurrency, policy.changed) == (4, True)
        await until(lambda: grown(inside, 4))
        assert "runs 4 of 4" in str(await engine.explain(handles[5].id))
        assert "operator" in str(await engine.explain(handles[5].id))
        await engine.configure("q", concurrency=1)
        assert await engine.count(state="running") == 4
        assert len(inside) == 4
        go.set()
        await engine.drain(timeout=5)
        assert (await engine.stats())["q"].policy.concurrency == 1


async def grown(inside: list[int], n: int) -> bool:
    return len(inside) == n


# row 4
# row 12
async def test_row_12_a_live_change_survives_a_restart_until_the_declaration_changes() -> None:
    store = MemoryStore()
    async with Engine("x", [Queue("q", max_pending=9)], store=store) as engine:
        await engine.configure("q", concurrency=7, reason="more", by="ops")
    async with Engine("x", [Queue("q", max_pending=9)], store=store) as engine:
        policy = (await engine.stats())["q"].policy
        assert (policy.concurrency, policy.max_pending, policy.changed) == (7, 9, True)
    async with Engine("x", [], store=store) as engine:
        assert (await engine.configure("q", max_pending=None)).concurrency == 7, "a queue nobody declares can be configured too"
    async with Engine("x", [Queue("q", max_pending=9)], store=store) as engine:
        assert (await engine.stats())["q"].policy.max_pending is None
    async with Engine("x", [Queue("q", max_pending=8)], store=store) as engine:
        policy = (await engine.stats())["q"].policy
        assert (policy.concurrency, policy.max_pending, policy.changed) == (1, 8, False)
    changes = [event for event in events_in(store) if isinstance(event, QueueConfigured)]
    assert [(event.by, event.policy["concurrency"]) for event in changes] == [("open", 1), ("ops", 7), ("api", 7), ("open", 1)]
    assert changes[1].options == {"live": True, "reason": "more"}


# row 12
async def test_row_12_instants_already_decided_stay_and_new_ones_follow(autojump_clock: trio.testing.MockClock) -> None:
    queue = Queue("q", retry=Retry(attempts=5, backoff=Constant(100), jitter=0))

    @queue.handler
    async def work(ctx: Context) -> None:
        raise ValueError(ctx.attempt)

    async with Engine(None, [queue], clock=TrioClock()) as engine:
        handle = await engine.submit(work)
        await trio.sleep(1)
        due = (await engine.get(handle.id)).due_at
        policy = await engine.configure("q", retry=Retry(attempts=2, backoff=Exponential(1), jitter=0), retention=Retention(failed=50))
        assert policy.retry == Retry(attempts=2, backoff=Exponential(1), jitter=0)
        assert (await engine.get(handle.id)).due_at == due
        task = await handle.wait()
        assert (task.failures, task.state) == (2, State.FAILED)
        assert task.expires_at is not None
        assert task.finished_at is not None
        assert (task.expires_at - task.finished_at).total_seconds() == 50


# row 16
async def test_row_16_a_new_rate_holds_from_now_on(autojump_clock: trio.testing.MockClock) -> None:
    queue = Queue("q", concurrency=50, rate=Rate(1, per=3600))
    entered: list[float] = []

    @queue.handler
    async def work(n: int) -> None:
        entered.append(trio.current_time())

    async with Engine(None, [queue], clock=TrioClock()) as engine:
        await engine.submit_many([work.bind(n) for n in range(31)])
        await trio.sleep(5)
        assert len(entered) == 1
        before = trio.current_time()
        assert (await engine.configure("q", rate=Rate(2))).rate == Rate(2)
        await trio.sleep(5.1)
        assert len(entered) == 11
        assert entered[1] - before == pytest.approx(0.5, abs=0.01)
        assert (await engine.configure("q", rate=None)).rate is None
        await trio.sleep(0.5)
        assert len(entered) == 31


# row 11
async def test_row_11_a_bad_value_changes_nothing() -> None:
    async with Engine(None, [Queue("q", concurrency=2)]) as engine:
        before = (await engine.stats())["q"].policy
        for bad in ({"concurrency": 0}, {"concurrency": 3, "timeout": -1}, {"rate": 5}, {"retry": "often"}, {"on_crash": "ignore"}):
            with pytest.raises(ValueError, match=r"concurrency|timeout|rate|retry|on_crash"):
                await engine.configure("q", **bad)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="declared"):
            await engine.configure("q", retry=Retry(on=(OSError,)))
        with pytest.raises(ValueError, match="function"):
            await engine.configure("q", retry=Retry(backoff=lambda n: n))
        assert (await engine.stats())["q"].policy == before
        with pytest.raises(QueueNotFound):
            await engine.configure("nowhere", concurrency=2)
        with pytest.raises(TypeError):
            await engine.configure("q", colour="red")  # type: ignore[call-arg]


async def test_what_the_program_alone_has_is_told_as_it_has_it() -> None:
    def slower(n: int) -> float:
        return n * 7

    store = MemoryStore()
    async with Engine("x", [Queue("q", retry=Retry(attempts=3, backoff=slower, on=(OSError,)))], store=store) as engine:
        policy = await engine.configure("q", concurrency=2)
        assert policy.retry == Retry(attempts=3, backoff=slower, on=(OSError,))
        again = await engine.configure("q", retry=Retry(attempts=4, backoff=slower))
        assert again.retry == Retry(attempts=4, backoff=slower, on=(OSError,)), "`on` stays the program's"
    async with Engine("x", store=store) as engine:
        assert "slower" in repr((await engine.stats())["q"].policy.retry.backoff)


def test_whatever_a_queue_takes_can_be_configured() -> None:
    """Whoever gives `Queue` a parameter gives it to `configure`, and to what it answers."""
    queue = inspect.signature(Queue).parameters.keys() - {"name"}
    assert queue <= inspect.signature(Engine.configure).parameters.keys()
    from journeyman.engine import QueuePolicy

    assert queue <= QueuePolicy.__annotations__.keys()

"""Rows 6 to 12: arguments, names, defaults, and configuration that changes between two runs."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import trio

from journeyman.engine import (
    Constant,
    Engine,
    Exponential,
    HandlerExists,
    InvalidName,
    InvalidPayload,
    NotCancellable,
    PayloadTooLarge,
    Queue,
    QueueExists,
    Rate,
    Retention,
    Retry,
    State,
)
from journeyman.journal.memory_store import MemoryStore
from tests.acceptance.virtual import TrioClock

MIB = 1 << 20


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Address:
    street: str
    number: int


@dataclass
class Order:
    id: UUID
    when: datetime
    where: Address
    colours: list[Colour]
    price: Decimal
    notes: dict[str, int | None]
    file: Path


ORDER = Order(
    UUID(int=7), datetime(2024, 2, 29, 12, 0, 0, 123456, UTC), Address("Karl Johans gate", 1), [Colour.BLUE, Colour.RED], Decimal("10.10"),
    {"a": 1, "b": None}, Path("/tmp/x y"),
)  # fmt: skip


# row 6
async def test_row_06_arguments_and_results_are_typed_by_annotation() -> None:
    queue, seen = Queue("q"), []

    @queue.handler
    async def place(order: Order, rush: bool = False, *, limit: timedelta | None = None) -> Order:
        seen.append((order, rush, limit))
        return order

    async with Engine(None, [queue]) as engine:
        handle = await engine.submit(place, ORDER, limit=timedelta(seconds=3))
        assert await handle.result(timeout=5) == ORDER
        task = await engine.get(handle.id)
    assert seen == [(ORDER, False, timedelta(seconds=3))]
    assert type(seen[0][0].where) is Address
    assert task.payload == ([ORDER], {"limit": timedelta(seconds=3)})


# row 6
@pytest.mark.parametrize(
    ("args", "kwargs", "error"),
    [
        ((), {}, TypeError),
        ((1, 2, 3), {}, TypeError),
        ((1,), {"colour": Colour.RED}, TypeError),
        (("one",), {}, InvalidPayload),
        ((1, "green"), {}, InvalidPayload),
        ((1, object()), {}, InvalidPayload),
    ],
)
async def test_row_06_a_call_that_does_not_fit_fails_the_caller(
    args: tuple[Any, ...], kwargs: dict[str, Any], error: type[Exception]
) -> None:
    queue = Queue("q")

    @queue.handler
    async def paint(n: int, color: Colour = Colour.RED) -> None: ...

    async with Engine(None, [queue]) as engine:
        with pytest.raises(error):
            await engine.submit(paint, *args, **kwargs)
        with pytest.raises(error):
            await engine.submit_many([(paint, (1,), {}), (paint, args, kwargs)])
        assert await engine.count() == 0


# row 7
@pytest.mark.parametrize(
    "data", [b"", b"\0", bytes(range(256)), b"\xff\xfe\x80", random.Random(7).randbytes(100_000)], ids=["empty", "nul", "all", "bad", "big"]
)
async def test_row_07_bytes_come_out_as_they_went_in(tmp_path: Path, data: bytes) -> None:
    queue, seen = Queue("q"), []

    @queue.handler
    async def keep(data: bytes) -> bytes:
        seen.append(data)
        return data

    async with Engine(tmp_path / "jobs", [queue]) as engine:
        await engine.pause("q")
        handle = await engine.submit(keep, data)
    async with Engine(tmp_path / "jobs", [queue]) as engine:  # read back from disk
        assert (await engine.get(handle.id)).payload == ([data], {})
        await engine.resume("q")
        assert (await engine.wait_for(UUID(handle.id).bytes, 5)).result == data
    assert seen == [data]
    assert type(seen[0]) is bytes


# row 8
@pytest.mark.parametrize("limit", [None, 5_000])
async def test_row_08_the_payload_limit_is_inclusive_and_names_both_sizes(limit: int | None) -> None:
    queue = Queue("q") if limit is None else Queue("q", max_payload=limit)
    limit = MIB if limit is None else limit

    @queue.handler
    async def keep(data: bytes) -> int:
        return len(data)

    fitting = limit - (len(keep.encode_call([bytes(limit - 100)], {})) - (limit - 100))
    async with Engine(None, [queue]) as engine:
        handle = await engine.submit(keep, bytes(fitting))
        assert await handle.result(timeout=5) == fitting
        with pytest.raises(PayloadTooLarge) as caught:
            await engine.submit(keep, bytes(fitting + 1))
        assert (caught.value.size, caught.value.limit) == (limit + 1, limit)
        assert f"{limit + 1:,}" in str(caught.value)
        assert f"{limit:,}" in str(caught.value)
        with pytest.raises(PayloadTooLarge):
            await engine.submit_many([(keep, (b"",)), (keep, (bytes(fitting + 1),))])
        assert await engine.count() == 1


# row 9
@pytest.mark.parametrize("name", ["q", "x" * 128, "é" * 64, "a b/c:d", "\U0001f600" * 32])
async def test_row_09_a_name_is_1_to_128_bytes_of_utf8(name: str) -> None:
    queue = Queue(name)

    @queue.handler(name=name)
    async def noop() -> None: ...

    async with Engine(None, [queue]) as engine:
        handle = await engine.submit(name)
        task = await handle.wait(timeout=5)
    assert (task.queue, task.handler, task.state) == (name, name, State.SUCCEEDED)


# row 9
@pytest.mark.parametrize("name", ["", "x" * 129, "é" * 65, "a\nb", "\t", "\x00", "\x7f", "\x9f", "\ud800", None, 7])
def test_row_09_other_names_are_refused(name: Any) -> None:
    with pytest.raises(InvalidName):
        Queue(name)
    if name is not None:  # None asks for the function's own name
        with pytest.raises(InvalidName):
            Queue("q").handler(name=name)(lambda: None)


# row 10
async def test_row_10_a_queue_name_comes_once_in_an_engine(tmp_path: Path) -> None:
    with pytest.raises(QueueExists, match="'q'"):
        async with Engine(tmp_path / "jobs", [Queue("q"), Queue("q")]):
            pytest.fail("not reached")
    async with Engine(tmp_path / "jobs", [Queue("q")]) as engine:  # the refusal left nothing locked
        with pytest.raises(QueueExists):
            await engine.create_queue(Queue("q"))
        await engine.create_queue(Queue("late"))
        with pytest.raises(QueueExists):
            await engine.create_queue(Queue("late"))
        assert (await engine.stats())["late"].declared


# row 10
async def test_row_10_a_handler_name_comes_once() -> None:
    queue, late = Queue("q"), Queue("late")

    async def noop() -> None: ...

    queue.handler(noop)
    late.handler(noop)
    with pytest.raises(HandlerExists):
        queue.handler(name="noop")(lambda: None)
    async with Engine(None, [queue]) as engine:
        with pytest.raises(HandlerExists):
            await engine.create_queue(late)
        assert "late" not in await engine.stats()


# row 11
async def test_row_11_defaults_are_the_documented_ones(autojump_clock: trio.testing.MockClock) -> None:
    queue = Queue("q")

    @queue.handler
    async def end(how: str) -> None:
        if how == "fail":
            raise ValueError(how)

    async with Engine(None, [queue], clock=TrioClock()) as engine:
        tasks = [await (await engine.submit(end, how)).wait() for how in ("succeed", "fail")]
        cancelled = await engine.submit(end.using(delay=9), "never")
        await cancelled.cancel()
        tasks.append(await cancelled.wait())
        kept = [(t.expires_at - t.finished_at).total_seconds() for t in tasks if t.expires_at and t.finished_at]
        assert [str(task.state) for task in tasks] == ["succeeded", "failed", "cancelled"]
        assert kept == [3600, 7 * 86400, 3600]
        assert [task.priority for task in tasks] == [5, 5, 5]
        assert [task.max_attempts for task in tasks] == [1, 1, 1]
    assert (Retry().attempts, Retry().backoff, Retry().jitter, Retry().on, Retry().crashes) == (1, Exponential(), 0.1, (Exception,), 3)
    assert Exponential() == Exponential(1.0, factor=2.0, cap=3600.0)
    assert Rate(3) == Rate(3, per=1.0, burst=1)
    assert queue.policy.concurrency == 1
    assert queue.policy.max_payload == MIB
    for unlimited in ("timeout_us", "heartbeat_us", "rate", "max_pending"):
        assert getattr(queue.policy, unlimited) is None


# row 11
@pytest.mark.parametrize(
    "wrong",
    [
        {"concurrency": 0}, {"concurrency": -1}, {"concurrency": True}, {"concurrency": 1.5}, {"timeout": 0}, {"timeout": -1},
        {"timeout": float("nan")}, {"timeout": float("inf")}, {"heartbeat": 0}, {"max_pending": -1}, {"max_payload": -1}, {"on_crash": "x"},
    ],
    ids=str,
)  # fmt: skip
def test_row_11_a_value_out_of_range_is_an_error_for_the_owner(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Queue("q", **wrong)


# row 11
@pytest.mark.parametrize(
    "make",
    [
        lambda: Retry(attempts=0), lambda: Retry(jitter=1.1), lambda: Retry(jitter=-0.1), lambda: Retry(crashes=-1),
        lambda: Retry(backoff="soon"), lambda: Retry(on=("ValueError",)), lambda: Rate(0), lambda: Rate(1, per=0), lambda: Rate(1, burst=0),
        lambda: Exponential(-1), lambda: Exponential(1, factor=0.5), lambda: Constant(-1), lambda: Retention(failed=-1),
        lambda: Retention(payload="all"), lambda: Engine(None, max_concurrency=0), lambda: Engine(None, grace=-1),
        lambda: Engine(None, durability="none"),
    ],
)  # fmt: skip
def test_row_11_so_is_one_in_a_policy(make: Any) -> None:
    with pytest.raises(ValueError, match="must|not"):
        make()


# row 12
async def test_row_12_instants_already_decided_stay(autojump_clock: trio.testing.MockClock) -> None:
    store = MemoryStore()
    slow = Queue("q", retry=Retry(attempts=3, backoff=Constant(1000), jitter=0), retention=Retention(failed=100))
    fast = Queue("q", retry=Retry(attempts=2, backoff=Constant(1), jitter=0), retention=Retention(failed=None))

    async def fail() -> None:
        raise ValueError("no")

    slow.handler(fail)
    fast.handler(fail)
    async with Engine("x", [slow], clock=TrioClock(), store=store) as engine:
        handle = await engine.submit("fail")
        await trio.sleep(1)
        before = await engine.get(handle.id)
        assert before.state is State.RETRYING
    async with Engine("x", [fast], clock=TrioClock(), store=store) as engine:
        after = await engine.get(handle.id)
        assert (after.state, after.due_at) == (State.RETRYING, before.due_at), "the pause was decided under the old policy"
        assert after.max_attempts == 2, "attempts follow the current one"
        ended = await engine.wait_for(UUID(handle.id).bytes, None)
        assert (ended.state, ended.attempt, ended.expires_at) == (State.FAILED, 2, None)
        assert ended.started_at is not None
        assert timedelta(0) <= ended.started_at - before.due_at < timedelta(seconds=0.01)


# row 12
async def test_row_12_tasks_of_a_queue_that_is_not_declared_any_more(tmp_path: Path) -> None:
    queue = Queue("old")

    @queue.handler
    async def work(n: int) -> int:
        return n

    async with Engine(tmp_path / "jobs", [queue]) as engine:
        done = await engine.submit(work, 0)
        await done.wait(timeout=5)
        await engine.pause("old")
        waiting = [await engine.submit(work, n) for n in (1, 2)]
        later = await engine.submit(work.using(delay=1000), 3)
    async with Engine(tmp_path / "jobs", [Queue("new")]) as engine:
        await engine.resume("old")  # nothing but the missing declaration holds them now
        await trio.sleep(0.02)
        assert not (await engine.stats())["old"].declared
        assert await engine.count("old") == 4
        assert await engine.count("old", state="pending") == len(await engine.list("old", state="pending")) == 2
        assert (await engine.get(done.id)).result == 0
        assert (await engine.get(later.id)).payload == ([3], {})
        await engine.cancel(later.id, "gone")
        assert (await engine.get(later.id)).state is State.CANCELLED
        with pytest.raises(NotCancellable):
            await engine.cancel(done.id)
        assert await engine.prune(older_than=0, queue="old") == 2
        assert {task.id for task in await engine.list("old")} == {handle.id for handle in waiting}

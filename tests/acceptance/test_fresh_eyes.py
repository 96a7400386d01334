"""What a stranger broke: each of these failed once."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
import trio
import trio.testing

from journeyman.engine import (
    Constant,
    Context,
    DuplicateTask,
    Engine,
    InvalidPayload,
    NotCancellable,
    NotRetryable,
    Queue,
    QueueNotFound,
    Rate,
    Retention,
    Retry,
    State,
    TaskNotFound,
)
from tests.acceptance.virtual import TrioClock, told


# row 32, row 44
async def test_row_44_a_thread_may_ask_whether_it_is_cancelled_before_it_is() -> None:
    queue = Queue("q")

    @queue.handler(timeout=30)
    def work(ctx: Context) -> list[bool]:
        assert ctx.deadline is not None
        return [ctx.cancelled, ctx.deadline > ctx.now()]

    async with Engine(None, [queue]) as engine:
        assert await (await engine.submit(work)).result(timeout=5) == [False, True]


# row 32
async def test_row_32_a_thread_sees_its_time_out(leaping_clock: trio.testing.MockClock) -> None:
    queue, entered, seen = Queue("q", retry=Retry(attempts=1)), threading.Event(), threading.Event()

    @queue.handler(timeout=30)
    def work(ctx: Context) -> None:
        entered.set()
        for _ in range(400):
            if ctx.cancelled:
                seen.set()
                return
            time.sleep(0.005)

    async with Engine(None, [queue]) as engine:
        handle = await engine.submit(work)
        await told(entered)
        leaping_clock.jump(30)
        task = await handle.wait(timeout=5)
        assert task.state is State.FAILED
        assert await trio.to_thread.run_sync(seen.wait, 5)


# row 32
async def test_row_32_a_thread_that_never_began_is_no_straggler() -> None:
    queue, ran = Queue("q", retry=Retry(attempts=2, backoff=Constant(0))), list[int]()

    @queue.handler(timeout=1e-6)
    def never() -> None:
        ran.append(1)

    @queue.handler
    def other() -> int:
        return 7

    async with Engine(None, [queue]) as engine:
        task = await (await engine.submit(never)).wait(timeout=5)
        assert task.state is State.FAILED
        assert await (await engine.submit(other)).result(timeout=5) == 7
        assert await engine.stop(grace=1)


# row 38
async def test_row_38_a_context_that_outlived_its_attempt_submits_nothing() -> None:
    queue, kept = Queue("q", concurrency=2, max_pending=1), list[Context]()

    @queue.handler
    async def keep(ctx: Context) -> None:
        kept.append(ctx)

    async with Engine(None, [queue]) as engine:
        await (await engine.submit(keep)).wait(timeout=5)
        with pytest.raises(RuntimeError, match="attempt is over"):
            kept[0].submit(keep)
        await (await engine.submit(keep)).wait(timeout=5)  # and no room is lost


# row 23
async def test_row_23_an_id_is_remembered_as_long_as_its_task(autojump_clock: trio.testing.MockClock) -> None:
    queue, ran = Queue("q", retention=Retention(succeeded=1)), list[int]()

    @queue.handler
    async def work() -> None:
        ran.append(1)

    chosen = str(uuid4())
    async with Engine(None, [queue], clock=TrioClock()) as engine:
        for round_ in (1, 2):
            handle = await engine.submit(work.using(id=chosen))
            assert (await handle.wait(timeout=5)).state is State.SUCCEEDED
            assert len(ran) == round_
            again = await engine.submit(work.using(id=chosen))
            assert (await again.wait(timeout=5)).state is State.SUCCEEDED
            assert len(ran) == round_
            await trio.sleep(1.5)
            with pytest.raises(TaskNotFound):
                await engine.get(chosen)


# row 23
async def test_row_23_submit_many_too_forgets_what_has_expired(autojump_clock: trio.testing.MockClock) -> None:
    queue, ran = Queue("q", retention=Retention(succeeded=1)), list[int]()

    @queue.handler
    async def work() -> None:
        ran.append(1)

    chosen = work.using(id=str(uuid4()))
    async with Engine(None, [queue], clock=TrioClock()) as engine:
        for round_ in (1, 2):
            for _ in range(2):
                [handle, other] = await engine.submit_many([chosen.bind(), work.bind()])
                assert (await handle.wait(timeout=5)).state is State.SUCCEEDED
                await other.wait(timeout=5)
            assert len(ran) == 3 * round_
            await trio.sleep(1.5)


# row 23, row 38
async def test_row_23_ctx_submit_says_that_an_expired_task_is_still_being_deleted(autojump_clock: trio.testing.MockClock) -> None:
    queue, ran = Queue("q", retention=Retention(succeeded=1), retry=Retry(attempts=2, backoff=Constant(1))), list[int]()
    chosen = str(uuid4())

    @queue.handler
    async def child() -> None:
        ran.append(1)

    @queue.handler
    async def parent(ctx: Context) -> None:
        ctx.submit(child.using(id=chosen))

    async with Engine(None, [queue], clock=TrioClock()) as engine:
        await (await engine.submit(child.using(id=chosen))).wait(timeout=5)
        await trio.sleep(1.5)
        task = await (await engine.submit(parent)).wait(timeout=5)
        assert task.error is not None
        assert (task.state, task.failures) == (State.SUCCEEDED, 1)
        assert task.error.type.endswith("DuplicateTask")
        assert f"task {chosen} has expired and is being deleted" in task.error.message
        await engine.drain(timeout=5)
        assert len(ran) == 2, "the second attempt found the id free"


# row 23
async def test_row_23_refusals_name_a_task_as_everybody_else_does() -> None:
    one, two, entered = Queue("one"), Queue("two"), trio.Event()

    @one.handler
    async def work(number: int) -> None:
        entered.set()
        await trio.sleep_forever()

    @two.handler
    async def elsewhere(number: int) -> None: ...

    chosen, other = str(uuid4()), str(uuid4())
    async with Engine(None, [one, two], grace=0) as engine:
        await engine.submit(work.using(id=chosen), 1)
        with pytest.raises(DuplicateTask, match=chosen):
            await engine.submit(work.using(id=chosen), 2)
        with pytest.raises(DuplicateTask, match=other):
            await engine.submit_many([work.using(id=other).bind(1), elsewhere.using(id=other).bind(1)])
        await entered.wait()
        with pytest.raises(NotCancellable, match=chosen):
            await engine.cancel(chosen, running=False)
        with pytest.raises(NotRetryable, match=chosen):
            await engine.retry(chosen)


async def test_bad_values_say_what_is_wrong() -> None:
    for wrong in ({"rate": 5}, {"retry": 3}, {"retention": 5}):
        with pytest.raises(ValueError, match="must be a"):
            Queue("q", **wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="give a directory"):
        Engine("")
    assert Queue("q", rate=Rate(5))
    async with Engine(None, [Queue("q")]) as engine:
        assert await engine.list(before=-1) == []
        assert await engine.list(before=1 << 70) == []
        with pytest.raises(ValueError, match="owner"):
            await engine.list(owner=("a",))  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="Queue"):
            await engine.create_queue("x")  # type: ignore[arg-type]
        assert await engine.prune(states="failed") == 0


# row 40: found by crash states of a journal with a past, CI seed 937103035
async def test_row_40_a_picture_of_a_running_task_never_shows_the_result_it_will_have() -> None:
    queue, entered, go = Queue("q"), trio.Event(), trio.Event()

    @queue.handler
    async def work() -> int:
        entered.set()
        await go.wait()
        return 7

    async with Engine(None, [queue]) as engine:
        handle = await engine.submit(work)
        await entered.wait()
        [picture] = await engine.list()
        assert picture.state is State.RUNNING
        go.set()
        assert await handle.result(timeout=5) == 7
        assert picture.result is None
        assert (await engine.list())[0].result == 7


# row 91
async def test_row_91_a_value_of_another_kind_is_refused_in_words() -> None:
    queue = Queue("q")

    @queue.handler
    async def work() -> None: ...

    async with Engine(None, [queue]) as engine:
        for call, error, words in (
            (lambda: engine.schedule("s", work, every=5, start="tomorrow"), ValueError, "start must be an aware datetime"),  # type: ignore[arg-type]
            (lambda: engine.pause(5), QueueNotFound, "no queue 5"),  # type: ignore[arg-type]
            (lambda: engine.clear(None), QueueNotFound, "no queue None"),  # type: ignore[arg-type]
            (lambda: engine.retry_all("q", state=["failed"]), ValueError, "retry_all takes one state"),  # type: ignore[arg-type]
            (lambda: engine.list(state=5), ValueError, "state must be a state"),  # type: ignore[arg-type]
            (lambda: engine.submit(work.using(tags=5)), ValueError, "tags must be a collection"),  # type: ignore[arg-type]
            (lambda: engine.submit(work.using(unique="u", unique_states=5)), ValueError, "unique_states must be"),  # type: ignore[arg-type]
        ):
            with pytest.raises(error, match=words):
                await call()  # type: ignore[no-untyped-call]
        assert (await engine.schedule("s", work, every=5, args=None)).spec == "every 5 s"  # type: ignore[arg-type]


async def test_an_engine_called_from_another_loop_says_whose_it_is() -> None:
    queue = Queue("q")

    @queue.handler
    async def work() -> str:
        return "ran"

    async with Engine(None, [queue]) as engine:
        for call in (partial(engine.submit, work), engine.stats, partial(engine.pause, "q")):
            with pytest.raises(RuntimeError, match=r"belongs to the thread that opened it.*trio\.from_thread\.run"):
                await trio.to_thread.run_sync(trio.run, call)

        def as_advised() -> Any:
            return trio.from_thread.run(engine.submit, work)

        handle = await trio.to_thread.run_sync(as_advised)
        assert await handle.result(timeout=5) == "ran"


class Unreadable(Exception):
    def __str__(self) -> str:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (KeyError("currency"), "KeyError: 'currency'"),
        (RuntimeError("changed"), "RuntimeError: changed"),
        (ValueError("negative"), "negative"),
        (RecursionError(), "nested too deeply"),
        (Unreadable(), "Unreadable: <no text: ZeroDivisionError"),
    ],
)
async def test_row_06_whatever_a_class_raises_when_it_is_rebuilt_is_a_value_that_does_not_fit(error: Exception, says: str) -> None:
    wrong = False

    @dataclass
    class Money:
        amount: int

        def __post_init__(self) -> None:
            if wrong:
                raise error

    queue = Queue("q")

    @queue.handler
    async def pay(money: Money) -> Money:
        return money

    @queue.handler
    async def later(money: Money) -> None: ...

    async with Engine(None, [queue]) as engine:
        given = Money(5)
        handle = await engine.submit(pay, given)
        assert (await handle.wait(5)).result == Money(5)
        wrong = True
        task = await engine.get(handle.id)
        assert task.payload == ([{"amount": 5}], {})
        assert task.result == {"amount": 5}
        assert await handle.result(5) == {"amount": 5}
        for submit in (
            engine.submit(later, given),
            engine.submit_many([later.bind(given)]),
            engine.schedule("s", later, every=60, args=[given]),
        ):
            with pytest.raises(InvalidPayload, match=f"argument 'money' of later: .*{re.escape(says)}"):
                await submit


async def test_row_06_a_value_whose_comparison_raises_cannot_be_stored() -> None:
    class Vain(int):
        def __lt__(self, other: object) -> bool:
            raise RuntimeError("never less")

        __hash__ = int.__hash__

    async with Engine(None, [Queue("q")]) as engine:
        with pytest.raises(InvalidPayload, match="its class raised RuntimeError: never less"):
            await engine.submit(engine.handler("work", "q"), {Vain(1), Vain(2)})

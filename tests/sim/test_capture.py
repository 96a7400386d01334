"""`capture`: what was submitted within a block, on a simulated engine and on a real one, and what a failed assertion shows."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import trio

from journeyman import Constant, Context, Engine, Fatal, Priority, Queue, QueueFull, Retry
from journeyman.sim import Captured, World, capture, simulate

AT = datetime(2030, 1, 2, tzinfo=UTC)


def mailing() -> tuple[Queue, ...]:
    """A queue with one handler, `send`, which submits on for some addresses."""
    mail = Queue("mail", retry=Retry(attempts=2, backoff=Constant(1), jitter=0), max_pending=50)

    @mail.handler
    async def send(ctx: Context, to: str, subject: str = "hi") -> None:
        if to == "both doors":
            ctx.submit(send.using(delay=5), "with success")
            await ctx.engine.submit(send, "at once")
        if to == "in vain":
            ctx.submit(send, "never")
            raise Fatal("no")

    return (mail,)


async def test_a_real_engine() -> None:  # row 69
    (mail,) = mailing()
    send = mail.handlers["send"]
    async with Engine(None, queues=[mail]) as engine:
        await engine.submit(send, "before")
        with capture(engine) as captured:
            captured.assert_nothing_submitted()
            handle = await engine.submit(send.using(delay=60, priority=Priority.HIGH), "a", subject="x")
            await engine.submit("send", to="b")
            await engine.submit_many([send.using(at=AT).bind("c"), (send, ("d",), {}), ("send", ("e",))])
        await engine.submit(send, "after")
        assert [one.args or one.kwargs for one in captured] == [("a",), {"to": "b"}, ("c",), ("d",), ("e",)]
        first = captured.assert_submitted(send, args=("a", "x"), delay=60, priority=Priority.HIGH, count=1)
        assert first is captured[0]
        assert (captured[0].id, captured[0].queue, captured[0].delay, captured[0].priority) == (handle.id, "mail", 60.0, 10)
        captured.assert_submitted(send, args=("c",), at=AT, delay=None)
        captured.assert_submitted("send", kwargs={"to": "b"}, delay=None, at=None)
        captured.assert_submitted(send, count=5)
        assert vars(engine).keys() == vars(Engine(None)).keys(), "the engine is left as it was found"


async def test_captured_tasks_run_as_always() -> None:
    async with Engine(None, queues=mailing()) as engine:
        with capture(engine) as captured:
            handle = await engine.submit("send", "a")
            await handle.result(timeout=10)
        assert (await captured[0].handle.wait()).state == "succeeded"


async def test_what_was_refused_was_not_submitted() -> None:
    async with Engine(None, queues=mailing()) as engine:
        await engine.pause("mail")
        with capture(engine) as captured:
            with pytest.raises(QueueFull):
                await engine.submit_many([("send", ("a",))] * 60)
            with pytest.raises(TypeError):
                await engine.submit("send")
        captured.assert_nothing_submitted()


async def test_blocks_may_overlap_and_end_in_any_order() -> None:
    async with Engine(None, queues=mailing()) as engine:
        one = capture(engine)
        two = capture(engine)
        first: Captured = one.__enter__()
        await engine.submit("send", "1")
        second: Captured = two.__enter__()
        await engine.submit("send", "2")
        one.__exit__(None, None, None)
        await engine.submit("send", "3")
        two.__exit__(None, None, None)
        await engine.submit("send", "4")
        assert [call.args for call in first] == [("1",), ("2",)]
        assert [call.args for call in second] == [("2",), ("3",)]


def test_a_simulated_engine_hears_handlers_too_and_across_crashes() -> None:  # row 69
    async def scenario(world: World) -> None:
        async with world.engine(queues=mailing) as engine:
            with engine.capture() as captured:
                outer = await engine.submit("send", "both doors")
                await outer.wait()
                await world.crash()
                await engine.ready()
                await engine.submit("send", "both doors")
                await engine.drain()
            await engine.submit("send", "after")
            captured.assert_submitted("send", args=("both doors",), count=2)
            captured.assert_submitted("send", args=("at once",), count=2)
            nested = captured.assert_submitted("send", args=("with success",), delay=5, count=2)
            assert nested is not None
            assert nested.within == outer.id
            await world.advance(seconds=10)
            assert (await nested.handle.wait()).state == "succeeded", "its handle carries on, though that boot is gone"

    simulate(scenario)


def test_a_submit_that_hangs_on_a_success_says_so() -> None:
    """It is remembered although the attempt failed: a test sees what the handler asked for."""

    async def scenario(world: World) -> None:
        async with world.engine(queues=mailing) as engine:
            with engine.capture() as captured:
                outer = await engine.submit("send", "in vain")
                await outer.wait()
            with pytest.raises(AssertionError, match=rf"send\('never'\)  priority=5 with the success of {outer.id}"):
                captured.assert_nothing_submitted()

    simulate(scenario)


@pytest.mark.parametrize(
    ("wanted", "first_line"),
    [
        ({"args": ("z",)}, "send('z') was not submitted; in this block there was"),
        ({"args": ("a",), "kwargs": {"subject": "y"}}, "send('a', subject='y') was not submitted; in this block there was"),
        ({"delay": 61}, "send with delay=61 was not submitted; in this block there was"),
        ({"delay": None}, "send with delay=None was not submitted; in this block there was"),
        ({"priority": 7, "at": AT}, f"send with at={AT} priority=7 was not submitted; in this block there was"),
        ({"count": 2}, "send was submitted once, not twice; in this block there was"),
        ({"count": 0}, "send was submitted once, not never; in this block there was"),
    ],
)
async def test_a_failure_shows_what_was_submitted_instead(wanted: dict[str, object], first_line: str) -> None:
    (mail,) = mailing()
    async with Engine(None, queues=[mail]) as engine:
        with capture(engine) as captured:
            await engine.submit(mail.handlers["send"].using(delay=60), "a", subject="x")
        with pytest.raises(AssertionError) as caught:
            captured.assert_submitted("send", **wanted)  # type: ignore[arg-type]
        assert str(caught.value).splitlines() == [first_line, "  send('a', subject='x')  delay=60 priority=5"]


async def test_a_failure_over_nothing() -> None:
    async with Engine(None, queues=mailing()) as engine:
        with capture(engine) as captured:
            await trio.lowlevel.checkpoint()
        assert captured.assert_submitted("send", count=0) is None
        with pytest.raises(AssertionError, match="send was not submitted; in this block there was\n  nothing at all"):
            captured.assert_submitted("send")


async def test_options_are_said_to_the_assertion() -> None:
    (mail,) = mailing()
    async with Engine(None, queues=[mail]) as engine:
        with capture(engine) as captured:
            pass
        with pytest.raises(TypeError, match=r"assert_submitted\(send, delay="):
            captured.assert_submitted(mail.handlers["send"].using(delay=3))  # type: ignore[arg-type]


def test_capturing_changes_nothing() -> None:
    """A run is the same with and without it."""

    def scenario(listening: bool) -> str:
        async def run(world: World) -> None:
            async with world.engine(queues=mailing) as engine:
                if listening:
                    with engine.capture():
                        await (await engine.submit("send", "both doors")).wait()
                        await engine.drain()
                else:
                    await (await engine.submit("send", "both doors")).wait()
                    await engine.drain()

        return simulate(run, seed=5).digest

    assert scenario(True) == scenario(False)


async def test_arguments_are_those_of_the_submit_whatever_becomes_of_them() -> None:
    queue = Queue("lists")

    @queue.handler
    async def take(ctx: Context, items: list[int]) -> None:
        if len(items) == 3:
            child = [4]
            ctx.submit(take, child)
            child.append(7)

    async with Engine(None, queues=[queue]) as engine:
        with capture(engine) as captured:
            one, two, three = [1], [2, 2], [3, 3, 3]
            await engine.submit(take, one)
            await engine.submit_many([take.bind(two), (take, (three,), {})])
            for items in (one, two, three):
                items.append(0)
            await engine.drain()
        for items in ([1], [2, 2], [3, 3, 3], [4]):
            captured.assert_submitted(take, args=(items,), count=1)


async def test_what_is_no_handler_is_refused_in_plain_words() -> None:
    queue = Queue("plain")

    @queue.handler
    async def run(n: int) -> None: ...

    async with Engine(None, queues=[queue]) as engine:
        with capture(engine) as captured:
            await engine.submit(run, 1)
        for wrong in (run.bind(1), None, 3):
            with pytest.raises(TypeError, match="give a handler or its name"):
                captured.assert_submitted(wrong)  # type: ignore[arg-type]
        captured.assert_submitted(engine.handler("run", queue="plain"), args=(1,))

"""Values of another kind, or beyond all bounds, are taken if they can be meant, and else refused in plain words where they are given."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Any, NamedTuple

import pytest
import trio

from journeyman.engine import Context, Engine, InvalidPayload, Queue, Snooze, fire_times


# DESIGN 2: seconds as float or timedelta
async def test_row_40_every_wait_takes_seconds_or_a_timedelta() -> None:
    queue, go = Queue("q"), trio.Event()

    @queue.handler
    async def work(ctx: Context) -> int:
        with pytest.raises(TypeError, match="a progress fraction is a number from 0 to 1, not '0.5'"):
            ctx.progress("0.5")  # type: ignore[arg-type]
        await go.wait()
        return 7

    async with Engine(None, [queue], grace=timedelta(seconds=2)) as engine:
        handle = await engine.submit(work)
        waits: tuple[Callable[[Any], Awaitable[Any]], ...] = (handle.wait, handle.result, lambda t: engine.wait(handle.id, t), engine.drain)
        for wait in waits:
            for short in (0, 0.001, timedelta(milliseconds=1)):
                with pytest.raises(trio.TooSlowError):
                    await wait(short)
            for wrong in ("5", -1, True, timedelta(seconds=-1), float("nan")):
                with pytest.raises(ValueError, match="timeout must be"):
                    await wait(wrong)
        go.set()
        for wait in waits:
            await wait(timedelta(seconds=5))
            await wait(float("inf"))
            await wait(None)
        assert await engine.stop(timedelta(seconds=1))


async def test_the_grace_of_an_engine_may_be_a_timedelta() -> None:
    queue, entered, go = Queue("q"), trio.Event(), trio.Event()

    @queue.handler
    async def work() -> int:
        entered.set()
        await go.wait()
        return 7

    with pytest.raises(ValueError, match="grace must be seconds"):
        Engine(None, grace="5")  # type: ignore[arg-type]
    async with Engine(None, [queue], grace=timedelta(seconds=5)) as engine:
        await engine.submit(work)
        await entered.wait()
        go.set()


@pytest.mark.parametrize("queues", [["mail"], "mail", Queue("q"), None, 5, [Queue("q"), None], {"mail": Queue("q")}], ids=repr)
def test_what_is_no_queue_is_refused_in_words(queues: Any) -> None:
    with pytest.raises(TypeError, match="an engine takes a list of Queues, .*, not "):
        Engine(None, queues)


@pytest.mark.parametrize("until", [5, "2026-01-01", date(2026, 1, 1), timedelta(hours=1), 0, ""], ids=repr)
def test_row_28_a_snooze_until_what_is_no_instant_is_refused_in_words(until: Any) -> None:
    with pytest.raises(TypeError, match="until must be an aware datetime"):
        Snooze(until=until)


class Somewhere(tzinfo):
    """A zone that does not say how far from UTC it is, which makes its datetimes naive."""

    def utcoffset(self, at: datetime | None) -> None:
        return None


BEYOND = datetime.max.replace(tzinfo=timezone(timedelta(hours=-12)))
BEFORE = datetime.min.replace(tzinfo=timezone(timedelta(hours=12)))


@pytest.mark.parametrize("instant", [datetime(2026, 1, 1), datetime(2026, 1, 1, tzinfo=Somewhere()), BEYOND, BEFORE], ids=repr)
async def test_an_instant_that_utc_cannot_say_is_refused_where_it_is_given(instant: datetime) -> None:
    queue = Queue("q")

    @queue.handler
    async def work() -> None: ...

    for give in (
        lambda: Snooze(until=instant),
        lambda: work.using(at=instant),
        lambda: work.using(deadline=instant),
        lambda: fire_times(after=instant, every=5),
        lambda: fire_times(after=datetime.now(UTC), every=5, start=instant),
        lambda: fire_times(after=datetime.now(UTC), every=5, end=instant),
    ):
        with pytest.raises(ValueError, match="must be"):
            give()
    async with Engine(None, [queue]) as engine:
        handle = await engine.submit(work.using(at=datetime.max.replace(tzinfo=UTC)))
        assert (await engine.get(handle.id)).due_at == datetime.max.replace(tzinfo=UTC)
        with pytest.raises(ValueError, match="at must be"):
            await engine.reschedule(handle.id, at=instant)


class Elsewhere(NamedTuple):
    at: datetime


# row 6
@pytest.mark.parametrize("value", [datetime(2026, 1, 1), [datetime(2026, 1, 1)], Elsewhere(datetime(2026, 1, 1))], ids=repr)
async def test_row_06_a_naive_datetime_is_refused_with_advice(value: Any) -> None:
    queue = Queue("q")

    @queue.handler
    async def work(value: Any) -> Any:
        return value[0]

    @queue.handler
    async def gives() -> Any:
        return value

    async with Engine(None, [queue]) as engine:
        with pytest.raises(InvalidPayload, match=r"argument 'value' of work: .*pass an aware one, such as datetime.now\(UTC\)"):
            await engine.submit(work, value)
        with pytest.raises(InvalidPayload, match="pass an aware one"):
            await engine.submit(engine.handler("elsewhere", "q"), value=value)
        task = await (await engine.submit(gives)).wait(5)
        assert task.error is not None
        assert "the result of gives" in task.error.message
        assert "an aware one" in task.error.message

"""The second opinion on schedules: it reads what users write, and it and the calendar agree, in the nights that matter too."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeyman.actors.calendar import cron
from journeyman.engine import Queue
from journeyman.sim import World, simulate
from journeyman.sim.timetable import MINUTE_US, read

DAY_US = 86_400_000_000


def us(*when: int) -> int:
    return round(datetime(*when, tzinfo=UTC).timestamp()) * 1_000_000


# A day of each: an ordinary one, spring and autumn in Europe, in New York, half an hour in Lord Howe, midnight in Cairo.
DAYS = (
    us(2030, 1, 31),
    us(2030, 3, 30, 12),
    us(2030, 10, 26, 12),
    us(2030, 3, 9, 12),
    us(2030, 11, 2, 12),
    us(2030, 4, 6),
    us(2030, 4, 25, 12),
)
ZONES = ("UTC", "Europe/Oslo", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "Asia/Kathmandu")


@st.composite
def fields(draw: st.DrawFn, least: int, most: int) -> str:
    number = st.integers(least, most)
    one = st.one_of(
        st.just("*"),
        st.integers(1, most).map("*/{}".format),
        number.map(str),
        st.tuples(number, number).map(lambda pair: f"{min(pair)}-{max(pair)}"),
        st.tuples(number, number, st.integers(1, 9)).map(lambda three: f"{min(three[:2])}-{max(three[:2])}/{three[2]}"),
        st.lists(number, min_size=2, max_size=4).map(lambda some: ",".join(map(str, some))),
    )
    return draw(one)


EXPRESSIONS = st.tuples(
    fields(0, 59), fields(0, 23), st.sampled_from(["*", "*", "1-31", "26,27,30,31", "*/2"]), st.sampled_from(["*", "*", "1-10", "MAR,OCT"]),
    st.sampled_from(["*", "*", "1-5", "SUN", "MON-FRI", "0,6", "7"]),
).map(" ".join)  # fmt: skip


@given(EXPRESSIONS, st.sampled_from(ZONES), st.sampled_from(DAYS))
def test_two_opinions_are_one(expression: str, zone: str, day: int) -> None:
    plain, calendar = read(expression), cron(expression, zone)
    assert plain is not None
    found, at = [], calendar.after(day)
    while at is not None and at <= day + DAY_US:
        found.append(at)
        at = calendar.after(at)
    minutes = range(day + MINUTE_US, day + DAY_US + 1, MINUTE_US)
    assert [one for one in minutes if plain.names(one, ZoneInfo(zone))] == found


@pytest.mark.parametrize("expression", ["0 3 * * 1-5", "*/10 8-18 * * MON-FRI", "30 2 * * *", "0 0 L * *", "0 0 * * 1#1", "30 0 12 * * *"])
def test_users_schedules_are_not_accused(expression: str) -> None:
    """The promises watch every simulation, whatever is written there."""

    async def scenario(world: World) -> None:
        queue, runs = Queue("q"), []

        @queue.handler
        async def work() -> None:
            runs.append(world.now())

        async with world.engine(queues=[queue]) as engine:
            await engine.schedule("s", work, cron=expression, timezone="Europe/Oslo")
            await world.advance(days=3)
            await world.crash()
            await engine.ready()
            await world.advance(days=10)
        assert runs

    simulate(scenario, start=datetime(2030, 3, 22, tzinfo=UTC))

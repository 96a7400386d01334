"""Cron fire times against the most naive reading there is: look at every minute of the wall clock, one after another."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from journeyman.actors.calendar import cron, zone
from journeyman.engine import Engine, Queue, fire_times

MINUTE = timedelta(minutes=1)
# (zone, an instant close to a change of its clock): spring and autumn, half an hour, at midnight, a whole day left out, Ramadan.
CHANGES = [
    ("Europe/Oslo", datetime(2026, 3, 29, 1, tzinfo=UTC)),
    ("Europe/Oslo", datetime(2026, 10, 25, 1, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 3, 8, 7, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 11, 1, 6, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 4, 4, 15, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 10, 3, 15, 30, tzinfo=UTC)),
    ("America/Sao_Paulo", datetime(2018, 11, 4, 3, tzinfo=UTC)),
    ("America/Sao_Paulo", datetime(2019, 2, 17, 2, tzinfo=UTC)),
    ("Pacific/Apia", datetime(2011, 12, 30, 10, tzinfo=UTC)),
    ("Africa/Casablanca", datetime(2026, 2, 15, 2, tzinfo=UTC)),
    ("Asia/Kathmandu", datetime(2026, 3, 29, 1, tzinfo=UTC)),
]


def field(most: int, least: int = 0) -> st.SearchStrategy[str]:
    """A field of a cron expression, plain enough to be read here too."""
    numbers = st.lists(st.integers(least, most), min_size=1, max_size=3).map(lambda found: ",".join(map(str, sorted(set(found)))))
    steps = st.sampled_from([2, 5, 15, 20]).map(lambda n: f"*/{n}")
    return st.one_of(st.just("*"), numbers, steps)


def fits(text: str, value: int, least: int) -> bool:
    if text == "*":
        return True
    if text.startswith("*/"):
        return (value - least) % int(text[2:]) == 0
    return value in map(int, text.split(","))


def naive(expression: str, at: ZoneInfo, begin: datetime, end: datetime) -> list[datetime]:
    """Fire times after `begin` and up to `end`, instants in UTC: by looking at every minute of the wall."""
    minute, hour, day, month, weekday = expression.split()
    fixed = not minute.startswith("*") and not hour.startswith("*")

    minutes, hours = {n for n in range(60) if fits(minute, n, 0)}, {n for n in range(24) if fits(hour, n, 0)}
    both = day.startswith("*") or weekday.startswith("*")

    def matches(wall: datetime) -> bool:
        if wall.minute not in minutes or wall.hour not in hours or not fits(month, wall.month, 1):
            return False
        days = fits(day, wall.day, 1), fits(weekday, wall.isoweekday() % 7, 0)
        return all(days) if both else any(days)

    found: set[datetime] = set()
    if fixed:
        wall = begin.astimezone(at).replace(tzinfo=None, second=0, microsecond=0) - timedelta(hours=26)
        while wall <= end.astimezone(at).replace(tzinfo=None) + timedelta(hours=1):
            if matches(wall):
                later = wall
                while later.replace(tzinfo=at).astimezone(UTC).astimezone(at).replace(tzinfo=None) != later:  # no clock ever shows it
                    later += MINUTE
                found.add(later.replace(tzinfo=at).astimezone(UTC))
            wall += MINUTE
    else:
        instant = begin.replace(second=0, microsecond=0)
        while instant <= end:
            if matches(instant.astimezone(at).replace(tzinfo=None)):
                found.add(instant)
            instant += MINUTE
    return sorted(instant for instant in found if begin < instant <= end)


@settings(max_examples=150, deadline=None)
@given(
    minute=field(59),
    hour=field(23),
    day=st.one_of(st.just("*"), field(31, 1)),
    month=st.one_of(st.just("*"), field(12, 1)),
    weekday=st.one_of(st.just("*"), field(6)),
    change=st.sampled_from(CHANGES),
    minutes=st.integers(-1_600, 300),
    seconds=st.integers(0, 59),
)
@example(minute="30", hour="2", day="*", month="*", weekday="*", change=CHANGES[0], minutes=-100, seconds=0)
@example(minute="0,15,30,45", hour="1,2,3", day="*", month="*", weekday="*", change=CHANGES[1], minutes=15, seconds=1)
@example(minute="*", hour="0", day="4", month="*", weekday="*", change=CHANGES[6], minutes=-1_600, seconds=0)
@example(minute="0", hour="0", day="30", month="*", weekday="*", change=CHANGES[8], minutes=-1_000, seconds=0)
def test_every_fire_time_is_one_that_the_wall_clock_shows(  # row 70
    minute: str, hour: str, day: str, month: str, weekday: str, change: tuple[str, datetime], minutes: int, seconds: int
) -> None:
    expression, name = f"{minute} {hour} {day} {month} {weekday}", change[0]
    begin = change[1] + timedelta(minutes=minutes, seconds=seconds)
    end = begin + timedelta(hours=30)
    expected = naive(expression, ZoneInfo(name), begin, end)
    try:
        found = fire_times(10_000, after=begin, cron=expression, timezone=name, end=end)
    except ValueError:
        assert not expected, "refused, and yet it fires"
        return
    assert found == expected
    if expected:  # wherever one begins to look, the answer is the same
        since = expected[len(expected) // 2]
        assert fire_times(10_000, after=since, cron=expression, timezone=name, end=end) == [each for each in expected if each > since]


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        ("30 2 * * *", "2026-03-28T12:00", ["2026-03-29T03:00+02:00", "2026-03-30T02:30+02:00"]),  # left out: at the end of the gap
        ("30 2 * * *", "2026-10-24T12:00", ["2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00"]),  # twice: the first
        ("*/30 * * * *", "2026-03-29T00:00", ["2026-03-29T01:30+01:00", "2026-03-29T03:00+02:00"]),
        ("0 * * * *", "2026-10-24T23:30", ["2026-10-25T02:00+02:00", "2026-10-25T02:00+01:00"]),  # twice: both
        ("15 0 2 * * *", "2026-03-28T12:00", ["2026-03-30T02:00:15+02:00", "2026-03-31T02:00:15+02:00"]),  # with seconds: as the wall says
        ("0 12 * * 1L", "2026-03-28T12:00", ["2026-03-30T12:00+02:00", "2026-04-27T12:00+02:00"]),
        ("0 12 L * *", "2026-03-28T12:00", ["2026-03-31T12:00+02:00", "2026-04-30T12:00+02:00"]),
        ("0  12 29 2 *", "2026-03-28T12:00", ["2028-02-29T12:00+01:00", "2032-02-29T12:00+01:00"]),
    ],
)
def test_what_it_means_in_oslo(expression: str, after: str, expected: list[str]) -> None:  # row 70
    found = fire_times(2, after=datetime.fromisoformat(after).replace(tzinfo=UTC), cron=expression, timezone="Europe/Oslo")
    assert found == [datetime.fromisoformat(each) for each in expected]
    assert [each.isoformat() for each in found] == [datetime.fromisoformat(each).isoformat() for each in expected]


def test_preview_needs_no_engine() -> None:  # row 70
    noon = datetime(2026, 5, 1, 12, tzinfo=UTC)
    assert fire_times(3, after=noon, every=90) == [noon + n * timedelta(seconds=90) for n in (1, 2, 3)]
    start, end = noon + timedelta(hours=1), noon + timedelta(hours=3)
    assert fire_times(5, after=noon, every=timedelta(hours=1), start=start, end=end) == [start, noon + timedelta(hours=2), end]
    assert fire_times(5, after=noon, cron="0 * * * *", start=start, end=end) == [start, noon + timedelta(hours=2), end]
    assert fire_times(5, after=noon + timedelta(minutes=7), every=3600, start=noon - timedelta(days=1), end=end)[0] == start
    assert fire_times(0, after=noon, every=90) == []


@pytest.mark.parametrize(
    "bad",
    [
        {}, {"cron": "* * * * *", "every": 5}, {"cron": "61 * * * *"}, {"cron": "* * *"}, {"cron": ""}, {"cron": 5},
        {"cron": "L/2 * * * *"},
        {"every": 0}, {"every": -1}, {"every": float("nan")}, {"every": "5"}, {"every": 5, "timezone": "Nowhere/Land"},
        {"every": 5, "timezone": "../etc/passwd"}, {"every": 5, "timezone": None}, {"cron": "* * * * *", "start": datetime(2026, 1, 1)},
        {"every": 5, "n": -1}, {"every": 5, "n": True}, {"cron": "0 0 31 2 *"},
    ],
)  # fmt: skip
def test_what_cannot_be_meant(bad: dict[str, object]) -> None:  # row 70
    with pytest.raises(ValueError, match=r".{10}"):
        fire_times(**{"after": datetime(2026, 1, 1, tzinfo=UTC), **bad})  # type: ignore[arg-type]


def test_without_cronsim_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:  # row 70
    monkeypatch.setitem(sys.modules, "cronsim", None)
    cron.cache_clear()
    with pytest.raises(ImportError, match=r'pip install "journeyman\[cron\]"'):
        cron("* * * * *", "UTC")
    assert fire_times(1, after=datetime(2026, 1, 1, tzinfo=UTC), every=60), "every needs nothing"


def test_the_end_of_time() -> None:
    assert cron("* * * * *", "Europe/Oslo").after(1 << 61) is None
    assert fire_times(3, after=datetime(9989, 12, 31, 23, 58, tzinfo=UTC), cron="* * * * *", timezone="UTC")
    assert zone("UTC").key == "UTC"


FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
OFTEN: list[dict[str, Any]] = [{"every": 5}, {"cron": "* * * * *"}, {"cron": "0 3 * * *"}, {"cron": "*/5 * * * * *"}]


@pytest.mark.parametrize("timing", OFTEN, ids=str)
@pytest.mark.parametrize("timezone", ["UTC", "America/Los_Angeles", "Pacific/Kiritimati"])
async def test_where_datetime_ends_nothing_fires_any_more(timing: dict[str, Any], timezone: str) -> None:  # row 70
    now = datetime(2026, 1, 1, tzinfo=UTC)
    last = datetime(9990, 1, 1, tzinfo=UTC)
    assert fire_times(after=LAST, timezone=timezone, **timing) == []
    assert len(fire_times(after=last - timedelta(days=3), timezone=timezone, **timing)) >= 2
    assert len(fire_times(after=now, end=LAST, timezone=timezone, **timing)) == 5
    earliest = fire_times(after=FIRST, timezone=timezone, **timing)
    assert earliest == sorted(earliest)
    assert len(earliest) == 5
    assert len(fire_times(after=now, start=FIRST, timezone=timezone, **timing)) == 5
    with pytest.raises(ValueError, match="start must be before the year 9990"):
        fire_times(after=now, start=LAST, timezone=timezone, **timing)

    queue = Queue("q")

    @queue.handler
    async def work() -> None: ...

    async with Engine(None, [queue]) as engine:
        with pytest.raises(ValueError, match="start must be before the year 9990"):
            await engine.schedule("s", work, start=LAST, timezone=timezone, **timing)
        seen = await engine.schedule("s", work, start=last - timedelta(seconds=1), end=LAST, timezone=timezone, **timing)
        assert seen.end == LAST
        assert len(await engine.preview("s")) <= 2
        seen = await engine.schedule("s", work, end=LAST, timezone=timezone, **timing)
        assert len(await engine.preview("s")) == 5
        assert [seen] == await engine.schedules()

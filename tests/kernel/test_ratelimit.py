"""The limiter keeps its promise in every window, whatever the pattern of asking.  # row 16"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from journeyman.kernel.commands import Dispatch, Failed, Succeeded
from journeyman.kernel.dispatch import conforming
from journeyman.kernel.policy import Constant, Policy, Rate, Retry
from journeyman.kernel.ratelimit import after_start, allowed_at, interval_us
from journeyman.kernel.wakeup import next_wakeup
from tests.kernel.lane import ERROR, FREE, SECOND, Lane, task

rates = st.tuples(st.integers(1, 50), st.integers(1, 10**6), st.integers(1, 20))


@given(rates, st.lists(st.integers(0, 10**6), min_size=1, max_size=60))
def test_starts_in_any_window_are_within_the_promise(rate: tuple[int, int, int], gaps: list[int]) -> None:
    limit, per, burst = rate
    now, tat, starts = 10**15, 0, []
    for gap in gaps:
        now += gap
        while allowed_at(rate, tat) <= now and len(starts) < 300:
            starts.append(now)
            tat = after_start(rate, tat, now)
    for i, first in enumerate(starts):
        for j in range(i, len(starts)):
            assert (j - i + 1 - burst) * per <= limit * (starts[j] - first), "more starts than burst + limit * w / per"


@given(rates, st.integers(0, 10**7), st.integers(0, 10**7))
def test_conforming_counts_what_one_by_one_allows(rate: tuple[int, int, int], tat: int, now: int) -> None:
    expected, folded = 0, tat
    while allowed_at(rate, folded) <= now:
        folded = after_start(rate, folded, now)
        expected += 1
    assert conforming(rate, tat, now) == expected


def test_interval_is_rounded_up() -> None:
    assert interval_us((3, SECOND, 1)) == 333_334


def test_first_at_once_then_spaced_over_all_slots_and_asleep_in_between() -> None:
    lane = Lane(Policy.compile(concurrency=10, rate=Rate(2)))
    lane.when(*(task(n) for n in range(4)))
    lane.start(0, at=10 * SECOND)
    assert next_wakeup(lane.state, lane.now, FREE) == 10_500_000
    lane.start(at=10_499_999)
    lane.start(1, at=10_500_000).start(2, at=11 * SECOND)
    lane.start(3, at=60 * SECOND)


def test_burst_then_steady() -> None:
    lane = Lane(Policy.compile(concurrency=10, rate=Rate(1, burst=3)))
    lane.when(*(task(n) for n in range(8)))
    lane.start(0, 1, 2, at=100 * SECOND).start(at=100 * SECOND + 1).start(3, at=101 * SECOND).start(4, 5, 6, at=200 * SECOND)


def test_survives_a_restart_without_a_free_start() -> None:
    lane = Lane(Policy.compile(rate=Rate(1, per=60)))
    lane.when(task(1), task(2)).start(1, at=10 * SECOND).finish(1, Succeeded(1))
    lane.reopen(Policy.compile(rate=Rate(1, per=60)))
    lane.start(at=69 * SECOND).start(2, at=70 * SECOND)


def test_retries_take_tokens_too() -> None:
    lane = Lane(Policy.compile(retry=Retry(3, Constant(0), 0), rate=Rate(1, per=10)))
    lane.when(task(1)).start(1, at=100 * SECOND).finish(1, Failed(1, ERROR))
    lane.start(at=109 * SECOND).start(1, at=110 * SECOND)


def test_tokens_do_not_pile_up_while_nobody_asks() -> None:
    lane = Lane(Policy.compile(concurrency=9, rate=Rate(1)))
    lane.when(*(task(n) for n in range(3))).start(0, at=1000 * SECOND).when(Dispatch())
    lane.then().start(1, at=1001 * SECOND)


def test_what_becomes_due_before_the_next_token_wakes_nobody_early() -> None:
    lane = Lane(Policy.compile(concurrency=9, rate=Rate(1, per=10)))
    lane.when(task(1), task(2, due_at=12 * SECOND)).start(1, at=10 * SECOND)
    assert next_wakeup(lane.state, lane.now, FREE) == 20 * SECOND

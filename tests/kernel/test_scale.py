"""What a step costs must not depend on how many wait: counted in executed lines, not in seconds.

Lines are counted by the interpreter's own tracing, so the tests say the same on any machine, busy or not.  (What C code does in one call is
not seen; the indexes' own files argue about that.)
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from journeyman.kernel.commands import Cancel, Dispatch, Env, Failed, Finish, Open, Succeeded
from journeyman.kernel.lifecycle import State
from journeyman.kernel.policy import Policy
from journeyman.kernel.wakeup import next_wakeup
from tests.kernel.lane import ERROR, FREE, SECOND, Lane, task, tid

FEW, MANY = 1_000, 100_000


def lines(work: Callable[[], object]) -> int:
    """How many lines of Python `work` executes."""
    count = 0

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal count
        count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def filled(count: int, **policy: Any) -> Lane:
    """A lane with `count` pending tasks of three priorities, none started."""
    lane = Lane(Policy(**policy), checked=False)
    lane.when(*(task(n, priority=n % 3) for n in range(count)))
    return lane


def same_cost(build: Callable[[int], Lane], work: Callable[[Lane], object]) -> None:
    """`work` costs the same with few and with many waiting (a heap's depth allowed for)."""
    few, many = (lines(lambda lane=lane: work(lane)) for lane in (build(FEW), build(MANY)))  # type: ignore[misc]
    assert many <= few * 1.2 + 50, (few, many)


def drain(lane: Lane, n: int = 200) -> None:
    lane.when(Dispatch())
    for _ in range(n):
        now = next(iter(lane.state.running.values()))
        lane.when(Finish(now.id, now.epoch, now.attempt, Succeeded(1)))
        lane.when(Dispatch())
        next_wakeup(lane.state, lane.now, FREE)


def test_draining() -> None:
    same_cost(lambda n: filled(n, concurrency=8), drain)


def test_submitting() -> None:
    same_cost(filled, lambda lane: [lane.when(task(10**9 + n)) for n in range(200)])


def test_retrying() -> None:
    def work(lane: Lane) -> None:
        for _ in range(100):
            lane.when(Dispatch())
            for found in list(lane.state.running.values()):
                lane.when(Finish(found.id, found.epoch, found.attempt, Failed(1, ERROR)))
            lane.now += SECOND

    same_cost(lambda n: filled(n, concurrency=8, attempts=10**6), work)


def test_becoming_due_costs_by_what_becomes_due() -> None:
    def build(count: int) -> Lane:
        lane = Lane(Policy(), checked=False)
        return lane.when(*(task(n, due_at=(10 + n) * SECOND) for n in range(count)))

    same_cost(build, lambda lane: [lane.when(Dispatch(), at=(10 + n) * SECOND) for n in range(200)])


def test_tasks_without_handler_are_not_looked_at_again() -> None:
    def build(count: int) -> Lane:
        lane = Lane(Policy(), checked=False)
        lane.state.set_handlers({"send"})
        lane.when(*(task(n, handler="gone", priority=9) for n in range(count)))
        return lane.when(*(task(10**6 + n) for n in range(300)))

    same_cost(build, drain)


def test_suspects_and_stragglers_do_not_slow_the_line() -> None:
    def build(count: int) -> Lane:
        lane = filled(count + 300, concurrency=count, crashes=1)
        lane.when(Dispatch())
        lane.when(Open(2, None, [tid(n) for n in range(count + 300)]))
        lane.when(Dispatch())
        return lane

    same_cost(build, drain)
    plain, held = filled(2_000, concurrency=50), filled(2_000, concurrency=60)
    stragglers = Env(stragglers={tid(n) for n in range(10)})  # 10 of 60 slots are held: 50 start, too
    expected = lines(lambda: plain.when(Dispatch()))
    assert lines(lambda: held.when(Dispatch(), env=stragglers)) < 2 * expected


@pytest.mark.parametrize("state", [State.RUNNING, State.SCHEDULED, State.PENDING])
def test_listing_costs_by_what_it_shows(state: State) -> None:
    def build(count: int) -> Lane:
        lane = filled(count, concurrency=9)
        lane.when(*(task(10**6 + n, due_at=99 * SECOND) for n in range(50))).when(Dispatch())
        next(lane.state.listed(state, lane.now))  # the first look sorts what is fresh
        return lane

    def page(lane: Lane) -> None:
        walk = lane.state.listed(state, lane.now)
        for _ in range(9):
            next(walk)
        lane.state.counts(lane.now)

    same_cost(build, page)


def test_cancelling_from_the_middle() -> None:
    same_cost(filled, lambda lane: [lane.when(Cancel(tid(n), "", "")) for n in range(500, 700)])


def test_indexes_do_not_grow_with_history() -> None:
    lane = Lane(Policy(concurrency=4), checked=False)
    for round_ in range(300):
        lane.when(*(task(round_ * 100 + n) for n in range(100)))
        for _ in range(25):
            lane.when(Dispatch())
            for found in list(lane.state.running.values()):
                lane.when(Finish(found.id, found.epoch, found.attempt, Succeeded(1)))
        lane.state.settle(list(lane.state.tasks))
    agenda = lane.state.agenda
    assert not lane.state.tasks
    assert len(agenda.ready) + len(agenda.suspects) + len(agenda.later) == 0
    assert sum(map(len, agenda.rosters.values())) < 10_000

"""Reschedule and Reprioritise: an operator gives a waiting task another instant, or another place in the order."""

from __future__ import annotations

import random

import pytest

from journeyman.kernel.commands import Accepted, Cancel, Command, Dispatch, Env, Failed, Reprioritise, Reschedule, Snoozed
from journeyman.kernel.events import DUE_BY_DURATION, DUE_BY_INSTANT, TaskReprioritised, TaskRescheduled
from journeyman.kernel.lifecycle import State
from journeyman.kernel.policy import Constant, Policy, Retry
from tests.kernel.lane import ERROR, SECOND, Lane, task, tid


def move(n: int, delay_us: int = 0, at: int | None = None) -> Reschedule:
    return Reschedule(tid(n), delay_us, at, "why", "me")


def rank(n: int, priority: int) -> Reprioritise:
    return Reprioritise(tid(n), priority, "why", "me")


def test_a_delay_counts_from_the_decision_and_an_instant_is_that_instant() -> None:
    lane = Lane(Policy()).when(task(1), task(2))
    lane.when(move(1, 5 * SECOND), at=3 * SECOND).then(TaskRescheduled)
    assert (lane[1].due_at, lane[1].due_kind, lane[1].first_due) == (8 * SECOND, DUE_BY_DURATION, 8 * SECOND)
    lane.when(move(2, at=9 * SECOND))
    assert (lane[2].due_at, lane[2].due_kind, lane[2].state) == (9 * SECOND, DUE_BY_INSTANT, State.SCHEDULED)
    lane.when(move(2, at=SECOND))
    assert (lane[2].due_at, lane[2].due_kind) == (3 * SECOND, DUE_BY_DURATION), "the past means now"
    assert (lane.last[0].by, lane.last[0].reason) == ("me", "why")  # type: ignore[union-attr]
    lane.start(2).finish(2).start().start(1, at=8 * SECOND)


def test_priorities_change_the_order_and_nothing_else() -> None:
    lane = Lane(Policy()).when(task(1), task(2), task(3, due_at=5 * SECOND)).when(rank(2, 9)).then(TaskReprioritised)
    lane.when(rank(3, 99)).start(2).finish(2).start(1, at=5 * SECOND - 1).finish(1).start().start(3, at=5 * SECOND)
    lane.when(rank(3, 1)).refused("NotWaiting")


def test_the_same_priority_is_no_event() -> None:
    lane = Lane(Policy()).when(task(1)).when(rank(1, 5)).then()
    assert lane.answers == [Accepted(tid(1))]


@pytest.mark.parametrize("order", [move(1), rank(1, 9)], ids=["reschedule", "reprioritise"])
def test_only_what_waits_can_be_moved(order: Command) -> None:
    lane = Lane(Policy.compile(retry=Retry(attempts=2, backoff=Constant(9), jitter=0)))
    lane.when(order).refused("TaskNotFound").when(task(1)).start(1).when(order).refused("NotWaiting")
    assert "running" in str(lane.answers)
    lane.finish(1, Failed(1, ERROR)).when(order)
    assert lane.answers == [Accepted(tid(1), count=1)]
    lane.when(Cancel(tid(1), "", "")).when(order).refused("NotWaiting")
    assert "cancelled" in str(lane.answers)


def test_a_backoff_can_be_cut_short_and_a_snooze_drawn_out() -> None:
    lane = Lane(Policy.compile(concurrency=2, retry=Retry(attempts=3, backoff=Constant(99), jitter=0))).when(task(1), task(2)).start(1, 2)
    lane.finish(1, Failed(1, ERROR)).finish(2, Snoozed(1, 5 * SECOND))
    lane.when(move(1)).when(move(2, 60 * SECOND)).start(1)
    assert (lane[1].failures, lane[1].attempt) == (1, 2)
    lane.start(at=59 * SECOND).start(2, at=61 * SECOND)


def test_within_a_key_the_instant_decides_and_the_priority_does_not() -> None:
    lane = Lane(Policy(concurrency=5)).when(*(task(n, options={"key": "k"}) for n in range(3)))
    lane.when(rank(2, 99)).when(move(0, 7 * SECOND)).start(1).finish(1).start(2, at=5 * SECOND).finish(2).start()
    lane.start(0, at=8 * SECOND)


def test_a_task_without_a_handler_stays_aside() -> None:
    lane = Lane(Policy()).when(task(1, handler="gone"))
    lane.state.set_handlers({"send"})
    lane.when(rank(1, 7)).when(move(1, SECOND)).start(at=9 * SECOND)
    assert tid(1) in lane.state.agenda.parked


@pytest.mark.parametrize("seed", range(30))
def test_random_moves_keep_every_index_right(seed: int) -> None:
    """`Lane` compares the state with its replay and the indexes with the tasks at every step."""
    chance = random.Random(seed)
    strict = chance.choice(("strict", "relaxed"))
    lane = Lane(
        Policy.compile(concurrency=2, key_order=strict, retry=Retry(attempts=9, backoff=Constant(2)), aging=chance.choice((None, 3)))
    )
    for n in range(14):
        options = {"key": chance.choice("ab")} if chance.random() < 0.6 else None
        lane.when(task(n, due_at=lane.now + chance.choice((0, 0, 3)) * SECOND, priority=chance.choice((0, 5)), options=options))
    for _ in range(60):
        n = chance.randrange(14)
        running = [n for n in range(14) if tid(n) in lane.state.running]
        match chance.randrange(5):
            case 0:
                lane.when(move(n, chance.choice((0, 1, 4)) * SECOND))
            case 1:
                lane.when(rank(n, chance.randrange(4)))
            case 2 if running:
                lane.finish(chance.choice(running), chance.choice((None, Failed(1, ERROR), Snoozed(1, SECOND))))
            case _:
                lane.when(Dispatch(), at=lane.now + chance.choice((0, SECOND)), env=Env())

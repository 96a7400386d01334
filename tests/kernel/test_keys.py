"""Serialization keys and aging, step by step.  The same against a naive second opinion: test_machine.py."""

from __future__ import annotations

from typing import Any

import pytest

from journeyman.kernel.commands import Cancel, Configure, Dispatch, Env, Failed, Finish, Open, Released, Retry, Snoozed, Submit, Succeeded
from journeyman.kernel.explain import explain
from journeyman.kernel.policy import Policy
from tests.kernel.lane import ERROR, SECOND, Lane, task, tid

MANY = Policy(concurrency=8, attempts=5, jitter_ppm=0)


def keyed(n: int, key: str = "k", **more: Any) -> Submit:
    return task(n, options={"key": key}, **more)


def started(lane: Lane, **more: Any) -> list[int]:
    """Dispatch; which tasks started."""
    lane.when(Dispatch(), **more)
    return [int.from_bytes(event.task, "big") for event in lane.last]  # type: ignore[union-attr]


def ends(lane: Lane, n: int, outcome: Any = None, at: int | None = None) -> None:
    found = lane[n]
    lane.when(Finish(tid(n), found.epoch, found.attempt, outcome or Succeeded(1)), at=at)


def test_one_at_a_time_and_first_in_first_out_whatever_the_priority() -> None:
    lane = Lane(MANY).when(keyed(1)).when(keyed(2, priority=20)).when(keyed(3)).when(keyed(4, "other")).when(task(5))
    assert started(lane) == [1, 4, 5]
    assert started(lane) == []
    ends(lane, 1)
    assert started(lane) == [2]
    ends(lane, 2)
    assert started(lane) == [3]


@pytest.mark.parametrize("outcome", [Failed(1, ERROR), Snoozed(1, 30 * SECOND)])
def test_what_waits_for_its_next_run_keeps_its_key(outcome: Any) -> None:
    lane = Lane(MANY).when(keyed(1)).when(keyed(2))
    assert started(lane) == [1]
    ends(lane, 1, outcome)
    assert started(lane) == []
    assert started(lane, at=lane.now + 40 * SECOND) == [1]
    ends(lane, 1)
    assert started(lane) == [2]


@pytest.mark.parametrize("outcome", [Failed(1, ERROR), Snoozed(1, 30 * SECOND)])
def test_relaxed_order_lets_others_pass_and_gives_the_place_back(outcome: Any) -> None:
    lane = Lane(Policy(concurrency=8, attempts=5, jitter_ppm=0, key_order="relaxed"))
    lane.when(keyed(1)).when(keyed(2)).when(keyed(3))
    assert started(lane) == [1]
    ends(lane, 1, outcome)
    assert started(lane) == [2], "it waits, so the next may pass"
    assert started(lane, at=lane.now + 40 * SECOND) == [], "one at a time all the same"
    ends(lane, 2)
    assert started(lane) == [1], "it came first, so it goes before the third"


@pytest.mark.parametrize("given_back", [Released(1, "stop"), None])
def test_relaxed_a_run_given_back_makes_way_for_an_older_one_that_is_due_again(given_back: Any) -> None:
    lane = Lane(Policy(concurrency=8, attempts=5, jitter_ppm=0, key_order="relaxed")).when(keyed(1)).when(keyed(2), at=2 * SECOND)
    assert started(lane) == [1]
    ends(lane, 1, Failed(1, ERROR))
    assert started(lane) == [2]
    assert started(lane, at=lane.now + 40 * SECOND) == [], "the first is due again, and the second runs"
    if given_back is None:
        lane.when(Open(2, None, [tid(2)]))
    else:
        ends(lane, 2, given_back)
    assert started(lane) == [1]
    ends(lane, 1)
    assert started(lane) == [2]


def test_several_at_a_time() -> None:
    lane = Lane(Policy(concurrency=8, per_key=2, attempts=3, jitter_ppm=0))
    for n in range(1, 6):
        lane.when(keyed(n))
    assert started(lane) == [1, 2]
    ends(lane, 1, Failed(1, ERROR))
    assert started(lane) == [], "one waits and holds its share, one runs"
    ends(lane, 2)
    assert started(lane) == [3]


def test_a_task_due_later_does_not_hold_the_key_before_it_was_due_once() -> None:
    lane = Lane(MANY).when(keyed(1, due_at=60 * SECOND)).when(keyed(2)).when(keyed(3))
    assert started(lane) == [2]
    ends(lane, 2, at=70 * SECOND)
    assert started(lane) == [3], "submitted later, due earlier"
    ends(lane, 3)
    assert started(lane) == [1]


def test_a_cancelled_one_lets_the_next_go() -> None:
    lane = Lane(MANY).when(keyed(1)).when(keyed(2)).when(keyed(3))
    assert started(lane) == [1]
    lane.when(Cancel(tid(2), "", ""))
    ends(lane, 1)
    assert started(lane) == [3]


def test_a_lost_or_released_run_goes_first_again() -> None:
    lane = Lane(MANY).when(keyed(1)).when(keyed(2))
    assert started(lane) == [1]
    lane.when(Open(2, None, [tid(1)]))
    assert started(lane) == [1]
    ends(lane, 1, Released(1, "stop"))
    assert started(lane) == [1]


def test_retried_by_hand_it_goes_to_the_back_of_its_key() -> None:
    lane = Lane(Policy(concurrency=8)).when(keyed(1)).when(keyed(2)).when(keyed(3))
    assert started(lane) == [1]
    ends(lane, 1, Failed(1, ERROR))
    assert started(lane) == [2]
    lane.when(Retry(tid(1), "", ""), at=lane.now + SECOND)
    ends(lane, 2)
    assert started(lane) == [3]
    ends(lane, 3)
    assert started(lane) == [1]


def test_a_parked_task_holds_its_key_unless_the_order_is_relaxed() -> None:
    for order, expected in (("strict", []), ("relaxed", [2])):
        lane = Lane(Policy(concurrency=8, key_order=order))  # type: ignore[arg-type]
        lane.state.set_handlers(["draw"])
        lane.when(keyed(1)).when(keyed(2, handler="draw"))
        assert started(lane) == expected
        lane.state.set_handlers(["draw", "send"])
        assert started(lane) == ([1] if order == "strict" else [])


def test_arguments_that_do_not_fit_hold_the_key_unless_the_order_is_relaxed() -> None:
    for order, expected in (("strict", []), ("relaxed", [2])):
        lane = Lane(Policy(concurrency=8, key_order=order)).when(keyed(1)).when(keyed(2))  # type: ignore[arg-type]
        lane.state.park(tid(1), "they do not fit")
        assert started(lane) == expected
        lane.state.unpark(tid(1))
        assert started(lane) == ([1] if order == "strict" else [])


def test_a_lowered_per_key_lets_the_running_ones_end_and_starts_none_too_many() -> None:
    lane = Lane(Policy(concurrency=8, per_key=3))
    for n in range(1, 7):
        lane.when(keyed(n))
    assert started(lane) == [1, 2, 3]
    lane.when(Configure(Policy(concurrency=8, per_key=1).facts(), "test"))
    ends(lane, 2, Released(1, "stop"))
    assert started(lane) == [], "two still run"
    ends(lane, 1)
    assert started(lane) == [], "one still runs"
    ends(lane, 3)
    assert started(lane) == [2], "given back, and the oldest"
    ends(lane, 2)
    assert started(lane) == [4]


def test_the_thread_of_an_ended_attempt_holds_its_key() -> None:
    lane = Lane(Policy(concurrency=8)).when(keyed(1)).when(keyed(2)).when(keyed(3, "other"))
    assert started(lane) == [1, 3]
    ends(lane, 1, Failed(1, ERROR, "timeout"))
    left_over = Env(stragglers={tid(1)}, straggler_keys={"k": [tid(1)]})
    assert started(lane, env=left_over) == []
    assert [r.kind for r in explain(lane.state, tid(2), lane.now, left_over)] == ["key busy"]
    assert started(lane) == [2]


def test_explain_names_who_is_ahead() -> None:
    lane = Lane(MANY).when(keyed(1)).when(keyed(2))
    started(lane)
    [reason] = explain(lane.state, tid(2), lane.now, Env())
    assert reason.kind == "key busy"
    assert "running" in reason.text


def test_a_line_is_gone_when_its_key_has_no_tasks() -> None:
    lane = Lane(MANY)
    for n in range(1, 50):
        lane.when(keyed(n, f"key {n}"))
        started(lane)
        ends(lane, n)
    assert lane.state.agenda.keys.lines == {}


def test_aging_lets_waiting_outweigh_priority() -> None:
    lane = Lane(Policy(concurrency=1, aging_us=10 * SECOND))
    lane.when(task(1, priority=0), at=SECOND)  # as good as priority 5 that comes 50 seconds later
    lane.when(task(2, priority=5), at=50 * SECOND)
    assert lane.state.agenda.ready.best(2) == [lane[2], lane[1]]
    lane.when(task(3, priority=5), at=52 * SECOND)
    assert lane.state.agenda.ready.best(3) == [lane[2], lane[1], lane[3]]
    lane.when(Configure(Policy(concurrency=1).facts(), "test"))
    assert lane.state.agenda.ready.best(3) == [lane[2], lane[3], lane[1]]

"""TaskRescheduled: a waiting task is due at another instant, with other arguments or with its own."""

from __future__ import annotations

from typing import Any

import pytest

from journeyman.kernel.commands import Cancel, Failed
from journeyman.kernel.events import DUE_BY_DURATION, DUE_BY_INSTANT, ClockStepped, Options, TaskRescheduled
from journeyman.kernel.lifecycle import State
from journeyman.kernel.policy import Constant, Policy, Retry
from journeyman.kernel.world import JournalState, fold
from tests.kernel.lane import ERROR, SECOND, Lane, task, tid

LATER: dict[str, Any] = {"payload_len": 9, "payload_digest": b"n" * 16, "codec": 0}


def moved(lane: Lane, n: int, due_at: int, *, place_at: int | None = None, options: Options = None, kind: int = DUE_BY_DURATION) -> Lane:
    place_at = due_at if place_at is None else place_at
    state = lane.state
    lane.given(TaskRescheduled(lane.now, "q", state.qseq + 1, state.epoch, tid(n), due_at, kind, place_at, "me", "why", options))
    lane.check()
    return lane


def test_to_later_to_earlier_and_to_now() -> None:
    lane = Lane(Policy()).when(task(1, due_at=9 * SECOND))
    moved(lane, 1, 20 * SECOND)
    assert (lane[1].state, lane[1].due_at, lane[1].first_due) == (State.SCHEDULED, 20 * SECOND, 20 * SECOND)
    lane.start(at=19 * SECOND)
    moved(lane, 1, 19 * SECOND)
    assert lane[1].state is State.PENDING
    lane.start(1)


def test_what_was_due_can_be_put_off() -> None:
    lane = Lane(Policy()).when(task(1))
    moved(lane, 1, 20 * SECOND).start()
    lane.start(1, at=20 * SECOND)


def test_its_place_in_the_order_is_the_one_that_the_event_gives_it() -> None:
    lane = Lane(Policy()).when(task(1)).when(task(2))
    moved(lane, 1, lane.now, place_at=lane.now + 1)
    lane.start(2).finish(2).start(1)


def test_a_retrying_task_keeps_its_failures() -> None:
    lane = Lane(Policy.compile(retry=Retry(attempts=3, backoff=Constant(60)))).when(task(1)).start(1).finish(1, Failed(1, ERROR))
    moved(lane, 1, lane.now)
    assert (lane[1].state, lane[1].failures, lane[1].attempt) == (State.PENDING, 1, 1)
    lane.start(1)


def test_a_parked_task_is_looked_at_anew() -> None:
    lane = Lane(Policy()).when(task(1))
    lane.state.park(tid(1), "does not fit")
    moved(lane, 1, lane.now, options=LATER)
    assert not lane.state.agenda.parked
    lane.start(1)


def test_later_arguments_take_the_place_of_the_first() -> None:
    lane = Lane(Policy()).when(task(1, due_at=9 * SECOND))
    moved(lane, 1, 10 * SECOND, options={**LATER, "latest_at": 30 * SECOND})
    found = lane[1]
    assert (found.payload_seq, found.payload_len, found.payload_digest) == (len(lane.journal), 9, b"n" * 16)
    assert (found.seq, found.first_digest, found.latest_at) == (3, b"d" * 16, 30 * SECOND)
    moved(lane, 1, 11 * SECOND, options={**LATER, "payload_digest": b"o" * 16})
    assert (lane[1].first_digest, lane[1].latest_at) == (b"d" * 16, 30 * SECOND)


@pytest.mark.parametrize(("kind", "due_at"), [(DUE_BY_DURATION, 110 * SECOND), (DUE_BY_INSTANT, 10 * SECOND)])
def test_a_stepped_clock_moves_it_as_it_says(kind: int, due_at: int) -> None:
    lane = Lane(Policy()).when(task(1))
    moved(lane, 1, 10 * SECOND, kind=kind, options={"latest_at": 30 * SECOND})
    world = JournalState()
    for seq, event in enumerate([*lane.journal, ClockStepped(101 * SECOND, "", 0, 1, 100 * SECOND)], 1):
        fold(world, event, seq)
    found = world.queue("q").tasks[tid(1)]
    assert (found.due_at, found.latest_at) == (due_at, 130 * SECOND)


def test_its_deadline_and_a_cancel_stay_what_they_were() -> None:
    lane = Lane(Policy()).when(task(1, options={"deadline_at": 15 * SECOND}))
    moved(lane, 1, 12 * SECOND)
    assert lane.state.agenda.next_deadline() == 15 * SECOND
    lane.when(Cancel(tid(1), "no", "me"))
    assert lane[1].state is State.CANCELLED
    assert lane.state.agenda.next_deadline() is None

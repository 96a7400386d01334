"""RetryLater(scope="queue"): a task fails as it would have, and its whole queue is parked."""

from __future__ import annotations

import pytest

from journeyman.kernel.commands import Cancel, Env, Failed, Pause, Resume
from journeyman.kernel.events import AttemptFailed, ClockStepped, QueueParkedUntil, QueuePaused, QueueResumed, TaskCancelled, TaskFailed
from journeyman.kernel.explain import explain
from journeyman.kernel.policy import Policy
from journeyman.kernel.state import QueueState
from journeyman.kernel.wakeup import next_wakeup
from journeyman.kernel.world import JournalState, fold
from tests.kernel.lane import ERROR, FREE, SECOND, Lane, task, tid


def later(seconds: int) -> Failed:
    return Failed(1, ERROR, "retry_later", True, seconds * SECOND, parks=True)


def parked(attempts: int = 3) -> Lane:
    """Task 1 has parked the queue for ten seconds from second 1 on; 2 waits."""
    lane = Lane(Policy(attempts=attempts)).when(task(1), task(2)).start(1)
    return lane.finish(1, later(10))


def test_the_task_fails_as_before_and_the_queue_is_parked() -> None:
    lane = parked().then(AttemptFailed, QueueParkedUntil)
    assert lane[1].due_at == lane.state.parked_until == 11 * SECOND
    assert lane.last[1].options == {"task": tid(1), "attempt": 1}
    lane.start(at=11 * SECOND - 1).start(1, at=11 * SECOND)


def test_whatever_becomes_of_the_task() -> None:
    parked(attempts=1).then(TaskFailed, QueueParkedUntil).start(at=10 * SECOND).start(2, at=11 * SECOND)


def test_what_runs_goes_on_and_what_was_to_be_cancelled_is() -> None:
    lane = Lane(Policy(concurrency=2, attempts=3)).when(task(1), task(2), task(3)).start(1, 2)
    lane.when(Cancel(tid(1), "no need", "me")).finish(1, later(10)).then(TaskCancelled, QueueParkedUntil)
    lane.start().finish(2).start()


def test_the_longest_parking_stands() -> None:
    lane = Lane(Policy(concurrency=3, attempts=3)).when(task(1), task(2), task(3)).start(1, 2, 3)
    lane.finish(1, later(10)).finish(2, later(5)).then(AttemptFailed)
    assert lane.state.parked_until == 11 * SECOND
    lane.finish(3, later(60)).then(AttemptFailed, QueueParkedUntil)
    assert lane.state.parked_until == 61 * SECOND


def test_no_delay_is_no_parking() -> None:
    Lane(Policy(attempts=3)).when(task(1)).start(1).finish(1, later(0)).then(AttemptFailed)


def test_the_alarm_is_set_for_the_end_of_the_parking() -> None:
    lane = parked()
    assert next_wakeup(lane.state, lane.now, FREE) == 11 * SECOND


def test_why_it_does_not_run() -> None:
    lane = parked()
    [reason] = explain(lane.state, tid(2), lane.now, Env())
    assert (reason.kind, reason.until_at) == ("parked until", 11 * SECOND)
    assert "no such number" in reason.text


@pytest.mark.parametrize("paused", [False, True])
def test_resume_lifts_it(paused: bool) -> None:
    lane = parked()
    if paused:
        lane.when(Pause("me")).then(QueuePaused)
    lane.when(Resume("me", "they are back")).then(QueueResumed).start(2).when(Resume("me")).then()


def test_a_parking_that_is_over_needs_no_resume() -> None:
    parked().when(Resume("me"), at=12 * SECOND).then()


def test_it_survives_a_restart() -> None:
    parked().reopen(at=2 * SECOND).start(at=11 * SECOND - 1).start(1, at=11 * SECOND)


def test_it_is_among_the_facts_and_the_younger_stands() -> None:
    lane = parked()
    fresh = QueueState("q")
    fresh.merge_facts(lane.state.facts())
    assert (fresh.parked_until, fresh.parked_why) == (11 * SECOND, "no such number")
    old = lane.state.facts()
    lane.when(Resume("me"))
    lane.state.merge_facts(old)
    assert lane.state.parked_until == 0
    del old["parked"]  # as an older version wrote them
    QueueState("q").merge_facts(old)


def test_it_is_as_long_after_a_step_of_the_clock() -> None:
    lane = parked()
    world = JournalState()
    for seq, event in enumerate(lane.journal, 1):
        fold(world, event, seq)
    fold(world, ClockStepped(lane.now + 7200 * SECOND, "", 0, 1, 7200 * SECOND), len(lane.journal) + 1)
    assert world.queues["q"].parked_until == 7211 * SECOND

"""How attempts end: budgets, backoff, cancels, fences."""

from __future__ import annotations

import pytest

from journeyman.kernel.backoff import jittered
from journeyman.kernel.commands import Cancel, Env, Failed, Finish, Heartbeat, Outcome, Progress, Released, Snoozed, Stopped, Succeeded
from journeyman.kernel.events import (
    DUE_BY_INSTANT,
    AttemptFailed,
    AttemptReleased,
    AttemptSnoozed,
    CancelRequested,
    ProgressSampled,
    TaskCancelled,
    TaskFailed,
    TaskSucceeded,
    TransitionRejected,
)
from journeyman.kernel.lifecycle import State
from journeyman.kernel.policy import Constant, Policy, Retention, Retry
from tests.kernel.lane import ERROR, SECOND, Lane, task, tid


def running(policy: Policy | None = None) -> Lane:
    return Lane(policy or Policy(attempts=3, jitter_ppm=0)).when(task(1)).start(1)


def test_success_states_result_and_expiry() -> None:
    lane = running(Policy.compile(retention=Retention(succeeded=10, payload=False)))
    lane.finish(1, Succeeded(7, 4, b"r" * 16, 0, {"message": "done", "progress_ppm": 10**6}), at=5 * SECOND).then(TaskSucceeded)
    done = lane[1]
    assert (done.state, done.elapsed_us, done.result_len, done.result_digest, done.result_seq) == (
        State.SUCCEEDED,
        7,
        4,
        b"r" * 16,
        len(lane.journal),
    )
    assert (done.message, done.progress_ppm, done.expires_at, done.finished_at) == ("done", 10**6, 15 * SECOND, 5 * SECOND)
    assert not done.keep_payload


def test_no_result_no_record() -> None:
    lane = running().finish(1)
    assert lane[1].result_seq == 0
    lane = running(Policy(result=False)).finish(1, Succeeded(7, 4, b"r" * 16))
    assert (lane[1].result_len, lane[1].result_seq) == (0, 0)


def test_attempts_are_failed_runs_in_all() -> None:  # row 25 # row 31
    lane = running(Policy.compile(retry=Retry(3, Constant(10), 0)))
    for n in (1, 2):
        lane.finish(1, Failed(5, ERROR)).then(AttemptFailed)
        assert (lane[1].state, lane[1].failures, lane[1].due_at) == (State.RETRYING, n, lane.now + 10 * SECOND)
        lane.start(1, at=lane.now + 10 * SECOND)
        assert lane[1].attempt == n + 1
    lane.finish(1, Failed(5, ERROR)).then(TaskFailed)
    assert (lane.event.reason, lane.event.failures, lane[1].error, lane[1].state) == ("attempts", 3, ERROR, State.FAILED)  # row 30 # row 37


def test_backoff_takes_failures_and_jitter_is_on_top() -> None:
    lane = running(Policy(attempts=9))
    lane.finish(1, Snoozed(1)).start(1).finish(1, Released(1)).start(1).finish(1, Failed(1, ERROR))
    assert lane[1].attempt == 3
    assert lane[1].due_at == lane.now + jittered(SECOND, 100_000, tid(1), 1)


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (Failed(1, ERROR, "fatal"), "fatal"),  # row 29
        (Failed(1, ERROR, retryable=False), "not retryable"),
        (Failed(1, ERROR, "result", retryable=False), "not retryable"),
        (Failed(1, ERROR, "timeout", retryable=False), None),
        (Failed(1, ERROR, "heartbeat", retryable=False), None),
        (Failed(1, ERROR, "retry_later", retryable=False), None),
    ],
)
def test_what_is_final(outcome: Failed, reason: str | None) -> None:
    lane = running().finish(1, outcome)
    assert getattr(lane.event, "reason", None) == reason
    if outcome.cause != "exception":
        assert lane.event.options == {"cause": outcome.cause}


def test_a_handlers_own_delay_wins_even_over_the_cap() -> None:  # row 28
    lane = running().finish(1, Failed(1, ERROR, "retry_later", delay_us=7200 * SECOND))
    assert lane[1].due_at == lane.now + 7200 * SECOND
    lane = running().finish(1, Failed(1, ERROR, delay_us=-5))
    assert lane[1].due_at == lane.now


def patient(n: int) -> float:
    return 5.0 * n


def test_a_callable_backoff_comes_in_with_env() -> None:  # row 27
    policy = Policy.compile(retry=Retry(5, patient, 0))
    lane = running(policy).finish(1, Failed(1, ERROR), env=Env(backoff=patient))
    assert lane[1].due_at == lane.now + 5 * SECOND
    lane = running(policy).finish(1, Failed(1, ERROR))
    assert lane[1].due_at == lane.now + 3600 * SECOND
    assert "cap was used" in lane.event.options["warning"]


def test_snooze_charges_nothing() -> None:
    lane = running().finish(1, Snoozed(1, 5 * SECOND)).then(AttemptSnoozed)
    assert (lane[1].state, lane[1].failures, lane[1].due_at) == (State.SCHEDULED, 0, lane.now + 5 * SECOND)
    lane = running().finish(1, Snoozed(1, until_at=50 * SECOND))
    assert (lane[1].due_at, lane[1].due_kind) == (50 * SECOND, DUE_BY_INSTANT)
    lane = running().finish(1, Snoozed(1, until_at=0))
    assert lane[1].due_at == lane.now


def test_a_graceful_stop_is_free_but_its_number_is_spent() -> None:  # row 55
    lane = running().finish(1, Released(1)).then(AttemptReleased)
    assert (lane[1].state, lane[1].failures, lane[1].crashes, lane[1].attempt) == (State.PENDING, 0, 0, 1)


def test_a_cancel_of_a_running_task_is_a_wish() -> None:  # row 44 # row 45
    lane = running().when(Cancel(tid(1), "enough", "me")).then(CancelRequested)
    lane.when(Cancel(tid(1), "again", "you")).then().accepted()
    assert (lane[1].state, lane[1].cancel) == (State.RUNNING, ("enough", "me"))
    lane.finish(1, Succeeded(1)).then(TaskSucceeded)


@pytest.mark.parametrize("outcome", [Failed(1, ERROR), Failed(1, ERROR, "fatal"), Snoozed(1), Released(1), Stopped(1)])
def test_any_other_ending_after_a_cancel_is_the_cancels(outcome: Outcome) -> None:
    lane = running().when(Cancel(tid(1), "enough", "me")).finish(1, outcome).then(TaskCancelled)
    assert (lane.event.reason, lane.event.by, lane.event.attempt) == ("enough", "me", 1)
    assert lane[1].error == (ERROR if isinstance(outcome, Failed) else None)


def test_a_handler_may_cancel_itself() -> None:
    lane = running().finish(1, Stopped(1, "nothing to do")).then(TaskCancelled)
    assert (lane[1].reason, lane.event.by) == ("nothing to do", "handler")


OUTCOMES: list[Outcome] = [Succeeded(1), Failed(1, ERROR), Snoozed(1), Stopped(1), Released(1)]


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("fence", [(1, 1), (1, 3), (2, 1), (0, 2)])
def test_a_stale_word_changes_nothing_and_is_journalled_once(outcome: Outcome, fence: tuple[int, int]) -> None:  # row 80
    lane = running().finish(1, Released(1)).start(1)
    assert lane[1].fence == (1, 2)
    facts = (lane[1].state, lane[1].attempt, lane[1].failures, lane[1].due_at, lane[1].started_at)
    lane.when(Finish(tid(1), *fence, outcome)).then(TransitionRejected).refused("TransitionRejected")
    assert (lane.event.attempt, lane.event.fence_epoch, lane.event.state) == (fence[1], fence[0], "running")
    lane.when(Finish(tid(1), *fence, outcome)).then().refused("TransitionRejected")
    for command in (Progress(tid(1), *fence, 5, "x"), Heartbeat(tid(1), *fence)):
        lane.when(command).then(TransitionRejected).when(command).then().refused("TransitionRejected")
    assert facts == (lane[1].state, lane[1].attempt, lane[1].failures, lane[1].due_at, lane[1].started_at)


def test_a_word_about_a_task_that_is_gone_writes_nothing() -> None:
    Lane(Policy()).when(Finish(tid(9), 1, 1, Succeeded(1))).then().refused("TaskNotFound")


def test_a_heartbeat_in_time_is_no_event() -> None:
    running().when(Heartbeat(tid(1), 1, 1)).then().accepted()


def test_progress_is_a_sample() -> None:  # row 36
    lane = running().when(Progress(tid(1), 1, 1, 500_000, "half")).then(ProgressSampled)
    lane.when(Progress(tid(1), 1, 1, None, "more"))
    assert (lane[1].progress_ppm, lane[1].message) == (500_000, "more")

"""Open: verdicts on the attempts of an older epoch."""

from __future__ import annotations

import pytest

from journeyman.kernel.commands import Cancel, Env, Failed, Finish, Succeeded
from journeyman.kernel.events import (
    AttemptLost,
    AttemptReleased,
    QueueConfigured,
    QueueOpened,
    TaskCancelled,
    TaskFailed,
    TaskInterrupted,
    TransitionRejected,
)
from journeyman.kernel.lifecycle import State
from journeyman.kernel.policy import Policy
from tests.kernel.lane import ERROR, Lane, task, tid


def test_the_first_opening_states_the_policy_and_later_ones_only_a_change() -> None:  # row 4 # row 12
    lane = Lane(Policy()).then(QueueOpened, QueueConfigured)
    lane.reopen(Policy()).then(QueueOpened)
    assert lane.state.epoch == 2
    lane.reopen(Policy(concurrency=2)).then(QueueOpened, QueueConfigured)
    assert lane.state.policy.concurrency == 2
    lane.reopen(None).then(QueueOpened)


def test_a_lost_run_is_run_again_at_once_at_its_place() -> None:  # row 51
    lane = Lane(Policy()).when(task(1), task(2)).start(1)
    lane.reopen(entered=[1]).then(QueueOpened, AttemptLost)
    assert (lane[1].state, lane[1].crashes, lane[1].failures) == (State.PENDING, 1, 0)
    lane.start(1)
    assert lane[1].fence == (2, 2)


def test_only_entered_attempts_are_charged() -> None:
    lane = Lane(Policy(concurrency=2)).when(task(1), task(2)).start(1, 2).reopen(entered=[2])
    assert [(e.task, e.crashes, e.entered) for e in lane.last[1:]] == [(tid(1), 0, False), (tid(2), 1, True)]  # type: ignore[union-attr]


@pytest.mark.parametrize("crashes", [0, 1, 3])
def test_the_crash_after_the_last_forgiven_one_fails_with_evidence(crashes: int) -> None:  # row 54
    lane = Lane(Policy(crashes=crashes, attempts=3)).when(task(1)).start(1)
    for _ in range(crashes):
        lane.reopen(entered=[1]).then(QueueOpened, AttemptLost).start(1)
    lane.reopen(entered=[1]).then(QueueOpened, TaskFailed)
    assert (lane[1].reason, lane[1].crashes, lane[1].attempt) == ("crashes", crashes + 1, crashes + 1)
    assert lane[1].error is not None
    assert "the process died" in lane[1].error[1]


def test_the_two_budgets_do_not_touch() -> None:
    lane = Lane(Policy(attempts=2, crashes=1, jitter_ppm=0)).when(task(1)).start(1).reopen(entered=[1]).start(1)
    lane.finish(1, Failed(1, ERROR, delay_us=0)).start(1)
    assert (lane[1].attempt, lane[1].failures, lane[1].crashes) == (3, 1, 1)
    lane.reopen(entered=[1])
    assert lane[1].reason == "crashes"
    assert lane[1].error is not None
    assert "no such number" in lane[1].error[1]


def test_interrupt_never_runs_again() -> None:  # row 52
    lane = Lane(Policy(on_crash="interrupt")).when(task(1)).start(1).reopen().then(QueueOpened, TaskInterrupted).start()
    assert lane[1].state is State.INTERRUPTED


def test_the_policy_declared_at_opening_judges() -> None:
    lane = Lane(Policy()).when(task(1)).start(1).reopen(Policy(on_crash="interrupt"))
    lane.then(QueueOpened, QueueConfigured, TaskInterrupted)


def test_a_wish_to_cancel_outlives_the_crash() -> None:
    lane = Lane(Policy()).when(task(1)).start(1).when(Cancel(tid(1), "enough", "me")).reopen(entered=[1])
    lane.then(QueueOpened, TaskCancelled)
    assert lane[1].reason == "enough"


def test_a_broken_actor_charges_nobody() -> None:
    lane = Lane(Policy(on_crash="interrupt")).when(task(1)).start(1).reopen(entered=[1], crashed=False)
    lane.then(QueueOpened, AttemptReleased).start(1)
    assert lane[1].crashes == 0


def test_the_old_epoch_is_fenced() -> None:
    lane = Lane(Policy()).when(task(1)).start(1).reopen().start(1)
    lane.when(Finish(tid(1), 1, 1, Succeeded(1))).then(TransitionRejected)
    lane.when(Finish(tid(1), 2, 2, Succeeded(1))).accepted()


def test_suspects_run_one_at_a_time_among_themselves() -> None:
    lane = Lane(Policy(concurrency=4, crashes=1)).when(*(task(n) for n in range(4))).start(0, 1, 2, 3)
    lane.reopen(entered=[1, 2])  # one crash: their budget of 1 is used up, the next ends them
    lane.when(task(5)).start(0, 1, 3, 5)
    assert lane.state.suspects_running() == 1
    lane.finish(0).start()
    lane.finish(1).start(2, env=Env(suspects_running=0)).finish(2)
    assert lane.state.suspects_running() == 0


def test_a_suspect_running_in_another_queue_counts() -> None:
    lane = Lane(Policy(crashes=1)).when(task(1)).start(1).reopen(entered=[1])
    lane.start(env=Env(suspects_running=1)).start(1)


def test_a_single_crash_slows_nobody() -> None:
    Lane(Policy(concurrency=3)).when(*(task(n) for n in range(3))).start(0, 1, 2).reopen(entered=[0, 1, 2]).start(0, 1, 2)


def test_a_changed_crash_budget_changes_who_is_suspect() -> None:
    lane = Lane(Policy(concurrency=3)).when(*(task(n) for n in range(3))).start(0, 1, 2).reopen(entered=[0, 1, 2])
    lane.reopen(Policy(concurrency=3, crashes=1)).start(0).reopen(Policy(concurrency=3, crashes=3)).start(0, 1, 2)

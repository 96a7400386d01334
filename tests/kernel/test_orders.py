"""Cancel, retry by hand, clear, pause, resume, configure, and explain."""

from __future__ import annotations

import pytest

from journeyman.kernel.commands import Accepted, Cancel, Clear, Configure, Dispatch, Env, Failed, Pause, Resume, Retry
from journeyman.kernel.events import CancelRequested, QueueConfigured, QueuePaused, QueueResumed, TaskCancelled, TaskRetried
from journeyman.kernel.explain import explain
from journeyman.kernel.lifecycle import State
from journeyman.kernel.policy import Policy, Rate, Retention
from tests.kernel.lane import ERROR, FREE, SECOND, Lane, task, tid

DEAD = Failed(1, ERROR, "fatal")


def kinds(lane: Lane, n: int, env: Env = FREE) -> list[str]:
    reasons = explain(lane.state, tid(n), lane.now, env)
    assert all(reason.text for reason in reasons)
    return [reason.kind for reason in reasons]


def test_cancel_what_waits() -> None:  # row 43
    lane = Lane(Policy(attempts=2)).when(task(1), task(2, due_at=99 * SECOND), task(3)).start(1).finish(1, Failed(1, ERROR))
    for n in (1, 2, 3):
        lane.when(Cancel(tid(n), "no need", "me")).then(TaskCancelled)
        assert (lane[n].state, lane[n].reason, lane.event.by, lane.event.attempt) == (State.CANCELLED, "no need", "me", 0)
    lane.start(at=200 * SECOND)


def test_cancel_refuses_what_it_cannot() -> None:
    lane = Lane(Policy()).when(task(1)).start(1)
    lane.when(Cancel(tid(1), "", "me", running=False)).then().refused("NotCancellable")
    lane.when(Cancel(tid(1), "", "me")).then(CancelRequested).finish(1)
    lane.when(Cancel(tid(1), "", "me")).then().refused("NotCancellable")
    lane.when(Cancel(tid(2), "", "me")).then().refused("TaskNotFound")


def test_orders_do_not_see_what_has_expired() -> None:
    lane = Lane(Policy.compile(retention=Retention(failed=1))).when(task(1)).start(1).finish(1, DEAD)
    lane.when(Retry(tid(1), "", "me"), at=2 * SECOND).then().refused("TaskNotFound")
    lane.when(Cancel(tid(1), "", "me")).refused("TaskNotFound")


@pytest.mark.parametrize("settled", [False, True])
def test_retry_gives_fresh_budgets_at_the_back(settled: bool) -> None:  # row 30
    lane = Lane(Policy(crashes=1)).when(task(1), task(2)).start(1).reopen(entered=[1]).start(1).finish(1, DEAD)
    ended = lane[1]
    if settled:
        lane.state.settle([tid(1)])
        lane.checked = False
    lane.when(Retry(tid(1), "fixed", "me", ended), at=9 * SECOND).then(TaskRetried)
    retried = lane[1]
    assert (retried.state, retried.failures, retried.crashes, retried.attempt, retried.expires_at) == (State.PENDING, 0, 0, 2, None)
    assert (retried.first_due, retried.seq, retried.error) == (9 * SECOND, ended.seq, ERROR)
    lane.start(2).finish(2).start(1)
    assert lane[1].attempt == 3


def test_retry_only_from_the_three_states_and_with_arguments() -> None:
    lane = Lane(Policy(payload=False)).when(task(1), task(2)).start(1)
    lane.when(Retry(tid(1), "", "me")).refused("NotRetryable").when(Retry(tid(2), "", "me")).refused("NotRetryable")
    lane.finish(1).when(Retry(tid(1), "", "me")).refused("NotRetryable")
    lane.start(2).finish(2, DEAD).when(Retry(tid(2), "", "me")).refused("NotRetryable")
    assert "dropped" in str(lane.answers)
    lane.when(Retry(tid(3), "", "me")).refused("TaskNotFound")


def test_clear_counts_and_leaves_running_alone() -> None:  # row 46
    lane = Lane(Policy()).when(task(1), task(2), task(3, due_at=99 * SECOND)).start(1)
    lane.when(Clear("spring", "me")).then(TaskCancelled, TaskCancelled)
    assert lane.answers == [Accepted(count=2)]
    assert lane[1].state is State.RUNNING
    lane.when(Clear("spring", "me")).then()


def test_pause_resume_configure_are_idempotent() -> None:
    lane = Lane(Policy())
    lane.when(Pause("me", "why")).then(QueuePaused).when(Pause("you")).then()
    assert lane.state.paused == ("me", "why", lane.now)
    lane.when(Resume("me")).then(QueueResumed).when(Resume("me")).then()
    lane.when(Configure(Policy(concurrency=3).facts(), "me")).then(QueueConfigured)
    lane.when(Configure(Policy(concurrency=3).facts(), "me")).then()


def test_a_changed_policy_leaves_decided_instants() -> None:
    lane = Lane(Policy(attempts=3, jitter_ppm=0)).when(task(1)).start(1).finish(1, Failed(1, ERROR))
    due = lane[1].due_at
    lane.when(Configure(Policy(attempts=3, backoff=("constant", 1)).facts(), "me"))
    assert lane[1].due_at == due


def test_explain_gives_every_reason() -> None:  # row 83
    lane = Lane(Policy.compile(rate=Rate(1, per=10)))
    lane.when(task(1), task(2), task(3, due_at=99 * SECOND), task(4, handler="gone"), at=50 * SECOND)
    lane.state.set_handlers({"send"})
    assert kinds(lane, 1) == ["next"]
    assert kinds(lane, 2) == ["order"]
    lane.start(1)
    assert kinds(lane, 1) == ["running"]
    assert kinds(lane, 2) == ["rate limited until", "no free slot"]
    assert kinds(lane, 3) == ["not due", "rate limited until", "no free slot"]
    assert kinds(lane, 4)[0] == "no handler here"
    lane.when(Cancel(tid(1), "enough", "me"))
    assert kinds(lane, 1) == ["cancelling"]
    lane.finish(1)
    assert kinds(lane, 1) == ["ended"]
    lane.when(Pause("me"), at=70 * SECOND)
    assert kinds(lane, 2, Env(stopping=True, free_slots=0)) == ["paused", "stopping", "no engine slot"]
    assert kinds(lane, 9) == []


def test_explain_names_backoff_stragglers_suspects_and_deadlines() -> None:
    lane = Lane(Policy(concurrency=2, crashes=1, attempts=2)).when(task(1), task(2)).start(1, 2).reopen(entered=[1, 2]).start(1)
    assert kinds(lane, 2) == ["suspect"]
    lane.finish(1, Failed(1, ERROR))
    assert kinds(lane, 1, Env(stragglers={tid(1)})) == ["backoff", "straggler"]
    lane.when(task(3, options={"deadline_at": lane.now}))
    assert kinds(lane, 3, Env(unfit={tid(3): "no such parameter"})) == ["unfit"]
    lane.now += 1
    assert kinds(lane, 3) == ["deadline"]


def test_explain_agrees_with_dispatch() -> None:
    lane = Lane(Policy(concurrency=2)).when(*(task(n) for n in range(4)))
    lane.when(Dispatch())
    assert {n: kinds(lane, n) for n in range(4)} == {0: ["running"], 1: ["running"], 2: ["no free slot"], 3: ["no free slot"]}

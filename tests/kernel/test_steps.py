"""Steps in the kernel: what is recorded, what is refused, and what a task remembers of them."""

from __future__ import annotations

from copy import copy

from journeyman.kernel.apply import apply
from journeyman.kernel.bounds import STEPS_MAX
from journeyman.kernel.commands import Cancel, Env, Failed, RecordStep, Refused, Released, Retry, Snoozed
from journeyman.kernel.decide import decide
from journeyman.kernel.events import StepRecorded, TransitionRejected
from journeyman.kernel.lifecycle import State
from journeyman.kernel.policy import Constant, Policy
from journeyman.kernel.policy import Retry as RetryPolicy
from journeyman.kernel.steps import kept_seqs, steps_of
from journeyman.kernel.taskstate import TaskState
from tests.kernel.lane import ERROR, Lane, task, tid

DIGEST = b"v" * 16


def running(**policy: int) -> Lane:
    return Lane(Policy.compile(retry=RetryPolicy(attempts=3, backoff=Constant(0), jitter=0), **policy)).when(task(1)).start(1)


def record(name: str, attempt: int = 1, size: int = 3, epoch: int = 1) -> RecordStep:
    return RecordStep(tid(1), epoch, attempt, name, size, DIGEST if size else b"")


def test_a_step_is_recorded_by_name_with_where_its_value_lies() -> None:  # row 90
    lane = running().when(record("charge")).then(StepRecorded).accepted()
    assert (lane.event.name, lane.event.attempt, lane.event.result_len, lane.event.result_digest) == ("charge", 1, 3, DIGEST)
    first = lane[1].last_seq
    lane.when(record("nothing", size=0)).then(StepRecorded)
    done = steps_of(lane[1].options)
    assert {name: list(entry) for name, entry in done.items()} == {
        "charge": [first, 3, DIGEST, 0],
        "nothing": [lane[1].last_seq, 0, b"", 0],
    }
    assert list(kept_seqs(lane[1])) == [lane[1].payload_seq, first], "None has no record"
    assert {first, lane[1].last_seq} <= set(lane[1].seqs), "they go with the task when it is pruned"


def test_they_stay_through_whatever_another_run_follows() -> None:  # row 90
    lane = running().when(record("charge"))
    for attempt, outcome in enumerate((Released(1), Snoozed(1), Failed(1, ERROR)), 1):
        lane.finish(1, outcome)
        lane.start(1)
        assert lane[1].attempt == attempt + 1
        assert set(steps_of(lane[1].options)) == {"charge"}
    lane.reopen()  # the process dies, another takes over
    assert set(steps_of(lane[1].options)) == {"charge"}


def test_a_retry_by_hand_goes_on_behind_them() -> None:  # row 90
    lane = running().when(record("charge")).finish(1, Failed(1, ERROR, "fatal"))
    assert lane[1].state is State.FAILED
    lane.when(Retry(tid(1), "again", "me"))
    assert (lane[1].state, set(steps_of(lane[1].options))) == (State.PENDING, {"charge"})


def test_one_name_is_recorded_once() -> None:
    running().when(record("charge")).when(record("charge")).then().refused("DuplicateStep")


def test_there_is_an_end_to_them() -> None:
    lane = running()
    for n in range(STEPS_MAX):
        apply(lane.state, StepRecorded(0, lane.state.name, lane.state.qseq + 1, 1, tid(1), 1, f"step {n}", 0, b"", 0), 1_000 + n)
    decision = decide(lane.state, [record("one more")], 9, Env())
    assert decision.events == []
    assert [answer.error for answer in decision.answers if isinstance(answer, Refused)] == ["TooManySteps"]


def test_a_value_is_no_larger_than_arguments_may_be() -> None:
    lane = running(max_payload=100).when(record("large", size=101)).then().refused("PayloadTooLarge")
    lane.when(record("fits", size=100)).then(StepRecorded)


def test_the_step_of_a_stale_attempt_changes_nothing_and_is_journalled_once() -> None:  # row 90, row 80
    lane = running().finish(1, Released(1)).start(1)
    assert lane[1].fence == (1, 2)
    for command in (record("charge"), record("charge", attempt=2, epoch=0), record("charge", attempt=3)):
        lane.when(command).then(TransitionRejected).refused("TransitionRejected")
        assert (lane.event.kind, lane.event.attempt) == ("step", command.attempt)
    lane.when(record("charge")).then().refused("TransitionRejected")
    assert steps_of(lane[1].options) == {}
    running().finish(1).when(record("late")).then(TransitionRejected)
    Lane(Policy()).when(record("charge")).then().refused("TaskNotFound")


def test_a_run_that_was_told_to_stop_may_still_record_what_it_has_done() -> None:
    running().when(Cancel(tid(1), "enough", "me")).when(record("charge")).then(StepRecorded)


def test_a_row_holds_them_and_a_picture_of_a_task_does_not_change_with_it() -> None:
    lane = running().when(record("one"))
    seen, row = copy(lane[1]), lane[1].row()
    lane.when(record("two"))
    assert set(steps_of(seen.options)) == {"one"}
    assert set(steps_of(TaskState.from_row(row).options)) == {"one"}
    assert TaskState.from_row(lane[1].row()).row() == lane[1].row()

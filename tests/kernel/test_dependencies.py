"""Dependencies in the kernel: what waits for what, what its end brings, and what none of it costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from journeyman.kernel.commands import Cancel, Env, Meet, Retry, Submit
from journeyman.kernel.events import DependencyMet, TaskCancelled, TaskSubmitted
from journeyman.kernel.explain import explain
from journeyman.kernel.ids import id_text
from journeyman.kernel.lifecycle import State
from journeyman.kernel.policy import Policy
from journeyman.kernel.taskstate import TaskState
from tests.kernel.lane import SECOND, Lane, task, tid

MANY = Policy(concurrency=9)


def after(n: int, *others: int, run: bool = False, due_at: int | None = None, **more: Any) -> Submit:
    options = {"after": [tid(other) for other in others], **({"after_failure": "run"} if run else {}), **more}
    return task(n, due_at=due_at, options=options)


def knowing(states: Mapping[int, str]) -> Env:
    return Env(dependencies={tid(n): state for n, state in states.items()})


def ended(*pairs: tuple[int, str | None], limit: int = 1000) -> Meet:
    return Meet([(tid(n), state) for n, state in pairs], limit)


@pytest.mark.parametrize("state", ["scheduled", "pending", "running", "retrying"])
def test_it_waits_for_what_has_not_ended(state: str) -> None:
    lane = Lane(MANY).when(after(1, 50), env=knowing({50: state})).then(TaskSubmitted)
    assert lane[1].waits_for == {tid(50)}
    assert lane[1].state is State.PENDING
    assert lane.state.agenda.blocked == {tid(1)}
    lane.start()
    lane.when(ended((50, "succeeded"))).then(DependencyMet)
    assert lane[1].waits_for is None
    lane.start(1)


def test_what_has_succeeded_is_met_at_once() -> None:
    lane = Lane(MANY).when(after(1, 50), env=knowing({50: "succeeded"})).then(TaskSubmitted)
    lane.start(1)


@pytest.mark.parametrize("state", ["failed", "cancelled", "interrupted"])
def test_what_ended_otherwise_cancels_at_once_or_not_at_all(state: str) -> None:
    lane = Lane(MANY).when(after(1, 50), env=knowing({50: state})).then(TaskSubmitted, TaskCancelled)
    assert lane[1].reason == f"dependency {id_text(tid(50))} {state}"
    assert not lane.state.waits.on
    lane.when(after(2, 50, run=True), env=knowing({50: state})).then(TaskSubmitted).start(2)


def test_what_does_not_exist_is_refused() -> None:
    Lane(MANY).when(after(1, 50)).then().refused("TaskNotFound")
    Lane(MANY).when(after(1, 1)).then().refused("TaskNotFound")  # itself


def test_a_list_sees_what_came_earlier_in_it_and_not_what_comes_later() -> None:
    lane = Lane(MANY).when(task(1), after(2, 1), after(3, 4), task(4))
    assert [getattr(answer, "error", None) for answer in lane.answers] == [None, None, "TaskNotFound", None]
    lane.start(1, 4)


def test_all_of_many_must_be_met_and_several_can_be_in_one_event() -> None:
    lane = Lane(MANY).when(after(1, 50, 51, 52), env=knowing({50: "running", 51: "running", 52: "running"}))
    lane.when(ended((51, "succeeded"))).then(DependencyMet).start()
    lane.when(ended((50, "succeeded"), (52, "succeeded"))).then(DependencyMet).start(1)


def test_one_failure_cancels_and_that_is_an_end_like_any_other() -> None:
    lane = Lane(MANY).when(task(9), after(1, 50), env=knowing({50: "running"})).when(after(2, 1), env=knowing({1: "pending"}))
    lane.when(ended((50, "failed"))).then(TaskCancelled)
    assert (lane[1].state, lane[1].waits_for) == (State.CANCELLED, None)
    lane.when(ended((1, "cancelled"))).then(TaskCancelled)
    assert not lane.state.waits.on


def test_run_anyway() -> None:
    lane = Lane(MANY).when(after(1, 50, run=True), env=knowing({50: "running"}))
    lane.when(ended((50, "interrupted"))).then(DependencyMet).start(1)


def test_one_that_is_gone_counts_as_not_succeeded() -> None:
    lane = Lane(MANY).when(after(1, 50), after(2, 50, run=True), env=knowing({50: "running"}))
    lane.when(ended((50, None))).then(TaskCancelled, DependencyMet)


def test_time_and_dependencies_both_count() -> None:
    lane = Lane(MANY).when(after(1, 50, due_at=9 * SECOND), env=knowing({50: "running"}))
    assert not lane.state.agenda.blocked
    lane.when(ended((50, "succeeded"))).start()
    lane.start(1, at=9 * SECOND)
    lane.when(after(2, 50, due_at=10 * SECOND), env=knowing({50: "running"})).start(at=10 * SECOND)
    assert lane.state.agenda.blocked == {tid(2)}
    lane.when(ended((50, "succeeded"))).start(2)


def test_handlers_and_deadlines_are_asked_as_of_any_other() -> None:
    lane = Lane(MANY).when(after(1, 50, deadline_at=5 * SECOND), env=knowing({50: "running"}))
    lane.state.set_handlers(())
    assert not lane.state.agenda.parked
    lane.when(ended((50, "succeeded")))
    assert lane.state.agenda.parked == {tid(1): "no handler here"}


def test_a_cancel_and_a_retry_by_hand_clear_what_it_waited_for() -> None:
    lane = Lane(MANY).when(after(1, 50), env=knowing({50: "running"})).when(Cancel(tid(1), "", "me"))
    assert not lane.state.waits.on
    lane.when(Retry(tid(1), "", "me")).start(1)


def test_explain_names_what_it_waits_for() -> None:
    lane = Lane(MANY).when(after(1, *range(50, 60)), env=knowing(dict.fromkeys(range(50, 60), "running")))
    [reason] = explain(lane.state, tid(1), lane.now, Env())
    assert reason.kind == "waits for"
    assert reason.text.startswith(f"it runs after {id_text(tid(50))}, ")
    assert reason.text.endswith(" and 7 more")


def test_rows_bring_it_back() -> None:
    lane = Lane(MANY).when(after(1, 50, 51), env=knowing({50: "running", 51: "running"}))
    again = type(lane.state)("q")
    again.merge_facts(lane.state.facts())
    for found in lane.state.tasks.values():
        again.adopt(TaskState.from_row(found.row()))
    again.rebuild()
    assert again == lane.state
    assert again.waits.on.keys() == lane.state.waits.on.keys()
    assert again.agenda.blocked == {tid(1)}


def test_a_fan_of_ten_thousand_is_told_in_bounded_pieces() -> None:
    lane = Lane(MANY, checked=False).when(*(after(n, 20_000) for n in range(10_000)), env=knowing({20_000: "running"}))
    told = 0
    while lane.state.waits.on:
        lane.when(ended((20_000, "succeeded"), limit=1_000))
        assert len(lane.last) == 1_000
        told += len(lane.last)
    assert told == 10_000
    lane.check()


def test_ten_thousand_into_one() -> None:
    many = range(1, 10_001)
    lane = Lane(MANY, checked=False).when(after(0, *many), env=knowing(dict.fromkeys(many, "running")))
    for n in many:
        lane.when(ended((n, "succeeded"))).then(DependencyMet)
    lane.check()
    lane.start(0)

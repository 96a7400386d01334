"""Submit: durable facts, one task an id, room in the queue, the size of arguments."""

from __future__ import annotations

from journeyman.kernel.apply import apply, apply_new
from journeyman.kernel.commands import NEW, Accepted, Env, Refused, Submit, Succeeded
from journeyman.kernel.events import DUE_BY_DURATION, DUE_BY_INSTANT, TaskSubmitted
from journeyman.kernel.lifecycle import State
from journeyman.kernel.policy import Policy, Retention
from tests.kernel.lane import SECOND, Lane, check_indexes, task, tid


def test_a_submit_is_recorded_as_it_was_asked() -> None:
    lane = Lane(Policy())
    lane.when(Submit(tid(1), "send", 10, 5 * SECOND, DUE_BY_INSTANT, 4, b"x" * 16, 2, "k1", {"tags": ["a"]}))
    assert lane.event == TaskSubmitted(
        SECOND, "q", 3, 1, tid(1), "send", 10, 5 * SECOND, DUE_BY_INSTANT, 4, b"x" * 16, 2, "k1", {"tags": ["a"]}
    )
    assert lane.answers == [NEW]
    assert lane[1].state is State.SCHEDULED


def test_the_past_means_now() -> None:  # row 20
    lane = Lane(Policy(), now=9 * SECOND)
    for n, due_at in enumerate((None, 0, 8 * SECOND, 9 * SECOND)):
        lane.when(task(n, due_at=due_at, due_kind=DUE_BY_INSTANT))
        assert (lane[n].due_at, lane[n].first_due, lane[n].due_kind, lane[n].state) == (
            9 * SECOND,
            9 * SECOND,
            DUE_BY_DURATION,
            State.PENDING,
        )


def test_the_same_id_again_is_the_same_task() -> None:  # row 23
    lane = Lane(Policy())
    lane.when(task(1)).then(TaskSubmitted)
    lane.when(task(1), at=5 * SECOND).then()
    assert lane.answers == [Accepted(tid(1), existing=True)]
    for other in (task(1, handler="other"), task(1, digest=b"e" * 16), task(1, size=4)):
        lane.when(other).then().refused("DuplicateTask")
    lane.start(1).finish(1).when(task(1)).then()
    assert lane.answers == [Accepted(tid(1), existing=True)]


def test_an_id_is_known_within_one_list_too() -> None:
    lane = Lane(Policy())
    lane.when(task(1), task(1), task(1, handler="other"), task(2)).then(TaskSubmitted, TaskSubmitted)
    assert [type(a) for a in lane.answers] == [Accepted, Accepted, Refused, Accepted]
    assert [getattr(a, "existing", None) for a in lane.answers] == [False, True, None, False]


def test_an_id_the_journal_knows_is_known() -> None:
    lane = Lane(Policy())
    lane.when(task(1)).start(1).finish(1)
    ended = lane[1]
    lane.state.settle([tid(1)])
    lane.checked = False
    lane.when(task(1), env=Env(known={tid(1): ended})).then()
    assert lane.answers == [Accepted(tid(1), existing=True)]


def test_max_pending_counts_what_waits_and_what_came_before_in_the_list() -> None:
    lane = Lane(Policy(max_pending=3, concurrency=2))
    lane.when(task(1), task(2, due_at=99 * SECOND), task(3), task(4))
    assert [type(a) for a in lane.answers] == [Accepted, Accepted, Accepted, Refused]
    lane.refused("QueueFull")
    lane.when(task(1)).accepted()  # known already: takes no room
    lane.when(task(4, internal=True)).accepted()
    lane.start(1, 3).when(task(5)).accepted().when(task(6)).refused("QueueFull")


def test_max_pending_zero_takes_nothing_from_outside() -> None:
    Lane(Policy(max_pending=0)).when(task(1)).refused("QueueFull").when(task(1, internal=True)).accepted()


def test_the_payload_limit_is_inclusive() -> None:  # row 8
    lane = Lane(Policy(max_payload=10))
    lane.when(task(1, size=10)).accepted().when(task(2, size=11)).refused("PayloadTooLarge")
    assert "11 bytes" in str(lane.answers[0])
    assert "takes 10" in str(lane.answers[0])


def test_an_id_taken_again_after_its_task_left_memory_is_a_new_task() -> None:
    lane = Lane(Policy.compile(retention=Retention(succeeded=0)))
    lane.when(task(1)).start(1).finish(1, Succeeded(1))
    assert lane[1].expires_at == lane.now
    event = TaskSubmitted(lane.now, "q", lane.state.qseq + 1, 1, tid(1), "send", 5, lane.now, 0, 0, b"", 0)
    lane.state.settle([tid(1)])
    lane.checked = False
    lane.given(event)
    assert lane[1].state is State.PENDING
    assert lane[1].attempt == 0


def test_submits_applied_together_are_submits_applied_one_by_one() -> None:
    lane = Lane(Policy(), now=9 * SECOND)
    lane.when(task(1)).start(1).finish(1)
    later = task(3, due_at=20 * SECOND, due_kind=DUE_BY_INSTANT, options={"deadline_at": 60 * SECOND})
    events = lane.proposed(task(2), later, task(4, handler="other"), task(5, priority=9)).events
    once_more = TaskSubmitted(9 * SECOND, "q", lane.state.qseq + 5, 1, tid(1), "send", 5, 9 * SECOND, DUE_BY_DURATION, 3, b"e" * 16, 0)
    new = [*events, once_more]  # the last: an id that is taken again after the end of its first task
    first = len(lane.journal) + 1
    together, one_by_one = lane.replayed(), lane.replayed()
    apply_new(together, new, first)  # type: ignore[arg-type]
    for seq, event in enumerate(new, first):
        apply(one_by_one, event, seq)  # type: ignore[arg-type]
    assert together == one_by_one
    assert together.qseq == once_more.qseq
    check_indexes(together, lane.now)
    check_indexes(together, 30 * SECOND)


def test_new_tasks_that_nobody_here_can_run_are_parked() -> None:
    lane = Lane(Policy())
    lane.state.set_handlers(frozenset({"send"}))
    events = lane.proposed(task(1), task(2, handler="other")).events
    apply_new(lane.state, events, len(lane.journal) + 1)  # type: ignore[arg-type]
    assert list(lane.state.agenda.parked) == [tid(2)]
    assert [found.id for found in lane.state.agenda.ready.best(9)] == [tid(1)]

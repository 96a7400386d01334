"""Unique keys and debounce: who stands in the way, what becomes of them, and what outlives a task."""

from __future__ import annotations

from random import Random
from typing import Any, Literal

import pytest

from journeyman.kernel.claims import Hold
from journeyman.kernel.commands import NEW, Accepted, Cancel, Failed, Refused, Retry, Snoozed, Submit
from journeyman.kernel.events import ClockStepped, JournalCompacted, TaskCancelled, TaskRescheduled, TasksPruned, TaskSubmitted
from journeyman.kernel.explain import explain
from journeyman.kernel.lifecycle import State
from journeyman.kernel.policy import Constant, Policy, Retention
from journeyman.kernel.policy import Retry as RetryPolicy
from journeyman.kernel.world import JournalState, fold
from tests.kernel.lane import ERROR, FREE, SECOND, Lane, task, tid

Choice = Literal["return", "raise", "replace"]
MANY = Policy.compile(concurrency=9, retry=RetryPolicy(attempts=2, backoff=Constant(60)))


def keyed(
    n: int, key: str = "k", on_conflict: Choice = "return", *, due_at: int | None = None, digest: bytes = b"d" * 16, **more: Any
) -> Submit:
    return task(n, due_at=due_at, digest=digest, options={"unique": key, **more}, on_conflict=on_conflict)


def pushed(n: int, after: int, key: str = "k", max_wait: int | None = None, digest: bytes = b"d" * 16) -> Submit:
    more = {} if max_wait is None else {"max_wait_us": max_wait * SECOND}
    return keyed(n, key, digest=digest, debounce_us=after * SECOND, **more)


def named(lane: Lane, *numbers: int) -> None:
    """These are the tasks of the answers: new ones, in order, and those that were there."""
    new = (event.task for event in lane.last if isinstance(event, TaskSubmitted))
    found = [next(new) if answer is NEW else answer.task if isinstance(answer, Accepted) else answer.error for answer in lane.answers]
    assert found == [tid(n) for n in numbers]


# --- return, raise, replace -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["scheduled", "pending", "running", "retrying"])
def test_every_unfinished_state_counts(state: str) -> None:
    lane = Lane(MANY).when(keyed(1, due_at=9 * SECOND if state == "scheduled" else None))
    if state in ("running", "retrying"):
        lane.start(1)
    if state == "retrying":
        lane.finish(1, Failed(1, ERROR))
    assert lane[1].state == state
    lane.when(keyed(2)).then()
    named(lane, 1)
    lane.when(keyed(3, on_conflict="raise")).then().refused("DuplicateTask")
    lane.when(keyed(4, "other")).then(TaskSubmitted)


def test_a_retry_is_not_blocked_by_its_own_key() -> None:
    lane = Lane(MANY).when(keyed(1)).start(1).finish(1, Failed(1, ERROR)).start(1, at=100 * SECOND)
    lane.finish(1, Snoozed(1, 5)).start(1, at=101 * SECOND)


@pytest.mark.parametrize("end", ["success", "failure", "cancel"])
def test_every_end_frees_the_key(end: str) -> None:
    lane = Lane(MANY).when(keyed(1))
    if end == "cancel":
        lane.when(Cancel(tid(1), "no", "me"))
    else:
        lane.start(1).finish(1, Failed(1, ERROR, "fatal") if end == "failure" else None)
    lane.when(keyed(2)).then(TaskSubmitted)
    named(lane, 2)


def test_replace_cancels_the_one_that_waits_and_takes_its_place_in_one_decision() -> None:
    lane = Lane(MANY).when(keyed(1)).when(keyed(2, on_conflict="replace")).then(TaskCancelled, TaskSubmitted)
    assert (lane[1].state, lane[1].reason) == (State.CANCELLED, "replaced")
    named(lane, 2)
    lane.start(2)
    lane.when(keyed(3, on_conflict="replace")).then().refused("DuplicateTask")


def test_replace_makes_room_for_itself_but_for_nobody_else() -> None:
    lane = Lane(Policy(max_pending=1)).when(keyed(1))
    lane.when(keyed(2, on_conflict="replace"), keyed(3, "other"))
    assert isinstance(lane.answers[0], Accepted)
    assert isinstance(lane.answers[1], Refused)
    assert lane.answers[1].error == "QueueFull"
    lane = Lane(Policy(max_pending=0)).when(task(1, internal=True, options={"unique": "k"})).when(task(2, internal=True))
    lane.when(keyed(3, on_conflict="replace")).then().refused("QueueFull")
    assert lane[1].state is State.PENDING


def test_a_task_too_large_replaces_nobody() -> None:
    lane = Lane(Policy(max_payload=10)).when(keyed(1))
    lane.when(task(2, size=11, options={"unique": "k"}, on_conflict="replace")).then().refused("PayloadTooLarge")
    assert lane[1].state is State.PENDING


def test_unique_states_say_who_counts() -> None:
    lane = Lane(MANY).when(keyed(1)).start(1)
    lane.when(keyed(2, unique_states=["pending", "scheduled"])).then(TaskSubmitted)
    lane.when(keyed(3, unique_states=["pending", "scheduled"])).then()
    named(lane, 2)
    lane.when(keyed(4, "replace", unique_states=["pending"])).then(TaskSubmitted)
    assert [t.id for t in lane.state.claims.holders["k"]] == [tid(1), tid(2)]
    lane.when(keyed(5)).then()
    named(lane, 1)  # the oldest


def test_states_are_as_observed() -> None:
    lane = Lane(MANY).when(keyed(1, due_at=9 * SECOND))
    lane.when(keyed(2, unique_states=["pending"]), at=8 * SECOND).then(TaskSubmitted)
    lane = Lane(MANY).when(keyed(1, due_at=9 * SECOND))
    lane.when(keyed(2, unique_states=["pending"]), at=9 * SECOND).then()


def test_a_key_belongs_to_its_queue_and_not_to_a_handler() -> None:
    lane = Lane(MANY).when(keyed(1))
    lane.when(task(2, handler="draw", options={"unique": "k"})).then().refused("DuplicateTask")
    lane.when(task(2, handler="draw", options={"unique": "k"}, on_conflict="replace")).then(TaskCancelled, TaskSubmitted)


# --- together, and with ids -------------------------------------------------------------------------------------------------


def test_submits_of_one_list_see_each_other() -> None:
    lane = Lane(MANY).when(keyed(1), keyed(2), task(3), keyed(4, on_conflict="replace"), keyed(5))
    lane.then(TaskSubmitted, TaskSubmitted, TaskCancelled, TaskSubmitted)
    named(lane, 1, 1, 3, 4, 4)
    decision = Lane(MANY).proposed(keyed(1), keyed(2), task(3), keyed(4, on_conflict="replace"), keyed(5))
    assert decision.sources == [0, 2, 3, 3]


def test_the_id_comes_first() -> None:
    lane = Lane(MANY).when(keyed(1)).when(keyed(1, "another key")).then()
    named(lane, 1)
    lane.when(keyed(2)).then()
    named(lane, 1)  # the id 2 stays unused
    lane.when(task(2)).then(TaskSubmitted)
    lane.when(keyed(1, digest=b"e" * 16)).refused("DuplicateTask")


@pytest.mark.parametrize("seed", range(30))
def test_together_is_as_one_after_another(seed: int) -> None:
    chance = Random(seed)

    def some(n: int) -> Submit:
        kind = chance.random()
        key = chance.choice("ab")
        if kind < 0.3:
            return pushed(n, chance.choice([1, 5]), key, chance.choice([None, 3]), digest=bytes([n]) * 16)
        if kind < 0.4:
            return task(n)
        states = chance.choice([{}, {}, {"unique_states": ["scheduled"]}, {"unique_states": ["pending", "running"]}])
        choice: Choice = chance.choice(["return", "raise", "replace"])
        return keyed(n, key, choice, due_at=chance.choice([None, 9 * SECOND]), digest=bytes([n]) * 16, **states)

    def standing() -> Lane:
        lane = Lane(Policy(concurrency=9, max_pending=chance_room))
        lane.when(keyed(100, "a")).start(100).when(keyed(101, "b"))
        return lane.when(keyed(102, "a", unique_states=["pending"], due_at=5 * SECOND))

    chance_room = chance.choice([None, 4])
    commands = [some(n) for n in range(1, 12)]
    together = standing().when(*commands, at=2 * SECOND)
    apart = standing()
    answers = [apart.when(command, at=2 * SECOND).answers[0] for command in commands]
    assert together.journal == apart.journal
    assert together.answers == answers
    assert together.state == apart.state


# --- debounce ---------------------------------------------------------------------------------------------------------------


def test_debounce_is_due_after_the_last_with_the_arguments_of_the_last() -> None:
    lane = Lane(MANY).when(pushed(1, 10), at=SECOND).then(TaskSubmitted)
    assert lane[1].due_at == 11 * SECOND
    lane.when(pushed(2, 10, digest=b"e" * 16), at=5 * SECOND).then(TaskRescheduled)
    named(lane, 1)
    assert (lane[1].due_at, lane[1].payload_digest, lane[1].payload_seq) == (15 * SECOND, b"e" * 16, len(lane.journal))
    lane.start(at=14 * SECOND).start(1, at=15 * SECOND)


def test_debounce_is_never_pushed_beyond_max_wait_after_the_first() -> None:
    lane = Lane(MANY).when(pushed(1, 10, max_wait=25), at=SECOND)
    for at in (9, 17, 24):
        lane.when(pushed(2, 10, max_wait=25), at=at * SECOND)
    assert lane[1].due_at == 26 * SECOND
    lane.when(pushed(3, 10, max_wait=25), at=26 * SECOND).then(TaskRescheduled)  # due, and not started yet
    assert lane[1].due_at == 26 * SECOND
    lane.start(1)
    lane.when(pushed(4, 10, max_wait=25)).then(TaskSubmitted)  # what runs is no conflict


def test_max_wait_shorter_than_the_pause_wins() -> None:
    lane = Lane(MANY).when(pushed(1, 10, max_wait=3), at=SECOND)
    assert lane[1].due_at == 4 * SECOND


def test_debounce_counts_only_what_was_never_started() -> None:
    lane = Lane(MANY).when(pushed(1, 1)).start(1, at=3 * SECOND).finish(1, Failed(1, ERROR))
    assert lane[1].state is State.RETRYING
    lane.when(pushed(2, 1)).then(TaskSubmitted)
    lane.when(pushed(3, 1)).then(TaskRescheduled)
    named(lane, 2)
    lane.when(task(4, handler="draw", options={"unique": "k", "debounce_us": SECOND})).then().refused("DuplicateTask")


def test_a_plain_task_with_the_key_is_moved_too_and_max_wait_counts_from_then() -> None:
    lane = Lane(MANY).when(keyed(1, due_at=99 * SECOND))
    lane.when(pushed(2, 10, max_wait=15), at=2 * SECOND).then(TaskRescheduled)
    assert (lane[1].due_at, lane[1].latest_at) == (12 * SECOND, 17 * SECOND)
    lane.when(pushed(3, 10, max_wait=15), at=10 * SECOND)
    assert lane[1].due_at == 17 * SECOND


def test_the_id_again_after_it_was_moved() -> None:
    lane = Lane(MANY).when(pushed(1, 10)).when(pushed(2, 10, digest=b"e" * 16)).when(pushed(3, 10, digest=b"f" * 16))
    lane.when(pushed(1, 10)).then()  # as it was submitted
    named(lane, 1)
    lane.when(pushed(1, 10, digest=b"f" * 16)).then()  # as it stands
    lane.when(pushed(1, 10, digest=b"e" * 16)).refused("DuplicateTask")


def test_a_debounce_needs_no_room() -> None:
    lane = Lane(Policy(max_pending=1)).when(pushed(1, 10)).when(pushed(2, 10)).then(TaskRescheduled)
    lane.when(task(3)).refused("QueueFull")


def test_explain_says_what_a_debounced_task_waits_for() -> None:
    lane = Lane(MANY).when(pushed(1, 10, max_wait=25))
    [reason] = explain(lane.state, tid(1), lane.now, FREE)
    assert (reason.kind, reason.text) == (
        "not due", "it is due in 10 s unless another debounced submit pushes it back, and in 25 s whatever comes",
    )  # fmt: skip


# --- retry by hand ------------------------------------------------------------------------------------------------------------


def test_retry_by_hand_does_not_make_two_of_a_key() -> None:
    lane = Lane(MANY).when(keyed(1)).start(1).finish(1, Failed(1, ERROR, "fatal")).when(keyed(2))
    lane.when(Retry(tid(1), "", "me")).refused("NotRetryable")
    lane.when(Cancel(tid(2), "", "me")).when(Retry(tid(1), "", "me")).accepted()
    lane.when(keyed(3)).then()
    named(lane, 1)


# --- unique_for -----------------------------------------------------------------------------------------------------------------


def held(lane: Lane, n: int = 1, seconds: int = 100, key: str = "k") -> Lane:
    """Task n has succeeded now and keeps its key."""
    return lane.when(keyed(n, key, unique_for_us=seconds * SECOND)).start(n).finish(n)


def test_a_success_keeps_the_key_for_so_long() -> None:
    lane = held(Lane(MANY), seconds=100)
    lane.when(keyed(2), at=100 * SECOND).then()
    named(lane, 1)
    for choice in ("raise", "replace"):
        lane.when(keyed(2, on_conflict=choice)).refused("DuplicateTask")
    lane.when(pushed(3, 1)).then(TaskSubmitted)  # debounced submits do not ask
    lane.when(Cancel(tid(3), "", "me"))
    lane.when(keyed(2), at=101 * SECOND).then(TaskSubmitted)


@pytest.mark.parametrize("end", ["failure", "cancel"])
def test_other_ends_keep_nothing(end: str) -> None:
    lane = Lane(MANY).when(keyed(1, unique_for_us=100 * SECOND)).start(1)
    lane.finish(1, Failed(1, ERROR, "fatal")) if end == "failure" else lane.when(Cancel(tid(1), "", "me")).finish(1, Failed(1, ERROR))
    lane.when(keyed(2)).then(TaskSubmitted)


def test_explain_says_that_an_ended_task_keeps_its_key() -> None:
    lane = held(Lane(MANY))
    assert [reason.kind for reason in explain(lane.state, tid(1), lane.now, FREE)] == ["ended", "unique key taken"]
    assert [reason.kind for reason in explain(lane.state, tid(1), 200 * SECOND, FREE)] == ["ended"]


def test_the_hold_outlives_memory_rows_and_a_prune_by_retention() -> None:
    lane = held(Lane(Policy.compile(concurrency=9, retention=Retention(succeeded=0))))
    residue = lane.state.claims.residue([lane[1]], by_hand=False)
    seq = lane[1].seq
    entry = [seq, lane[1].last_seq, 3]
    lane.state.settle([tid(1)])
    lane.given(TasksPruned(lane.now, "q", lane.state.qseq + 1, 1, [entry], residue, "retention"))
    lane.when(keyed(2), at=50 * SECOND).then()
    left = [(n, event) for n, event in enumerate(lane.journal, 1) if getattr(event, "task", None) != tid(1)]
    world = JournalState()
    for n, event in left:
        fold(world, event, n)
    assert world.queue("q").claims.facts() == lane.state.claims.facts() == {"k": [101 * SECOND, tid(1), entry[1]]}
    assert world.queue("q") == lane.state


def test_a_prune_by_hand_gives_the_key_up() -> None:
    lane = held(Lane(MANY))
    residue = lane.state.claims.residue([lane[1]], by_hand=True)
    assert residue == {"freed": {"k": lane[1].last_seq}}
    lane.given(TasksPruned(lane.now, "q", lane.state.qseq + 1, 1, [[lane[1].seq, lane[1].last_seq, 3]], residue, "api"))
    lane.when(keyed(2)).then(TaskSubmitted)


def test_holds_that_have_passed_are_forgotten_and_a_replay_without_their_successors_agrees() -> None:
    lane = Lane(MANY)
    for n in range(1, 50):
        held(lane, n, 3, f"key {n}")
        lane.now += SECOND
    assert len(lane.state.claims.holds) <= 4
    latest = lane[49]
    residue = lane.state.claims.residue([latest], by_hand=False)
    lane.given(TasksPruned(lane.now, "q", lane.state.qseq + 1, 1, [[latest.seq, latest.last_seq, 3]], residue, "retention"))
    world = JournalState()
    for n, event in enumerate(lane.journal, 1):
        if getattr(event, "task", None) != tid(49):
            fold(world, event, n)
    assert world.queue("q") == lane.state


def test_a_stepped_clock_moves_holds_and_a_compaction_brings_them() -> None:
    lane = held(Lane(MANY))
    world = JournalState()
    for n, event in enumerate([*lane.journal, ClockStepped(501 * SECOND, "", 0, 1, 500 * SECOND)], 1):
        fold(world, event, n)
    queue = world.queue("q")
    assert queue.claims.held("k", 600 * SECOND) is not None
    assert queue.claims.held("k", 601 * SECOND) is None
    late = JournalState()
    fold(late, JournalCompacted(550 * SECOND, "", 0, 1, 9, {"q": queue.facts()}, {}), 10)
    assert late.queue("q").claims.facts() == queue.claims.facts()
    fold(late, JournalCompacted(700 * SECOND, "", 0, 1, 9, {"q": queue.facts()}, {}), 11)
    assert late.queue("q").claims.facts() == {}


def test_a_hold_is_asked_whatever_the_states_and_the_younger_of_two_stands() -> None:
    lane = held(Lane(MANY), 1, 1000)
    lane.when(keyed(2, unique_states=["running"])).then()
    named(lane, 1)
    lane.state.claims.hold("k", Hold(5 * SECOND, tid(7), 2))
    assert lane.state.claims.holds["k"].task == tid(1)
    lane.state.claims.hold("k", Hold(5 * SECOND, tid(7), 99))
    assert lane.state.claims.holds["k"].task == tid(7)


def test_a_key_that_is_kept_cannot_be_had_by_replacing_a_debounced_task() -> None:
    lane = held(Lane(MANY)).when(pushed(2, 10)).then(TaskSubmitted)
    lane.when(keyed(3, on_conflict="replace")).then().refused("DuplicateTask")
    lane.when(keyed(3)).then()
    named(lane, 2)


def test_facts_and_rows_bring_the_index_back() -> None:
    lane = held(Lane(MANY)).when(keyed(2, "a"), pushed(3, 10, "b", 20)).when(pushed(4, 10, "b", 20, digest=b"e" * 16))
    again = type(lane.state)("q")
    again.merge_facts(lane.state.facts())
    for found in lane.state.tasks.values():
        again.adopt(type(found).from_row(found.row()))
    again.rebuild()
    assert again == lane.state
    assert {key: [t.id for t in found] for key, found in again.claims.holders.items()} == {"a": [tid(2)], "b": [tid(3)]}
    again.merge_facts({name: value for name, value in lane.state.facts().items() if name != "holds"})  # of an older version
    assert again.claims.facts() == {}

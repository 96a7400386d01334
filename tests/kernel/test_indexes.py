"""The roster and the line, against sorted lists."""

from __future__ import annotations

from copy import copy

from hypothesis import given, settings
from hypothesis import strategies as st

from journeyman.kernel.bounds import ROSTER_CHUNK, STALE_MIN
from journeyman.kernel.events import TaskSubmitted
from journeyman.kernel.lifecycle import State
from journeyman.kernel.ready import Ready
from journeyman.kernel.roster import Roster
from journeyman.kernel.taskstate import TaskState


def made(seq: int, priority: int = 5, first_due: int = 0) -> TaskState:
    event = TaskSubmitted(0, "q", seq, 1, seq.to_bytes(16, "big"), "send", priority, first_due, 0, 0, b"", 0)
    return TaskState(event, seq, State.PENDING)


moves = st.lists(st.tuples(st.sampled_from(["join", "leave", "list"]), st.integers(1, 40)), max_size=200)


@given(moves)
def test_a_roster_is_the_set_of_those_who_joined_and_did_not_leave(steps: list[tuple[str, int]]) -> None:
    roster, present = Roster(State.PENDING), dict[int, TaskState]()
    tasks = {seq: made(seq) for seq in range(1, 41)}
    for step, seq in steps:
        if step == "join" and seq not in present:
            present[seq] = tasks[seq]
            roster.add(tasks[seq])
        elif step == "leave" and seq in present:
            roster.drop(present.pop(seq))
        elif step == "list":
            expected = sorted(present, reverse=True)
            assert [t.seq for t in roster.newest()] == expected
            assert [t.seq for t in roster.newest(seq)] == [s for s in expected if s < seq]
            assert roster.find(seq) is present.get(seq)
        assert roster.count == len(present)


def test_a_roster_of_many_chunks_takes_latecomers_and_sweeps() -> None:
    roster = Roster(State.PENDING)
    size = 10 * ROSTER_CHUNK
    tasks = [made(seq) for seq in range(1, size + 1)]
    for found in tasks[::2]:
        roster.add(found)
    assert next(roster.newest()).seq == size - 1
    for found in tasks[1::2]:
        roster.add(found)
        if found.seq % 7 == 0:
            assert next(roster.newest(found.seq + 1)) is found
    assert [t.seq for t in roster.newest()] == list(range(size, 0, -1))
    for found in tasks[10:]:
        roster.drop(found)
    assert [t.seq for t in roster.newest()] == list(range(10, 0, -1))


def test_a_roster_nobody_reads_forgets_who_left() -> None:
    roster = Roster(State.PENDING)
    for seq in range(1, 20 * STALE_MIN):
        found = made(seq)
        roster.add(found)
        roster.drop(found)
    assert len(roster) <= 2 * STALE_MIN


lines = st.lists(st.tuples(st.integers(-2, 2), st.integers(0, 5)), min_size=1, max_size=60)


@settings(max_examples=200)
@given(lines, st.data())
def test_the_line_is_a_sorted_list(keys: list[tuple[int, int]], data: st.DataObject) -> None:
    ready, inside = Ready(), dict[int, TaskState]()
    tasks = [made(seq, *key) for seq, key in enumerate(keys, 1)]
    for found in tasks + tasks[::2]:
        if found.seq in inside:
            ready.remove(inside.pop(found.seq))
        else:
            ready.push(found)
            inside[found.seq] = found
        if inside and data.draw(st.booleans()):
            victim = data.draw(st.sampled_from(sorted(inside)))
            ready.remove(inside.pop(victim))
        expected = sorted(inside.values(), key=lambda t: (-t.priority, t.first_due, t.seq))
        assert ready.best(100) == expected
        assert ready.best(1) == expected[:1]
        assert ready.best(3, lambda t: t.seq % 2 == 0) == [t for t in expected if t.seq % 2 == 0][:3]
        assert ready.count == len(expected)


@given(lines, st.integers(0, 60), st.sampled_from([None, 3]))
def test_many_join_the_line_as_one_by_one(keys: list[tuple[int, int]], cut: int, aging_us: int | None) -> None:
    one_by_one, together = Ready(aging_us), Ready(aging_us)
    for found in [made(seq, *key) for seq, key in enumerate(keys, 1)]:
        one_by_one.push(found)
    tasks = [made(seq, *key) for seq, key in enumerate(keys, 1)]
    together.push_all(tasks[:cut])
    together.push_all(tasks[cut:])
    assert [t.seq for t in together.best(100)] == [t.seq for t in one_by_one.best(100)]
    for left in range(len(tasks), 0, -1):
        assert together.count == left
        together.remove(together.best(1)[0])
    assert not together.best(100)


def test_a_copy_is_equal_and_stands_in_no_line() -> None:
    ready, found = Ready(), made(3, 1, 2)
    found.options, found.rejected, found.waits_for = {"key": "k"}, [(1, "success")], {b"x" * 16}
    ready.push(found)
    twin = copy(found)
    assert twin is not found
    assert twin.row() == found.row()
    assert twin.entry is None
    assert twin.shown is None


def test_the_line_sweeps_when_the_dead_outnumber_the_living() -> None:
    ready = Ready()
    tasks = [made(seq, seq % 3) for seq in range(1, 5 * STALE_MIN)]
    for found in tasks:
        ready.push(found)
    best = ready.best(len(tasks))
    for found in best[5:]:
        ready.remove(found)
    assert ready.best(10) == best[:5]
    assert len(ready) <= 2 * STALE_MIN

"""The whole journal folded: boots, steps of the clock, compaction, prune, rows."""

from __future__ import annotations

from journeyman.kernel.commands import Cancel, Configure, Failed, Pause, Resume
from journeyman.kernel.events import (
    DUE_BY_INSTANT,
    ClockStepped,
    EngineBooted,
    EngineClosed,
    Event,
    JournalCompacted,
    QueueConfigured,
    QueueOpened,
    QueuePaused,
    QueueResumed,
    TasksPruned,
)
from journeyman.kernel.lifecycle import State
from journeyman.kernel.policy import Policy, Rate, Retention
from journeyman.kernel.state import QueueState
from journeyman.kernel.taskstate import ROW, TaskState
from journeyman.kernel.world import JournalState, fold, replay
from tests.kernel.lane import ERROR, SECOND, Lane, check_indexes, task, tid


def busy() -> Lane:
    """A lane with something in every state."""
    policy = Policy.compile(concurrency=9, rate=Rate(100, burst=50), retention=Retention(cancelled=0))
    lane = Lane(policy, now=10 * SECOND)
    lane.when(*(task(n, options={"tags": ["x"], "deadline_at": 900 * SECOND} if n % 2 else None) for n in range(6)))
    lane.start(0, 1, 2, 3, 4, 5).finish(0).finish(1, Failed(1, ERROR, "fatal"))
    lane.when(Cancel(tid(2), "a", "b")).finish(2).when(task(6, due_at=99 * SECOND, due_kind=DUE_BY_INSTANT), task(7, due_at=99 * SECOND))
    lane.when(Cancel(tid(6), "no", "me"))
    return lane.when(task(8, due_at=50 * SECOND, due_kind=DUE_BY_INSTANT), task(9))


def test_rows_come_back_and_are_copies() -> None:
    lane = busy()
    for found in lane.state.tasks.values():
        row = found.row()
        assert len(row) == len(ROW)
        again = TaskState.from_row(row)
        assert again.row() == row
        again.later += (999,)
        assert found.row() == row
        found.row()[ROW.index("seqs")].append(999)
        assert found.row() == row
    row = lane[0].row()
    assert TaskState.from_row([*row, "a column of a younger version"]).row() == row
    older = TaskState.from_row(row[: ROW.index("payload_seq")])  # before there were debounce and dependencies
    assert older.row() == row


def test_rows_and_facts_rebuild_the_queue() -> None:
    lane = busy()
    again = QueueState("q")
    again.merge_facts(lane.state.facts())
    for found in lane.state.tasks.values():
        again.adopt(TaskState.from_row(found.row()))
    again.rebuild()
    assert again == lane.state
    check_indexes(again, lane.now)
    check_indexes(again, 100 * SECOND)


def test_fold_routes_by_queue() -> None:
    events: list[Event] = [
        EngineBooted(5, "", 0, 1, {}),
        QueueOpened(6, "a", 1, 1, 1),
        QueueOpened(7, "b", 1, 1, 1),
        QueuePaused(8, "b", 2, 1, "me", "why"),
    ]
    world = replay(enumerate(events, 1))
    assert (world.boots, world.clean, world.last_at, sorted(world.queues)) == (1, False, 8, ["a", "b"])
    assert world.queues["b"].paused == ("me", "why", 8)
    fold(world, EngineClosed(9, "", 0, 1), 5)
    assert world.clean
    again = JournalState()
    again.load_facts(world.facts())
    again.queues = world.queues
    assert again == world


def world_of(lane: Lane) -> JournalState:
    return replay(enumerate(lane.journal, 1))


def test_a_stepped_clock_moves_durations_and_leaves_instants() -> None:
    lane = busy()
    world = world_of(lane)
    step = -5 * SECOND
    fold(world, ClockStepped(lane.now + step, "", 0, 1, step), 100)
    after = world.queues["q"]
    assert world.last_at == lane.now + step
    assert after.tasks[tid(7)].due_at == 94 * SECOND
    assert after.tasks[tid(8)].due_at == 50 * SECOND
    assert after.tat_at == lane.state.tat_at + step
    assert after.tasks[tid(9)].first_due == 5 * SECOND
    assert after.tasks[tid(0)].due_at == lane[0].due_at, "history stays"
    check_indexes(after, world.last_at)


def test_a_compacted_journal_is_the_same_state() -> None:
    """Config, pause and open records up to a seq are replaced by one that says what they had to say."""
    lane = busy().when(Pause("me", "why")).when(Configure(Policy(concurrency=7).facts(), "me"))
    through = len(lane.journal)
    facts = lane.state.facts()
    lane.when(Resume("me")).when(task(20))
    full = [*enumerate(lane.journal, 1)]
    compacted = JournalCompacted(lane.now, "", 0, 1, through, {"q": facts}, {"boots": 1})
    full.append((len(full) + 1, compacted))
    gone = (QueueOpened, QueueConfigured, QueuePaused, QueueResumed)
    kept = [(seq, e) for seq, e in full if not (seq <= through and isinstance(e, gone))]
    assert len(kept) < len(full)
    assert replay(kept) == replay(full)
    assert replay(kept).queues["q"].paused is None


def test_younger_facts_stand() -> None:
    lane = Lane(Policy())
    old = lane.state.facts()
    lane.when(Configure(Policy(concurrency=3).facts(), "me")).when(Pause("me", "why")).when(task(1))
    young = lane.state.logical()
    lane.state.merge_facts(old)
    assert lane.state.logical() == young


def test_pruned_tasks_leave_memory_and_nothing_else_does() -> None:
    lane = busy()
    seqs = [lane[0].seq, lane[1].seq, 9_999]
    lane.given(TasksPruned(lane.now, "q", lane.state.qseq + 1, 1, [[seq, seq + 2, 3] for seq in seqs], {"tat_at": 0}, "retention"))
    assert tid(0) not in lane.state.tasks
    assert tid(1) not in lane.state.tasks
    assert tid(2) in lane.state.tasks
    lane.check()


def test_pruned_records_gone_from_the_journal_leave_the_same_state() -> None:
    lane = busy()
    victim = lane[0]
    lane.given(TasksPruned(lane.now, "q", lane.state.qseq + 1, 1, [[victim.seqs[0], victim.last_seq, len(victim.seqs)]], {}, "retention"))
    kept = [(seq, e) for seq, e in enumerate(lane.journal, 1) if seq not in victim.seqs]
    assert replay(kept).queues["q"].logical()[2] == lane.state.logical()[2]


def test_settling_forgets_only_what_ended() -> None:
    lane = busy()
    lane.checked = False
    ended = [t.id for t in lane.state.tasks.values() if t.finished_at is not None]
    assert lane.state.settle([*ended, tid(3), tid(999)]) == len(ended)
    assert tid(3) in lane.state.tasks
    assert lane.state.counts(lane.now)[State.SUCCEEDED] == 0
    check_indexes(lane.state, lane.now)

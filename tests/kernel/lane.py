"""given(events).when(command).then(events): one queue under test, its journal a list, every step checked against a replay.

`Lane` holds a live state.  Each `when` decides, checks that deciding changed nothing, applies, and checks that the live state is what
a replay from nothing gives, that every transition was in the table, and that the indexes agree with the tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from journeyman.kernel.apply import apply
from journeyman.kernel.commands import (
    Answer,
    Command,
    Decision,
    Dispatch,
    Env,
    Finish,
    Open,
    Outcome,
    Refused,
    Submit,
    Succeeded,
)
from journeyman.kernel.decide import decide
from journeyman.kernel.events import DUE_BY_DURATION, Event, Options, TaskRetried
from journeyman.kernel.keys import key_of
from journeyman.kernel.lifecycle import TERMINAL, TRANSITIONS, WAITING, State, observed
from journeyman.kernel.policy import Policy
from journeyman.kernel.shares import tenant_of
from journeyman.kernel.state import QueueState
from journeyman.kernel.taskstate import TaskState

SECOND = 1_000_000
ERROR = ("ValueError", "no such number", "Traceback ...", ["ValueError", "Exception"])
FREE = Env()


def tid(n: int) -> bytes:
    """The 16-byte id of task n."""
    return n.to_bytes(16, "big")


def task(
    n: int,
    *,
    handler: str = "send",
    priority: int = 5,
    due_at: int | None = None,
    due_kind: int = DUE_BY_DURATION,
    size: int = 3,
    digest: bytes = b"d" * 16,
    options: Options = None,
    internal: bool = False,
    on_conflict: Literal["return", "raise", "replace"] = "return",
) -> Submit:
    """A Submit with everything a test does not care about filled in."""
    return Submit(tid(n), handler, priority, due_at, due_kind, size, digest, 0, None, options, internal, on_conflict)


class Lane:
    """A queue that is checked at every step.  `checked=False` for tests of scale."""

    def __init__(self, policy: Policy | None = None, *, now: int = SECOND, checked: bool = True, name: str = "q") -> None:
        self.state = QueueState(name)
        self.journal: list[Event] = []
        self.now = now
        self.checked = checked
        self.answers: list[Answer] = []
        self.last: list[Event] = []
        if policy is not None:
            self.when(Open(1, policy.facts()))

    # --- steps ----------------------------------------------------------------------------------------------------------

    def given(self, *events: Event) -> Lane:
        """What happened before."""
        for event in events:
            self._take(event)
        return self

    def when(self, *commands: Command, at: int | None = None, env: Env = FREE) -> Lane:
        """Decide and apply."""
        decision = self.proposed(*commands, at=at, env=env)
        self.last, self.answers = decision.events, decision.answers
        for event in decision.events:
            self._take(event)
        if self.checked:
            self.check()
        return self

    def proposed(self, *commands: Command, at: int | None = None, env: Env = FREE) -> Decision:
        """Decide only."""
        if at is not None:
            self.now = at
        before = self.state.logical() if self.checked else None
        decision = decide(self.state, commands, self.now, env)
        if self.checked:
            assert self.state.logical() == before, "decide changed the state"
        assert len(decision.answers) == len(commands)
        return decision

    def _take(self, event: Any) -> None:
        known = self.state.tasks.get(event.task) if hasattr(event, "task") else None
        before = known.state if known is not None else None
        if isinstance(event, TaskRetried) and known is None:  # settled: the event brings the task along
            before = TaskState.from_row(event.row).state
        self.journal.append(event)
        assert event.qseq == self.state.qseq + 1, "a queue's events are numbered without gaps"
        apply(self.state, event, len(self.journal))
        if hasattr(event, "task") and type(event).__name__ != "TasksPruned":
            after = self.state.tasks[event.task].state
            assert after in TRANSITIONS[before, type(event).__name__]

    # --- expectations -----------------------------------------------------------------------------------------------------

    def then(self, *kinds: type[Event]) -> Lane:
        """The last step came to events of exactly these kinds."""
        assert [type(e) for e in self.last] == list(kinds), self.last
        return self

    def refused(self, error: str) -> Lane:
        """The last command was refused with this error and came to nothing."""
        answer = self.answers[-1]
        assert isinstance(answer, Refused), answer
        assert answer.error == error, answer
        return self

    def accepted(self) -> Lane:
        assert not any(isinstance(a, Refused) for a in self.answers), self.answers
        return self

    # --- shorthands -------------------------------------------------------------------------------------------------------

    def start(self, *numbers: int, at: int | None = None, env: Env = FREE) -> Lane:
        """Dispatch, and expect exactly these tasks to start, in this order."""
        self.when(Dispatch(), at=at, env=env)
        assert [e.task for e in self.last] == [tid(n) for n in numbers], [int.from_bytes(e.task, "big") for e in self.last]  # type: ignore[union-attr]
        return self

    def finish(self, n: int, outcome: Outcome | None = None, *, at: int | None = None, env: Env = FREE) -> Lane:
        """The running attempt of task n ends."""
        found = self[n]
        return self.when(Finish(found.id, found.epoch, found.attempt, outcome or Succeeded(7)), at=at, env=env)

    def reopen(self, policy: Policy | None = None, *, entered: Sequence[int] = (), crashed: bool = True, at: int | None = None) -> Lane:
        """What a new owner makes of the state it finds."""
        return self.when(Open(2, policy.facts() if policy else None, [tid(n) for n in entered], crashed), at=at)

    def __getitem__(self, n: int) -> TaskState:
        return self.state.tasks[tid(n)]

    @property
    def event(self) -> Any:
        """The one event of the last step."""
        assert len(self.last) == 1, self.last
        return self.last[0]

    def replayed(self) -> QueueState:
        """The fold of the whole journal from nothing."""
        state = QueueState(self.state.name)
        for seq, event in enumerate(self.journal, 1):
            apply(state, event, seq)  # type: ignore[arg-type]
        return state

    def check(self) -> None:
        assert self.state == self.replayed(), "live state is not replayed state"
        check_indexes(self.state, self.now)


def check_indexes(state: QueueState, now: int) -> None:
    """The derived indexes say what the tasks say."""
    tasks = state.tasks.values()
    assert state.running == {t.id: t for t in tasks if t.state is State.RUNNING}
    assert state.agenda.waiting == sum(t.state in WAITING for t in tasks)
    counts = state.counts(now)
    for shown in State:
        expected = [t for t in sorted(tasks, key=lambda t: -t.seq) if observed(t.state, t.due_at, now) is shown]
        assert counts[shown] == len(expected)
        assert list(state.listed(shown, now)) == expected
    due = [t for t in tasks if observed(t.state, t.due_at, now) is State.PENDING and t.id not in state.agenda.parked and not t.waits_for]
    behind = {id for line in state.agenda.keys.lines.values() for id in line.places}
    due = [t for t in due if t.id not in behind]
    order = sorted(due, key=state.agenda.ready.key)
    if (tokens := state.agenda.tokens) is not None:  # of a key, the best stands where it may start, and only if it has a token
        order = [t for t in order if (key := key_of(t)) is None or state.agenda.is_suspect(t) or not tokens.holds(t, key)]
    check_keys(state, behind)
    picked = state.agenda.ready.best(len(tasks) + 1)
    if (fair_by := state.policy.fair_by) is not None:  # whose turn it is comes first; within a tenant the order is as ever
        picked = sorted(picked, key=lambda t: order.index(t))
        shares = state.agenda.shares
        assert shares is not None
        assert shares.tenants == len({tenant_of(t, fair_by) for t in (*picked, *state.running.values())})
    assert picked == [t for t in order if not state.agenda.is_suspect(t)]
    assert state.agenda.suspects.best(len(tasks) + 1) == [t for t in order if state.agenda.is_suspect(t)]
    waits: dict[bytes, set[bytes]] = {}
    for t in tasks:
        for dependency in t.waits_for or ():
            waits.setdefault(dependency, set()).add(t.id)
    assert {dependency: set(found) for dependency, found in state.waits.on.items()} == waits
    blocked = {t.id for t in tasks if t.waits_for and observed(t.state, t.due_at, now) is State.PENDING}
    assert state.agenda.blocked == blocked
    bearers: dict[str, list[TaskState]] = {}
    for t in sorted(tasks):
        if t.state not in TERMINAL and t.options is not None and "unique" in t.options:
            bearers.setdefault(t.options["unique"], []).append(t)
    assert {key: sorted(found) for key, found in state.claims.holders.items()} == bearers
    deadlines = [t.deadline_at for t in tasks if t.state in WAITING and t.deadline_at is not None]
    assert state.agenda.next_deadline() == min(deadlines, default=None)
    assert {t.id for t in tasks if t.state in TERMINAL}.isdisjoint(state.agenda.parked)


def check_keys(state: QueueState, behind: set[bytes]) -> None:
    """Each key's front is full before anybody stands behind it, and whoever stands behind comes after those who wait at the front."""
    keys = state.agenda.keys
    for key, line in keys.lines.items():
        assert line.front, f"a line without a front: {key}"
        assert all(t.state in WAITING or t.state is State.RUNNING for t in line.front.values())
        if line.places:
            assert len(line.front) >= keys.per_key
            waiting = [(t.first_due, t.seq) for t in line.front.values() if t.state is not State.RUNNING]
            assert max(waiting, default=(0, 0)) < min((place[0], place[1]) for place in line.places.values())
    standing = behind | {id for line in keys.lines.values() for id in line.front}
    for task in state.tasks.values():
        key = (task.options or {}).get("key")
        if key is not None and task.state is State.RUNNING:
            assert task.id in keys.lines[key].front
        if key is None or task.state in TERMINAL:
            assert task.id not in standing

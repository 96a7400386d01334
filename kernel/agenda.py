"""A queue's indexes: who waits for an instant, who may start, who stands in which state, whose deadline comes next.

Problem.  Every question the kernel asks (what is due, what is best, what comes next) must cost by its answer, with 200,000 tasks
waiting.  Choice: everything here is derived from the tasks, rebuilt on load, kept up to date by `apply` alone, and no part
of equality or of what is stored.  A waiting task is in exactly one of:

- `later`, a heap by due instant, until `advance` finds that it has come;
- `ready`, the line of those that may start, or a line for each tenant (kernel/shares.py);
- `suspects`, the line of those that one more crash would end: they start one at a time among themselves, so that a poison task
  is told apart from its bystanders, and they stand aside so that they are not passed over at each pick;
- `blocked`, for those that still wait for other tasks (`after`); they have no part in their key's line yet;
- `parked`, id -> why, for a handler this process does not have or arguments that no longer fit: never looked at by a pick;
- `tokens`, for those whose key has a rate and no token, or another task that is about to start (kernel/keyrates.py);
- the back of its key's line, if its serialization key is busy (kernel/keys.py).

`task.entry` is what stands for a task in the heap or line it is in; whatever else of it is there is dead, and dropped when it surfaces.
`advance` changes nothing logical (what is due is a function of `due_at` and `now`), so reading code may call it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from heapq import heapify, heappop, heappush
from typing import Final

from journeyman.kernel.bounds import STALE_MIN
from journeyman.kernel.events import DUE_BY_INSTANT
from journeyman.kernel.keyrates import KeyTokens
from journeyman.kernel.keys import Keys, key_of
from journeyman.kernel.lifecycle import TERMINAL, WAITING, State
from journeyman.kernel.policy import FairBy
from journeyman.kernel.ready import Ready
from journeyman.kernel.roster import Roster
from journeyman.kernel.shares import Shares
from journeyman.kernel.taskstate import TaskState
from journeyman.kernel.tats import Tats

PENDING: Final = State.PENDING
NO_HANDLER: Final = "no handler here"

Due = tuple[int, int, TaskState]


class Agenda:
    """The indexes of one queue."""

    __slots__ = (
        "_dead_later", "_deadlines", "_live_deadlines", "aging_us", "blocked", "crashes", "fair_by", "handlers", "key_rate", "key_tats",
        "keys", "later", "parked", "pending", "ready", "rosters", "running", "shares", "suspects", "suspects_out", "tokens", "waiting",
    )  # fmt: skip

    def __init__(self) -> None:
        self.handlers: Collection[str] | None = None  # names this process has; None: all
        self.crashes = 0  # of the policy: at this many (and one at least) a task is a suspect
        self.aging_us: int | None = None  # of the policy
        self.fair_by: FairBy | None = None  # of the policy
        self.key_rate: tuple[int, int, int] | None = None  # of the policy
        self.key_tats = Tats()  # of the queue: a fact, here to be read
        self.keys = Keys()
        self.clear()

    def clear(self) -> None:
        """Forget every task."""
        self.later: list[Due] = []
        self.shares = None if self.fair_by is None else Shares(self.fair_by, self.aging_us)
        self.ready: Ready | Shares = Ready(self.aging_us) if self.shares is None else self.shares
        self.suspects = Ready(self.aging_us)
        self.tokens = None if self.key_rate is None else KeyTokens(self.key_rate, self.key_tats, self.ready, self.aging_us)
        self.keys.lines.clear()
        self.parked: dict[bytes, str] = {}
        self.blocked: set[bytes] = set()
        self.rosters = {state: Roster(state) for state in State}
        self.pending, self.running = self.rosters[PENDING], self.rosters[State.RUNNING]
        self.suspects_out: dict[bytes, TaskState] = {}  # those of the suspects that run
        self.waiting = 0  # scheduled, pending and retrying: what max_pending counts
        self._dead_later = 0
        self._deadlines: list[Due] = []
        self._live_deadlines: dict[bytes, Due] = {}

    def is_suspect(self, task: TaskState) -> bool:
        """Whether one more crash would end it.  One that never crashed is none, even with a budget of 0."""
        return task.crashes >= self.crashes and task.crashes > 0

    # --- changes, called by apply -------------------------------------------------------------------------------------

    def wait(self, task: TaskState) -> None:
        """`task` waits from now on: at rest it is pending, scheduled or retrying."""
        self.waiting += 1
        if task.options is None and task.state is PENDING:  # most of them
            self.pending.add(task)
            self._line_up(task)
            return
        if task.options is not None and (deadline := task.options.get("deadline_at")) is not None:
            due = self._live_deadlines[task.id] = (deadline, task.seq, task)
            heappush(self._deadlines, due)
        if task.state is PENDING:
            self.pending.add(task)
            self._admit(task)
        else:
            self.rosters[task.state].add(task)
            task.entry = entry = (task.due_at, task.seq, task)
            heappush(self.later, entry)
            if task.options is not None and (key := task.options.get("key")) is not None:
                self._hold_or_step_out(task, key)

    def wait_plainly(self, tasks: Sequence[TaskState]) -> None:
        """As `wait`, for new tasks that are pending and have no options."""
        self.waiting += len(tasks)
        self.pending.add_all(tasks)
        handlers = self.handlers
        if handlers is None or {task.handler for task in tasks}.issubset(handlers):
            self.ready.push_all(tasks)
        else:
            for task in tasks:
                self._line_up(task)

    def _admit(self, task: TaskState) -> None:
        """A task that is due takes its place: in the line of its key first, if it has one."""
        if task.options is None:  # it was due later
            self._line_up(task)
            return
        if task.waits_for is not None:
            self.blocked.add(task.id)
            return
        if (key := task.options.get("key")) is None:
            self._line_up(task)
            return
        if not self.keys.strict and self.handlers is not None and task.handler not in self.handlers:
            self._step_out(task, key)
            self.parked[task.id] = NO_HANDLER
            return
        if self._stand(task, key):
            self._line_up(task)

    def _stand(self, task: TaskState, key: str) -> bool:
        """Whether it stands at the front of its key's line now."""
        at_front, falls_back, comes_up = self.keys.stand(task, key)
        if falls_back is not None:
            self._fall_back(falls_back)
        if comes_up is not None and comes_up.shown is PENDING:
            self._line_up(comes_up)
        return at_front

    def _fall_back(self, task: TaskState) -> None:
        """It is not at the front of its key any more; if it was about to start, it is so no longer."""
        if task.shown is not PENDING:
            return
        if task.entry is None:
            self.parked.pop(task.id, None)
        else:
            self._unline(task)

    def _hold_or_step_out(self, task: TaskState, key: str) -> None:
        """A task that has a key is due later: it keeps its key, or lets others pass."""
        if self.keys.holds(task):
            self._stand(task, key)
        else:
            self._step_out(task, key)

    def _step_out(self, task: TaskState, key: str) -> None:
        for other in self.keys.leave(task, key):
            if other.shown is PENDING:  # else it holds the key while it waits
                self._line_up(other)

    def ended(self, task: TaskState) -> None:
        """`task`, which has options, will not run again (unless by hand)."""
        key = key_of(task)
        if key is not None:
            self._step_out(task, key)

    def started(self, task: TaskState) -> None:
        """`task`, which has options, runs."""
        key = key_of(task)
        if key is not None and (falls_back := self.keys.started(task, key)) is not None:
            self._fall_back(falls_back)

    def _line_up(self, task: TaskState) -> None:
        handlers = self.handlers
        if handlers is not None and task.handler not in handlers:
            self.parked[task.id] = NO_HANDLER
        elif task.crashes and self.is_suspect(task):
            self.suspects.push(task)
        elif self.tokens is not None and (key := key_of(task)) is not None:
            self.tokens.push(task, key)
        else:
            self.ready.push(task)

    def _unline(self, task: TaskState) -> None:
        if task.crashes and self.is_suspect(task):
            self.suspects.remove(task)
        elif self.tokens is not None and (key := key_of(task)) is not None:
            self.tokens.remove(task, key)
        else:
            self.ready.remove(task)

    def leave(self, task: TaskState) -> None:
        """`task` waits no longer.  The caller puts it on its next roster."""
        self.waiting -= 1
        if self._live_deadlines:
            self._live_deadlines.pop(task.id, None)
        shown = task.shown
        if shown is not PENDING:
            assert shown is not None
            self.rosters[shown].count -= 1
            task.entry = None
            self._dead_later += 1
            if self._dead_later > STALE_MIN and self._dead_later * 2 > len(self.later):
                self._sweep_later()
            return
        self.pending.count -= 1
        if task.entry is None:
            self.parked.pop(task.id, None)
            self.blocked.discard(task.id)
        elif task.crashes or self.tokens is not None:
            self._unline(task)
        else:
            self.ready.remove(task)

    def withdraw(self, task: TaskState) -> None:
        """`task` waits no longer, and gives up its place in its key's line too: `wait` finds it another.  For a change of its place."""
        self.leave(task)
        if task.options is not None:
            self.ended(task)

    def _sweep_later(self) -> None:
        self.later = [due for due in self.later if due[2].entry is due]
        heapify(self.later)
        self._dead_later = 0

    # --- time ---------------------------------------------------------------------------------------------------------

    def advance(self, now: int) -> None:
        """Move what became due by `now` to where it may start.  Changes nothing logical."""
        later = self.later
        while later and later[0][0] <= now:
            due = heappop(later)
            task = due[2]
            if task.entry is not due:
                self._dead_later -= 1
                continue
            task.entry = None
            shown = task.shown
            assert shown is not None
            self.rosters[shown].count -= 1
            self.pending.add(task)
            self._admit(task)
        if self.tokens is not None:
            self.tokens.advance(now)

    def next_token(self) -> int | None:
        """The next instant at which a serialization key that is waited for has a token; after `advance`."""
        tokens = self.tokens
        if tokens is None:
            return None
        instants = [tokens.token_at(task, key) for task in self.suspects.in_order() if (key := key_of(task)) is not None]
        if (at := tokens.next_at()) is not None:
            instants.append(at)
        return min(instants, default=None)

    def next_due(self) -> int | None:
        """The earliest due instant that has not been advanced past."""
        later = self.later
        while later and later[0][2].entry is not later[0]:
            heappop(later)
            self._dead_later -= 1
        return later[0][0] if later else None

    def waits_by_calendar(self) -> bool:
        """Whether a task waits for an instant that somebody named: until it is due, or as its deadline.  Looks at all that wait."""
        if any(due[2].entry is due and due[2].due_kind == DUE_BY_INSTANT for due in self.later):
            return True
        return any("deadline_kind" not in (due[2].options or ()) for due in self._live_deadlines.values())

    def next_deadline(self) -> int | None:
        """The earliest deadline of a task that waits."""
        deadlines, live = self._deadlines, self._live_deadlines
        while deadlines and live.get(deadlines[0][2].id) is not deadlines[0]:
            heappop(deadlines)
        return deadlines[0][0] if deadlines else None

    def overdue(self, now: int) -> list[TaskState]:
        """Waiting tasks whose deadline has passed (it may still start *at* its deadline), earliest first."""
        if self.next_deadline() is None:
            return []
        deadlines, live = self._deadlines, self._live_deadlines
        found: list[Due] = []
        walk = [0]
        while walk:
            index = walk.pop()
            if index < len(deadlines) and deadlines[index][0] < now:
                due = deadlines[index]
                if live.get(due[2].id) is due:
                    found.append(due)
                walk += (2 * index + 1, 2 * index + 2)
        return [due[2] for due in sorted(found)]

    # --- what this process cannot run -----------------------------------------------------------------------------------

    def park(self, task: TaskState, reason: str) -> None:
        """Set a waiting task aside until `unpark`; one that is not due yet cannot be parked."""
        if task.shown is not PENDING or task.entry is None:  # not due, parked already, or behind others of its key
            return
        self._unline(task)
        self.parked[task.id] = reason
        if not self.keys.strict and (key := key_of(task)) is not None:
            self._step_out(task, key)

    def unpark(self, task: TaskState) -> None:
        """Let a parked task take its place again (if its handler is here)."""
        if self.parked.pop(task.id, None) is not None:
            self._admit(task)

    def unblock(self, task: TaskState) -> None:
        """`task` waits for no other any more."""
        if task.id in self.blocked:
            self.blocked.discard(task.id)
            self._admit(task)

    # --- loading --------------------------------------------------------------------------------------------------------

    def rebuild(self, tasks: Iterable[TaskState]) -> None:
        """Everything anew from the tasks.  O(n log n): on load, on a stepped clock, on a changed crash budget."""
        self.clear()
        ready: list[TaskState] = []
        suspects: list[TaskState] = []
        tasks = list(tasks)
        behind = self._load_keys(tasks)
        for task in tasks:
            self.rosters[task.state].add(task)
            task.entry = None
            if task.state in TERMINAL:
                continue
            if task.state is State.RUNNING:
                if self.is_suspect(task):
                    self.suspects_out[task.id] = task
                if self.shares is not None:
                    self.shares.began(task)
                continue
            self.waiting += 1
            if (deadline := task.deadline_at) is not None:
                due = self._live_deadlines[task.id] = (deadline, task.seq, task)
                self._deadlines.append(due)
            if task.state is not PENDING:
                task.entry = entry = (task.due_at, task.seq, task)
                self.later.append(entry)
            elif task.waits_for is not None:
                self.blocked.add(task.id)
            elif behind and task.id in behind:
                continue
            elif self.handlers is not None and task.handler not in self.handlers:
                self.parked[task.id] = NO_HANDLER
            else:
                (suspects if self.is_suspect(task) else ready).append(task)
        heapify(self.later)
        heapify(self._deadlines)
        self.suspects.load(suspects)
        if self.tokens is None:
            self.ready.load(ready)
            return
        self.ready.load([task for task in ready if key_of(task) is None])
        for task in ready:
            if (key := key_of(task)) is not None:
                self.tokens.push(task, key)

    def _load_keys(self, tasks: Iterable[TaskState]) -> frozenset[bytes]:
        """The lines of all keys anew; who stands behind others in one."""
        standing: list[tuple[str, TaskState]] = []
        for task in tasks:
            if task.options is None or (key := task.options.get("key")) is None or task.state in TERMINAL or task.waits_for is not None:
                continue
            if task.state is State.RUNNING or self._stands(task):
                standing.append((key, task))
        if not standing:
            return frozenset()
        self.keys.load(standing)
        return frozenset(id for line in self.keys.lines.values() for id in line.places)

    def _stands(self, task: TaskState) -> bool:
        """Whether a waiting task is part of its key's line."""
        if self.keys.strict:
            return task.state is PENDING or task.attempt > 0
        return task.state is PENDING and (self.handlers is None or task.handler in self.handlers)

    def shown(self, state: State, before: int | None = None) -> Iterator[TaskState]:
        """Tasks last observed in `state`, newest first; call `advance` before."""
        return self.rosters[state].newest(before)


assert {State.PENDING, State.SCHEDULED, State.RETRYING} == WAITING

__all__ = ["NO_HANDLER", "Agenda", "Due"]

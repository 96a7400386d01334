"""One queue as the fold of its events, and the door to its indexes.

`tasks` holds every unfinished task, and ended ones until the journal's own table has them (`settle`).  Facts and tasks are
logical: equal on every replay.  The agenda and what this process can run (`handlers`, parked tasks) are not.

A queue's facts are merged, not overwritten, when an old summary of them is read after younger events (JournalCompacted): each fact
carries the seq that set it, and the younger one stands.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from journeyman.kernel.agenda import Agenda
from journeyman.kernel.claims import Claims
from journeyman.kernel.events import AttemptStarted
from journeyman.kernel.keys import key_of
from journeyman.kernel.lifecycle import TERMINAL, State
from journeyman.kernel.policy import Policy
from journeyman.kernel.schedule import ScheduleState
from journeyman.kernel.taskstate import ROW, TaskState
from journeyman.kernel.tats import Tats
from journeyman.kernel.waits import Waits


class QueueState:
    """The state of one queue.  Only `apply` changes what is logical in it."""

    __slots__ = (
        "agenda", "claims", "config_seq", "configured", "declared", "declared_seq", "epoch", "gone_seq", "key_tats", "limiters", "name",
        "parked_seq", "parked_until", "parked_why", "pause_seq", "paused", "policy", "qseq", "running", "schedules", "schedules_seq",
        "tasks", "tat_at", "tat_seq", "unfinished", "waits",
    )  # fmt: skip

    def __init__(self, name: str) -> None:
        self.name = name
        self.policy = Policy()
        self.configured = False  # whether a QueueConfigured was ever seen
        self.config_seq = 0
        self.declared: Policy | None = None  # what the program last declared; `policy` differs where an operator changed it since
        self.declared_seq = 0
        self.epoch = 0
        self.qseq = 0
        self.gone_seq = 0  # the newest of its events that prune or compaction took: a feed further back has lost something
        self.paused: tuple[str, str, int] | None = None  # (by, reason, at)
        self.pause_seq = 0
        self.parked_until = 0  # nothing starts before; 0: not parked
        self.parked_why = ""
        self.parked_seq = 0
        self.tat_at = 0  # the rate limiter's theoretical arrival time
        self.tat_seq = 0
        self.key_tats = Tats()  # of the rates of its serialization keys
        self.limiters = Tats()  # those of the shared limiters it has drawn from
        self.schedules: dict[str, ScheduleState] = {}
        self.schedules_seq = 0
        self.unfinished: dict[str, set[bytes]] = {}  # by schedule: its tasks, some ended ones among them
        self.tasks: dict[bytes, TaskState] = {}
        self.running: dict[bytes, TaskState] = {}
        self.claims = Claims()
        self.waits = Waits()
        self.agenda = Agenda()
        self.agenda.key_tats = self.key_tats
        self.agenda.crashes = self.policy.crashes

    def __repr__(self) -> str:
        return f"<QueueState {self.name!r} epoch={self.epoch} qseq={self.qseq} tasks={len(self.tasks)} running={len(self.running)}>"

    def __eq__(self, other: object) -> bool:
        """Logical equality: the same facts, and tasks with the same rows."""
        return isinstance(other, QueueState) and self.logical() == other.logical()

    __hash__ = None  # type: ignore[assignment]

    def logical(self) -> tuple[str, dict[str, Any], dict[bytes, list[Any]]]:
        """All that a replay must reproduce: name, facts, rows by id."""
        return self.name, self.facts(), {id: task.row() for id, task in self.tasks.items()}

    # --- facts ----------------------------------------------------------------------------------------------------------

    def facts(self) -> dict[str, Any]:
        """What the queue knows apart from its tasks; CBOR-able."""
        return {
            "policy": self.policy.facts() if self.configured else None,
            "config_seq": self.config_seq,
            "declared": None if self.declared is None or self.declared == self.policy else self.declared.facts(),  # None: as policy
            "declared_seq": self.declared_seq,
            "epoch": self.epoch,
            "qseq": self.qseq,
            "gone_seq": self.gone_seq,
            "paused": None if self.paused is None else list(self.paused),
            "pause_seq": self.pause_seq,
            "parked": [self.parked_until, self.parked_why, self.parked_seq],
            "tat_at": self.tat_at,
            "tat_seq": self.tat_seq,
            "limiters": self.limiters.facts(),
            "key_tats": self.key_tats.facts(),
            "schedules": [schedule.row() for _, schedule in sorted(self.schedules.items())],
            "schedules_seq": self.schedules_seq,
            "holds": self.claims.facts(),
        }

    def merge_facts(self, facts: Mapping[str, Any]) -> None:
        """Take over every fact that is younger than what is known here."""
        self.epoch = max(self.epoch, facts["epoch"])
        self.qseq = max(self.qseq, facts["qseq"])
        self.gone_seq = max(self.gone_seq, facts.get("gone_seq", 0))
        if facts["config_seq"] > self.config_seq:
            self.set_policy(facts["policy"], facts["config_seq"])
        declared_seq = facts.get("declared_seq", facts["config_seq"])  # before operators could change it, the policy was the declared one
        if declared_seq > self.declared_seq:
            self.declared = Policy.from_facts(facts.get("declared") or facts["policy"])
            self.declared_seq = declared_seq
        if facts["pause_seq"] > self.pause_seq:
            paused = facts["paused"]
            self.paused = None if paused is None else (paused[0], paused[1], paused[2])
            self.pause_seq = facts["pause_seq"]
        parked = facts.get("parked")
        if parked is not None and parked[2] >= self.parked_seq:  # equal: as with the limiter
            self.parked_until, self.parked_why, self.parked_seq = parked
        if facts["tat_seq"] >= self.tat_seq:  # equal: a clock step moved the limiter, and a start before it is pruned
            self.tat_at, self.tat_seq = facts["tat_at"], facts["tat_seq"]
        self.limiters.merge(facts.get("limiters"))
        self.key_tats.merge(facts.get("key_tats"))
        if facts.get("schedules_seq", 0) >= self.schedules_seq:  # equal: a clock step moved them
            self.schedules = {row[0]: ScheduleState.from_row(row) for row in facts.get("schedules", ())}
            self.schedules_seq = facts.get("schedules_seq", 0)
        self.claims.load(facts.get("holds", {}))

    def set_policy(self, policy: Mapping[str, Any], seq: int) -> None:
        """The policy from event `seq` on."""
        self.policy = Policy.from_facts(policy)
        self.configured = True
        self.config_seq = seq
        self._tell_agenda()

    def _tell_agenda(self) -> None:
        """What of the policy decides where a waiting task stands."""
        policy, agenda = self.policy, self.agenda
        keys, strict = agenda.keys, policy.key_order == "strict"
        stands = (agenda.crashes, agenda.aging_us, agenda.fair_by, agenda.key_rate, keys.per_key, keys.strict)
        if stands != (policy.crashes, policy.aging_us, policy.fair_by, policy.rate_per_key, policy.per_key, strict):
            agenda.crashes, agenda.aging_us, agenda.fair_by = policy.crashes, policy.aging_us, policy.fair_by
            agenda.key_rate = policy.rate_per_key
            keys.per_key, keys.strict = policy.per_key, strict
            self.rebuild()

    def charged(self, task: TaskState, event: AttemptStarted, seq: int) -> None:
        """A start has taken of limiters that are not the queue's own alone, or of its key's."""
        at, tat_at, options = event.at, event.tat_at, event.options or {}
        if (name := options.get("limiter")) is not None:
            self.limiters.took(name, tat_at, at, seq)
        elif tat_at:
            self.tat_at, self.tat_seq = tat_at, seq
        if (key_tat_at := options.get("key_tat_at")) is not None and (key := key_of(task)) is not None:
            self.key_tats.took(key, key_tat_at, at, seq)
            if self.agenda.tokens is not None:
                self.agenda.tokens.charged(key)

    # --- loading and forgetting -------------------------------------------------------------------------------------------

    def adopt(self, task: TaskState) -> None:
        """Take a task from a row; call `rebuild` after the last one."""
        self.tasks[task.id] = task
        if task.state is State.RUNNING:
            self.running[task.id] = task

    def rebuild(self) -> None:
        """The indexes anew; `advance` afterwards."""
        self.agenda.rebuild(self.tasks.values())
        special = [task for task in self.tasks.values() if task.options is not None and task.state not in TERMINAL]
        self.claims.rebuild(special)
        self.waits.rebuild(special)
        self.unfinished = {}
        for task in special:
            if task.options is not None and "schedule" in task.options:
                self.note_unfinished(task)

    @property
    def changed_live(self) -> bool:
        """Whether an operator's change is in force."""
        return self.policy != self.declared and self.configured

    def settle(self, ids: Iterable[bytes]) -> int:
        """Forget ended tasks that the journal's table holds now; a cache eviction, no step of the fold.  How many were forgotten."""
        count = 0
        for id in ids:
            task = self.tasks.get(id)
            if task is not None and task.state in TERMINAL:
                self.forget(task)
                count += 1
        return count

    def forget(self, task: TaskState) -> None:
        """An ended task leaves memory."""
        del self.tasks[task.id]
        self.agenda.rosters[task.state].drop(task)

    # --- tasks of schedules -------------------------------------------------------------------------------------------------

    def note_unfinished(self, task: TaskState) -> None:
        """A task that a schedule submitted is not over (any more).  Ended ones are let go of when they are half of what is held."""
        known = self.unfinished.setdefault(task.options["schedule"][0], set())  # type: ignore[index]
        if len(known) & (len(known) - 1) == 0:  # a power of two
            known.difference_update([id for id in known if (held := self.tasks.get(id)) is None or held.state in TERMINAL])
        known.add(task.id)

    def has_unfinished(self, name: str) -> bool:
        """Whether a task of this schedule is not over."""
        found = (self.tasks.get(id) for id in self.unfinished.get(name, ()))
        return any(task is not None and task.state not in TERMINAL for task in found)

    # --- what this process can run ----------------------------------------------------------------------------------------

    @property
    def handlers(self) -> Collection[str] | None:
        """Names of the handlers this process has; None: all of them."""
        return self.agenda.handlers

    def set_handlers(self, handlers: Collection[str] | None) -> None:
        """Volatile.  Tasks of other handlers are parked, those whose handler appeared are not any more.  Before load, or O(n)."""
        self.agenda.handlers = None if handlers is None else frozenset(handlers)
        self.rebuild()

    def park(self, id: bytes, reason: str) -> None:
        """Volatile: a due task stands aside until `unpark` or the next QueueOpened."""
        task = self.tasks.get(id)
        if task is not None:
            self.agenda.park(task, reason)

    def unpark(self, id: bytes) -> None:
        """Volatile: a parked task may start again."""
        task = self.tasks.get(id)
        if task is not None:
            self.agenda.unpark(task)

    # --- reading ------------------------------------------------------------------------------------------------------------

    def advance(self, now: int) -> None:
        """Bring the indexes to `now`; changes nothing logical."""
        self.agenda.advance(now)

    def counts(self, now: int) -> dict[State, int]:
        """How many tasks (of those in memory) an observer at `now` sees in each state.  O(states) plus what became due."""
        self.agenda.advance(now)
        return {state: roster.count for state, roster in self.agenda.rosters.items()}

    def listed(self, state: State, now: int, before: int | None = None) -> Iterator[TaskState]:
        """Tasks (of those in memory) in the observed `state`, newest first, with seq below `before`.  Not to be kept across a change."""
        self.agenda.advance(now)
        return self.agenda.rosters[state].newest(before)

    def listed_upwards(self, state: State, now: int, after: int = 0) -> Iterator[TaskState]:
        """The same, oldest first, with seq above `after`."""
        self.agenda.advance(now)
        return self.agenda.rosters[state].upwards(after)

    def suspects_running(self) -> int:
        """Attempts under way of tasks that one more crash would end (for Env.suspects_running, summed over queues)."""
        return len(self.agenda.suspects_out)


__all__ = ["ROW", "QueueState", "TaskState"]

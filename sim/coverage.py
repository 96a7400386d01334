"""What the runs reached: coverage that can be believed, because whoever says it was reached has seen it in the journal.

Problem.  A simulation that finds nothing may have tried nothing: workload and faults decide what is reached (PITFALLS 3.1).  Choice: each
run counts, in `Trace.reached`, which cells of the kernel's table its events went through, which faults struck, which policies were in
force, alone and in pairs, and which "sometimes" facts came about.  `EXPECTED` lists everything there is to reach; a report over many
traces names what never was, and a test in CI fails for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final

from journeyman.engine import (
    DuplicateTask,
    JournalFull,
    NotCancellable,
    NotRetryable,
    PayloadTooLarge,
    QueueFull,
    TaskNotFound,
)
from journeyman.kernel.events import AttemptStarted, TaskSubmitted, TaskSucceeded
from journeyman.kernel.lifecycle import TRANSITIONS
from journeyman.kernel.policy import Policy
from journeyman.sim.errors import EngineCrashed
from journeyman.sim.faults import KINDS
from journeyman.sim.policies import LATER

if TYPE_CHECKING:
    from journeyman.sim.boot import Boot
    from journeyman.sim.trace import Trace
    from journeyman.sim.witness import Asked, Witness
    from journeyman.sim.world import World

SOMETIMES: Final[Mapping[str, str]] = {
    "a crash between commit and ack": "a submit was durable and its caller was never told",
    "a crash inside a handler": "the process died while a handler was inside",
    "a crash during recovery": "the process died before the engine was open again",
    "a crash right after a prune": "the newest commit of the dead process was a prune",
    "a commit under way was lost": "the process died inside a commit, and it is not on the disk",
    "a commit that arrived unacknowledged": "the process died inside a commit, and it is on the disk",
    "an acknowledged commit taken back by a power cut": "relaxed durability did what it says",
    "a start that waited for room on the disk": "nothing starts while it is full",
    "a checkpoint cut short by a crash": "recovery found a checkpoint under way",
    "recovered from a checkpoint": "recovery did not begin at the first record",
    "a stale word rejected": "an attempt spoke after its time",
    "a task retried by hand": "the way out of a terminal state",
    "a poison task failed by its crashes": "the crash budget was spent",
    "a suspect runs alone": "a task that one more crash would end was started",
    "a deadline passed": "a task was cancelled because it could not start in time",
    "a clock stepped forward": "kernel time followed a step forward",
    "a clock stepped back": "kernel time followed a step back",
    "a task pruned by retention": "its time had come",
    "a task pruned by hand": "an operator deleted it",
    "bookkeeping compacted": "many small records became one",
    "a schedule fired": "a fire time came to a task",
    "a fire was missed": "it was passed over because it came too late",
    "a missed fire was made up for": "misfire once, or all",
    "a fire time passed over": "older ones, with a newer one",
    "a fire overlapped": "a task of an earlier fire was unfinished",
    "a fire found its queue full": "max_pending",
    "a schedule removed": "by hand, or in favour of another queue",
    "progress sampled": "a handler told how far it was",
    "a step recorded": "a handler's step was done",
    "a done step passed over": "a handler asked for a step that an earlier run had done",
    "a step run again": "its first run had not been recorded",
    "paused over a restart": "a queue was paused when the engine was opened",
    "a policy changed live": "an operator configured a queue",
    "a live change over a restart": "a queue was opened with a policy that an operator had changed",
    "a task of a namespace started": "a plugin's queue ran something",
    "a plugin asked for another's task": "and was told that there is none",
    "a task moved by an operator": "rescheduled or given another priority",
    "many tasks ordered about": "an order for all that match touched some",
    "a limit lowered below what runs": "more attempts ran than the new concurrency allows",
    "parked over a restart": "a queue was parked by a handler when the engine was opened",
    "a queue parked": "a handler asked that nothing of its queue start for a while",
    "queues share a limiter": "a second queue has drawn from a limiter with a name",
    "a tenant waits beside another": "a queue that is shared by tenants ran two of them",
    "a key waits for its token": "a task with a key whose rate is limited was started later than it was due",
    "an entry held or late": "a handler was entered more than 50 ms after its start",
    "a task replaced by another of its key": "unique=, on_conflict='replace'",
    "a taken unique key answered with its task": "unique=, on_conflict='return'",
    "a debounced task moved": "unique=, debounce=",
    "a task waits for another": "after=",
    "a task was told of the end it waited for": "DependencyMet",
    "a task cancelled because of another": "after=, and what it names ended otherwise",
    "disk full refused a submit": "JournalFull",
    "a full queue refused a submit": "QueueFull",
    "a used id refused": "DuplicateTask",
    "arguments too large refused": "PayloadTooLarge",
    "a cancel refused": "NotCancellable",
    "a retry refused": "NotRetryable",
    "a task not found": "TaskNotFound",
    "a call cut off by a crash": "EngineCrashed",
}
_REFUSALS: Final = {
    JournalFull: "disk full refused a submit",
    QueueFull: "a full queue refused a submit",
    DuplicateTask: "a used id refused",
    PayloadTooLarge: "arguments too large refused",
    NotCancellable: "a cancel refused",
    NotRetryable: "a retry refused",
    TaskNotFound: "a task not found",
    EngineCrashed: "a call cut off by a crash",
}
# A run of an interrupted task belongs to a process that has died, so none of its words can come.
UNREACHABLE: Final = frozenset({"transition interrupted + TransitionRejected -> interrupted"})
OPTIONS: Final = tuple(field.name for field in fields(Policy) if field.name not in LATER)
_PLAIN: Final = Policy()


def _cells() -> Iterator[str]:
    for (state, kind), leads_to in TRANSITIONS.items():
        for after in leads_to:
            yield _cell(None if state is None else state.value, kind, after.value)


def _cell(before: str | None, kind: str, after: str | None) -> str:
    return f"transition {before or 'nothing'} + {kind} -> {after or 'nothing'}"


EXPECTED: Final[tuple[str, ...]] = (
    *(cell for cell in _cells() if cell not in UNREACHABLE),
    *(f"fault {name}" for name in KINDS),
    *(f"policy {name}" for name in OPTIONS),
    *(f"policy {one} with {other}" for one, other in combinations(OPTIONS, 2)),
    *(f"sometimes {fact}" for fact in SOMETIMES),
)


def transitions_of(moves: Mapping[tuple[str | None, str, str | None], int]) -> Counter[str]:
    return Counter({_cell(*move): n for move, n in moves.items()})


def policies_of(policies: Iterable[Policy]) -> Counter[str]:
    """Which options were not at their default, alone and two in one queue; each policy is given once."""
    found: Counter[str] = Counter()
    for policy in policies:
        chosen = [name for name in OPTIONS if getattr(policy, name) != getattr(_PLAIN, name)]
        found.update(f"policy {name}" for name in chosen)
        found.update(f"policy {one} with {other}" for one, other in combinations(chosen, 2))
    return found


class Facts:
    """Counts the "sometimes" facts that no single invariant sees."""

    def __init__(self, world: World) -> None:
        self._reached = world.trace.reached
        self._booted: set[int] = set()
        self._newest: Counter[str] = Counter()  # kinds of events in the newest commit
        self._unanswered: set[bytes] = set()

    def _reach(self, fact: str) -> None:
        self._reached[f"sometimes {fact}"] += 1

    def written(self, boot: Boot, events: Sequence[tuple[int, Any]]) -> None:
        if boot.dead:
            self._reach("a commit that arrived unacknowledged")
        kinds = {type(event) for _, event in events}
        if kinds <= _COMMON:
            self._newest.clear()
            return
        self._newest = Counter(kind.__name__ for kind in kinds)
        for _, event in events:
            fact = _TELLING.get(type(event).__name__)
            said = None if fact is None else fact(event)
            if said is not None:
                self._reach(said)

    def booted(self, boot: Boot) -> None:
        self._booted.add(boot.number)

    def crashed(self, boot: Boot, witness: Witness) -> None:
        if boot.number not in self._booted:
            self._reach("a crash during recovery")
        if witness.inside:
            self._reach("a crash inside a handler")
        if self._newest["TasksPruned"]:
            self._reach("a crash right after a prune")

    def answered(self, asked: Asked, error: BaseException | None) -> None:
        if error is None:
            return
        fact = _REFUSALS.get(type(error))
        if fact is not None:
            self._reach(fact)
        if isinstance(error, EngineCrashed) and asked.name == "submit" and asked.task is not None:
            work = asked.witness.oracle.tasks.get(asked.task)
            if work is not None and work.seq > asked.seq:
                self._reach("a crash between commit and ack")


_COMMON: Final = frozenset({TaskSubmitted, AttemptStarted, TaskSucceeded})
_TELLING: Final[Mapping[str, Any]] = {
    "TransitionRejected": lambda event: "a stale word rejected",
    "TaskRetried": lambda event: "a task retried by hand",
    "TaskFailed": lambda event: "a poison task failed by its crashes" if event.reason == "crashes" else None,
    "TaskCancelled": lambda event: "a deadline passed" if event.by == "deadline" else None,
    "ClockStepped": lambda event: "a clock stepped forward" if event.delta_us > 0 else "a clock stepped back",
    "TasksPruned": lambda event: "a task pruned by retention" if event.by == "retention" else "a task pruned by hand",
    "QueueParkedUntil": lambda event: "a queue parked",
    "JournalCompacted": lambda event: "bookkeeping compacted",
    "ProgressSampled": lambda event: "progress sampled",
    "StepRecorded": lambda event: "a step recorded",
    "ScheduleFired": lambda event: "a schedule fired" if event.submitted is not None else None,
    "ScheduleRemoved": lambda event: None if event.by == "simulation" else "a schedule removed",
}


class Coverage:
    """What many runs reached together."""

    def __init__(self) -> None:
        self.reached: Counter[str] = Counter()
        self.runs = 0

    def add(self, trace: Trace) -> None:
        self.reached.update(trace.reached)
        self.runs += 1

    def merge(self, other: Coverage) -> None:
        self.reached.update(other.reached)
        self.runs += other.runs

    def missing(self, *kinds: str) -> list[str]:
        """What was never reached; only of some kinds: transition, fault, policy, sometimes."""
        return [name for name in EXPECTED if not self.reached[name] and (not kinds or name.startswith(kinds))]

    def render(self) -> str:
        """A readable report, 100 columns wide."""
        lines = [f"{self.runs} runs reached"]
        for kind in ("transition", "fault", "policy", "sometimes"):
            wanted = [name for name in EXPECTED if name.startswith(kind)]
            there = [name for name in wanted if self.reached[name]]
            lines.append(f"  {kind:<11} {len(there):>4} of {len(wanted)}")
        rare = sorted((name for name in EXPECTED if self.reached[name]), key=lambda name: (self.reached[name], name))
        lines += ["the rarest", *(f"  {self.reached[name]:>9,}  {name}"[:100] for name in rare[:12])]
        never = self.missing()
        lines += [f"never reached: {len(never)}" if never else "nothing was never reached", *(f"  {name}"[:100] for name in never)]
        return "\n".join(lines)


__all__ = ["EXPECTED", "OPTIONS", "SOMETIMES", "UNREACHABLE", "Coverage", "Facts", "policies_of", "transitions_of"]

"""What happened to queues and to the journal as a whole.  The conventions, and what happened to tasks, are in kernel/events.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

Options = Mapping[str, Any] | None


class QueueOpened(NamedTuple):
    """A queue's actor took charge; `epoch` is the new one."""

    at: int
    queue: str
    qseq: int
    epoch: int
    boot: int
    options: Options = None


class QueueConfigured(NamedTuple):
    """The policy from here on (Policy.facts).  `options`: live (an operator's change: what the program declares is what it was),
    reason, tat_at (the rate limiter's time from here on, where a new rate owes nothing to the old one).
    """

    at: int
    queue: str
    qseq: int
    epoch: int
    policy: Mapping[str, Any]
    by: str
    options: Options = None


class QueuePaused(NamedTuple):
    at: int
    queue: str
    qseq: int
    epoch: int
    by: str
    reason: str
    options: Options = None


class QueueResumed(NamedTuple):
    at: int
    queue: str
    qseq: int
    epoch: int
    by: str
    reason: str
    options: Options = None


class QueueParkedUntil(NamedTuple):
    """Nothing of the queue starts before `until_at`: a handler found that what all its tasks need is not to be had until then.

    The last one is in force, and QueueResumed lifts it.  `until_at` came from a duration and moves with a stepped clock.  `options`: task,
    attempt (whose run asked for it).
    """

    at: int
    queue: str
    qseq: int
    epoch: int
    until_at: int
    by: str
    reason: str
    options: Options = None


class TasksPruned(NamedTuple):
    """Ended tasks left the journal.  `entries`: [first seq, last seq, number of records] of each task.

    `residue` is what others still need of them: the limiter's tat_at, unique holds, end states.  `options`: reason.
    """

    at: int
    queue: str
    qseq: int
    epoch: int
    entries: list[list[int]]
    residue: Mapping[str, Any]
    by: str
    options: Options = None


class EngineBooted(NamedTuple):
    """One opening of the journal.  `facts`: version, python, pid, durability, clean (how the previous boot ended)."""

    at: int
    queue: str
    qseq: int
    epoch: int
    facts: Mapping[str, Any]
    options: Options = None


class EngineClosed(NamedTuple):
    """The boot ended in good order."""

    at: int
    queue: str
    qseq: int
    epoch: int
    options: Options = None


class ClockStepped(NamedTuple):
    """The wall clock moved by `delta_us` against kernel time.  Due instants of kind DUE_BY_DURATION move with it."""

    at: int
    queue: str
    qseq: int
    epoch: int
    delta_us: int
    options: Options = None


class JournalCompacted(NamedTuple):
    """All that prune, boot and config events up to `through_seq` had to say, in one record that replaces them.

    `queues`: name -> QueueState.facts().  `totals`: counts of what was folded away.
    """

    at: int
    queue: str
    qseq: int
    epoch: int
    through_seq: int
    queues: Mapping[str, Any]
    totals: Mapping[str, Any]
    options: Options = None

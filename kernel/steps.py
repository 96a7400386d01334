"""Durable steps in a task's state: which are done, and where their values lie.  Part of the fold (apply.py).

Problem.  A task may have a thousand steps done, another has none, and all unfinished tasks are in memory (docs/decisions/0003).  Choice:
what a task without steps pays is nothing.  The done ones are one entry of its options, `steps`: name -> [seq, length, digest, codec]; the
values lie in the journal under the seqs of their events and are read when a handler asks.  So rows, checkpoints, retries by hand and the
past know them without a word in their formats.  The map is replaced, never changed: pictures of a task share its options.

Rejected: a column of its own (every row of every journal would change its bytes for what most tasks do not have); the values in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from journeyman.kernel.events import StepRecorded
from journeyman.kernel.state import QueueState
from journeyman.kernel.taskstate import TaskState

_NONE: Final[Mapping[str, Sequence[Any]]] = {}


def step_recorded(state: QueueState, event: StepRecorded, seq: int) -> None:
    """The step is done."""
    task = state.tasks[event.task]
    options = task.options or {}
    entry = [seq, event.result_len, event.result_digest, event.codec]
    task.options = {**options, "steps": {**options.get("steps", _NONE), event.name: entry}}
    task.later += (seq,)
    task.last_seq = seq


def steps_of(options: Mapping[str, Any] | None) -> Mapping[str, Sequence[Any]]:
    """The done steps of a task with these options: name -> [seq of its event, length and digest of its value, codec]."""
    return _NONE if options is None else options.get("steps", _NONE)


def in_order(task: TaskState) -> list[str]:
    """The names of its done steps, the first done first."""
    return sorted(steps_of(task.options), key=lambda name: int(steps_of(task.options)[name][0]))


def value_seqs(task: TaskState) -> Iterator[int]:
    """Under which seqs the values of its done steps are stored."""
    if task.options is not None and (steps := task.options.get("steps")) is not None:
        for seq, size, _, codec in steps.values():
            if size or codec:
                yield seq


def kept_seqs(task: TaskState) -> Iterator[int]:
    """Under which seqs lies what it needs to run: its arguments, and the values of its done steps.  Of these `keep_payload` speaks."""
    yield task.payload_seq
    yield from value_seqs(task)


__all__ = ["in_order", "kept_seqs", "step_recorded", "steps_of", "value_seqs"]

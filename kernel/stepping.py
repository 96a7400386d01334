"""RecordStep: an attempt says that a step is done.  Under the fence as every word of an attempt is (ending.py).

A name that is recorded already is refused, and so is one step too many: whoever asks has looked before the step was run
(engine/steps.py), so these are the last line, not the first.
"""

from __future__ import annotations

from journeyman.kernel.bounds import STEPS_MAX
from journeyman.kernel.commands import Accepted, Decision, Env, RecordStep, Refused
from journeyman.kernel.ending import stale
from journeyman.kernel.events import StepRecorded
from journeyman.kernel.ids import id_text
from journeyman.kernel.lifecycle import State
from journeyman.kernel.state import QueueState
from journeyman.kernel.steps import steps_of


def record_step(state: QueueState, command: RecordStep, now: int, env: Env) -> Decision:
    """The event that says so, or its rejection."""
    id, epoch, attempt, name, size, digest, codec = command
    task = state.tasks.get(id)
    if task is None or task.state is not State.RUNNING or task.attempt != attempt or task.epoch != epoch:
        return stale(state, task, id, epoch, attempt, "step", now)
    done = steps_of(task.options)
    if name in done:
        return Decision([], [Refused("DuplicateStep", f"step {name!r} of task {id_text(id)} is recorded already")])
    if len(done) >= STEPS_MAX:
        return Decision([], [Refused("TooManySteps", too_many(id))])
    if size > state.policy.max_payload:
        text = f"the value of step {name!r} is {size} bytes, the queue takes {state.policy.max_payload}"
        return Decision([], [Refused("PayloadTooLarge", text, (size, state.policy.max_payload))])
    event = StepRecorded(now, state.name, state.qseq + 1, state.epoch, id, attempt, name, size, digest, codec)
    return Decision([event], [Accepted(id)])


def too_many(id: bytes) -> str:
    """Of a task that has as many steps as there may be."""
    return (
        f"task {id_text(id)} has {STEPS_MAX:,} steps done, as many as a task may have; let one step do several things, "
        "or submit tasks for the parts"
    )


__all__ = ["record_step", "too_many"]

"""Why is this task not running?  Every reason that holds at `now`, each found where the decision itself would find it."""

from __future__ import annotations

from typing import NamedTuple

from journeyman.kernel.commands import Env
from journeyman.kernel.dispatch import free_slots, suspects_allowed
from journeyman.kernel.ids import id_text
from journeyman.kernel.keys import key_of
from journeyman.kernel.lifecycle import TERMINAL, State, observed
from journeyman.kernel.limiters import cost_of, token_at
from journeyman.kernel.namespace import shown_name
from journeyman.kernel.state import QueueState
from journeyman.kernel.taskstate import TaskState


class Reason(NamedTuple):
    """`kind` for programs, `text` for people; `until_at` (microseconds UTC) when time alone will lift it."""

    kind: str
    text: str
    until_at: int | None = None

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


def explain(state: QueueState, task_id: bytes, now: int, env: Env) -> list[Reason]:
    """At least one reason for any task the state holds, running and ended ones included; [] for one it does not hold.

    Kinds: running, cancelling, ended, paused, parked until, stopping, not due, waits for, backoff, rate limited until, no free slot, no
    engine slot, no handler here, unfit, straggler, key busy, key rate limited until, suspect, deadline, order (others are ahead of it),
    next (nothing is in its way), unique key taken (by an ended one, `unique_for`).  The engine adds: no namespace slot, disk full,
    restarting, queue broken.
    """
    task = state.tasks.get(task_id)
    if task is None:
        return []
    state.agenda.advance(now)
    if task.state is State.RUNNING:
        if task.cancel is not None:
            return [Reason("cancelling", f"attempt {task.attempt} was asked to stop: {task.cancel[0] or 'no reason given'}")]
        return [Reason("running", f"attempt {task.attempt} is under way")]
    if task.state in TERMINAL:
        ended = Reason("ended", f"it has ended: {task.state}{f' ({task.reason})' if task.reason else ''}")
        return [ended, *key_held(state, task, now)]
    reasons = _of_task(state, task, now, env) + _of_queue(state, task, now, env)
    if reasons:
        return reasons
    if any(other is not task for other in state.agenda.ready.best(1)):
        if (fair_by := state.policy.fair_by) is not None:
            return [Reason("order", f"each {fair_by} in its turn, and others of its own {fair_by} may be ahead of it too")]
        return [Reason("order", "others are ahead of it; it starts when its turn comes")]
    return [Reason("next", "nothing is in its way; it is about to start")]


def key_held(state: QueueState, task: TaskState, now: int) -> list[Reason]:
    """That an ended task keeps its unique key taken, if it does."""
    key = None if task.options is None else task.options.get("unique")
    hold = None if key is None else state.claims.held(key, now)
    if hold is None or hold.task != task.id:
        return []
    return [Reason("unique key taken", f"it keeps its unique key {key!r} taken for {_seconds(hold.until_at - now)} more", hold.until_at)]


def _of_task(state: QueueState, task: TaskState, now: int, env: Env) -> list[Reason]:
    """What stands in the way of this task alone."""
    reasons: list[Reason] = []
    shown = observed(task.state, task.due_at, now)
    if shown is State.SCHEDULED:
        text = f"it is due in {_seconds(task.due_at - now)}"
        if task.options is not None and "debounce_us" in task.options and not task.attempt:
            latest = "" if task.latest_at is None else f", and in {_seconds(max(0, task.latest_at - now))} whatever comes"
            text += f" unless another debounced submit pushes it back{latest}"
        reasons.append(Reason("not due", text, task.due_at))
    elif shown is State.RETRYING:
        text = f"run {task.attempt} failed; the next follows in {_seconds(task.due_at - now)}"
        reasons.append(Reason("backoff", text, task.due_at))
    if task.waits_for is not None:
        some = sorted(task.waits_for)
        names = ", ".join(map(id_text, some[:3])) + (f" and {len(some) - 3} more" if len(some) > 3 else "")
        reasons.append(Reason("waits for", f"it runs after {names}"))
    parked = state.agenda.parked.get(task.id)
    handlers = state.handlers if state.handlers is not None else env.handlers
    if handlers is not None and task.handler not in handlers:
        reasons.append(Reason("no handler here", f"this process has no handler {task.handler!r}; the task is parked until one does"))
    elif task.id in env.unfit or parked is not None:
        why = env.unfit.get(task.id) or parked
        reasons.append(Reason("unfit", f"it is parked: {why}"))
    if task.id in env.stragglers:
        reasons.append(Reason("straggler", "the thread of its last attempt has not ended yet; it is not run twice at a time"))
    reasons += _of_key(state, task, now, env)
    if state.agenda.is_suspect(task) and not suspects_allowed(state, env):
        text = f"{task.crashes} of its runs died with the process; such tasks run one at a time, and one is running"
        reasons.append(Reason("suspect", text))
    deadline = task.deadline_at
    if deadline is not None and deadline < now:
        reasons.append(Reason("deadline", f"its deadline passed {_seconds(now - deadline)} ago; it is about to be cancelled"))
    return reasons


def _of_key(state: QueueState, task: TaskState, now: int, env: Env) -> list[Reason]:
    """Others of its serialization key that it waits for."""
    key, keys = key_of(task), state.agenda.keys
    if key is None:
        return []
    if keys.is_behind(task, key):
        ahead = ", ".join(f"{id_text(other.id)} ({other.state})" for other in keys.at_front(key)[:3])
        return [Reason("key busy", f"key {key!r} takes {keys.per_key} at a time, in order; ahead of it: {ahead}")]
    if key in env.straggler_keys and keys.room(key, env.straggler_keys[key]) <= 0:
        return [Reason("key busy", f"the thread of an attempt with key {key!r} has not ended yet; it holds the key until it does")]
    rate, tokens = state.policy.rate_per_key, state.agenda.tokens
    if rate is not None and tokens is not None and (at := tokens.token_at(task, key)) > now:
        text = f"key {key!r} may start {rate[0]} per {_seconds(rate[1])}; the next in {_seconds(at - now)} at the earliest"
        return [Reason("key rate limited until", text, at)]
    return []


def _of_queue(state: QueueState, task: TaskState, now: int, env: Env) -> list[Reason]:
    """What stands in the way of anything in this queue."""
    live = " (an operator's change is in force)" if state.changed_live else ""
    reasons: list[Reason] = []
    if state.paused is not None:
        by, why, _ = state.paused
        reasons.append(Reason("paused", f"queue {shown_name(state.name)!r} was paused by {by or 'somebody'}{f': {why}' if why else ''}"))
    if state.parked_until > now:
        wait = _seconds(state.parked_until - now)
        text = f"queue {shown_name(state.name)!r} starts nothing for {wait}, as a handler asked: {state.parked_why}"
        reasons.append(Reason("parked until", text, state.parked_until))
    if env.stopping:
        reasons.append(Reason("stopping", "the engine is stopping; nothing new starts"))
    rate = state.policy.rate
    if rate is not None and (at := token_at(state, task, env)) > now:
        name, cost = state.policy.limiter, cost_of(task)
        who = f"queue {shown_name(state.name)!r} may start" if name is None else f"limiter {name!r} allows"
        what = "the next" if cost == 1 else f"a cost of {cost}"
        text = f"{who} {rate[0]} per {_seconds(rate[1])}{live}; {what} in {_seconds(at - now)}"
        reasons.append(Reason("rate limited until", text, at))
    elif env.tokens == 0:
        reasons.append(Reason("order", f"it is the turn of another queue that draws from the limiter {state.policy.limiter!r}"))
    if free_slots(state, env._replace(free_slots=None)) <= 0:
        text = f"queue {shown_name(state.name)!r} runs {len(state.running)} of {state.policy.concurrency} at a time{live}"
        reasons.append(Reason("no free slot", text))
    elif env.free_slots is not None and env.free_slots <= 0:
        reasons.append(Reason("no engine slot", "the engine runs as many attempts as its max_concurrency allows"))
    return reasons


def _seconds(us: int) -> str:
    return f"{us / 1e6:.6g} s"


__all__ = ["Reason", "explain", "key_held"]

"""Dispatch and Expire: what may start now, and what came too late to start at all.

A start needs four things at once: the queue is not paused, a slot is free (its own and the engine's), the limiter conforms, and
there is a task for which nothing stands in the way.  The limits are derived from live attempts at each decision (law 7), the
order from kernel/ready.py.  Tasks that one more crash would end start one at a time among themselves, over all queues, so that the
next crash points at one culprit; they take their place in the order like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final

from journeyman.kernel.commands import Accepted, Decision, Dispatch, Env, Expire
from journeyman.kernel.events import AttemptStarted, Event, Options, TaskCancelled
from journeyman.kernel.keyrates import KeyTokens
from journeyman.kernel.keys import Keys, key_of
from journeyman.kernel.lifecycle import State
from journeyman.kernel.limiters import limiter_at
from journeyman.kernel.ratelimit import after_start, allowed_at, conforming
from journeyman.kernel.state import QueueState
from journeyman.kernel.taskstate import TaskState

_new: Final = tuple.__new__


def dispatch(state: QueueState, command: Dispatch, now: int, env: Env) -> Decision:
    """An AttemptStarted for each task that may start now, best first."""
    if state.paused is not None or env.stopping or state.parked_until > now:
        return Decision([], [Accepted()])
    state.agenda.advance(now)
    n = free_slots(state, env)
    if n <= 0:
        return Decision([], [Accepted()])
    policy = state.policy
    if policy.rate is not None or policy.rate_per_key is not None:
        return _limited(state, now, env, n)
    events: list[Event] = []
    queue, qseq, epoch = state.name, state.qseq, state.epoch
    for task in startable(state, now, env, n):
        qseq += 1
        cost = 1 if task.options is None else task.options.get("cost", 1)
        events.append(_new(AttemptStarted, (now, queue, qseq, epoch, task.id, task.attempt + 1, cost, 0, task.due_at, None)))
    return _new(Decision, (events, [Accepted(None, False, len(events))]))


def _limited(state: QueueState, now: int, env: Env, n: int) -> Decision:
    """At most `n` starts, where the queue or its keys have a rate."""
    rate = state.policy.rate
    tat_at = 0
    options: Options = None
    if rate is not None:
        at = limiter_at(state, env)
        tat_at = max(at, now)
        n = min(n, conforming(rate, at, now))
        if (name := state.policy.limiter) is not None:
            options = {"limiter": name}
    key_rate, tokens = state.policy.rate_per_key, env.tokens
    charged: set[str] = set()
    events: list[Event] = []
    queue, qseq, epoch = state.name, state.qseq, state.epoch
    for task in startable(state, now, env, n):
        cost = 1 if task.options is None else task.options.get("cost", 1)
        words = options
        if key_rate is not None and (key := key_of(task)) is not None:
            if key in charged:
                continue  # one at a time: the next of the key is looked at when this one has started
            charged.add(key)
            words = {**(options or {}), "key_tat_at": after_start(key_rate, state.key_tats.get(key), now, cost)}
        if rate is not None:
            if allowed_at(rate, tat_at, cost) > now:
                break  # and no cheaper one slips past it
            if tokens is not None:
                if tokens < (cost if events else 1):
                    break  # the rest is another queue's turn
                tokens -= cost
            tat_at = after_start(rate, tat_at, now, cost)
        qseq += 1
        events.append(_new(AttemptStarted, (now, queue, qseq, epoch, task.id, task.attempt + 1, cost, tat_at, task.due_at, words)))
    return _new(Decision, (events, [Accepted(None, False, len(events))]))


def free_slots(state: QueueState, env: Env) -> int:
    """How many attempts this queue may add: its own limit less live attempts and stragglers, and what the engine has left."""
    running = state.running
    free = state.policy.concurrency - len(running)
    if env.stragglers:
        free -= sum(1 for id in env.stragglers if id not in running)
    return free if env.free_slots is None else min(free, env.free_slots)


def suspects_allowed(state: QueueState, env: Env) -> bool:
    """Whether none of those that one more crash would end is running, in any queue."""
    return not env.suspects_running and not state.agenda.suspects_out


def startable(state: QueueState, now: int, env: Env, n: int) -> list[TaskState]:
    """The best `n` of those that neither slots nor tokens but nothing else keeps waiting."""
    agenda = state.agenda
    if n <= 0:
        return []
    may = _filter(state, now, env)
    suspect: list[TaskState] = []
    if agenda.suspects.count and suspects_allowed(state, env):
        suspect = agenda.suspects.best(1, may if agenda.tokens is None else _with_token(agenda.tokens, now, may))
    if agenda.shares is not None:
        return agenda.shares.best(n, may, suspect[0] if suspect else None)
    chosen = agenda.ready.best(n, may)
    return sorted(chosen + suspect, key=agenda.ready.key)[:n] if suspect else chosen


def _with_token(tokens: KeyTokens, now: int, may: Callable[[TaskState], bool] | None) -> Callable[[TaskState], bool]:
    """As `may`, and its key has a token."""

    def has(task: TaskState) -> bool:
        key = key_of(task)
        return (key is None or tokens.token_at(task, key) <= now) and (may is None or may(task))

    return has


def _filter(state: QueueState, now: int, env: Env) -> Callable[[TaskState], bool] | None:
    """What `env` and deadlines rule out; None, the usual case, when they rule out nothing."""
    stragglers, unfit, handlers = env.stragglers, env.unfit, env.handlers
    if handlers is not None and handlers == state.handlers:
        handlers = None  # parked already, never among the ready
    deadline = state.agenda.next_deadline()
    late = deadline is not None and deadline < now
    if not (stragglers or unfit or late) and handlers is None:
        return None

    busy = _straggling_keys(state.agenda.keys, env.straggler_keys) if env.straggler_keys else None

    def may(task: TaskState) -> bool:
        if task.id in stragglers or task.id in unfit or (handlers is not None and task.handler not in handlers):
            return False
        if busy is not None and not busy(task):
            return False
        return not late or (deadline_at := task.deadline_at) is None or deadline_at >= now

    return may


def _straggling_keys(keys: Keys, stragglers: Mapping[str, Collection[bytes]]) -> Callable[[TaskState], bool]:
    """Whether a task may start as far as left-over threads of its key are concerned; counts those it has let through."""
    room = {key: keys.room(key, ids) for key, ids in stragglers.items()}

    def may(task: TaskState) -> bool:
        key = key_of(task)
        if key is None or key not in room:
            return True
        room[key] -= 1
        return room[key] >= 0

    return may


def expire(state: QueueState, command: Expire, now: int, env: Env) -> Decision:
    """Cancel what waits and has passed its deadline (at the deadline itself it may still start)."""
    events: list[Event] = [
        cancelled(state, task.id, now, position, "deadline", "deadline") for position, task in enumerate(state.agenda.overdue(now), 1)
    ]  # fmt: skip
    return Decision(events, [Accepted(count=len(events))])


def cancelled(state: QueueState, id: bytes, now: int, position: int, reason: str, by: str) -> TaskCancelled:
    """A waiting task ends; `position` is that of the event in its decision, from 1."""
    policy, final = state.policy, State.CANCELLED
    expires_at, keep = policy.expiry(final, now), policy.keeps_payload(final)
    return TaskCancelled(now, state.name, state.qseq + position, state.epoch, id, 0, 0, expires_at, keep, reason, by)


__all__ = ["cancelled", "conforming", "dispatch", "expire", "free_slots", "startable", "suspects_allowed"]

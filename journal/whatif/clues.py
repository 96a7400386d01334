"""What events do not say outright, read off them and the state they met: for hearing.py."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from journeyman.kernel.events import AttemptFailed, AttemptStarted, TaskFailed
from journeyman.kernel.policy import Policy
from journeyman.kernel.ratelimit import allowed_at
from journeyman.kernel.state import QueueState


def could_start(state: QueueState, now: int) -> bool:
    """Whether nothing in the queue itself kept a task from starting at `now`."""
    policy, agenda = state.policy, state.agenda
    if (
        not (agenda.ready.count or (agenda.suspects.count and not agenda.suspects_out))
        or state.paused is not None
        or state.parked_until > now
        or len(state.running) >= policy.concurrency
    ):
        return False
    return policy.rate is None or policy.limiter is not None or allowed_at(policy.rate, state.tat_at) <= now


def lateness(state: QueueState, event: AttemptStarted, before: int) -> int | None:
    """By how much a start, which nothing but time brought on, came after the instant at which it could have; None if something else had
    been waited for.  `before`: the instant of the last turn.
    """
    policy = state.policy
    if policy.limiter is not None or policy.rate_per_key is not None:
        return None
    could = event.eligible_at
    if policy.rate is not None:
        could = max(could, allowed_at(policy.rate, state.tat_at, event.cost))
    return event.at - could if before < could <= event.at else None


def failure(event: AttemptFailed | TaskFailed, policy: Policy) -> dict[str, Any]:
    """What a failed run must be given to fail like this again."""
    found: dict[str, Any] = {}
    cause = None if event.options is None else event.options.get("cause")
    if cause is not None:
        found["cause"] = cause
    if type(event) is TaskFailed:
        if event.reason == "fatal":
            found["cause"] = "fatal"
        elif event.reason == "not retryable":
            found["retryable"] = False
    elif type(event) is AttemptFailed and (cause == "retry_later" or policy.backoff[0] == "callable"):
        found["delay_us"] = event.due_at - event.at  # chosen by code that is not in the journal
    return found


def dependency_of(reason: str) -> bytes:
    """The task that a cancelled one was to run after, of the reason that its cancel gives; b"" if it names none."""
    try:
        return UUID(reason.split()[1]).bytes
    except (IndexError, ValueError):
        return b""


__all__ = ["could_start", "dependency_of", "failure", "lateness"]

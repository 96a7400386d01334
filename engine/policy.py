"""A queue's policy as its operators see and change it: `Engine.configure`, `QueueStats.policy`.

Problem.  What is in force is integers in a journal (kernel/policy.py); whoever asks thinks in the values that `Queue` takes, and changes
one of them without knowing the others.  Choice: `QueuePolicy` says what is in force in those values, whoever declared or changed it; a
change is only the fields that its parameters compile to, so two operators who change two things at once both get what they asked for.

Code cannot be journalled.  The exception types of `Retry.on` and a backoff function are the program's, wherever the rest comes from: a
change that names others is refused, for the next start would not know them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from journeyman.actors.queue_actor import QueueActor
from journeyman.kernel.backoff import backoff_of, compile_backoff
from journeyman.kernel.policy import PARAMETERS, FairBy, OnCrash, Policy, Rate, Retention, Retry


@dataclass(frozen=True, slots=True)
class QueuePolicy:
    """The policy in force, as the parameters of `Queue`.  Durations in seconds, sizes in bytes.

    `changed`: whether an operator's change is part of it; the declared policy takes its place when the program declares another.
    """

    concurrency: int
    retry: Retry
    on_crash: OnCrash
    rate: Rate | None
    timeout: float | None
    heartbeat: float | None
    retention: Retention
    max_pending: int | None
    max_payload: int
    per_key: int
    key_order: Literal["strict", "relaxed"]
    aging: float | None
    fair_by: FairBy | None
    weight: int
    rate_per_key: Rate | None
    changed: bool


def policy_in_force(actor: QueueActor) -> QueuePolicy:
    """Of a queue, stored or declared."""
    policy = actor.state.policy
    return QueuePolicy(
        concurrency=policy.concurrency,
        retry=_retry(policy, actor),
        on_crash=policy.on_crash,
        rate=None if policy.rate is None else _rate(policy.rate, policy.limiter),
        timeout=_seconds(policy.timeout_us),
        heartbeat=_seconds(policy.heartbeat_us),
        retention=Retention(
            succeeded=_seconds(policy.keep_succeeded_us),
            failed=_seconds(policy.keep_failed_us),
            cancelled=_seconds(policy.keep_cancelled_us),
            interrupted=_seconds(policy.keep_interrupted_us),
            payload=policy.payload,
            result=policy.result,
        ),
        max_pending=policy.max_pending,
        max_payload=policy.max_payload,
        per_key=policy.per_key,
        key_order=policy.key_order,
        aging=_seconds(policy.aging_us),
        fair_by=policy.fair_by,
        weight=policy.weight,
        rate_per_key=None if policy.rate_per_key is None else _rate(policy.rate_per_key),
        changed=actor.state.changed_live,
    )


def changes_of(parameters: Mapping[str, Any], actor: QueueActor) -> dict[str, Any]:
    """The facts (`Policy.facts`) that these parameters of `Queue` change.  ValueError if one is out of range, or names code."""
    for name, kind in (("retry", Retry), ("rate", Rate), ("rate_per_key", Rate), ("retention", Retention)):
        value = parameters.get(name)
        if value is not None and not isinstance(value, kind):
            raise ValueError(f"{name} must be a {kind.__name__}, such as {name}={kind.__name__}(...), not {value!r}")
    retry: Retry | None = parameters.get("retry")
    if retry is not None:
        if retry.on not in (Retry().on, actor.retry_on):
            raise ValueError("a journal cannot hold the exception types of Retry(on=...): change them where the queue is declared")
        if callable(retry.backoff) and retry.backoff is not actor.backoff:
            raise ValueError("a journal cannot hold a function: a backoff of your own belongs where the queue is declared")
    facts = Policy.compile(**parameters).facts()
    return {field: facts[field] for name in parameters for field in PARAMETERS[name]}


def _retry(policy: Policy, actor: QueueActor) -> Retry:
    backoff = backoff_of(policy.backoff)
    if backoff is None:
        name = str(policy.backoff[1])
        known = actor.backoff is not None and compile_backoff(actor.backoff) == policy.backoff
        return Retry(
            policy.attempts, actor.backoff if known and actor.backoff else _Elsewhere(name), _jitter(policy), actor.retry_on, policy.crashes
        )
    return Retry(policy.attempts, backoff, _jitter(policy), actor.retry_on, policy.crashes)


def _rate(rate: tuple[int, int, int], name: str | None = None) -> Rate:
    return Rate(rate[0], rate[1] / 1_000_000, rate[2], name)


def _jitter(policy: Policy) -> float:
    return policy.jitter_ppm / 1_000_000


class _Elsewhere:
    """Stands for a backoff function that this process does not have."""

    def __init__(self, name: str) -> None:
        self.__qualname__ = name

    def __call__(self, n: int) -> float:
        raise LookupError(f"backoff {self.__qualname__} is not known to this process")

    def __repr__(self) -> str:
        return f"<backoff {self.__qualname__}, of another process>"


def _seconds(us: int | None) -> float | None:
    return None if us is None else us / 1_000_000


__all__ = ["QueuePolicy", "changes_of", "policy_in_force"]

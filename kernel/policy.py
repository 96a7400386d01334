"""What a queue promises: the public values its owner writes, and `Policy`, the integers they compile to.

Problem.  Owners think in seconds and exception types; a journal must hold a policy exactly, for years, and compare it.
Choice: two layers.  The public dataclasses validate when they are built (ValueError there, nothing downstream re-checks);
`Policy.compile` turns them into integers in microseconds and millionths, and `facts` / `from_facts` into the map that
`QueueConfigured` holds.  Exception types (`Retry.on`) and the backoff function itself stay outside: code cannot be journalled,
so a callable is known by its name and the live function comes in through `Env`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any, Final, Literal, Self

from journeyman.kernel.backoff import Backoff, Constant, Exponential, Linear, Shape, compile_backoff
from journeyman.kernel.bounds import (
    ATTEMPTS_MAX,
    CONCURRENCY_MAX,
    DAY_US,
    HOUR_US,
    PAYLOAD_DEFAULT_MAX_BYTES,
    PAYLOAD_MAX_BYTES,
    PPM,
    WEIGHT_MAX,
)
from journeyman.kernel.duration import Seconds, microseconds
from journeyman.kernel.lifecycle import State
from journeyman.kernel.ratelimit import Rate

OnCrash = Literal["retry", "interrupt"]
FairBy = Literal["owner", "key"]
KeyOrder = Literal["strict", "relaxed"]
KeepPayload = bool | Literal["failed"]


class Priority(IntEnum):
    """Named priorities; any int will do.  Higher first."""

    LOW = 0
    NORMAL = 5
    HIGH = 10
    URGENT = 20


def _whole(value: object, what: str, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"{what} must be a whole number from {least} to {most}, not {value!r}")
    return int(value)


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a task may run, and after what pause.

    `attempts`: failed runs in all before it fails for good.  `jitter`: share of the delay (0 to 1) by which it is spread either way.
    `on`: exceptions that are retried.  `crashes`: runs lost to a process crash that are forgiven.
    """

    attempts: int = 1
    backoff: Backoff = Exponential()  # noqa: RUF009 (frozen, so one may serve all)
    jitter: float = 0.1
    on: tuple[type[BaseException], ...] = (Exception,)
    crashes: int = 3

    def __post_init__(self) -> None:
        _whole(self.attempts, "attempts", 1, ATTEMPTS_MAX)
        _whole(self.crashes, "crashes", 0, ATTEMPTS_MAX)
        compile_backoff(self.backoff)
        if isinstance(self.jitter, bool) or not isinstance(self.jitter, (int, float)) or not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter must be from 0 to 1, not {self.jitter!r}")
        on: object = self.on
        if not isinstance(on, tuple) or not all(isinstance(t, type) and issubclass(t, BaseException) for t in on):
            raise ValueError(f"on must be a tuple of exception types, not {on!r}")


@dataclass(frozen=True, slots=True)
class Retention:
    """How long ended tasks are kept, in seconds per terminal state: None for ever, 0 dropped at once.

    `payload`: keep the arguments after the end (True, False, or "failed": only where a retry by hand is likely, that is for failed
    and interrupted tasks).  `result`: keep the result; without it `Handle.result` gives None.
    """

    succeeded: Seconds | None = 3600.0
    failed: Seconds | None = 7 * 86400.0
    cancelled: Seconds | None = 3600.0
    interrupted: Seconds | None = 7 * 86400.0
    payload: KeepPayload = True
    result: bool = True

    def __post_init__(self) -> None:
        for state in ("succeeded", "failed", "cancelled", "interrupted"):
            _optional_us(getattr(self, state), f"retention of {state}")
        if self.payload not in (True, False, "failed"):
            raise ValueError(f'retention payload must be True, False or "failed", not {self.payload!r}')
        if not isinstance(self.result, bool):
            raise ValueError(f"retention result must be True or False, not {self.result!r}")


def _optional_us(value: Seconds | None, what: str, least: int = 0) -> int | None:
    return None if value is None else microseconds(value, what, least=least)


_DEFAULT_BACKOFF: Final[Shape] = Exponential().shape()


@dataclass(frozen=True, slots=True)
class Policy:
    """One queue's policy, compiled.  Defaults are those of a queue nobody configured.  Durations in microseconds."""

    concurrency: int = 1
    attempts: int = 1
    crashes: int = 3
    backoff: Shape = _DEFAULT_BACKOFF
    jitter_ppm: int = PPM // 10
    on_crash: OnCrash = "retry"
    rate: tuple[int, int, int] | None = None  # limit, per_us, burst
    timeout_us: int | None = None
    heartbeat_us: int | None = None
    keep_succeeded_us: int | None = HOUR_US
    keep_failed_us: int | None = 7 * DAY_US
    keep_cancelled_us: int | None = HOUR_US
    keep_interrupted_us: int | None = 7 * DAY_US
    payload: KeepPayload = True
    result: bool = True
    max_pending: int | None = None
    max_payload: int = PAYLOAD_DEFAULT_MAX_BYTES
    per_key: int = 1
    key_order: KeyOrder = "strict"
    aging_us: int | None = None
    limiter: str | None = None  # whose rate it is, where several queues share one (kernel/limiters.py)
    fair_by: FairBy | None = None  # whose turn it is among owners, or among keys (kernel/shares.py)
    rate_per_key: tuple[int, int, int] | None = None  # as rate, of each serialization key (kernel/keyrates.py)
    weight: int = 1  # of the queue among those that share the engine's slots, or a limiter

    @classmethod
    def compile(
        cls,
        *,
        concurrency: int = 1,
        retry: Retry | None = None,
        on_crash: OnCrash = "retry",
        rate: Rate | None = None,
        timeout: Seconds | None = None,
        heartbeat: Seconds | None = None,
        retention: Retention | None = None,
        max_pending: int | None = None,
        max_payload: int = PAYLOAD_DEFAULT_MAX_BYTES,
        per_key: int = 1,
        key_order: KeyOrder = "strict",
        aging: Seconds | None = None,
        fair_by: FairBy | None = None,
        weight: int = 1,
        rate_per_key: Rate | None = None,
    ) -> Self:
        """The policy these public values mean.  ValueError names the first one out of range."""
        retry, retention = retry or Retry(), retention or Retention()
        if on_crash not in ("retry", "interrupt"):
            raise ValueError(f'on_crash must be "retry" or "interrupt", not {on_crash!r}')
        if key_order not in ("strict", "relaxed"):
            raise ValueError(f'key_order must be "strict" or "relaxed", not {key_order!r}')
        if fair_by not in (None, "owner", "key"):
            raise ValueError(f'fair_by must be "owner", "key" or None, not {fair_by!r}')
        if rate_per_key is not None and rate_per_key.name is not None:
            raise ValueError("rate_per_key has no name: each key of each queue has a limiter of its own")
        return cls(
            concurrency=_whole(concurrency, "concurrency", 1, CONCURRENCY_MAX),
            attempts=retry.attempts,
            crashes=retry.crashes,
            backoff=compile_backoff(retry.backoff),
            jitter_ppm=round(retry.jitter * PPM),
            on_crash=on_crash,
            rate=None if rate is None else rate.compiled(),
            timeout_us=_optional_us(timeout, "timeout", 1),
            heartbeat_us=_optional_us(heartbeat, "heartbeat", 1),
            keep_succeeded_us=_optional_us(retention.succeeded, "retention"),
            keep_failed_us=_optional_us(retention.failed, "retention"),
            keep_cancelled_us=_optional_us(retention.cancelled, "retention"),
            keep_interrupted_us=_optional_us(retention.interrupted, "retention"),
            payload=retention.payload,
            result=retention.result,
            max_pending=None if max_pending is None else _whole(max_pending, "max_pending", 0, 1 << 53),
            max_payload=_whole(max_payload, "max_payload", 0, PAYLOAD_MAX_BYTES),
            per_key=_whole(per_key, "per_key", 1, CONCURRENCY_MAX),
            key_order=key_order,
            aging_us=_optional_us(aging, "aging", 1),
            limiter=None if rate is None else rate.name,
            fair_by=fair_by,
            rate_per_key=None if rate_per_key is None else rate_per_key.compiled(),
            weight=_whole(weight, "weight", 1, WEIGHT_MAX),
        )

    def facts(self) -> dict[str, Any]:
        """The map that QueueConfigured holds: str keys; ints, strs, bools, None and lists.  No floats, so it is exact."""
        facts = {name: getattr(self, name) for name in _FIELDS}
        facts["backoff"] = list(self.backoff)
        facts["rate"] = None if self.rate is None else list(self.rate)
        facts["rate_per_key"] = None if self.rate_per_key is None else list(self.rate_per_key)
        return facts

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Self:
        """The policy of a journalled map.  Keys unknown here (a younger version's) are ignored, absent ones take their default."""
        known = {name: facts[name] for name in _FIELDS if name in facts}
        if "backoff" in known:
            known["backoff"] = tuple(known["backoff"])
        if known.get("rate") is not None:
            known["rate"] = tuple(known["rate"])
        if known.get("rate_per_key") is not None:
            known["rate_per_key"] = tuple(known["rate_per_key"])
        return cls(**known)

    def expiry(self, state: State, end_at: int) -> int | None:
        """When a task that ended at `end_at` in `state` is dropped; None: never."""
        keep: int | None = getattr(self, _KEEP[state])
        return None if keep is None else end_at + keep

    def keeps_payload(self, state: State) -> bool:
        """Whether the arguments of a task that ended in `state` stay."""
        if self.payload == "failed":
            return state is State.FAILED or state is State.INTERRUPTED
        return bool(self.payload)


_FIELDS: Final = tuple(f.name for f in fields(Policy))
_KEEP: Final[Mapping[State, str]] = {
    State.SUCCEEDED: "keep_succeeded_us",
    State.FAILED: "keep_failed_us",
    State.CANCELLED: "keep_cancelled_us",
    State.INTERRUPTED: "keep_interrupted_us",
}

# Each parameter of `Queue`, and of `Engine.configure`, with the fields that it compiles to.
PARAMETERS: Final[Mapping[str, tuple[str, ...]]] = {
    "concurrency": ("concurrency",),
    "retry": ("attempts", "crashes", "backoff", "jitter_ppm"),
    "on_crash": ("on_crash",),
    "rate": ("rate", "limiter"),
    "timeout": ("timeout_us",),
    "heartbeat": ("heartbeat_us",),
    "retention": ("keep_succeeded_us", "keep_failed_us", "keep_cancelled_us", "keep_interrupted_us", "payload", "result"),
    "max_pending": ("max_pending",),
    "max_payload": ("max_payload",),
    "per_key": ("per_key",),
    "key_order": ("key_order",),
    "aging": ("aging_us",),
    "fair_by": ("fair_by",),
    "weight": ("weight",),
    "rate_per_key": ("rate_per_key",),
}

BackoffFunction = Callable[[int], float]

__all__ = [
    "PARAMETERS", "Backoff", "BackoffFunction", "Constant", "Exponential", "FairBy", "KeepPayload", "KeyOrder", "Linear", "OnCrash",
    "Policy",
    "Priority", "Rate", "Retention", "Retry", "Seconds",
]  # fmt: skip

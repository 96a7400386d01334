"""A policy's facts in words: with units, and as `whatif --set` would take them where it takes them.

A journal holds whole numbers (`keep_succeeded_us`, `rate` as three of them), because those are exact; an operator reads
`rate 5/1 s burst 1`.  --json prints the facts themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from journeyman.journal.wording import size, span
from journeyman.kernel.bounds import PPM

_NAMES: Final[Mapping[str, str]] = {
    "attempts": "retry.attempts", "crashes": "retry.crashes", "backoff": "retry.backoff", "jitter_ppm": "retry.jitter",
    "timeout_us": "timeout", "heartbeat_us": "heartbeat", "aging_us": "aging", "keep_succeeded_us": "retention.succeeded",
    "keep_failed_us": "retention.failed", "keep_cancelled_us": "retention.cancelled", "keep_interrupted_us": "retention.interrupted",
    "payload": "retention.payload", "result": "retention.result", "limiter": "rate shared as",
}  # fmt: skip


def policy_words(fact: str, value: Any) -> tuple[str, str]:
    """What a fact is called in a program, and its value."""
    name = _NAMES.get(fact, fact)
    if value is None:
        return name, "for ever" if fact.startswith("keep_") else "none"
    say = _VALUES.get(fact)
    if say is not None:
        return name, say(value)
    return name, span(value) if fact.endswith("_us") else str(value)


def _rate(value: Any) -> str:
    limit, per_us, burst = value
    return f"{limit}/{span(per_us)} burst {burst}"


def _backoff(value: Any) -> str:
    kind, *numbers = value
    if kind == "exponential":
        base, numerator, denominator, cap = numbers
        return f"exponential: {span(base)}, times {numerator / denominator:g}, at most {span(cap)}"
    if kind == "constant":
        return f"constant: {span(numbers[0])}"
    if kind == "linear":
        step, cap = numbers
        return f"linear: {span(step)} more each time, at most {span(cap)}"
    return f"by a function: {numbers[0]}, at most {span(numbers[1])}"


_VALUES: Final[Mapping[str, Callable[[Any], str]]] = {
    "rate": _rate,
    "rate_per_key": _rate,
    "backoff": _backoff,
    "jitter_ppm": lambda value: f"{value / PPM:g}",
    "max_payload": size,
}

__all__ = ["policy_words"]

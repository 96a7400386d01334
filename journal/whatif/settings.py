"""Settings as people type them: `concurrency=16`, `rate=20/1s burst 5`, `retry.backoff=exponential(1,2,3600)`.

Each is checked by the class that checks it in a program (`Rate`, `Retry`, `Policy.compile`), so its bounds and words are the same, and
comes to the facts that a policy holds.  Several in one text are parted by blanks; a word without "=" belongs to the one before it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from journeyman.kernel.backoff import Backoff, Constant, Exponential, Linear
from journeyman.kernel.policy import PARAMETERS, Policy, Retry
from journeyman.kernel.ratelimit import Rate

Facts = dict[str, Any]
_UNITS: Final = {"": 1.0, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_SECONDS: Final = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|min|m|h|d|)")
_RATE: Final = re.compile(r"(\d+)\s*/\s*([0-9.]*[a-z]*)(?:[\s,]+burst[\s=]*(\d+))?")
_CALL: Final = re.compile(r"([a-z]+)\((.*)\)")
_BACKOFFS: Final[Mapping[str, tuple[type[Exponential] | type[Constant] | type[Linear], int]]] = {
    "exponential": (Exponential, 3), "constant": (Constant, 1), "linear": (Linear, 2),
}  # fmt: skip


def settings(texts: list[str]) -> Facts:
    """The facts of a policy that these change.  ValueError says what is wrong, and what there is."""
    found: Facts = {}
    seen: dict[str, str] = {}
    for text in texts:
        for name, value in _pieces(text):
            if seen.setdefault(name, value) != value:
                raise ValueError(f"{name} is set twice, to {seen[name]} and to {value}: give one, or --variant for each")
            read = SETTINGS.get(name)
            if (why := NOT_PLAYED.get("retention" if name.startswith("retention.") else name)) is not None:
                raise ValueError(f"{name} cannot be played: {why}")
            if read is None:
                raise ValueError(f"there is no setting {name!r}; there are: {', '.join(SETTINGS)}")
            try:
                found.update(read[0](value))
            except ValueError as error:
                raise ValueError(f"{name}={value}: {error}; write {name}={read[1]}") from None
    return found


def _pieces(text: str) -> list[tuple[str, str]]:
    pieces: list[tuple[str, str]] = []
    if not text.strip():
        raise ValueError(f"nothing is set: write NAME=VALUE; there are: {', '.join(SETTINGS)}")
    for word in text.split():
        name, equals, value = word.partition("=")
        if equals and name != "burst":
            pieces.append((name, value))
        elif pieces:
            pieces[-1] = (pieces[-1][0], f"{pieces[-1][1]} {word}")
        else:
            raise ValueError(f"{text!r} sets nothing: write NAME=VALUE; there are: {', '.join(SETTINGS)}")
    return pieces


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError("not a whole number") from None


def _optional(text: str) -> int | None:
    return None if text == "none" else _whole(text)


def seconds(text: str) -> float:
    """`90`, `90s`, `500ms`, `2h`."""
    found = _SECONDS.fullmatch(text)
    if found is None:
        raise ValueError("not a duration")
    return float(found[1]) * _UNITS[found[2]]


def _optional_seconds(text: str) -> float | None:
    return None if text == "none" else seconds(text)


def _rate(text: str) -> Rate | None:
    if text == "none":
        return None
    found = _RATE.fullmatch(text)
    if found is None:
        raise ValueError("not a rate")
    per = found[2] if found[2][:1].isdigit() else "1" + found[2]
    return Rate(int(found[1]), seconds(per), int(found[3] or 1))


def _backoff(text: str) -> Backoff:
    found = _CALL.fullmatch(text.replace(" ", ""))
    if found is None or found[1] not in _BACKOFFS:
        raise ValueError("not a backoff")
    kind, most = _BACKOFFS[found[1]]
    numbers = [int(number) if number.isdigit() else _number(number) for number in found[2].split(",") if number]
    if len(numbers) > most:
        raise ValueError(f"{found[1]} takes at most {most} numbers")
    return kind(*numbers)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError("not a number") from None


def _of_queue(parameter: str, read: Callable[[str], Any]) -> Callable[[str], Facts]:
    return lambda text: _facts(parameter, Policy.compile(**{parameter: read(text)}))


def _of_retry(argument: str, read: Callable[[str], Any], fact: str) -> Callable[[str], Facts]:
    return lambda text: {fact: Policy.compile(retry=Retry(**{argument: read(text)})).facts()[fact]}


def _facts(parameter: str, policy: Policy) -> Facts:
    facts = policy.facts()
    return {name: facts[name] for name in PARAMETERS[parameter]}


def _word(text: str) -> str | None:
    return None if text == "none" else text


# name -> how it is read, and an example
SETTINGS: Final[Mapping[str, tuple[Callable[[str], Facts], str]]] = {
    "concurrency": (_of_queue("concurrency", _whole), "16"),
    "rate": (_of_queue("rate", _rate), "20/1s, 20/1s burst 5 or none"),
    "rate_per_key": (_of_queue("rate_per_key", _rate), "10/1m, 10/1m burst 3 or none"),
    "per_key": (_of_queue("per_key", _whole), "2"),
    "key_order": (_of_queue("key_order", str), "strict or relaxed"),
    "fair_by": (_of_queue("fair_by", _word), "owner, key or none"),
    "aging": (_of_queue("aging", _optional_seconds), "60s or none"),
    "timeout": (_of_queue("timeout", _optional_seconds), "30s or none"),
    "max_pending": (_of_queue("max_pending", _optional), "1000 or none"),
    "max_payload": (_of_queue("max_payload", _whole), "65536"),
    "on_crash": (_of_queue("on_crash", str), "retry or interrupt"),
    "retry.attempts": (_of_retry("attempts", _whole, "attempts"), "3"),
    "retry.backoff": (_of_retry("backoff", _backoff, "backoff"), "exponential(1,2,3600), linear(1,60) or constant(5)"),
    "retry.jitter": (_of_retry("jitter", _number, "jitter_ppm"), "0.1"),
    "retry.crashes": (_of_retry("crashes", _whole, "crashes"), "3"),
    "weight": (_of_queue("weight", _whole), "2"),
}
# What a queue has beside these, and why it is not played.
NOT_PLAYED: Final[Mapping[str, str]] = {
    "heartbeat": "signs of life are not recorded, so nobody knows which runs would have missed another one",
    "retention": "it decides how long ended tasks are kept, and changes no wait",
    "retry.on": "which exceptions are retried is code, and not recorded",
}

__all__ = ["NOT_PLAYED", "SETTINGS", "Facts", "seconds", "settings"]

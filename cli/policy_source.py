"""A recorded policy as the source of what somebody would have declared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from journeyman.cli.source import Literals, Node, call, named, seconds, text
from journeyman.kernel.bounds import HOUR_US, PPM
from journeyman.kernel.policy import PARAMETERS, Policy

_PACKAGE: Final = "journeyman"
_USUAL: Final = Policy()


def parameters(policy: Policy, literals: Literals, *, on: Node | None = None) -> dict[str, Node]:
    """The parameters of `Queue(...)` that are not as usual, by name.  `on`: the exceptions that are retried."""
    found: dict[str, Node] = {}
    for name, fields in PARAMETERS.items():
        if any(getattr(policy, field) != getattr(_USUAL, field) for field in fields) or (name == "retry" and on is not None):
            found[name] = _parameter(name, policy, literals, on)
    return found


def changed(old: Policy, new: Policy, literals: Literals) -> dict[str, Node]:
    """The parameters of `Engine.configure` that turn `old` into `new`."""
    names = [name for name, fields in PARAMETERS.items() if any(getattr(old, field) != getattr(new, field) for field in fields)]
    return {name: _parameter(name, new, literals, None) for name in names}


def keyword_items(values: Mapping[str, Node]) -> list[Node]:
    return [named(name, value) for name, value in values.items()]


def without_ends(policy: Policy, span_us: int) -> Policy:
    """The policy without retention that would hide the task before the test has looked at it."""
    kept = {
        field: None
        for field in ("keep_succeeded_us", "keep_failed_us", "keep_cancelled_us", "keep_interrupted_us")
        if (keep := getattr(policy, field)) is not None and keep <= span_us + HOUR_US // 4
    }
    return replace(policy, **kept)  # type: ignore[arg-type]  # every one of them may be None


def _parameter(name: str, policy: Policy, literals: Literals, on: Node | None) -> Node:
    if name == "retry":
        return _retry(policy, literals, on)
    if name == "rate":
        return _rate(policy.rate, policy.limiter, literals)
    if name == "rate_per_key":
        return _rate(policy.rate_per_key, None, literals)
    if name == "retention":
        return _retention(policy, literals)
    value = getattr(policy, PARAMETERS[name][0])
    if PARAMETERS[name][0].endswith("_us"):
        return "None" if value is None else seconds(value)
    return literals.of(value)


def _retry(policy: Policy, literals: Literals, on: Node | None) -> Node:
    literals.need(_PACKAGE, "Retry")
    items: dict[str, Node] = {"attempts": str(policy.attempts)}
    if policy.backoff != _USUAL.backoff:
        items["backoff"] = _backoff(policy, literals)
    if policy.jitter_ppm != _USUAL.jitter_ppm:
        items["jitter"] = _share(policy.jitter_ppm)
    if on is not None:
        items["on"] = on
    if policy.crashes != _USUAL.crashes:
        items["crashes"] = str(policy.crashes)
    return call("Retry", *keyword_items(items))


def _share(ppm: int) -> str:
    return "0" if not ppm else repr(ppm / PPM)


def _backoff(policy: Policy, literals: Literals) -> Node:
    kind, *numbers = policy.backoff
    if kind == "callable":
        return "backoff"  # a function that stands beside the queue
    shape = [int(number) for number in numbers]
    if kind == "constant":
        literals.need(_PACKAGE, "Constant")
        return call("Constant", seconds(shape[0]))
    if kind == "linear":
        literals.need(_PACKAGE, "Linear")
        return call("Linear", f"step={seconds(shape[0])}", f"cap={seconds(shape[1])}")
    literals.need(_PACKAGE, "Exponential")
    factor = shape[1] // shape[2] if shape[1] % shape[2] == 0 else shape[1] / shape[2]
    return call("Exponential", f"base={seconds(shape[0])}", f"factor={factor!r}", f"cap={seconds(shape[3])}")


def _rate(rate: tuple[int, int, int] | None, name: str | None, literals: Literals) -> Node:
    if rate is None:
        return "None"
    literals.need(_PACKAGE, "Rate")
    limit, per_us, burst = rate
    items: list[Node] = [str(limit), f"per={seconds(per_us)}", f"burst={burst}"]
    return call("Rate", *items, *([] if name is None else [named("name", text(name))]))


def _retention(policy: Policy, literals: Literals) -> Node:
    literals.need(_PACKAGE, "Retention")
    items: dict[str, Node] = {}
    for field in PARAMETERS["retention"]:
        value = getattr(policy, field)
        if value != getattr(_USUAL, field):
            name = field.removeprefix("keep_").removesuffix("_us")
            items[name] = literals.of(value) if not field.endswith("_us") else "None" if value is None else seconds(value)
    return call("Retention", *keyword_items(items))


__all__ = ["changed", "keyword_items", "parameters", "without_ends"]

"""The options of `using()` about unique keys and debouncing: checked, and turned into the kernel's integers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final, Literal

from journeyman.engine.names import check_name
from journeyman.kernel.duration import Seconds, microseconds
from journeyman.kernel.lifecycle import TERMINAL, State

OnConflict = Literal["return", "raise", "replace"]
_CHOICES: Final[tuple[OnConflict, ...]] = ("return", "raise", "replace")


def unique_options(
    unique: str | None,
    unique_for: Seconds | None,
    unique_states: Collection[State | str] | None,
    debounce: Seconds | None,
    max_wait: Seconds | None,
) -> dict[str, Any]:
    """What of these was given, as the event's options hold it (kernel/events.py)."""
    found: dict[str, Any] = {}
    if unique is not None:
        found["unique"] = check_name(unique, "unique key")
    if unique_for is not None:
        found["unique_for_us"] = microseconds(unique_for, "unique_for", least=1)
    if unique_states is not None:
        found["unique_states"] = _states(unique_states)
    if debounce is not None:
        found["debounce_us"] = microseconds(debounce, "debounce", least=1)
    if max_wait is not None:
        found["max_wait_us"] = microseconds(max_wait, "max_wait", least=1)
    return found


def check_unique(fixed: Mapping[str, Any], on_conflict: OnConflict, *, due: bool, after: bool) -> None:
    """ValueError for options that mean nothing, or contradict each other, beside the rest.  `due`: a delay or an instant is given."""
    names = {"unique_for_us": "unique_for", "unique_states": "unique_states", "debounce_us": "debounce", "max_wait_us": "max_wait"}
    if "unique" not in fixed:
        lone = [name for option, name in names.items() if option in fixed] + (["on_conflict"] if on_conflict != "return" else [])
        if lone:
            raise ValueError(f"{lone[0]} says how unique= is meant: give unique= as well")
        return
    if "debounce_us" not in fixed:
        if "max_wait_us" in fixed:
            raise ValueError("max_wait bounds a debounce: give debounce= as well")
        return
    if due:
        raise ValueError("debounce says when the task is due; delay and at cannot be given as well")
    if on_conflict != "return" or "unique_states" in fixed or "unique_for_us" in fixed:
        raise ValueError("a debounced submit moves the task that waits; on_conflict, unique_for and unique_states do not go with it")
    if after:
        raise ValueError("a debounced submit may have to move a task that is there, which has its own `after`: give one of the two")


def check_on_conflict(value: object) -> OnConflict:
    for choice in _CHOICES:
        if value == choice:
            return choice
    raise ValueError(f"on_conflict must be one of {', '.join(map(repr, _CHOICES))}, not {value!r}")


def _states(states: Collection[State | str]) -> list[str]:
    if isinstance(states, str) or not isinstance(states, Collection):
        raise ValueError(f"unique_states must be a collection of states, not one str: did you mean ({states!r},)?")
    found = {State(state) for state in states}
    if not found or found & TERMINAL:
        raise ValueError(
            "unique_states names at least one of scheduled, pending, running and retrying; for a key that stays taken after the end "
            "there is unique_for"
        )
    return sorted(state.value for state in found)


__all__ = ["OnConflict", "check_on_conflict", "check_unique", "unique_options"]

"""Seconds outside, microseconds inside: the one place where they meet."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Final

from journeyman.kernel.bounds import DURATION_MAX_US, SECOND_US

Seconds = float | timedelta

# A float such as 0.07 is 70000.00000000001 us: that is noise of the binary fraction, not a wish for one microsecond more.
_NOISE_US: Final = 1e-3


def microseconds(value: Seconds, what: str = "a duration", *, least: int = 0) -> int:
    """`value` (seconds, or a timedelta) in whole microseconds, rounded up so that nothing is ever early.

    ValueError when it is not a number, negative, below `least` microseconds, or beyond a hundred years.
    """
    if isinstance(value, timedelta):
        result = value // timedelta(microseconds=1)
    else:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"{what} must be seconds (int or float) or a timedelta, not {value!r}")
        if isinstance(value, int):
            result = value * SECOND_US
        elif not math.isfinite(value):
            raise ValueError(f"{what} must be finite, not {value!r}")
        else:
            exact = value * SECOND_US
            nearest = round(exact)
            result = nearest if abs(exact - nearest) <= _NOISE_US else math.ceil(exact)
            if value > 0 and result == 0:
                result = 1
    if result < least:
        raise ValueError(f"{what} must be at least {least / SECOND_US:g} s, not {value!r}")
    if result > DURATION_MAX_US:
        raise ValueError(f"{what} must be at most {DURATION_MAX_US // SECOND_US} s (a hundred years), not {value!r}")
    return result


def seconds(value: Seconds, what: str = "a duration") -> float:
    """`value` as a float of seconds, for those who wait by a clock of floats.  ValueError as `microseconds`."""
    us = microseconds(value, what)
    return us / SECOND_US if isinstance(value, timedelta) else float(value)


def patience(timeout: Seconds | None) -> float | None:
    """How many seconds a caller will wait; None, as for a `timeout` of None or infinity, says for as long as it takes.

    ValueError as `microseconds`.
    """
    return None if timeout is None or timeout == math.inf else seconds(timeout, "timeout")


__all__ = ["Seconds", "microseconds", "patience", "seconds"]

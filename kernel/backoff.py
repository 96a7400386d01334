"""How long a failed task waits before its next run: the shapes of backoff, exact at every n, and the jitter on top.

Problem.  base * factor ** (n - 1) in floats overflows at n = 1025 and drifts long before; in exact fractions it takes a
20-megabit number at n = 10**6.  And a journal whose due instants depend on a libm would replay but not *re-decide* equally.
Choice: integers only.  The delay is ceil(base_us * (num / den) ** (n - 1)), capped, and it is exactly that at every n:

1. Small exponents (up to 64) are computed as they stand.
2. Beyond, the power is enclosed between two fixed-point bounds by squaring (some 20 multiplications at n = 10**6).  When
   both bounds round up to one microsecond, that is the answer; else the precision doubles.  This ends: with den = 1 the cap
   is passed within 64 doublings, with den >= 2 a power beyond 64 is never a whole number of microseconds (den ** 65 does not
   divide a 64-bit base), so the bounds part from the next integer sooner or later.
3. As factor >= 1, a lower bound beyond the cap ends it at once, so no number grows.

Jitter is a pure function of task id and n (BLAKE2b), so a decision repeated gives the same instant, and tasks that failed
together do not come back together.  Rejected: a PRNG in Env (one more thing to hand in, and order of use would matter).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from hashlib import blake2b
from typing import Final

from journeyman.kernel.bounds import BACKOFF_DEFAULT_CAP_US, DURATION_MAX_US, FACTOR_MAX, PPM, SECOND_US
from journeyman.kernel.duration import Seconds, microseconds

# As compiled: ("exponential", base, num, den, cap), ("constant", us), ("linear", step, cap) or ("callable", name, cap).
Shape = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Exponential:
    """base * factor ** (n - 1) seconds before run n + 1, at most `cap`.  factor >= 1."""

    base: Seconds = 1.0
    factor: float = 2.0
    cap: Seconds = 3600.0

    def __post_init__(self) -> None:
        self.shape()

    def shape(self) -> Shape:
        """The integers it compiles to; ValueError if a parameter is out of range."""
        base, cap = microseconds(self.base, "backoff base"), microseconds(self.cap, "backoff cap")
        if isinstance(self.factor, bool) or not isinstance(self.factor, (int, float)) or not 1 <= self.factor <= FACTOR_MAX:
            raise ValueError(f"backoff factor must be from 1 to {FACTOR_MAX}, not {self.factor!r}")
        factor = Fraction(repr(self.factor))  # as spelled: 1.1 means eleven tenths
        return ("exponential", base, factor.numerator, factor.denominator, cap)


@dataclass(frozen=True, slots=True)
class Constant:
    """The same delay every time."""

    delay: Seconds = 1.0

    def __post_init__(self) -> None:
        self.shape()

    def shape(self) -> Shape:
        """The integers it compiles to; ValueError if the delay is out of range."""
        return ("constant", microseconds(self.delay, "backoff delay"))


@dataclass(frozen=True, slots=True)
class Linear:
    """step * n seconds before run n + 1, at most `cap`."""

    step: Seconds = 1.0
    cap: Seconds = 3600.0

    def __post_init__(self) -> None:
        self.shape()

    def shape(self) -> Shape:
        """The integers it compiles to; ValueError if a parameter is out of range."""
        return ("linear", microseconds(self.step, "backoff step"), microseconds(self.cap, "backoff cap"))


Backoff = Exponential | Constant | Linear | Callable[[int], float]


def compile_backoff(backoff: Backoff) -> Shape:
    """The shape of a public backoff value; a callable is known by its qualified name.  ValueError for anything else."""
    if isinstance(backoff, (Exponential, Constant, Linear)):
        return backoff.shape()
    if not callable(backoff):
        raise ValueError(f"backoff must be Exponential, Constant, Linear or a callable of the attempt, not {backoff!r}")
    module = getattr(backoff, "__module__", None) or "?"
    name = getattr(backoff, "__qualname__", None) or type(backoff).__qualname__
    return ("callable", f"{module}.{name}", BACKOFF_DEFAULT_CAP_US)


def backoff_of(shape: Shape) -> Exponential | Constant | Linear | None:
    """The public value that compiles to `shape`; None for a callable, which only the program has."""
    kind, *numbers = shape
    if kind == "callable":
        return None
    seconds = [int(number) / SECOND_US for number in numbers]
    if kind == "constant":
        return Constant(seconds[0])
    if kind == "linear":
        return Linear(seconds[0], seconds[1])
    return Exponential(seconds[0], int(numbers[1]) / int(numbers[2]), seconds[3])


_EXACT_EXPONENT: Final = 64
_FIRST_PRECISION: Final = 128


def exponential_us(base: int, num: int, den: int, cap: int, n: int) -> int:
    """min(cap, ceil(base * (num / den) ** (n - 1))), exactly, for any n >= 1 (see the head of this file)."""
    exponent = n - 1
    if base == 0 or base >= cap:
        return min(base, cap)
    if num == den or exponent == 0:
        return base
    if den == 1 and exponent > _EXACT_EXPONENT:
        return cap  # at least 2 ** 65 microseconds
    if exponent <= _EXACT_EXPONENT:
        above: int = num**exponent
        below: int = den**exponent
        return min(cap, -(-base * above // below))
    precision = _FIRST_PRECISION
    while True:
        enclosed = _enclose(base, num, den, cap, exponent, precision)
        if enclosed is not None:
            return enclosed
        precision *= 2


def _enclose(base: int, num: int, den: int, cap: int, exponent: int, precision: int) -> int | None:
    """The delay if `precision` bits decide it, else None."""
    ceiling = cap << precision
    low, high = base << precision, base << precision
    square_low, square_high = (num << precision) // den, -((-num << precision) // den)
    while True:
        if exponent & 1:
            low, high = (low * square_low) >> precision, -((-high * square_high) >> precision)
            if low >= ceiling:
                return cap
        exponent >>= 1
        if not exponent:
            break
        square_low, square_high = (square_low * square_low) >> precision, -((-square_high * square_high) >> precision)
        if low * square_low >> precision >= ceiling:  # what remains multiplies by at least one such square
            return cap
    below, above = -(-low >> precision), -(-high >> precision)
    return min(below, cap) if below == above or below >= cap else None


def delay_us(shape: Shape, n: int, function: Callable[[int], float] | None = None) -> tuple[int, str | None]:
    """The delay after the n-th failed run, without jitter, and a warning if a callable misbehaved (then the cap is used)."""
    kind, *numbers = shape
    if kind == "callable":
        return _called(str(numbers[0]), int(numbers[1]), n, function)
    if kind == "constant":
        return int(numbers[0]), None
    if kind == "linear":
        return min(int(numbers[0]) * n, int(numbers[1])), None
    base, num, den, cap = map(int, numbers)
    return exponential_us(base, num, den, cap, n), None


def _called(name: str, cap: int, n: int, function: Callable[[int], float] | None) -> tuple[int, str | None]:
    """A user's function decides; whatever it does, the task gets a due instant."""
    if function is None:
        return cap, f"backoff {name} is not known to this process; its cap was used"
    try:
        seconds = float(function(n))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a user's mistake costs a warning, never the queue; SystemExit is one too
        return cap, f"backoff {name} raised {type(error).__name__} at n={n}; its cap was used"
    if not (math.isfinite(seconds) and seconds >= 0):
        return cap, f"backoff {name} returned {seconds!r} at n={n}; its cap was used"
    return DURATION_MAX_US if seconds >= DURATION_MAX_US / SECOND_US else math.ceil(seconds * SECOND_US), None


def jittered(delay: int, jitter_ppm: int, task: bytes, n: int) -> int:
    """`delay` moved by at most jitter_ppm millionths of it either way, as task id and n say.  Microseconds, never negative."""
    if not jitter_ppm or not delay:
        return delay
    chance = int.from_bytes(blake2b(b"%b%d" % (task, n), digest_size=8).digest(), "big")
    reach = delay * jitter_ppm // PPM
    return delay + (2 * reach * chance + (1 << 63) >> 64) - reach


__all__ = [
    "Backoff", "Constant", "Exponential", "Linear", "Shape", "backoff_of", "compile_backoff", "delay_us", "exponential_us", "jittered",
]  # fmt: skip

"""What may go wrong, and how often: one value that can be drawn, shrunk, saved and read back.

Every field is off by default.  A chance is a float from 0 to 1 for each opportunity, said beside it; ranges are seconds, a
hundred years at most.
`Faults.none()` is a calm world.  A fault plan is data on purpose: a failing run is made small by leaving faults out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from journeyman.kernel.bounds import DURATION_MAX_US, SECOND_US

Range = tuple[float, float]
Chance = float | tuple[float, float]


@dataclass(frozen=True, slots=True)
class Faults:
    """
    crash: at each await of the engine and its handlers, before and after each commit and each effect of a handler, the process dies.
    power: the share of crashes in which the machine dies too.  With durability="relaxed" the newest commit may be lost then.
    torn_commit: at each commit, the process dies inside it; the commit is on the disk whole or not at all, by chance.
    restart: seconds until a process that died is started again.
    disk_latency: seconds a commit takes, drawn evenly from (low, high).
    slow_disk: at each commit, it takes a hundred times as long; or (chance, seconds it takes).
    disk_full: at each commit, the disk fills up, for 60 seconds; or (chance, seconds).  Half the time somebody else takes
        the last byte at once, and the commit fails.
    read_error: at each read from the disk, it fails.
    bit_flip: at each read from the disk, one bit of what is read is wrong; the disk itself is sound.
    clock_step: at each minute, the wall clock is set by up to two hours either way; or (chance, seconds).
    clock_drift: parts per million by which the wall clock runs fast (negative: slow).
    stall: at each await, the event loop does nothing for up to 10 seconds; or (chance, seconds).
    handler_error, handler_hang, handler_slow: at each call of a handler, it raises `HandlerTrouble`, or waits until it is
        cancelled, or takes up to a minute longer; or (chance, seconds).
    """

    crash: float = 0.0
    power: float = 0.0
    torn_commit: float = 0.0
    restart: float = 1.0
    disk_latency: Range = (0.0, 0.0)
    slow_disk: Chance = 0.0
    disk_full: Chance = 0.0
    read_error: float = 0.0
    bit_flip: float = 0.0
    clock_step: Chance = 0.0
    clock_drift: float = 0.0
    stall: Chance = 0.0
    handler_error: float = 0.0
    handler_hang: float = 0.0
    handler_slow: Chance = 0.0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, _checked(field.name, getattr(self, field.name)))

    @classmethod
    def none(cls) -> Self:
        return cls()

    @property
    def any(self) -> bool:
        """Whether anything can go wrong by chance."""
        return any(chance_of(self, name) for name in KINDS)

    def without(self, *names: str) -> Self:
        """The same plan with these faults off.  ValueError for a name that is none of a fault."""
        plain = type(self)()
        _require_known(names)
        return dataclasses.replace(self, **{name: getattr(plain, name) for name in names})

    def facts(self) -> dict[str, Any]:
        """What is not at its default, as JSON holds it."""
        plain = type(self)()
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if getattr(self, f.name) != getattr(plain, f.name)}

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Self:
        """The plan that `facts` describes.  ValueError for a name that is none of a fault."""
        _require_known(facts)
        return cls(**facts)


SECONDS_MAX = DURATION_MAX_US / SECOND_US  # a hundred years
SIZED = frozenset({"slow_disk", "disk_full", "clock_step", "stall", "handler_slow"})
KINDS = (
    "crash", "torn_commit", "slow_disk", "disk_full", "read_error", "bit_flip", "clock_step", "stall", "handler_error", "handler_hang",
    "handler_slow",
)  # fmt: skip


def _require_known(names: Iterable[str]) -> None:
    unknown = set(names) - {field.name for field in dataclasses.fields(Faults)}
    if unknown:
        raise ValueError(f"no such fault: {', '.join(sorted(map(str, unknown)))}")


def _checked(name: str, value: Any) -> Any:
    """What a field holds when it was given `value`.  ValueError for what is out of its range, or no number at all."""
    pair: tuple[Any, ...] | None = tuple(value) if isinstance(value, (tuple, list)) else None
    if name == "disk_latency":
        pair = (0.0, value) if pair is None else pair
        if len(pair) != 2 or not all(_within(one, SECONDS_MAX) for one in pair) or pair[0] > pair[1]:
            raise ValueError(f"disk_latency is (low, high) in seconds with 0 <= low <= high <= {SECONDS_MAX:g}, not {value!r}")
    elif name == "restart":
        if not _within(value, SECONDS_MAX):
            raise ValueError(f"restart is a number of seconds from 0 to {SECONDS_MAX:g}, not {value!r}")
    elif name == "clock_drift":
        if not isinstance(value, (int, float)) or not _within(abs(value), 100_000):
            raise ValueError(f"clock_drift is in parts per million, from -100,000 to 100,000, not {value!r}")
    elif pair is None:
        if not _within(value, 1):
            raise ValueError(f"{name} is a chance from 0 to 1, not {value!r}")
    elif name not in SIZED:
        raise ValueError(f"{name} is a chance, not {value!r}")
    elif len(pair) != 2 or not _within(pair[0], 1) or not _within(pair[1], SECONDS_MAX):
        raise ValueError(f"{name} is (a chance from 0 to 1, seconds from 0 to {SECONDS_MAX:g}), not {value!r}")
    return value if pair is None else (float(pair[0]), float(pair[1]))


def _within(value: Any, most: float) -> bool:
    return isinstance(value, (int, float)) and 0 <= value <= most


def chance_of(faults: Faults, name: str) -> float:
    value = getattr(faults, name)
    return float(value[0] if isinstance(value, tuple) else value)


def size_of(faults: Faults, name: str, default: float) -> float:
    """The seconds that go with a chance."""
    value = getattr(faults, name)
    return float(value[1]) if isinstance(value, tuple) else default

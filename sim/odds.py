"""How often each thing is part of a run, and what is drawn for it: the tables of the swarm.

Swarm testing (Groce and others, ISSTA 2012): a run that has everything on at once hides what two things do to each other, because a third
keeps them apart.  So each run leaves most things out: every row is (share of runs, or of queues, that have it; what it is then).

One row for each fault, each parameter of `Queue` and each option of `using`: tests/sim/test_swarm.py compares the tables with
the code, so whoever adds a policy or an option gives it its odds here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import Any
from uuid import UUID
from zlib import crc32

# Rows that are younger than the first seeds which tests and documents name.
NEWER = frozenset({"aging", "configure", "cost", "fair_by", "key", "key_order", "name", "park", "per_key", "rate_per_key", "weight"})

Draw = Callable[[Random], Any]
Odds = Mapping[str, tuple[float, Draw]]


def pick(*values: Any) -> Draw:
    return lambda chance: chance.choice(values)


def scale(low: float, high: float) -> Draw:
    """Every order of magnitude as often as the next."""
    return lambda chance: float(f"{math.exp(chance.uniform(math.log(low), math.log(high))):.3g}")


def between(low: float, high: float) -> Draw:
    return lambda chance: round(chance.uniform(low, high), 3)


def both(*draws: Draw) -> Draw:
    return lambda chance: [draw(chance) for draw in draws]


def drawn(chance: Random, odds: Odds, share: float = 1.0) -> dict[str, Any]:
    """What is in, of a table; `share` of its odds."""
    return {
        name: draw(own) for name, (likely, draw) in odds.items() for own in (stream(chance, name),) if own.random() < likely * share
    }  # fmt: skip


def some(chance: Random, names: Iterable[str], share: float) -> set[str]:
    """A `share` of these names."""
    return {name for name in names if stream(chance, name).random() < share}


def stream(chance: Random, name: str) -> Random:
    """Where the chance of a row comes from.  Rows that came later draw from a stream of their own, which takes nothing from the common one:
    so a seed goes on meaning the run that it meant, and the seeds that tests know stay good, when a policy is added.
    """
    if name not in NEWER:
        return chance
    words = chance.getstate()[1]
    return Random(words[0] << 64 | words[-1] << 32 | crc32(name.encode()))


# --- faults -----------------------------------------------------------------------------------------------------------

CALM = 0.1  # of all runs

FAULTS: Odds = {
    "crash": (0.6, scale(5e-4, 3e-2)),
    "power": (0.3, pick(0.2, 1.0)),
    "torn_commit": (0.25, scale(1e-3, 1e-1)),
    "restart": (0.6, pick(0.0, 0.001, 1.0, 30.0, 900.0)),
    "disk_latency": (0.6, pick([0.0001, 0.002], [0.0, 0.05], [0.5, 3.0])),
    "slow_disk": (0.15, both(scale(1e-3, 1e-1), pick(0.5, 5.0, 60.0))),
    "disk_full": (0.12, both(scale(1e-3, 3e-2), pick(1.0, 60.0, 900.0))),
    "read_error": (0.08, scale(1e-4, 1e-2)),
    "bit_flip": (0.08, scale(1e-4, 1e-2)),
    "clock_step": (0.2, both(scale(1e-3, 2e-1), pick(0.5, 60.0, 4000.0, 90_000.0))),
    "clock_drift": (0.15, pick(-500.0, -20.0, 20.0, 500.0)),
    "stall": (0.15, both(scale(1e-4, 1e-2), pick(0.1, 1.0, 10.0, 120.0))),
    "handler_error": (0.25, scale(1e-2, 5e-1)),
    "handler_hang": (0.1, scale(1e-2, 1e-1)),
    "handler_slow": (0.15, both(scale(1e-2, 5e-1), pick(1.0, 60.0))),
}

# --- queues -----------------------------------------------------------------------------------------------------------

_seconds = scale(0.05, 500)
_kept = pick(0, 0, 1, 60, 3600, None)

RETRY: Odds = {
    "attempts": (0.8, pick(2, 3, 5)),
    "backoff": (
        0.7,
        pick(
            ["constant", 0],
            ["constant", 3],
            ["linear", 2, 10],
            ["exponential", 0.1, 2.0, 30],
            ["exponential", 5, 1.5, 600],
            ["called", 2.5],
        ),
    ),
    "jitter": (0.5, pick(0.0, 0.5, 1.0)),
    "on": (0.2, pick("some")),
    "crashes": (0.5, pick(0, 1, 20)),
}
RETENTION: Odds = {
    "succeeded": (0.7, _kept),
    "failed": (0.5, _kept),
    "cancelled": (0.5, _kept),
    "interrupted": (0.5, _kept),
    "payload": (0.4, pick(False, "failed")),
    "result": (0.3, pick(False)),
}
RATE: Odds = {
    "limit": (1.0, pick(1, 2, 10)),
    "per": (0.7, pick(0.5, 10, 60)),
    "burst": (0.5, pick(2, 5)),
    "name": (0.4, pick("llm", "llm", "sms")),
}
LIMITERS: Mapping[str, Mapping[str, Any]] = {  # the numbers of those that have a name: all queues give it the same
    "llm": {"limit": 2, "per": 10, "burst": 3},
    "sms": {"limit": 1, "per": 0.5},
}


def _rate(chance: Random) -> dict[str, Any]:
    rate = drawn(chance, RATE)
    return {"name": rate["name"], **LIMITERS[rate["name"]]} if "name" in rate else rate


# Parameters of `Queue`.
POLICY: Odds = {
    "concurrency": (0.7, pick(2, 3, 8)),
    "retry": (0.75, lambda chance: drawn(chance, RETRY)),
    "on_crash": (0.15, pick("interrupt")),
    "rate": (0.3, _rate),
    "timeout": (0.4, _seconds),
    "heartbeat": (0.15, _seconds),
    "retention": (0.6, lambda chance: drawn(chance, RETENTION)),
    "max_pending": (0.15, pick(0, 1, 5, 20)),
    "max_payload": (0.08, pick(60, 200)),
    "per_key": (0.25, pick(2, 3)),
    "key_order": (0.3, pick("relaxed")),
    "aging": (0.15, pick(0.5, 60)),
    "fair_by": (0.25, pick("owner", "key", "key")),
    "weight": (0.2, pick(2, 5)),
    "rate_per_key": (0.25, lambda chance: {"limit": 1, "per": chance.choice((0.5, 10, 60)), "burst": chance.choice((1, 1, 3))}),
}

ENGINE: Odds = {
    "max_concurrency": (0.25, pick(1, 2, 5)),
    "durability": (0.3, pick("relaxed")),
    "grace": (0.5, pick(0.0, 0.5, 60.0)),
}

LIMITS: Odds = {
    "max_payload": (0.3, pick(60, 300)),
    "retention": (0.4, pick([0, 60], [30, 600])),
    "queues": (0.2, pick(1, 2)),
    "pending": (0.4, pick(1, 4, 12)),
}
TERMS: Odds = {"max_concurrency": (0.6, pick(1, 2, 4)), "limits": (0.6, lambda chance: drawn(chance, LIMITS))}
NAMESPACES = 0.25  # of runs have some; then so many calls are made at a plugin's door:
AT_A_PLUGINS_DOOR = 0.4

# Options of `using`.  `id` makes a submit safe to make again.  `at` is seconds from now.
PLAIN: Odds = {
    "delay": (0.2, pick(0, 0.5, 10, 400)),
    "at": (0.05, pick(-100, 1, 300)),
    "priority": (0.25, pick(0, 5, 10, 20, -3)),
    "id": (0.3, lambda chance: str(UUID(int=chance.getrandbits(128), version=4))),
    "owner": (0.05, pick(["user", "7"], ["user", "8"])),
    "source": (0.05, pick("api", "cron")),
    "tags": (0.08, pick(["red"], ["red", "blue"])),
    "attempts": (0.1, pick(1, 4)),
    "cost": (0.15, pick(2, 3, 8)),
    "timeout": (0.1, pick(None, 0.5, 20)),
    "heartbeat": (0.05, pick(None, 0.5, 20)),
    "deadline": (0.1, pick(0.01, 5, 300)),
    "key": (0.3, pick("a", "a", "b")),
    "meta": (0.05, pick({"n": 1}, {"who": "x" * 40})),
}
KEYED = 0.3  # of runs use unique keys
KEYS: Odds = {
    "unique": (0.5, pick("a", "b", "c")),
    "on_conflict": (0.4, pick("return", "raise", "replace", "replace")),
    "unique_for": (0.2, pick(1, 60, 4000)),
    "unique_states": (0.15, pick(["pending", "scheduled"], ["running"], ["retrying", "scheduled"])),
    "debounce": (0.35, pick(0.01, 1, 30, 300)),
    "max_wait": (0.6, pick(0.5, 20, 400)),
}
LINKED = 0.3  # of runs have tasks that run after others, by label or by their place in a submit_many
AFTER: Odds = {"after": (0.5, pick(1, 1, 2, 5)), "after_failure": (0.3, pick("run", "cancel"))}
OPTIONS: Odds = {**PLAIN, **KEYS, **AFTER}

# Parameters of `Engine.schedule`; `start` and `end` are seconds from now.  What is not drawn of `every` is `cron`.
SCHEDULE: Odds = {
    "every": (0.5, pick(7, 60, 300, 4000)),
    "cron": (1.0, pick("* * * * *", "*/5 * * * *", "*/20 * * * *", "7 * * * *", "30 3 * * *")),
    "timezone": (0.4, pick("Europe/Oslo", "Asia/Kathmandu", "America/New_York")),
    "misfire": (0.6, pick("once", "all")),
    "overlap": (0.5, pick("allow", "skip")),
    "start": (0.1, pick(-3600, 30, 900)),
    "end": (0.1, pick(100, 4000)),
}

# --- handlers' scripts --------------------------------------------------------------------------------------------------

_runs = pick(1, 1, 2, 99)

ACTS: Odds = {  # what any handler can do
    "effect": (0.5, pick(0)),
    "once": (0.3, pick(0)),
    "progress": (0.2, pick(0.1, 0.5, None)),
    "heartbeat": (0.1, pick(0)),
    "chance": (0.15, pick(0.3, 0.9)),
}
LAST_ACTS: Odds = {  # what can end it; one at most
    "fail": (0.3, _runs),
    "odd": (0.08, _runs),
    "later": (0.1, both(_runs, pick(0, 3, 100))),
    "park": (0.06, both(_runs, pick(0, 3, 100, 2000))),
    "snooze": (0.1, both(pick(1, 2), pick(0, 3, 100))),
    "cancel": (0.05, _runs),
    "fatal": (0.05, _runs),
    "big": (0.08, pick(10, 5_000)),
    "unstorable": (0.03, pick(0)),
}
SLOW_ACTS: Odds = {  # what only an async one can
    "sleep": (0.6, scale(0.01, 60)),
    "hang": (0.07, pick(1, 2)),
    "beat": (0.1, both(pick(1, 4), scale(0.1, 20))),
    "shield": (0.06, pick(0.5, 5)),
    "finally": (0.1, pick(0.5, 5)),
    "thread": (0.1, pick(0)),
    "nursery": (0.1, both(pick(0.2, 5), pick(0, 1))),
    "look": (0.15, pick(0)),
}
CHILD = 0.12  # of scripts submit another task, half of them with their success

# --- steps --------------------------------------------------------------------------------------------------------------

# Verb -> (share of runs in which it is used at all, weight among the steps of such a run).
VERBS: Mapping[str, tuple[float, float]] = {
    "submit": (1.0, 12),
    "submit_many": (0.4, 3),
    "sleep": (0.95, 8),
    "wait": (0.6, 4),
    "result": (0.4, 3),
    "cancel": (0.5, 3),
    "retry": (0.5, 2),
    "retry_all": (0.3, 1),
    "clear": (0.25, 0.5),
    "pause": (0.3, 1),
    "resume": (0.4, 2),
    "configure": (0.3, 1.5),
    "prune": (0.3, 1),
    "drain": (0.4, 1),
    "create_queue": (0.15, 0.5),
    "get": (0.5, 2),
    "explain": (0.4, 1.5),
    "history": (0.4, 1.5),
    "list": (0.4, 1.5),
    "count": (0.4, 1.5),
    "stats": (0.3, 1),
    "deploy": (0.35, 1),
    "stop": (0.15, 0.5),
    "crash": (0.3, 1),
    "clock": (0.15, 0.7),
}
# Verbs that came later, strewn among the others: share of runs that have one, and how many of it there are for one other step.
STREWN: Mapping[str, tuple[float, float]] = {
    "reschedule": (0.25, 0.1),
    "reprioritise": (0.25, 0.1),
    "cancel_all": (0.15, 0.04),
    "reschedule_all": (0.15, 0.05),
    "reprioritise_all": (0.15, 0.05),
}
# What is done at a plugin's door too.
DOORED = frozenset(
    ("submit", "submit_many", "cancel", "retry", "retry_all", "clear", "pause", "resume", "configure", "prune", "drain", "get", "explain",
     "history", "list", "count", "stats", *STREWN)
)  # fmt: skip
# The same for schedules, which get their steps afterwards, from a chance of their own: (share of runs that know them, weight).
RECURRING = 0.2  # of all runs
RECURRING_VERBS: Mapping[str, tuple[float, float]] = {
    "schedule": (1.0, 5),
    "unschedule": (0.4, 1),
    "schedules": (0.6, 2),
    "preview": (0.3, 1),
}
PACE = pick(0.01, 0.5, 5.0, 60.0, 400.0)  # seconds between two steps, about

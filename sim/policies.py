"""Every policy there is, with what watches it: adding a policy means adding its invariant, its oracle rule and its odds in the swarm.

A test compares this table with `kernel.policy.Policy`, with `Queue(...)`, `Engine(...)` and `handler.using(...)`: an option that nobody
has named here fails it.  Policies of later issues have their place already, marked NOT_BUILT; whoever builds one replaces the mark.

`rule`: how the oracle, which only folds, or the invariant predicts what the policy makes of a task.
`options`: what its owner writes for it (Queue, Retry, Retention, Engine, using); each has its row, its odds, in sim/odds.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from journeyman.sim.invariants.answers import AcknowledgedIsDurable, AnswersAgree
from journeyman.sim.invariants.budgets import BackoffWithinBounds, CrashesWithinBudget, FailuresWithinAttempts, InterruptedStaysSo
from journeyman.sim.invariants.dependencies import RunsAfter
from journeyman.sim.invariants.fairness import TenantsInTurn
from journeyman.sim.invariants.invariant import Invariant
from journeyman.sim.invariants.keys import KeysInOrder, KeysWithinLimit
from journeyman.sim.invariants.life import StartsWhenDue
from journeyman.sim.invariants.limits import BestFirst, ConcurrencyWithinLimit, EngineWithinLimit, ParkingIsKept, RoomWithinLimit
from journeyman.sim.invariants.namespaces import NamespaceWithinBudget
from journeyman.sim.invariants.rates import StartsWithinKeyRate, StartsWithinRate
from journeyman.sim.invariants.recurring import FiresAtItsTimes, FiresOnce, MisfiresAsPromised, OverlapAsPromised
from journeyman.sim.invariants.retention import ExpiryIsThePolicys, PayloadsKeptAsPromised
from journeyman.sim.invariants.unique import DebouncedAsPromised, OneOfAKey


class Watched(NamedTuple):
    invariant: type[Invariant] | None
    rule: str
    options: tuple[str, ...] = ()


NOT_BUILT: Final = Watched(None, "not built")

POLICIES: Final[Mapping[str, Watched]] = {
    # of a queue
    "concurrency": Watched(ConcurrencyWithinLimit, "fewer than `concurrency` run before each start", ("concurrency",)),
    "attempts": Watched(FailuresWithinAttempts, "failures count up by one to `attempts`", ("attempts",)),
    "crashes": Watched(CrashesWithinBudget, "crashes count up by one where the handler was inside", ("crashes",)),
    "backoff": Watched(BackoffWithinBounds, "the pause in exact fractions, capped", ("backoff",)),
    "jitter_ppm": Watched(BackoffWithinBounds, "within its share of the pause", ("jitter",)),
    "on_crash": Watched(InterruptedStaysSo, "interrupted only where the policy says so, and always there", ("on_crash",)),
    "rate": Watched(StartsWithinRate, "a leaking bucket never runs over", ("rate",)),
    "limiter": Watched(StartsWithinRate, "one leaking bucket a name, whoever starts", ("rate",)),
    "timeout_us": Watched(FailuresWithinAttempts, "a time-out is a failure", ("timeout",)),
    "heartbeat_us": Watched(FailuresWithinAttempts, "a lost heartbeat is a failure", ("heartbeat",)),
    "keep_succeeded_us": Watched(ExpiryIsThePolicys, "end + retention", ("succeeded",)),
    "keep_failed_us": Watched(ExpiryIsThePolicys, "end + retention", ("failed",)),
    "keep_cancelled_us": Watched(ExpiryIsThePolicys, "end + retention", ("cancelled",)),
    "keep_interrupted_us": Watched(ExpiryIsThePolicys, "end + retention", ("interrupted",)),
    "payload": Watched(PayloadsKeptAsPromised, "arguments go only where the end event says so", ("payload",)),
    "result": Watched(AnswersAgree, "a result is shown as it was stored, or not at all", ("result",)),
    "max_pending": Watched(RoomWithinLimit, "fewer than `max_pending` wait before each submit from outside", ("max_pending",)),
    "max_payload": Watched(RoomWithinLimit, "no larger arguments", ("max_payload",)),
    "per_key": Watched(KeysWithinLimit, "fewer than `per_key` of its key run before each start", ("per_key",)),
    "key_order": Watched(KeysInOrder, "fewer than `per_key` of its key run or come before it", ("key_order",)),
    "aging_us": Watched(BestFirst, "first due instant less priority times aging", ("aging",)),
    "fair_by": Watched(TenantsInTurn, "no tenant passed over by one that runs more, or has had its turn since", ("fair_by",)),
    "rate_per_key": Watched(StartsWithinKeyRate, "one leaking bucket a key", ("rate_per_key",)),
    "weight": Watched(EngineWithinLimit, "whose turn it is does not change how many run", ("weight",)),
    # of an engine
    "max_concurrency": Watched(EngineWithinLimit, "fewer than `max_concurrency` run before each start", ("max_concurrency",)),
    "durability": Watched(AcknowledgedIsDurable, "acknowledged is durable; relaxed: until a power cut", ("durability",)),
    "grace": Watched(CrashesWithinBudget, "a stop charges nobody", ("grace",)),
    # of a handler's words
    "parking": Watched(ParkingIsKept, "no start before the newest parking's instant", ("park",)),
    # of a submit
    "delay": Watched(StartsWhenDue, "no start before its due instant", ("delay",)),
    "at": Watched(StartsWhenDue, "no start before its instant, which no step of the clock moves", ("at",)),
    "priority": Watched(BestFirst, "the best of those that are due", ("priority",)),
    "key": Watched(KeysInOrder, "fewer than `per_key` of its key run or come before it", ("key",)),
    "id": Watched(AcknowledgedIsDurable, "one task an id", ("id",)),
    "deadline": Watched(StartsWhenDue, "no start after it", ("deadline",)),
    "own attempts": Watched(FailuresWithinAttempts, "instead of the queue's", ("attempts",)),
    "cost": Watched(StartsWithinRate, "as many drops at once", ("cost",)),
    "own timeout": Watched(FailuresWithinAttempts, "a time-out is a failure", ("timeout",)),
    "own heartbeat": Watched(FailuresWithinAttempts, "a lost heartbeat is a failure", ("heartbeat",)),
    "owner": Watched(AnswersAgree, "a filter of list and count", ("owner",)),
    "source": Watched(AnswersAgree, "a filter of list and count", ("source",)),
    "tags": Watched(AnswersAgree, "a filter of list and count", ("tags",)),
    "meta": Watched(AnswersAgree, "comes back as it was given", ("meta",)),
    "unique": Watched(OneOfAKey, "nothing unfinished bears the key of what comes in", ("unique", "unique_states")),
    "unique_for": Watched(OneOfAKey, "nor has it been kept by a success", ("unique_for",)),
    "on_conflict": Watched(OneOfAKey, "replaced in the commit of the successor; refused only where taken", ("on_conflict",)),
    "debounce": Watched(DebouncedAsPromised, "only what was never started is moved, with the new arguments", ("debounce",)),
    "max_wait": Watched(DebouncedAsPromised, "never beyond the first submit + max_wait", ("max_wait",)),
    "after": Watched(RunsAfter, "no start before all that it names have succeeded", ("after",)),
    "after_failure": Watched(RunsAfter, "cancelled only for one that ended otherwise; or runs all the same", ("after_failure",)),
    # of a schedule
    "every": Watched(FiresAtItsTimes, "anchor + k * every, moved by steps of the clock", ("every", "start", "end")),
    "cron": Watched(FiresOnce, "every minute of the wall that fits, and none twice", ("cron", "timezone")),
    "misfire": Watched(MisfiresAsPromised, "more than a minute late is missed", ("misfire",)),
    "overlap": Watched(OverlapAsPromised, "no unfinished task of the same schedule", ("overlap",)),
    # of later issues (`using` has no such options yet)
    "namespace": Watched(NamespaceWithinBudget, "fewer than its bounds run and wait; only its own is shown", ("namespaces",)),
}
LATER: Final = frozenset(name for name, watched in POLICIES.items() if watched is NOT_BUILT)

__all__ = ["LATER", "NOT_BUILT", "POLICIES", "Watched"]

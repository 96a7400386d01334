"""The rate limit: starts in any window, in the journal and at the handler's door.

"At most burst + limit * w / per starts in any window of w" holds for every window exactly when a bucket that leaks `limit` per `per` and
gets one drop a start never holds more than `burst` drops.  So one number a queue is enough, whole numbers keep it exact, and nothing
depends on how the kernel keeps its own account (a theoretical arrival time).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from journeyman.sim.invariants.invariant import Invariant
from journeyman.sim.oracle import Lane, Work

ENTRY_LAG_US: Final = 50_000  # what the gate allows for between a start and its entry when an engine is opened again (actors/gate.py)
ROUNDING_US: Final = 2  # the gate counts in floats, on trio's clock


class Bucket:
    """Leaks; tells when it runs over.  `level` in drops times `per`."""

    __slots__ = ("at", "level")

    def __init__(self) -> None:
        self.level = 0
        self.at = 0

    def drop(self, at: int, rate: tuple[int, int, int], slack_us: int = 0, cost: int = 1) -> bool:
        """One start of `cost` at `at` (microseconds); False if it is one too many.  A cost above the burst needs an empty bucket."""
        limit, per, burst = rate
        level = max(0, self.level - limit * max(0, at - self.at))
        self.level, self.at = level + cost * per, at
        return level + min(cost, burst) * per <= burst * per + limit * slack_us


def whose(queue: str, policy: Mapping[str, Any]) -> tuple[str, str]:
    """Whose rate it is: the queue's own, or a limiter's that queues share."""
    name = policy.get("limiter")
    return ("queue", queue) if name is None else ("limiter", f"{queue.rpartition(chr(31))[0]}/{name}")


def forget(buckets: dict[tuple[str, str], Bucket], queue: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether the queue has another rate from here on; then a window that reaches back knows two promises."""
    if before.get("rate") == after.get("rate") and before.get("limiter") == after.get("limiter"):
        return False
    buckets.pop(("queue", queue), None)
    if before.get("limiter") == after.get("limiter"):
        buckets.pop(whose(queue, after), None)
    return True


class StartsWithinRate(Invariant):
    """Journalled starts in any window w, each by its cost, are at most burst + limit * w / per, over all queues of a limiter and restarts.

    Counted in kernel time and from the newest policy on: a window that reaches back before a change of the rate knows two promises.
    """

    name = "starts within the rate"
    of_policy = "rate"

    def __init__(self, witness: Any) -> None:
        super().__init__(witness)
        self._buckets: dict[tuple[str, str], Bucket] = {}
        self._queues: dict[str, set[str]] = {}  # those that have used a limiter

    def started(self, seq: int, event: Any, work: Work | None) -> None:
        policy = self.oracle.lane(event.queue).policy
        rate = policy.get("rate")
        if rate is None:
            return
        cost = 1 if work is None else work.cost
        if event.cost != cost:
            self.broken(f"{work} costs {cost} and is charged {event.cost} at seq {seq}")
        bucket = self._buckets.setdefault(whose(event.queue, policy), Bucket())
        if not bucket.drop(event.at, rate, cost=cost):
            self.broken(f"{work} is started at seq {seq}: {bucket.level / rate[1]:.3f} in the bucket of {event.queue!r}, burst {rate[2]}")
        if policy.get("limiter") is not None:
            sharing = self._queues.setdefault(whose(event.queue, policy)[1], set())
            sharing.add(event.queue)
            self.witness.reach("queues share a limiter", len(sharing) > 1)
        if event.tat_at <= event.at:
            self.broken(f"the limiter of {event.queue!r} stands at {event.tat_at} after a start at {event.at}, seq {seq}")

    def configured(self, seq: int, event: Any, work: Work | None) -> None:
        forget(self._buckets, event.queue, self.oracle.lane(event.queue).policy, event.policy)

    def clock_stepped(self, seq: int, event: Any, work: Work | None) -> None:
        for bucket in self._buckets.values():
            bucket.at += event.delta_us


class EntriesWithinRate(Invariant):
    """Entries into handlers, on a clock that never steps, keep to the same bound: what a partner's window counts.

    Starts that were decided before the rate was changed count for the old one, whenever they enter.
    Over a restart this is promised where the clock was not set meanwhile and the entries before it came within 50 ms of their starts.
    """

    name = "entries within the rate"
    of_policy = "rate"

    def __init__(self, witness: Any) -> None:
        super().__init__(witness)
        self._buckets: dict[tuple[str, str], Bucket] = {}
        self._lagged: set[tuple[str, str]] = set()
        self._since: dict[str, int] = {}  # seq of the newest change of the rate
        self._ahead_us = 0  # kernel time of the monotonic clock, in the boot that is counted
        self._boot = 0

    def entered(self, work: Work) -> None:
        policy = self.oracle.lane(work.queue).policy
        rate = policy.get("rate")
        if rate is None or work.start_seq < self._since.get(work.queue, 0):
            return
        if self._boot != self.witness.boot_number:
            self._open()
        whom = whose(work.queue, policy)
        bucket = self._buckets.setdefault(whom, Bucket())
        if not bucket.drop(self.witness.now_us, rate, ROUNDING_US * rate[2], work.cost):
            self.broken(f"the handler of {work} is entered: {bucket.level / rate[1]:.4f} in the bucket of its queue, burst {rate[2]}")
        if self.witness.kernel_now - (work.started_at or 0) > ENTRY_LAG_US:
            self._lagged.add(whom)
            self.witness.reach("an entry held or late")

    def _open(self) -> None:
        ahead_us = self.witness.kernel_now - self.witness.now_us  # each boot takes the wall clock as it finds it
        if abs(ahead_us - self._ahead_us) > ROUNDING_US:
            self._buckets.clear()
        for whom in self._lagged:
            self._buckets.pop(whom, None)
        self._lagged.clear()
        self._ahead_us, self._boot = ahead_us, self.witness.boot_number

    def clock_stepped(self, seq: int, event: Any, work: Work | None) -> None:
        self._ahead_us += event.delta_us

    def configured(self, seq: int, event: Any, work: Work | None) -> None:
        if forget(self._buckets, event.queue, self.oracle.lane(event.queue).policy, event.policy):
            self._since[event.queue] = seq


def key_token_at(lane: Lane, work: Work) -> int | None:
    """The instant from which the rate of its key lets it start; None: there is no such rate, or it has no key."""
    rate, key = lane.policy.get("rate_per_key"), work.options.get("key")
    if rate is None or key is None:
        return None
    return int(lane.key_tats.get(key, 0) - (rate[2] - min(work.cost, rate[2])) * -(-rate[1] // rate[0]))


class StartsWithinKeyRate(Invariant):
    """Journalled starts of one serialization key, each by its cost, keep to its rate in any window, over restarts too."""

    name = "starts within the rate of their key"
    of_policy = "rate_per_key"

    def __init__(self, witness: Any) -> None:
        super().__init__(witness)
        self._buckets: dict[tuple[str, str], Bucket] = {}

    def started(self, seq: int, event: Any, work: Work | None) -> None:
        rate = self.oracle.lane(event.queue).policy.get("rate_per_key")
        if rate is None or work is None or (key := work.options.get("key")) is None:
            return
        if not self._buckets.setdefault((event.queue, key), Bucket()).drop(event.at, rate, cost=work.cost):
            self.broken(f"{work} is started at seq {seq} though key {key!r} has no token")
        self.witness.reach("a key waits for its token", event.at > event.eligible_at)

    def configured(self, seq: int, event: Any, work: Work | None) -> None:
        if self.oracle.lane(event.queue).policy.get("rate_per_key") != event.policy.get("rate_per_key"):
            self._buckets = {whose: bucket for whose, bucket in self._buckets.items() if whose[0] != event.queue}

    def clock_stepped(self, seq: int, event: Any, work: Work | None) -> None:
        for bucket in self._buckets.values():
            bucket.at += event.delta_us

"""Nothing that may start is left lying: a wake-up that is lost shows as a start without a cause.

A start is decided in the step of whatever made it possible: its due instant, a token, or an event (an end that freed a slot, a resume, a
boot).  If none of them was just now, the start should have come earlier.  Stalls of the loop and clocks in doubt excuse some lateness;
while the disk is full nothing starts.
"""

from __future__ import annotations

from typing import Any, Final

from journeyman.sim.invariants.invariant import Invariant
from journeyman.sim.invariants.rates import key_token_at
from journeyman.sim.oracle import Work

PATIENCE_US: Final = 61_000_000  # instants of the wall clock may be a minute late (DECISIONS 1)
STALL: Final = 10.0  # seconds, where the plan of faults says nothing else


class StartsPromptly(Invariant):
    """What may start does so at once: a minute after its due instant, its token and the last event at the latest."""

    name = "what may start, starts"

    def __init__(self, witness: Any) -> None:
        super().__init__(witness)
        self._opened_at: int | None = 0  # None: a boot is recorded and not over, and starts may come before it is
        dice = witness.world.dice
        # A loop that stalls between a cause and its start, and once more, is late by as much.
        self._patience_us = PATIENCE_US + (round(2e6 * dice.size("stall", STALL)) if dice.possible("stall") else 0)

    def boot_recorded(self, seq: int, event: Any, work: Work | None) -> None:
        self._opened_at = None

    def booted(self, boot: Any) -> None:
        self._opened_at = self.witness.kernel_now  # on a slow disk, long after the boot was recorded

    def started(self, seq: int, event: Any, work: Work | None) -> None:
        if work is None or self._opened_at is None:
            return
        lane = self.oracle.lane(event.queue)
        cause = max(work.due_at, self.oracle.last_at, self._opened_at, lane.parked_until)
        rate = lane.policy.get("rate")
        if rate is not None:
            name = lane.policy.get("limiter")
            tat_at = lane.tat_at if name is None else self.oracle.limiters.get((event.queue.rpartition(chr(31))[0], name), 0)
            cause = max(cause, tat_at - (rate[2] - min(work.cost, rate[2])) * -(-rate[1] // rate[0]))
        if (token := key_token_at(lane, work)) is not None:
            cause = max(cause, token)
        if cause < (room_at := self._room_at(event.at)):
            cause = room_at
            self.witness.reach("a start that waited for room on the disk")
        if event.at - cause > self._patience_us:
            self.broken(f"{work} is started at seq {seq}, {(event.at - cause) / 1e6:g} s after anything that it waited for")

    def _room_at(self, at: int) -> int:
        """Since when the disk has had room, kernel time; 0 if it has never been full, or is full now: then it excuses nothing.

        `at`: of an event that is heard of now, perhaps after its engine has died.
        """
        witness = self.witness
        since: float = witness.world.time() - witness.disk.full_until
        return 0 if since < 0.0 or witness.disk.full_until < 0.0 else max(witness.kernel_now, at) - round(since * 1e6)

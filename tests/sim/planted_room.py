"""Bugs planted into the housekeeper and what waits for it: prunes, the clock, standstills on full disks (tests/sim/planted.py)."""

from __future__ import annotations

from journeyman.actors import following, housekeeper, standstill
from journeyman.journal import prune
from tests.sim.bug import Bug

ROOM = (
    Bug("prune leaves a record", ((prune.Pruner.prune, "for seq in task.seqs]", "for seq in task.seqs[:-1]]"),), seed=8),
    Bug("never pruned", ((housekeeper.Housekeeper.prune_expired, "if self._doubtful_step or self._shell.leapt", "if True"),), seed=20),
    Bug(
        "starts held for room are forgotten",
        ((standstill.Standstill.holds, "shell.timer.set(self, shell.now() + _AGAIN_US)", "pass"),),
        seed=1875,
    ),
    Bug(
        "small steps are not followed",
        (
            (housekeeper.Housekeeper._follow_clock, "follow_for_waiting(shell)", "pass"),
            (following.follow_for_named, "follow(shell, NAMED_US)", "pass"),
        ),
        seed=150,
    ),
)

"""What events change of a queue itself: epoch, policy, whether it may start anything, what has gone.  Part of the fold (apply.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from journeyman.kernel.events import QueueConfigured, QueueOpened, QueueParkedUntil, QueuePaused, QueueResumed, TasksPruned
from journeyman.kernel.lifecycle import TERMINAL
from journeyman.kernel.state import QueueState


def opened(state: QueueState, event: QueueOpened, _seq: int) -> None:
    state.epoch = event.epoch
    agenda = state.agenda
    if agenda.parked:  # the new owner may have new code: unfit is judged anew (a missing handler is parked again)
        for id in list(agenda.parked):
            agenda.unpark(state.tasks[id])


def configured(state: QueueState, event: QueueConfigured, seq: int) -> None:
    state.set_policy(event.policy, seq)
    if event.options is None or not event.options.get("live"):
        state.declared, state.declared_seq = state.policy, seq
    elif "tat_at" in event.options:
        state.tat_at, state.tat_seq = event.options["tat_at"], seq
        if "limiter_at" in event.options and state.policy.limiter is not None:
            state.limiters.put(state.policy.limiter, event.options["limiter_at"], seq)


def paused(state: QueueState, event: QueuePaused, seq: int) -> None:
    state.paused = (event.by, event.reason, event.at)
    state.pause_seq = seq


def resumed(state: QueueState, _event: QueueResumed, seq: int) -> None:
    state.paused = None
    state.pause_seq = seq
    if state.parked_until:
        state.parked_until, state.parked_why, state.parked_seq = 0, "", seq


def parked(state: QueueState, event: QueueParkedUntil, seq: int) -> None:
    state.parked_until, state.parked_why, state.parked_seq = event.until_at, event.reason, seq


def pruned(state: QueueState, event: TasksPruned, _seq: int) -> None:
    """Drop those that are still in memory; most were settled long ago."""
    rosters = [roster for final, roster in state.agenda.rosters.items() if roster.count and final in TERMINAL]
    for entry in event.entries:
        for roster in rosters:
            task = roster.find(entry[0])
            if task is not None:
                state.forget(task)
                break
    state.gone_seq = max(state.gone_seq, max([entry[1] for entry in event.entries], default=0))
    tat_seq = event.residue.get("tat_seq", 0) if event.residue else 0
    if tat_seq and tat_seq >= state.tat_seq:  # a replay that never saw the start is put right; equal: a clock step moved what it did see
        state.tat_at, state.tat_seq = event.residue["tat_at"], tat_seq
    state.limiters.merge(event.residue.get("limiters"))
    state.key_tats.merge(event.residue.get("key_tats"))
    state.claims.absorb(event.residue or {})
    state.claims.pass_by(event.at)


QUEUE_APPLY: Final[dict[type, Callable[[QueueState, Any, int], None]]] = {
    QueueOpened: opened,
    QueueConfigured: configured,
    QueuePaused: paused,
    QueueResumed: resumed,
    QueueParkedUntil: parked,
    TasksPruned: pruned,
}

__all__ = ["QUEUE_APPLY"]

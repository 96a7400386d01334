"""When the kernel next wants to be called: one alarm instead of many sleeps.

Only time that *by itself* changes what may happen counts: a due instant, a token, a deadline.  What waits for a slot, a resume or a
handler is brought on by the event that frees it, and the shell dispatches after every event; so the answer is always later than
`now`, and an alarm can never spin.
"""

from __future__ import annotations

from journeyman.kernel.commands import Env
from journeyman.kernel.dispatch import free_slots, startable
from journeyman.kernel.ratelimit import allowed_at
from journeyman.kernel.state import QueueState


def next_wakeup(state: QueueState, now: int, env: Env) -> int | None:
    """The earliest instant after `now` (microseconds UTC) at which time alone changes something; None: never."""
    agenda = state.agenda
    agenda.advance(now)
    instants: list[int] = []
    deadline = agenda.next_deadline()
    if deadline is not None:
        instants.append(max(deadline, now) + 1)  # at its deadline a task may still start
    if state.paused is None and not env.stopping and free_slots(state, env) > 0:
        rate = state.policy.rate
        token_at = now if rate is None else allowed_at(rate, state.tat_at)
        token_at = max(token_at, state.parked_until)
        due_at = agenda.next_due()
        if due_at is not None:
            instants.append(max(due_at, token_at))
        if token_at > now and startable(state, now, env, 1):
            instants.append(token_at)
    return min(instants, default=None)


__all__ = ["next_wakeup"]

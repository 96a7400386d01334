"""When the kernel next wants to be called: one alarm instead of many sleeps.

Only time that *by itself* changes what may happen counts: a due instant, a token, a deadline.  What waits for a slot, a resume or a
handler, or for its queue's turn at a shared limiter, is brought on by the event that frees it, and the shell dispatches after every
event; so the answer is always later than `now`, and an alarm can never spin.
"""

from __future__ import annotations

from journeyman.kernel.commands import Env
from journeyman.kernel.dispatch import free_slots, startable
from journeyman.kernel.limiters import limiter_at, token_at
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
        rate, held_until = state.policy.rate, state.parked_until
        turn = env.tokens is None or env.tokens > 0  # of a shared limiter: whoever's turn it is waits for its tokens
        due_at = agenda.next_due()
        if due_at is not None:
            token = allowed_at(rate, limiter_at(state, env)) if rate is not None and turn else now
            instants.append(max(due_at, token, held_until))
        key_at = agenda.next_token()
        if key_at is not None:
            token = allowed_at(rate, limiter_at(state, env)) if rate is not None and turn else now
            if (at := max(key_at, token, held_until)) > now:
                instants.append(at)
        if (held_until > now or (rate is not None and turn)) and (best := startable(state, now, env, 1)):
            at = max(held_until, token_at(state, best[0], env) if turn else now)
            if at > now:
                instants.append(at)
    return min(instants, default=None)


__all__ = ["next_wakeup"]

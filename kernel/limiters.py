"""Named limiters: one bucket that several queues draw from, each task by its own cost.

Problem.  An account with a partner is limited as a whole, and several queues use it; it is often counted in something else than calls
(tokens, pages), of which one task uses more than another.  Choice: a rate may have a name, and a task a cost.  There is no place where
such a limiter is kept: every start journals the theoretical arrival time that it came to, each queue folds its own, and the limiter's
time is the latest of those, brought to a decision by `Env.limiter_at`.  So it survives whatever the queues survive, in any number.

A start of cost c conforms iff tat + (min(c, burst) - burst) * T <= now, and makes tat = max(tat, now) + c * T: what costs more than a
whole bucket waits until the bucket is full, and those after it wait until all of it is paid.  Promise: the costs of starts in any window
of w microseconds <= max(burst, the largest cost) + limit * w / per.  The best task starts first, whatever it costs: a cheap one does not
slip past a dear one that waits for its tokens, or the dear one might wait for ever.

Names live per namespace: a plugin cannot draw from the limiter of another, or of its host, by calling its own by that name.

Whose turn it is among the queues is the shell's business (actors/limiters.py): `Env.tokens` says how much cost this queue may start now.
"""

from __future__ import annotations

from collections.abc import Iterable

from journeyman.kernel.commands import Env
from journeyman.kernel.namespace import namespace_of, shown_name
from journeyman.kernel.policy import Policy
from journeyman.kernel.ratelimit import allowed_at
from journeyman.kernel.state import QueueState
from journeyman.kernel.taskstate import TaskState


def limiter_at(state: QueueState, env: Env) -> int:
    """The theoretical arrival time of the queue's limiter, its own or a shared one."""
    name = state.policy.limiter
    return state.tat_at if name is None else max(state.limiters.get(name), env.limiter_at)


def cost_of(task: TaskState) -> int:
    """What a start of it takes from its limiters."""
    options = task.options
    return 1 if options is None else options.get("cost", 1)


def token_at(state: QueueState, task: TaskState, env: Env) -> int:
    """The first instant at which the queue's rate would let `task` start, were it the next."""
    rate = state.policy.rate
    return 0 if rate is None else allowed_at(rate, limiter_at(state, env), cost_of(task))


def check_shared(policies: Iterable[tuple[str, Policy]]) -> None:
    """ValueError if two of these queues (name, policy) name one limiter and mean two."""
    first: dict[tuple[str, str], tuple[str, Policy]] = {}
    for queue, policy in policies:
        if policy.limiter is None:
            continue
        other, known = first.setdefault((namespace_of(queue), policy.limiter), (queue, policy))
        if known.rate != policy.rate:
            raise ValueError(
                f"queues {shown_name(other)!r} and {shown_name(queue)!r} share the limiter {policy.limiter!r} with different numbers; "
                "give both the same Rate, or the limiters different names"
            )


__all__ = ["check_shared", "cost_of", "limiter_at", "token_at"]

"""What a decision of one queue must know of the world around it (`Env`): built for each decision, true for its length.

Most decisions (an end, a submit, an order) ask for little.  What may start depends on other queues as well: on the engine's slots, on a
shared limiter, on suspects that run elsewhere.  Finding that out costs by the number of queues, and a host of plugins has many, so only
`around_starts` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from journeyman.actors.attempt import keys_of
from journeyman.kernel.commands import Env
from journeyman.kernel.state import TaskState

if TYPE_CHECKING:
    from journeyman.actors.queue_actor import QueueActor

_NOTHING: Final[Mapping[bytes, Any]] = MappingProxyType({})
_new: Final = tuple.__new__  # a NamedTuple without its Python-level constructor: half the price


def around(
    actor: QueueActor,
    *,
    known: Mapping[bytes, TaskState] = _NOTHING,
    states: Mapping[bytes, str] = _NOTHING,
    free_slots: int | None = None,
    suspects: int = 0,
) -> Env:
    """For a decision on anything but starts.  `known`, `states`: see Env.known, Env.dependencies."""
    stragglers = actor.stragglers
    return _new(
        Env,
        (
            free_slots, actor.handler_names, _NOTHING, stragglers, suspects, actor.backoff, known, actor.shell.stopping, actor.reserved,
            keys_of(stragglers.values()) if stragglers else _NOTHING, None, 0, None, states,
        ),
    )  # fmt: skip


def around_starts(actor: QueueActor, now: int, free_slots: int | None = None) -> Env:
    """For a decision on what may start, or why it may not.  `free_slots`: granted by what queues share; None: no bound."""
    env = around(actor, free_slots=free_slots, suspects=actor.shell.suspects_running())
    limiter = actor.tap.limiter
    return env if limiter is None else env._replace(limiter_at=limiter.tat_at, tokens=limiter.tokens(actor, now))


__all__ = ["around", "around_starts"]

"""What a command comes to: the door to every decision, and it changes nothing logical.

`decide` is given a list because submits that arrive together must see each other (two with one id, a queue with room for one more);
any other command stands alone.  It reads state, now and env, and nothing else: no clock, no chance, no I/O.  Bringing the
indexes to `now` is the one thing it may do to the state, for that changes no answer (kernel/agenda.py).

The events of a decision are to be applied before the next decision on the same queue.  All-or-nothing over several submits is the
caller's: any `Refused` among the answers, and it applies none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

from journeyman.kernel.commands import (
    Cancel,
    Clear,
    Command,
    Configure,
    Decision,
    Declare,
    Dispatch,
    Env,
    Expire,
    Finish,
    Fire,
    Heartbeat,
    Meet,
    Open,
    Pause,
    Progress,
    RecordStep,
    Reprioritise,
    Reschedule,
    Resume,
    Retry,
    Submit,
    Unschedule,
)
from journeyman.kernel.dependencies import meet
from journeyman.kernel.dispatch import dispatch, expire
from journeyman.kernel.ending import finish, heartbeat, progress
from journeyman.kernel.orders import cancel, clear, configure, pause, reprioritise, reschedule, resume, retry
from journeyman.kernel.recovery import open_queue
from journeyman.kernel.recurring import declare, fire, unschedule
from journeyman.kernel.state import QueueState
from journeyman.kernel.stepping import record_step
from journeyman.kernel.submit import submit


def decide(state: QueueState, commands: Sequence[Command], now: int, env: Env) -> Decision:
    """Events in order and one answer a command.  `commands`: Submits only, or exactly one other; `now`: microseconds UTC."""
    kind = type(commands[0])
    if kind is Submit:
        return submit(state, cast("Sequence[Submit]", commands), now, env)
    assert len(commands) == 1, "only submits are decided together"
    return _DECIDE[kind](state, commands[0], now, env)


_DECIDE: Final[Mapping[type, Callable[[QueueState, Any, int, Env], Decision]]] = {
    Finish: finish,
    Dispatch: dispatch,
    Progress: progress,
    RecordStep: record_step,
    Heartbeat: heartbeat,
    Meet: meet,
    Expire: expire,
    Cancel: cancel,
    Retry: retry,
    Reschedule: reschedule,
    Reprioritise: reprioritise,
    Clear: clear,
    Pause: pause,
    Resume: resume,
    Configure: configure,
    Open: open_queue,
    Declare: declare,
    Unschedule: unschedule,
    Fire: fire,
}

__all__ = ["decide"]

"""Orders of a recording, carried out on the queue as it is played: what operators, other queues and the engine's own life did to it.

An order may find its task in another state than in the recording.  A cancel of a task that waited stops it if it runs by now, at once; a
retry of one that has not failed here, a new instant or priority for one that does not wait, comes to nothing and is counted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from journeyman.journal.whatif.recording import Halt, Hold, Order, Ready
from journeyman.kernel.commands import Cancel, Configure, Finish, Meet, Open, Pause, Released, Resume, Retry
from journeyman.kernel.events import (
    CancelRequested,
    DependencyMet,
    QueueConfigured,
    QueueOpened,
    QueueParkedUntil,
    QueuePaused,
    QueueResumed,
    TaskCancelled,
    TaskReprioritised,
    TaskRescheduled,
    TaskRetried,
)
from journeyman.kernel.lifecycle import State, may
from journeyman.kernel.ratelimit import after_start
from journeyman.kernel.taskstate import ROW, TaskState

if TYPE_CHECKING:
    from journeyman.journal.whatif.playing import Player

_EXPIRES: Final = ROW.index("expires_at")
_KEEPS: Final = ROW.index("keep_payload")


def obey(player: Player, order: Order) -> None:
    """Carry it out, at `player.now`."""
    _OBEY[type(order.event)](player, order.event, order)


def _cancel(player: Player, event: CancelRequested | TaskCancelled, order: Order) -> None:
    found = player.ask(Cancel(event.task, event.reason, event.by))
    if not found:
        player.unheard += 1
    elif type(found[0]) is CancelRequested:
        lag = 0 if type(event) is TaskCancelled else player.recording.lags.get(order.seq)
        if lag is not None:  # else the recorded run came to its own end all the same
            player.stop_after(event.task, lag)


def _retry(player: Player, event: TaskRetried, order: Order) -> None:
    if event.task in player.state.tasks or player.ended.get(event.task) is State.SUCCEEDED:
        player.unheard += 1
        return
    row = list(event.row)
    row[_EXPIRES], row[_KEEPS] = None, True
    if player.ask(Retry(event.task, event.reason, event.by, TaskState.from_row(row))):
        player.numbers[event.task] = player.recording.lives[order.seq]
    else:
        player.unheard += 1


def _move(player: Player, event: TaskRescheduled | TaskReprioritised, order: Order) -> None:
    state = player.state
    task = state.tasks.get(event.task)
    if task is None or not may(task.state, type(event).__name__):
        player.unheard += 1
        return
    player.take(event._replace(at=player.now, qseq=state.qseq + 1, epoch=state.epoch))


def _pause(player: Player, event: QueuePaused, order: Order) -> None:
    player.ask(Pause(event.by, event.reason))


def _resume(player: Player, event: QueueResumed, order: Order) -> None:
    player.ask(Resume(event.by, event.reason))


def _configure(player: Player, event: QueueConfigured, order: Order) -> None:
    policy = {**event.policy, **player.overrides}
    if event.options is not None and event.options.get("live"):
        player.ask(Configure(policy, event.by))
    else:
        player.take(event._replace(policy=policy, qseq=player.state.qseq + 1, epoch=player.state.epoch))


def _park(player: Player, event: QueueParkedUntil, order: Order) -> None:
    player.take(event._replace(qseq=player.state.qseq + 1, epoch=player.state.epoch))


def _met(player: Player, event: DependencyMet, order: Order) -> None:
    own = player.recording.own_named  # their ends are played, and tell those that wait for them
    met = [(entry[0], entry[1]) for entry in event.met if entry[0] not in own]
    if met:
        player.ask(Meet(met, 1 << 60))


def _open(player: Player, event: QueueOpened, order: Order) -> None:
    running = set(player.state.running)
    entered = running - player.recording.not_entered.get(order.seq, set())
    if not player.crashed:  # an actor that was restarted: the runs are given back
        for id in running:
            player.cut(id)
    player.ask(Open(event.boot, None, entered, player.crashed))
    player.env, player.crashed = player.env._replace(stopping=True), False  # until it is ready
    player.meter.up = True


def _ready(player: Player, event: Ready, order: Order) -> None:
    player.env = player.env._replace(stopping=False)


def _hold(player: Player, event: Hold, order: Order) -> None:
    player.env = player.env._replace(stopping=True)


def _halt(player: Player, event: Halt, order: Order) -> None:
    player.env, player.crashed = player.env._replace(stopping=True), not event.clean
    player.meter.up = False
    for task in sorted(player.state.running.values()):
        player.cut(task.id)
        if event.clean:
            player.ask(Finish(task.id, task.epoch, task.attempt, Released(player.now - (task.started_at or player.now), "stop")))


def draw(player: Player, at: int, cost: int) -> None:
    """Another queue took of the limiter that this one shares, at that instant."""
    policy = player.state.policy
    if policy.rate is not None and policy.limiter is not None:
        stands = max(player.env.limiter_at, player.state.limiters.get(policy.limiter))
        player.env = player.env._replace(limiter_at=after_start(policy.rate, stands, at, cost))


_OBEY: Final[dict[type, Callable[[Player, Any, Order], None]]] = {
    CancelRequested: _cancel,
    TaskCancelled: _cancel,
    TaskRetried: _retry,
    TaskRescheduled: _move,
    TaskReprioritised: _move,
    QueuePaused: _pause,
    QueueResumed: _resume,
    QueueConfigured: _configure,
    QueueParkedUntil: _park,
    DependencyMet: _met,
    QueueOpened: _open,
    Hold: _hold,
    Ready: _ready,
    Halt: _halt,
}

__all__ = ["draw", "obey"]

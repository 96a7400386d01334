"""What an order would touch: counted in the journal, beside a running engine or without one, touching nothing.

The rules are those of the orders themselves (engine/bulk.py, engine/operating.py) and the filters are the same object; the tests
compare the two counts for every action.  In a running engine tasks move on, so there it is a count of this moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from journeyman.engine.errors import QueueNotFound, TaskNotFound
from journeyman.engine.ids import id_bytes
from journeyman.engine.orders import BY_TASK, PRUNED, Order, Outcome, Selection
from journeyman.engine.reading import Filters
from journeyman.journal.recovery import Recovered
from journeyman.journal.view import JournalView
from journeyman.kernel.ids import id_text
from journeyman.kernel.lifecycle import TERMINAL, WAITING, State, observed
from journeyman.kernel.namespace import SEPARATOR, shown_name
from journeyman.kernel.state import QueueState, TaskState

_PAGE = 256
_ENDED_BADLY = frozenset({State.FAILED, State.CANCELLED, State.INTERRUPTED})
_MEANT = {
    "retry": frozenset({State.FAILED}),
    "cancel": WAITING | {State.RUNNING},
    "reschedule": WAITING,
    "reprioritise": WAITING,
    "clear": WAITING,
    "prune": frozenset(PRUNED),
}


def foresee(view: JournalView, order: Order, *, shown: int = 0) -> Outcome:
    """What `carry_out` would answer, and the first `shown` ids.  QueueNotFound."""
    now = view.now()
    with view.newest() as found:
        if order.action in BY_TASK and order.ids:
            return _named(found, order, now)
        if order.action in ("pause", "resume"):
            pausing = order.action == "pause"
            queues = _queues(found, order.queues)
            return Outcome(sum(pausing != (queue.paused is not None) or (not pausing and queue.parked_until > now) for queue in queues))
        return _counted(_touched(found, order, now), shown)


def _counted(tasks: Iterator[TaskState], shown: int) -> Outcome:
    count = 0
    ids: list[str] = []
    for task in tasks:
        count += 1
        if len(ids) < shown:
            ids.append(id_text(task.id))
    return Outcome(count, (), tuple(ids))


def _touched(found: Recovered, order: Order, now: int) -> Iterator[TaskState]:
    selection = order.selection
    queues = (selection.queue,) if order.action in BY_TASK and selection.queue is not None else order.queues
    states = _states(order)
    meant = _meant(order, now)
    filters = _filters(selection)
    for queue in _queues(found, queues):
        for state in states:
            for task in _standing(found, queue, state, now):
                if filters.admit(task) and meant(task):
                    yield task


def _states(order: Order) -> list[State]:
    """Those that the order is for, and asks for."""
    usual = _MEANT[order.action]
    asked = order.selection.states
    if order.action == "retry":
        chosen = frozenset(asked or usual) & _ENDED_BADLY
    elif order.action == "prune":
        chosen = frozenset(asked or usual) & TERMINAL
    else:
        chosen = usual & frozenset(asked) if asked else usual
    return [state for state in State if state in chosen]


def _meant(order: Order, now: int) -> Callable[[TaskState], bool]:
    """Whether a task in one of the states is touched."""
    match order.action:
        case "retry":
            return lambda task: task.keep_payload
        case "cancel":
            return lambda task: task.cancel is None
        case "reprioritise":
            return lambda task: task.priority != order.priority
        case "prune":
            ended_by = now - round(order.older_than * 1_000_000)
            return lambda task: task.finished_at is not None and task.finished_at <= ended_by
        case _:
            return lambda task: True


def _filters(selection: Selection) -> Filters:
    return Filters(handler=selection.handler, owner=selection.owner, source=selection.source, tag=selection.tag, key=selection.key)


def _standing(found: Recovered, queue: QueueState, state: State, now: int) -> Iterator[TaskState]:
    """The tasks of a queue in one state, in memory and on disk, without those that retention has expired."""
    yield from (task for task in queue.listed(state, now) if task.expires_at is None or task.expires_at > now)
    before: int | None = None
    while state in TERMINAL and (page := found.catalog.newest(queue.name, state, now, before=before, limit=_PAGE)):
        yield from page
        before = page[-1].seq


def _queues(found: Recovered, names: tuple[str, ...]) -> list[QueueState]:
    """The queues of these names, all for none.  QueueNotFound."""
    known = found.state.queues
    if not names:
        return [known[name] for name in sorted(known)]
    chosen: dict[str, QueueState] = {}
    for name in names:
        stored = name if name in known else name.replace("/", SEPARATOR, 1)
        if stored not in known:
            there = ", ".join(sorted(map(shown_name, known))) or "none"
            raise QueueNotFound(f"no queue {name!r} in the journal; there are: {there}")
        chosen[stored] = known[stored]
    return list(chosen.values())


def _named(found: Recovered, order: Order, now: int) -> Outcome:
    """Orders about tasks by id: each is touched, or refused for a reason."""
    states = _ENDED_BADLY if order.action == "retry" else _MEANT[order.action]
    touched: list[str] = []
    refused: list[tuple[str, str]] = []
    for id in dict.fromkeys(order.ids):
        task = _task(found, id, now)
        if task is None:
            refused.append((id, f"no task {id}: it was never submitted here, or retention has dropped it"))
        elif (state := observed(task.state, task.due_at, now)) not in states:
            refused.append((id, f"task {id} is {state}"))
        elif order.action == "retry" and not task.keep_payload:
            refused.append((id, f"the arguments of task {id} were dropped at its end; submit it anew"))
        else:
            touched.append(id)
    return Outcome(len(touched), tuple(refused), tuple(touched))


def _task(found: Recovered, id: str, now: int) -> TaskState | None:
    try:
        key = id_bytes(id)
    except (TaskNotFound, ValueError):
        return None
    for queue in found.state.queues.values():
        if key in queue.tasks:
            return queue.tasks[key]
    return found.catalog.get(key, now)


__all__ = ["foresee"]

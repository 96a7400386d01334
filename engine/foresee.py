"""What an order would touch: counted in the journal, beside a running engine or without one, touching nothing.

It has no rules of its own.  Which tasks are meant, and what each is told, is the order's `Aim`, as for the engine that carries it out;
they are listed by the same code (`Stock`), and whether each obeys is asked of the same `decide` (`Rehearsal`); `clear` and `prune` have
a function each that the dry run and the order share.  The head of engine/aim.py says so at length, and what a rehearsal cannot know.

So what is left here is a state to ask: that of the newest commit, read for the purpose and thrown away.  In a running engine tasks move
on, so there it is a count of this moment.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from journeyman.engine.aim import Aim, Rehearsal, has_ended, no_task, why_kept
from journeyman.engine.errors import QueueNotFound, TaskNotFound
from journeyman.engine.ids import id_bytes
from journeyman.engine.orders import BY_TASK, Order, Outcome
from journeyman.engine.reading import Stock, expired
from journeyman.journal.recovery import Recovered
from journeyman.journal.view import JournalView
from journeyman.kernel.commands import Accepted, Env
from journeyman.kernel.decide import decide
from journeyman.kernel.ids import id_text
from journeyman.kernel.lifecycle import TERMINAL
from journeyman.kernel.namespace import SEPARATOR, shown_name
from journeyman.kernel.orders import to_clear
from journeyman.kernel.state import QueueState
from journeyman.kernel.taskstate import TaskState
from journeyman.kernel.waits import pinned


def foresee(view: JournalView, order: Order, *, shown: int = 0) -> Outcome:
    """What `carry_out` would answer, and the first `shown` ids.  QueueNotFound; ValueError for an order that makes no sense."""
    now = view.now()
    with view.newest() as found:
        dry = _DryRun(found, order, now)
        if order.ids:
            return dry.named()
        if order.action in ("pause", "resume"):
            return Outcome(dry.queues_touched())
        return _counted(dry.tasks(), shown)


def needless(view: JournalView, order: Order) -> Outcome | None:
    """What to answer to an order that would write nothing; None if it would, or if only an engine's opening can tell.  As `foresee`."""
    now = view.now()
    with view.newest() as found:
        dry = _DryRun(found, order, now)
        if order.ids:
            outcome = dry.named()
            touches = dry.touched > 0
        elif order.action in ("pause", "resume"):
            outcome, touches = Outcome(0), dry.queues_touched() > 0
        else:
            outcome, touches = Outcome(0), next(dry.tasks(), None) is not None
        unjudged = any(queue.running for queue in found.state.queues.values())
        return None if touches or unjudged else outcome


def _counted(tasks: Iterator[TaskState], shown: int) -> Outcome:
    ids = [id_text(task.id) for task in islice(tasks, shown)]
    return Outcome(len(ids) + sum(1 for _ in tasks), (), tuple(ids))


class _DryRun:
    """Of one order, on one state.  What the order itself says wrongly is said before anything else."""

    def __init__(self, found: Recovered, order: Order, now: int) -> None:
        self._found, self._order, self._now = found, order, now
        self._rehearsal = Rehearsal(now)
        self.touched = 0  # of the tasks that were named, those that would change
        by_task = order.action in BY_TASK
        selected = (order.selection.queue,) if by_task and order.selection.queue is not None else order.queues
        self._queues = _queues(found, selected)
        self._aim = order.aim(self._queues[0].name if selected else None) if by_task else None
        if order.action in ("pause", "resume", "clear"):
            order.of_queue()
        elif order.action == "prune":
            order.prunes("", now)

    def tasks(self) -> Iterator[TaskState]:
        """Those that would be touched, in the order in which they would be."""
        if self._aim is not None:
            yield from self._obedient(self._aim)
            return
        for queue in self._queues:
            if self._order.action == "clear":
                yield from to_clear(queue, self._now)
            else:
                chosen = self._order.prunes(queue.name, self._now)
                yield from (task for task in self._stock([queue]).newest(chosen, None) if not self._pinned(task.id))

    def _obedient(self, aim: Aim) -> Iterator[TaskState]:
        stock, known, past = self._stock(self._queues), self._found.state.queues, None
        while chunk := aim.chunk(stock, past):
            past = chunk[-1].seq
            yield from (task for task in chunk if self._rehearsal.count(known[task.queue], task, aim.command(task.id)))

    def queues_touched(self) -> int:
        """By a pause or a resume."""
        command = self._order.of_queue()
        answers = [decide(queue, [command], self._now, Env()).answers[0] for queue in self._queues]
        return sum(answer.count for answer in answers if type(answer) is Accepted)

    def named(self) -> Outcome:
        """Of tasks by their ids: each is taken, or refused for a reason."""
        taken: list[str] = []
        refused: list[tuple[str, str]] = []
        for id in dict.fromkeys(self._order.ids):
            why = self._why_not(id)
            if why is None:
                taken.append(id)
            else:
                refused.append((id, why))
        return Outcome(len(taken), tuple(refused), tuple(taken))

    def _why_not(self, id: str) -> str | None:
        """Why the task of this id would refuse; None if it would not."""
        try:
            task = self._task(id_bytes(id))
        except (TaskNotFound, ValueError) as error:
            return str(error)
        if self._aim is None:
            why = why_kept(id, task, task is not None and self._pinned(task.id))
            self.touched += why is None
            return why
        if task is None:
            return no_task(id)
        queue = self._found.state.queues[task.queue]
        if task.state in TERMINAL and task.id not in queue.tasks and self._order.action != "retry":
            return has_ended(id, task)
        answer = self._rehearsal.answer(queue, task, self._aim.command(task.id))
        if type(answer) is not Accepted:
            return answer.message  # type: ignore[union-attr]
        self.touched += answer.count
        return None

    def _task(self, id: bytes) -> TaskState | None:
        for queue in self._found.state.queues.values():
            if (task := queue.tasks.get(id)) is not None:
                return None if expired(task, self._now) else task
        return self._found.catalog.get(id, self._now)

    def _pinned(self, id: bytes) -> bool:
        return pinned(id, (queue.waits for queue in self._found.state.queues.values()))

    def _stock(self, queues: list[QueueState]) -> Stock:
        return Stock(queues, self._found.catalog, self._now)


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


__all__ = ["foresee", "needless"]

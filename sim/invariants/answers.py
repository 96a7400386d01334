"""What callers are told: acknowledgements, refusals and reads, each against what is durable (laws 3 and 9).

A call has a beginning and an end, and an answer may be a picture of any moment between the two.  So a picture is right when it fits the
task as it stood after some event that was durable by the end, no older than what was durable at the beginning; and a list or a
count is right when it holds everything that did not change meanwhile, and nothing that was never so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, Final

from journeyman.engine import DuplicateTask, NotCancellable, NotRetryable, QueueFull, Task, TaskNotFound
from journeyman.engine.ids import id_bytes
from journeyman.journal.cbor import CodecError, decode
from journeyman.journal.instants import instant_of
from journeyman.journal.store import Table
from journeyman.sim.invariants.invariant import Invariant
from journeyman.sim.oracle import STATES, Work

_ALIKE: Final = ("seq", "handler", "attempt", "failures", "crashes", "priority", "reason")
_INSTANTS: Final = ("submitted_at", "due_at", "started_at", "finished_at", "expires_at")


class AcknowledgedIsDurable(Invariant):
    """What was acknowledged is on the disk: the tasks of a submit, the cancel, retry, pause or resume.

    And it stays: a task that was acknowledged is in the journal or was pruned as it may be (`NothingPrunedEarly`), over all crashes.
    """

    name = "nothing acknowledged is lost"
    calls = frozenset({"submit", "submit_many", "cancel", "retry", "pause", "resume"})

    def __init__(self, witness: Any) -> None:
        super().__init__(witness)
        self._acknowledged = witness.acknowledged

    def answered(self, asked: Any, answer: Any, error: BaseException | None) -> None:
        if error is not None:
            return
        if asked.name == "submit":
            self._submitted([answer])
        elif asked.name == "submit_many":
            self._submitted(answer)
        elif asked.name in ("cancel", "retry") and asked.task is not None:
            self._operated(asked)
        elif asked.name in ("pause", "resume"):
            lane = self.oracle.lane(asked.stored(asked.value("queue", 0)))
            if lane.paused is not (asked.name == "pause") and lane.pause_seq <= asked.seq:
                self.broken(f"{asked.name}({lane.name!r}) was acknowledged and is not in the journal")

    def _submitted(self, handles: Iterable[Any]) -> None:
        for handle in handles:
            id = handle._id
            if id not in self.oracle.tasks and id not in self.oracle.gone_ids:
                self.broken(f"task {handle.id} was acknowledged before its commit")
            self._acknowledged[id] = None

    def _operated(self, asked: Any) -> None:
        work = self.oracle.known(asked.task)
        if work is None:
            return
        if asked.name == "cancel" and not work.ended and work.cancel is None and not self._since(work, asked, "TaskRetried"):
            self.broken(f"the cancel of {work} was acknowledged and is not in the journal")
        if asked.name == "retry" and not self._since(work, asked, "TaskRetried"):
            self.broken(f"the retry of {work} was acknowledged and is not in the journal")

    @staticmethod
    def _since(work: Work, asked: Any, kind: str) -> bool:
        return any(seq > asked.seq and type(event).__name__ == kind for seq, event in work.events)

    def finish(self) -> None:
        for id in self._acknowledged:
            if id not in self.oracle.tasks and id not in self.oracle.gone_ids:
                self.broken(f"task {id.hex()} was acknowledged and is gone")
                return


class RefusalsAreTrue(Invariant):
    """A refused call changed nothing, and its reason held at some moment of the call."""

    name = "refusals are true and change nothing"
    calls = frozenset()

    def answered(self, asked: Any, answer: Any, error: BaseException | None) -> None:
        if error is None:
            return
        if isinstance(error, QueueFull) and asked.name == "submit" and self.oracle.newest_seq == asked.seq:
            self._full(asked)
        work = None if asked.task is None else self.oracle.known(asked.task)
        if isinstance(error, DuplicateTask) and asked.name == "submit" and asked.task is not None and work is None:
            if "unique" not in (getattr(asked.args[0].spec, "fixed", None) or {}) and asked.task not in self.oracle.gone_ids:
                self.broken(f"a submit was refused as a duplicate of {asked.task.hex()}, and no such task was ever durable")
        elif isinstance(error, NotCancellable) and work is not None:
            allowed = work_states(self.oracle.lives(work, asked.seq))
            if not allowed & {"succeeded", "failed", "cancelled", "interrupted"} and asked.value("running", 9, True):
                self.broken(f"the cancel of {work} was refused as if it had ended")
            self._nothing(work, asked, "CancelRequested", "TaskCancelled")
        elif isinstance(error, NotRetryable) and work is not None and asked.name == "retry":
            key = work.options.get("unique")
            taken = key is not None and (bool(self.oracle.lane(work.queue).keys.get(key)) or self.oracle.newest_seq != asked.seq)
            if not taken and all(
                life.state in ("failed", "cancelled", "interrupted") and life.keep_payload for life in self.oracle.lives(work, asked.seq)
            ):
                self.broken(f"the retry of {work} was refused")
            self._nothing(work, asked, "TaskRetried")

    def _full(self, asked: Any) -> None:
        queue = asked.queue
        actor = None if asked.shell is None else asked.shell.actors.get(queue)
        if actor is None or (actor.budget is not None and actor.budget.pending is not None):
            return  # NamespaceWithinBudget knows what waits in a whole namespace
        lane = self.oracle.lane(queue)
        limit = lane.policy.get("max_pending")
        # A handler that ran when this was decided may have had room promised to its `ctx.submit`, and given it back since.
        promised = any(other.running for other in self.oracle.lanes.values())
        if limit is None or (not promised and lane.waiting + actor.reserved < limit):
            self.broken(f"a submit was refused with {lane.waiting} waiting in {queue!r}, which allows {limit}")

    def _nothing(self, work: Work, asked: Any, *kinds: str) -> None:
        """No event of these kinds since the call began, if no other call was under way with it."""
        if not asked.alone or not self.witness.alone(asked):
            return
        for seq, event in work.events:
            follows = type(event).__name__ == "TaskCancelled" and event.attempt  # of a cancel that was asked for before
            if seq > asked.seq and type(event).__name__ in kinds and event.by == "api" and not follows:
                self.broken(f"{asked.name} of {work} was refused, and {type(event).__name__} is in the journal at {seq}")


def work_states(lives: Iterable[Work]) -> set[str]:
    return {life.state for life in lives}


class AnswersAgree(Invariant):
    """What `get`, `wait`, `list`, `count`, `stats` and `history` answer is what the durable events come to, nothing expired among it."""

    name = "answers agree with what is durable"
    calls = frozenset({"get", "wait", "list", "count", "stats", "history"})

    def answered(self, asked: Any, answer: Any, error: BaseException | None) -> None:
        if error is not None:
            if isinstance(error, TaskNotFound) and asked.task is not None and asked.steady:
                self._not_found(asked)
            return
        if asked.name in ("get", "wait"):
            if asked.task is not None and id_bytes(answer.id) != asked.task:
                self.broken(f"{asked.name}() for {asked.task.hex()} answered with {answer.id}")
            self._picture(asked, answer)
            if asked.name == "wait" and answer.state.value in ("pending", "scheduled", "running", "retrying"):
                self.broken(f"wait() for {answer.id} answered with a task that is {answer.state}")
        elif asked.name == "list":
            self._list(asked, answer)
        elif asked.name == "count" and asked.steady:
            self._between(asked, answer, *self._bounds(asked, Filter(asked)), what=f"count{asked.args}{asked.kwargs}")
        elif asked.name == "stats" and asked.steady:
            self._stats(asked, answer)
        elif asked.name == "history":
            self._history(asked, answer)

    # --- one task -----------------------------------------------------------------------------------------------------

    def _not_found(self, asked: Any) -> None:
        work = self.oracle.tasks.get(asked.task)
        if work is not None and asked.called(work.queue) is None:
            return  # it is another's
        if work is not None and work.seq <= asked.seq and not work.expired(self.witness.kernel_now):
            self.broken(f"{work} was not found by {asked.name}(), and is kept until {work.expires_at}")

    def _picture(self, asked: Any, task: Task) -> Work | None:
        id = id_bytes(task.id)
        work = self.oracle.by_seq.get(task.seq) or self.oracle.gone.get(id)
        if work is None or work.seq != task.seq:
            if id not in self.oracle.gone_ids:
                self.broken(f"{asked.name}() showed {task.id}, which is not durable")
            return None
        if asked.called(work.queue) is None:
            self.broken(f"{asked.name}() of namespace {asked.namespace!r} showed {work}")
        if task.queue != asked.called(work.queue):
            self.broken(f"{asked.name}() showed {work} in queue {task.queue!r}")
        times = (asked.kernel_at, self.witness.kernel_now)
        differs = ""
        for life in self.oracle.lives(work, asked.seq if asked.name != "wait" else 0):
            differs = _difference(task, life, times)
            if not differs:
                self._result(asked, task, life)
                break
        else:
            self.broken(f"{asked.name}() showed {work} with {_difference(task, work, times)}")
        if asked.name != "wait" and task.expires_at is not None and task.expires_at <= instant_of(asked.kernel_at) and asked.steady:
            self.broken(f"{asked.name}() showed {work}, which had expired at {task.expires_at}")
        return work

    def _result(self, asked: Any, task: Task, life: Work) -> None:
        """The result is that of this very task, as it was stored."""
        if asked.name == "list" or not life.result_seq:
            return
        data = self.witness.disk.get(Table.PAYLOADS, life.result_seq.to_bytes(8, "big"))
        if data is None:
            return
        try:
            stored = decode(data)
        except CodecError:
            return
        found = task.result
        if type(stored) is type(found) and isinstance(stored, (int, str, bytes)) and stored != found:
            self.broken(f"{asked.name}() showed {life} with the result {found!r}, stored is {stored!r}")

    def _history(self, asked: Any, answer: list[Any]) -> None:
        work = None if asked.task is None else self.oracle.known(asked.task)
        if work is None:
            return
        own = [seq for seq, event in work.events if type(event).__name__ != "ClockStepped"]
        told = [event.seq for event in answer]
        if told != own[: len(told)] or (len(told) < len(own) and own[len(told)] <= asked.seq):
            self.broken(f"history() of {work} told records {told}, durable are {own}")

    # --- many tasks ---------------------------------------------------------------------------------------------------

    def _list(self, asked: Any, answer: list[Task]) -> None:
        seqs = [task.seq for task in answer]
        if any(newer <= older for newer, older in pairwise(seqs)):
            self.broken(f"list() is not newest first: {seqs}")
        wanted = Filter(asked)
        for task in answer:
            work = self._picture(asked, task)
            if work is not None and not wanted.admits(work, task.state.value):
                self.broken(f"list({asked.kwargs}) showed {work}")
        if not asked.steady or asked.kwargs.get("before") is not None:
            return
        shown = set(seqs)
        oldest = seqs[-1] if len(answer) == asked.value("limit", 7, 100) else 0
        for work in self.oracle.tasks.values():
            if work.seq > oldest and work.seq not in shown and self._surely(work, asked, wanted):
                self.broken(f"list({asked.kwargs}) left out {work}")
                return

    def _surely(self, work: Work, asked: Any, wanted: Filter) -> bool:
        """Whether the task matched during the whole call."""
        now = self.witness.kernel_now
        if work.events[-1][0] > asked.seq or work.expired(now):
            return False
        state = work.shown(asked.kernel_at)
        return state == work.shown(now) and wanted.admits(work, state)

    def _bounds(self, asked: Any, wanted: Filter) -> tuple[int, int]:
        """The least and the most tasks that can have matched at one moment of the call."""
        least = most = 0
        now = self.witness.kernel_now
        for work in self.oracle.tasks.values():
            if self._surely(work, asked, wanted):
                least += 1
            elif work.events[-1][0] > asked.seq or work.shown(asked.kernel_at) != work.shown(now) or work.expired(now):
                most += wanted.may_admit(work)
        most += sum(work.pruned_seq > asked.seq for work in self.oracle.gone.values())
        return least, least + most

    def _between(self, asked: Any, found: int, least: int, most: int, *, what: str) -> None:
        if not least <= found <= most:
            self.broken(f"{what} answered {found}, durable are {least}{f' to {most}' if most != least else ''}")

    def _stats(self, asked: Any, answer: Mapping[str, Any]) -> None:
        for name, told in answer.items():
            queue = asked.stored(name)
            lane = self.oracle.lane(queue)
            if told.paused is not lane.paused and lane.pause_seq <= asked.seq:
                self.broken(f"stats() says that {queue!r} is {'' if told.paused else 'not '}paused")
            for state in STATES:
                wanted = Filter(asked, queue=queue, state=state)
                least, most = self._bounds(asked, wanted)
                self._between(asked, told.counts.get(state, 0), least, most, what=f"stats()[{queue!r}].counts[{state!r}]")


class Filter:
    """What a call narrows its answer to, read off its arguments."""

    def __init__(self, asked: Any, queue: str | None = None, state: str | None = None) -> None:
        plain = asked.name == "stats"
        named = None if plain else asked.value("queue", 0)
        self.queue = queue if plain else None if named is None else asked.stored(named)
        self._called = asked.called
        states: Any = state if plain else asked.value("state", 1)
        self.states = None if states is None else {str(states)} if isinstance(states, str) else {str(one) for one in states}
        self.handler = None if plain else asked.value("handler", 2)
        self.options = {} if plain else {n: v for n in ("source", "key", "parent", "unique") if (v := asked.kwargs.get(n)) is not None}
        self.tag = None if plain else asked.kwargs.get("tag")
        self.owner = None if plain else asked.kwargs.get("owner")

    def may_admit(self, work: Work) -> bool:
        """Whatever its state."""
        if work.queue != self.queue if self.queue is not None else self._called(work.queue) is None:
            return False
        if self.handler is not None and work.handler != self.handler:
            return False
        if self.tag is not None and self.tag not in (work.options.get("tags") or ()):
            return False
        if self.owner is not None and tuple(work.options.get("owner") or ()) != tuple(self.owner):
            return False
        return all(work.options.get(name) == (id_bytes(value) if name == "parent" else value) for name, value in self.options.items())

    def admits(self, work: Work, state: str) -> bool:
        return (self.states is None or state in self.states) and self.may_admit(work)


def _difference(task: Task, life: Work, times: tuple[int, int]) -> str:
    """What of the picture does not fit; "" if it all does."""
    for name in _ALIKE:
        if getattr(task, name) != getattr(life, name):
            return f"{name}={getattr(task, name)!r} instead of {getattr(life, name)!r}"
    if task.state.value not in {life.shown(now) for now in times}:
        return f"state={task.state.value} instead of {life.shown(times[0])}"
    for name in _INSTANTS:
        us = getattr(life, name)
        if getattr(task, name) != (None if us is None else instant_of(us)):
            return f"{name}={getattr(task, name)} instead of {None if us is None else instant_of(us)}"
    if life.ended and (task.message != life.message or task.progress != (None if life.ppm is None else life.ppm / 1_000_000)):
        return f"message={task.message!r}, progress={task.progress} instead of {life.message!r}, {life.ppm}"
    if (task.error.type if task.error else None) != (life.error[0] if life.error else None):
        return f"error={task.error.type if task.error else None} instead of {life.error[0] if life.error else None}"
    return ""

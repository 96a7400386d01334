"""Submit: may this task come in, and is it new?

Submits decided together see each other: two with one id are one task, and `max_pending` counts those accepted before in the same
list.  An id is known for as long as its task is remembered at all, a little longer than it is visible: answering "it exists" for
a task that has just expired is the safe side (it did run), starting a second one is not.

Most submits come to one TaskSubmitted each, or to none.  Those with conditions (kernel/conditions.py) may end or move a task that is there
as well; then `Decision.sources` says which command each event comes from, for it is that command's arguments that it may own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from journeyman.kernel.commands import NEW, Accepted, Answer, Decision, Env, Refused, Submit
from journeyman.kernel.conditions import Conditions
from journeyman.kernel.events import DUE_BY_DURATION, Event, TaskSubmitted
from journeyman.kernel.ids import id_text
from journeyman.kernel.namespace import namespace_of, shown_name
from journeyman.kernel.policy import Policy
from journeyman.kernel.state import QueueState
from journeyman.kernel.taskstate import TaskState

_new: Final = tuple.__new__  # a NamedTuple without its Python-level constructor: half the price


def submit(state: QueueState, commands: Sequence[Submit], now: int, env: Env) -> Decision:
    """One answer a command; a TaskSubmitted for each that was accepted and is new, in order."""
    events: list[Event] = []
    answers: list[Answer] = []
    tasks, known, policy = state.tasks, env.known, state.policy
    queue, qseq, epoch = state.name, state.qseq, state.epoch
    max_payload = policy.max_payload
    room = None if policy.max_pending is None else policy.max_pending - state.agenda.waiting - env.reserved
    shared = env.room is not None and (room is None or env.room < room)
    if shared:
        room = env.room
    fresh: dict[bytes, TaskSubmitted] | None = {} if len(commands) > 1 else None
    conditions: Conditions | None = None
    sources: list[int] | None = None
    for command in commands:
        id, handler, priority, due_at, due_kind, size, digest, codec, key_id, options, internal, _ = command
        first: TaskState | TaskSubmitted | None = tasks.get(id)
        if first is None and known:
            first = known.get(id)
        if first is None and fresh:
            first = fresh.get(id)
        if first is not None:
            answers.append(_again(id, queue, handler, size, digest, first))
            continue
        if size > max_payload:
            answers.append(_too_large(queue, size, max_payload))
            continue
        entry = None
        if options is not None and ("unique" in options or "after" in options):
            if conditions is None or sources is None:
                conditions, sources = Conditions(state, now, env), _sources(events, answers)
            entry = conditions.ask(command, fresh or (), qseq + 1)
            if entry.answer is not None:
                if entry.moved is not None:
                    qseq += 1
                    events.append(entry.moved)
                    sources.append(len(answers))
                answers.append(entry.answer)
                continue
            due_at, due_kind, options = entry.due_at, entry.due_kind, entry.options
        if room is not None and not internal:
            if room + (0 if entry is None else len(entry.replaced)) <= 0:
                answers.append(_full(queue, None if shared else policy))
                continue
            room -= 1
        if due_at is None or due_at <= now:  # the past means now, and now came from no instant of the caller's
            due_at, due_kind = now, DUE_BY_DURATION
        qseq += 1
        event = _new(
            TaskSubmitted, (now, queue, qseq, epoch, id, handler, priority, due_at, due_kind, size, digest, codec, key_id, options)
        )  # fmt: skip
        if fresh is not None:
            fresh[id] = event
        if entry is None or conditions is None:
            events.append(event)
        else:
            more = conditions.around(entry, event)
            events += more
            qseq += len(more) - 1
            room = None if room is None else room + len(entry.replaced) + (entry.failed is not None and not internal)
        if sources is not None:
            sources += [len(answers)] * (len(events) - len(sources))
        answers.append(NEW)
    mixed = conditions is not None and conditions.mixed
    return _new(Decision, (events, answers, sources if mixed else None))


def _sources(events: Sequence[Event], answers: Sequence[Answer]) -> list[int]:
    """For the events so far, each a TaskSubmitted, the place of its command."""
    places = [place for place, answer in enumerate(answers) if type(answer) is Accepted and not answer.existing]
    assert len(places) == len(events)
    return places


def _again(id: bytes, queue: str, handler: str, size: int, digest: bytes, first: TaskState | TaskSubmitted) -> Answer:
    """The same id again: the first task if it is the same work, else a duplicate.

    A debounced submit may have given it later arguments since; those it was submitted with are its own as well.
    """
    if first.queue == queue and first.handler == handler:
        if first.payload_digest == digest and first.payload_len == size:
            return Accepted(id, existing=True)
        if type(first) is TaskState and first.first_digest == digest:
            return Accepted(id, existing=True)
    if namespace_of(first.queue) != namespace_of(queue):
        return Refused("DuplicateTask", f"id {id_text(id)} is taken, outside this namespace; give this task one of its own")
    elsewhere = f"queue {shown_name(first.queue)!r}" if first.queue != queue else ""
    what = elsewhere or ("another handler" if first.handler != handler else "other arguments")
    return Refused("DuplicateTask", f"task {id_text(id)} exists with {what}; give this one an id of its own")


def _full(queue: str, policy: Policy | None) -> Refused:
    """`policy` None: it is the namespace that is full."""
    text = (
        f"queue {shown_name(queue)!r} holds max_pending={policy.max_pending} waiting tasks; try again later or raise max_pending"
        if (policy is not None)
        else f"namespace {namespace_of(queue)!r} holds as many waiting tasks as its limits allow; try again later"
    )
    return Refused("QueueFull", text)


def _too_large(queue: str, size: int, limit: int) -> Refused:
    text = f"the encoded arguments are {size} bytes, queue {shown_name(queue)!r} takes {limit}; store them elsewhere or raise max_payload"
    return Refused("PayloadTooLarge", text, (size, limit))


__all__ = ["submit"]

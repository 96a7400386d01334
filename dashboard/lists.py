"""Lists of tasks, a page at a time: newest first, or in the order of instants.

Problem.  A journal holds a million tasks and a page shows fifty.  Choice: by queue and state the lists of the engine's own listing are
walked (engine/reading.py), from a seq on and no further than the page; so a page costs by what it shows.  Filters that no index knows
(handler, owner, tag, key ...) are asked of each task on the way, of LOOKED_AT at most: then the page says how far it came, and its link
goes on from there.  A render is bounded, whatever is asked for.

What is due later stands in a heap, which is walked in order without being changed (`_rising`); from a cursor on the whole heap is looked
through, which takes a third of a second for a million.

A page is a dict of plain values: templates draw it, and `?format=json` is it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

from journeyman.dashboard.asked import Question
from journeyman.dashboard.shown import Hiding, cut
from journeyman.engine.reading import Filters, Stock
from journeyman.journal.following import Newest
from journeyman.kernel.bounds import PPM
from journeyman.kernel.ids import id_text
from journeyman.kernel.lifecycle import State, observed
from journeyman.kernel.namespace import shown_name
from journeyman.kernel.state import QueueState
from journeyman.kernel.taskstate import TaskState

LOOKED_AT: Final = 20_000  # tasks a page: a fifth of a second
_LINE: Final = 200  # characters of what is said of a task in a list
_Due = tuple[int, int, TaskState]


def newest_first(newest: Newest, asked: Question, hiding: Hiding) -> dict[str, Any]:
    """A page by falling seq."""
    filters, (before, after, limit) = asked.filters, asked.paging
    coarse = Filters(queue=filters.queue, states=filters.states)
    stock = Stock(_queues(newest, filters), newest.catalog, newest.now)
    upwards = after is not None
    stream = stock.oldest(coarse, after[0]) if after is not None else stock.newest(coarse, None if before is None else before[0])
    rows, seen = _sift(stream, filters, limit + 1)
    more = len(rows) > limit
    rows = rows[:limit]
    stopped = None if more or seen is None else seen.seq  # the last one that was looked at, where it is not the end
    beyond = rows[-1].seq if more else stopped
    if upwards:
        rows.reverse()
        older = (rows[0].seq if rows else after[0] + 1) if after is not None else None
        older = rows[-1].seq if rows else older
        return _page(newest, asked, rows, hiding, None if older is None else (older,), None if beyond is None else (beyond,), stopped)
    back = None if before is None else ((rows[0].seq,) if rows else (before[0] - 1,))
    return _page(newest, asked, rows, hiding, None if beyond is None else (beyond,), back, stopped)


def _sift(stream: Iterable[TaskState], filters: Filters, wanted: int) -> tuple[list[TaskState], TaskState | None]:
    """Up to `wanted` tasks that match, and the last that was looked at if that is not all there is."""
    if filters.coarse:
        return list(islice(stream, wanted)), None
    found: list[TaskState] = []
    for looked, task in enumerate(stream, 1):
        if filters.admit(task):
            found.append(task)
            if len(found) == wanted:
                return found, None
        if looked == LOOKED_AT:
            return found, task
    return found, None


def running(newest: Newest, asked: Question, hiding: Hiding) -> dict[str, Any]:
    """What runs, the longest first."""
    entries = ((task.started_at or 0, task.seq, task) for queue in _queues(newest, asked.filters) for task in queue.running.values())
    return _by_instant(newest, asked, entries, hiding)


def upcoming(newest: Newest, asked: Question, hiding: Hiding) -> dict[str, Any]:
    """What is due later (scheduled, or waiting for its backoff), by due instant."""
    queues = _queues(newest, asked.filters)
    for queue in queues:
        queue.advance(newest.now)
    if asked.filters.coarse and asked.paging.before is None and asked.paging.after is None:
        entries: Iterable[_Due] = islice(heapq.merge(*(_rising(queue) for queue in queues)), asked.paging.limit + 1)
    else:
        entries = (entry for queue in queues for entry in queue.agenda.later if entry[2].entry is entry)
    return _by_instant(newest, asked, entries, hiding)


def _rising(queue: QueueState) -> Iterator[_Due]:
    """The entries of the queue's heap in order, those that still stand for a task; the heap stays as it is."""
    heap = queue.agenda.later
    front = [(heap[0], 0)] if heap else []
    while front:
        entry, place = heapq.heappop(front)
        for child in (2 * place + 1, 2 * place + 2):
            if child < len(heap):
                heapq.heappush(front, (heap[child], child))
        if entry[2].entry is entry:
            yield entry


def _by_instant(newest: Newest, asked: Question, entries: Iterable[_Due], hiding: Hiding) -> dict[str, Any]:
    before, after, limit = asked.paging
    admitted = (entry for entry in entries if asked.filters.admit(entry[2]) and entry[2].shown is not None)
    if before is not None:
        some = heapq.nlargest(limit + 1, (entry for entry in admitted if entry[:2] < before))
        more, some = len(some) > limit, some[:limit][::-1]
        forward = some[-1][:2] if some else (before[0], max(0, before[1] - 1))
        return _page(newest, asked, [entry[2] for entry in some], hiding, forward, some[0][:2] if more else None, None)
    some = heapq.nsmallest(limit + 1, admitted if after is None else (entry for entry in admitted if entry[:2] > after))
    more, some = len(some) > limit, some[:limit]
    back = None if after is None else (some[0][:2] if some else (after[0], after[1] + 1))
    page = _page(newest, asked, [entry[2] for entry in some], hiding, None, back, None)
    if more:
        page["next"] = _places(some[-1][:2], "after")
    return page


def _page(
    newest: Newest, asked: Question, tasks: Sequence[TaskState], hiding: Hiding,
    older: tuple[int, ...] | None, newer: tuple[int, ...] | None, stopped: int | None,
) -> dict[str, Any]:  # fmt: skip
    """`older` and `newer`: the places at which the neighbouring pages begin."""
    by_instant = (older is not None and len(older) == 2) or (newer is not None and len(newer) == 2)
    return {
        "now_us": newest.now,
        "given": asked.given,
        "rows": [row(newest, task, hiding) for task in tasks],
        "next": None if older is None else _places(older, "after" if by_instant else "before"),
        "previous": None if newer is None else _places(newer, "before" if by_instant else "after"),
        "looked_at": LOOKED_AT if stopped is not None else None,
    }


def _places(place: tuple[int, ...], name: str) -> dict[str, str]:
    return {name: ".".join(map(str, place))}


def row(newest: Newest, task: TaskState, hiding: Hiding) -> dict[str, Any]:
    """What a list says of a task."""
    state = observed(task.state, task.due_at, newest.now)
    return {
        "id": id_text(task.id),
        "seq": task.seq,
        "queue": shown_name(task.queue),
        "handler": task.handler,
        "state": state.value,
        "attempt": task.attempt,
        "failures": task.failures,
        "priority": task.priority,
        "submitted_at_us": task.submitted_at,
        "due_at_us": task.due_at,
        "started_at_us": task.started_at,
        "finished_at_us": task.finished_at,
        "elapsed_us": task.elapsed_us,
        "said": cut(_said(newest, task, state, hiding), _LINE),
    }


def _said(newest: Newest, task: TaskState, state: State, hiding: Hiding) -> str:
    """One line: the error, the reason or the progress."""
    if state is State.RUNNING:
        part = "" if task.progress_ppm is None else f"{task.progress_ppm / PPM:.0%}"
        said = " ".join(filter(None, (part, task.message or "", "asked to stop" if task.cancel else "")))
    elif state is State.SUCCEEDED:
        return ""
    elif task.error is not None and state in (State.FAILED, State.RETRYING, State.PENDING, State.SCHEDULED):
        said = f"{task.error[0]}: {task.error[1]}"
    elif task.waits_for:
        some = len(task.waits_for)
        return "waits for 1 other" if some == 1 else f"waits for {some:,} others"
    else:
        said = task.reason or ""
    return hiding.said(newest, task, said) if said else ""


def _queues(newest: Newest, filters: Filters) -> list[QueueState]:
    queues = newest.state.queues
    return list(queues.values()) if filters.queue is None else [queues[filters.queue]]


__all__ = ["LOOKED_AT", "newest_first", "row", "running", "upcoming"]

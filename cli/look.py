"""`journeyman stats` and `journeyman queues`: what is there."""

from __future__ import annotations

import math
from collections import Counter
from typing import Annotated, Any

import typer

from journeyman.cli.failures import command
from journeyman.cli.screen import AsJson, JournalPath, Screen, size, span
from journeyman.journal.summary import EventCount, QueueSummary, Summary, count_events, payload_bytes, per_second, summary
from journeyman.journal.view import JournalView, open_journal
from journeyman.kernel.lifecycle import State

commands = typer.Typer()
_STATES = tuple(State)


@command(commands)
def stats(
    path: JournalPath,
    fast: Annotated[bool, typer.Option("--fast", help="Leave out what needs a pass over all events.")] = False,
    as_json: AsJson = False,
) -> None:
    """What a journal holds: tasks by state, events by kind, sizes, readers."""
    screen = Screen(as_json)
    with open_journal(path) as view:
        found = summary(view)
        counted = None if fast else _count(screen, view, found)
    if as_json:
        screen.json(_stats_json(found, counted))
        return
    totals: Counter[State] = Counter()
    for queue in found.queues:
        totals.update(queue.counts)
    _show_stats(screen, found, counted, totals)


@command(commands)
def queues(path: JournalPath, as_json: AsJson = False) -> None:
    """Each queue: its tasks by state, the oldest that is due, whether it is paused."""
    screen = Screen(as_json)
    with open_journal(path) as view:
        found = summary(view)
    if as_json:
        screen.json([_queue_json(queue) for queue in found.queues])
        return
    columns = ("queue", *(state.value for state in _STATES), "oldest due", "")
    rows = [
        (queue.name, *(queue.counts[state] or "" for state in _STATES), span(queue.oldest_pending_us), _remarks(queue))
        for queue in found.queues
    ]
    screen.table(None, columns, rows, right=columns[1:-1])


def _count(screen: Screen, view: JournalView, found: Summary) -> tuple[EventCount, int]:
    with screen.progress("counting events", found.last_seq - found.first_seq + 1) as bar:
        events = count_events(view, bar.to)
    with screen.progress("weighing arguments and results") as bar:
        return events, payload_bytes(view, bar.to)


def _show_stats(screen: Screen, found: Summary, counted: tuple[EventCount, int] | None, totals: Counter[State]) -> None:
    gauge = found.gauge
    owner = "none" if found.owner is None else f"process {found.owner}" if found.owner else "a process that cannot be seen from here"
    pairs: list[tuple[str, Any]] = [
        ("journal", found.path),
        ("engine", owner + ("" if found.clean or found.owner is not None else "; the last one died")),
        ("boots", found.boots),
        ("events", f"seq {found.first_seq} to {found.last_seq}, checkpoint at {found.checkpoint_seq}, {found.tail} after it"),
        ("tasks", found.tasks),
        *((f"  {state.value}", totals[state]) for state in _STATES if totals[state]),
        *([("  expired", f"{found.expired} more, which the next prune takes")] if found.expired else []),
        ("file", f"{size(found.file_bytes)} of data, map {size(gauge.map_used)} used of {size(gauge.map_size)}"),
        ("disk", f"{size(gauge.disk_free)} free of {size(gauge.disk_size)}"),
        ("readers", f"{gauge.readers}, the oldest {gauge.reader_lag} commits behind"),
    ]
    screen.facts(pairs)
    if counted is None:
        return
    events, payloads = counted
    rate = per_second(events.records, events.first_at, events.last_at)
    weight = (events.bytes + payloads) / found.tasks if found.tasks else math.nan
    screen.facts(
        [
            ("records", f"{events.records}, {size(events.bytes)}; arguments and results {size(payloads)}"),
            ("a task", "" if math.isnan(weight) else f"{weight:.0f} B"),
            ("rate", "" if math.isnan(rate) else f"{rate:.3g} events/s over {span(events.last_at - events.first_at)}"),
        ]
    )
    screen.say("")
    screen.table(None, ("kind", "events"), sorted(events.kinds.items(), key=lambda pair: -pair[1]), right=("events",))


def _stats_json(found: Summary, counted: tuple[EventCount, int] | None) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "path": found.path,
        "owner_pid": found.owner,
        "boots": found.boots,
        "clean": found.clean,
        "first_seq": found.first_seq,
        "last_seq": found.last_seq,
        "checkpoint_seq": found.checkpoint_seq,
        "tail": found.tail,
        "tasks": found.tasks,
        "expired": found.expired,
        "queues": [_queue_json(queue) for queue in found.queues],
        "file_bytes": found.file_bytes,
        **found.gauge._asdict(),
    }
    if counted is not None:
        events, payloads = counted
        answer |= {
            "records": events.records,
            "record_bytes": events.bytes,
            "payload_bytes": payloads,
            "events": events.kinds,
            "first_at_us": events.first_at,
            "last_at_us": events.last_at,
        }
    return answer


def _queue_json(queue: QueueSummary) -> dict[str, Any]:
    paused = queue.paused
    return {
        "queue": queue.name,
        "namespace": queue.namespace,
        "counts": {state.value: queue.counts[state] for state in _STATES},
        "oldest_pending_us": queue.oldest_pending_us,
        "concurrency": queue.concurrency,
        "paused": None if paused is None else {"by": paused[0], "reason": paused[1], "at_us": paused[2]},
        "parked_until_us": queue.parked_until or None,
        "keys": queue.keys,
        "schedules": queue.schedules,
        "configured_live": queue.live_change,
    }


def _remarks(queue: QueueSummary) -> str:
    found = []
    if queue.paused is not None:
        by, reason, _ = queue.paused
        found.append("paused" + (f" by {by}" if by else "") + (f": {reason}" if reason else ""))
    if queue.parked_until:
        found.append("parked")
    if queue.live_change:
        found.append("configured live")
    return "; ".join(found)


__all__ = ["commands"]

"""The pages about a whole journal: its queues, one queue, its schedules, where it stands on disk.

Counts, rates and percentiles are those of `journeyman top` (journal/watching.py): read off the indexes that the kernel keeps.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from journeyman.actors.recurrence import calendar_of
from journeyman.dashboard.shown import cut
from journeyman.journal.following import Newest
from journeyman.journal.policies import policy_words
from journeyman.journal.watching import QueuePicture
from journeyman.kernel.ids import id_text
from journeyman.kernel.lifecycle import State
from journeyman.kernel.namespace import shown_name
from journeyman.kernel.schedule import ScheduleState
from journeyman.kernel.state import QueueState

_REASON: Final = 500
QUEUES: Final = 500  # on one page
SCHEDULES: Final = 1_000


def overview(newest: Newest) -> dict[str, Any]:
    """Every queue in a line, the busiest first where there are too many."""
    picture = newest.picture
    pictures = picture.queues
    if len(pictures) > QUEUES:
        pictures = sorted(pictures, key=lambda queue: -queue.busy)[:QUEUES]
    states = {shown_name(name): queue for name, queue in newest.state.queues.items()}
    totals: Counter[str] = Counter()
    for queue in picture.queues:
        totals.update({state.value: count for state, count in queue.counts.items()})
    return {
        "now_us": newest.now,
        "owner_pid": newest.owner,
        "clean": newest.state.clean,
        "last_seq": picture.last_seq,
        "events_per_s": picture.events / max(1.0, picture.window_us / 1e6),
        "totals": {state.value: totals[state.value] for state in State},
        "queues": [_line(one, states[one.name], newest) for one in pictures],
        "queues_left_out": len(picture.queues) - len(pictures),
    }


def _line(one: QueuePicture, queue: QueueState, newest: Newest) -> dict[str, Any]:
    paused = one.paused
    return {
        "name": one.name,
        "counts": {state.value: one.counts[state] for state in State},
        "oldest_due_us": one.oldest_due_us,
        "concurrency": one.concurrency,
        "rates": one.rates._asdict(),
        "run": {"p50_us": one.durations.p50, "p99_us": one.durations.p99},
        "wait": {"p50_us": one.waits.p50, "p99_us": one.waits.p99},
        "paused": None if paused is None else {"by": paused[0], "reason": cut(paused[1], _REASON), "at_us": paused[2]},
        "parked": {"until_at_us": one.parked_until, "reason": cut(queue.parked_why, _REASON)} if one.parked_until else None,
        "configured_live": queue.changed_live,
    }


def queue_page(newest: Newest, name: str) -> dict[str, Any]:
    """One queue, by its stored name: its counts, its policy, its schedules."""
    queue = newest.state.queues[name]
    shown = shown_name(name)
    declared = queue.policy.facts() if queue.declared is None else queue.declared.facts()
    return {
        "now_us": newest.now,
        **_line(next(one for one in newest.picture.queues if one.name == shown), queue, newest),
        "policy": [
            {"name": words[0], "value": words[1], "declared": policy_words(fact, declared[fact])[1] if declared[fact] != value else None}
            for fact, value in queue.policy.facts().items()
            for words in (policy_words(fact, value),)
        ],
        "schedules": [_schedule(shown, queue, one, newest.now) for _, one in sorted(queue.schedules.items())[:SCHEDULES]],
    }


def schedules(newest: Newest) -> dict[str, Any]:
    """All recurring tasks, by queue and name."""
    found = [
        _schedule(shown_name(name), queue, one, newest.now)
        for name, queue in sorted(newest.state.queues.items())
        for _, one in sorted(queue.schedules.items())[:SCHEDULES]
    ]
    return {"now_us": newest.now, "schedules": found[:SCHEDULES], "left_out": max(0, len(found) - SCHEDULES)}


def _schedule(shown: str, queue: QueueState, one: ScheduleState, now: int) -> dict[str, Any]:
    spec = one.spec
    try:
        next_at, trouble = one.next_after(max(one.cursor, now), calendar_of(one)), None
    except (ImportError, ValueError) as error:
        next_at, trouble = None, str(error)
    return {
        "name": one.name,
        "queue": shown,
        "handler": spec["handler"],
        "cron": spec["cron"],
        "every_us": spec["every_us"],
        "timezone": spec["timezone"],
        "misfire": spec["misfire"],
        "overlap": spec["overlap"],
        "next_at_us": next_at,
        "last_at_us": one.last_at,
        "last_task": None if one.last_task is None else id_text(one.last_task),
        "fired": one.fired,
        "skipped_at_us": one.skipped_at,
        "skipped": cut(one.skipped_why, _REASON) or None,
        "paused": queue.paused is not None,
        "trouble": trouble,
    }


def journal_page(newest: Newest) -> dict[str, Any]:
    """Where it is, how large, how often it was opened."""
    view = newest.view
    return {
        "now_us": newest.now,
        "path": view.path,
        "owner_pid": newest.owner,
        "clean": newest.state.clean,
        "boots": newest.state.boots,
        "first_seq": view.first_seq,
        "last_seq": newest.picture.last_seq,
        "newest_event_at_us": newest.state.last_at or None,
        "file_bytes": view.file_bytes,
        **{f"{name}_bytes" if name not in ("readers", "reader_lag") else name: value for name, value in newest.gauge._asdict().items()},
    }


__all__ = ["journal_page", "overview", "queue_page", "schedules"]

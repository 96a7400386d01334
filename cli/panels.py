"""What `journeyman top` shows, as cells and lines of text: the live screen and `--once` draw the same ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Final

from journeyman.cli.screen import instant, span
from journeyman.journal.activity import Spread
from journeyman.journal.cbor import CodecError, decode_payload
from journeyman.journal.echoes import echoes_of
from journeyman.journal.following import Timeline
from journeyman.journal.history import HistoryEvent
from journeyman.journal.instants import instant_us
from journeyman.journal.lines import words
from journeyman.journal.redaction import Redaction
from journeyman.journal.watching import DeadLetter, Picture, QueuePicture, RunPicture
from journeyman.kernel.bounds import PPM
from journeyman.kernel.events import Event
from journeyman.kernel.ids import id_text
from journeyman.kernel.lifecycle import State
from journeyman.kernel.namespace import shown_name

QUEUES: Final = ("queue", "pending", "running", "sched.", "retry", "ok", "failed", "other", "oldest due", "in/min", "start", "end", "fail",
                 "run p50", "p99", "wait p50", "p99", "")  # fmt: skip
RUNS: Final = ("running task", "queue", "handler", "run", "age", "progress")
DEAD: Final = ("dead letter", "queue", "handler", "runs", "error", "at")
EVENTS: Final = ("seq", "at", "kind", "queue", "task", "")
NUMBERS: Final = frozenset({*QUEUES[1:-1], "run", "runs", "age", "seq"})
_TIMES: Final = {"due_at": "due", "eligible_at": "eligible", "expires_at": "expires", "until_at": "until", "deadline_at": "deadline"}
_UNTOLD: Final = frozenset({
    "error", "payload_len", "payload_digest", "codec", "key_id", "tat_at", "key_tat_at", "due_kind", "keep_payload", "result_digest", "row",
    "policy", "entries", "residue", "cost", "place_at", "first_digest", "queues", "totals", "spec",
})  # fmt: skip
_LINE: Final = 160


def one_line(text: str, most: int = _LINE) -> str:
    """As much of it as fits, without what would move the cursor."""
    line = "".join(char if char.isprintable() else " " for char in text[: most + 1])
    return line if len(line) <= most else line[: most - 1] + "\u2026"


def headline(picture: Picture, owner: int | None) -> str:
    """One line: the engine, the pace, the totals."""
    engine = "no engine" if owner is None else f"engine {owner}" if owner else "an engine in another container"
    seconds = max(1.0, picture.window_us / 1e6)
    counts = ", ".join(f"{picture.total(state):,} {state.value}" for state in State if picture.total(state))
    note = f" \u00b7 {picture.note}" if picture.note else ""
    return f"{engine} \u00b7 seq {picture.last_seq:,} \u00b7 {picture.events / seconds:,.3g} events/s \u00b7 {counts or 'no tasks'}{note}"


def queue_cells(queue: QueuePicture) -> tuple[str, ...]:
    counts, rates = queue.counts, queue.rates
    other = counts[State.CANCELLED] + counts[State.INTERRUPTED]
    known = (State.PENDING, State.RUNNING, State.SCHEDULED, State.RETRYING, State.SUCCEEDED, State.FAILED)
    return (
        one_line(queue.name, 40), *(_some(counts[state]) for state in known), _some(other), span(queue.oldest_due_us), *map(_some, rates),
        *_spans(queue.durations), *_spans(queue.waits), _remarks(queue),
    )  # fmt: skip


def run_cells(run: RunPicture) -> tuple[str, ...]:
    progress = "" if run.progress_ppm is None else f"{run.progress_ppm / PPM:.0%}"
    words = " ".join(word for word in (progress, run.message or "", "(cancelling)" if run.cancelling else "") if word)
    return (id_text(run.task), one_line(run.queue, 40), run.handler, str(run.attempt), span(run.age_us), one_line(words, 60))


def dead_cells(letter: DeadLetter) -> tuple[str, ...]:
    error = one_line(letter.error or letter.reason, 80)
    return id_text(letter.task), one_line(shown_name(letter.queue), 40), letter.handler, str(letter.runs), error, instant(letter.at)


def event_cells(seq: int, event: Event) -> tuple[str, ...]:
    """As `journeyman log` says it."""
    task = getattr(event, "task", None)
    queue = one_line(shown_name(event.queue), 40)
    return str(seq), instant(event.at), type(event).__name__, queue, "" if task is None else id_text(task), one_line(words(event))


def timeline_lines(timeline: Timeline, redaction: Redaction) -> Iterator[str]:
    """A task's whole life: a line for each event, tracebacks below the runs that failed."""
    options, handler = timeline.task.options or {}, timeline.task.handler
    echoes = echoes_of(redaction.learn(timeline.parameters), handler, timeline.payload, options.get("meta"))
    return map(echoes.text, _timeline_lines(timeline, redaction))


def _timeline_lines(timeline: Timeline, redaction: Redaction) -> Iterator[str]:
    task = timeline.task
    yield f"task {id_text(task.id)} of queue {shown_name(task.queue)}, handler {task.handler}: {task.state.value}" + (
        f" ({task.reason})" if task.reason else ""
    )
    yield f"called with {_arguments(timeline, redaction)}"
    yield ""
    first = timeline.events[0].at if timeline.events else None
    for place, event in enumerate(timeline.events):
        if place == 1 and timeline.left_out:
            yield f"... {timeline.left_out:,} events are not shown"
        since = timedelta() if first is None else event.at - first
        said = " ".join(_words(event.kind, event.details, event.attempt, instant_us(event.at), redaction))
        yield f"{instant(instant_us(event.at))}  +{span(since / timedelta(microseconds=1)):<9} {event.kind:<18} {one_line(said)}"
        yield from _traceback(event)


def _traceback(event: HistoryEvent) -> Iterator[str]:
    error = event.details.get("error")
    if error and error[2]:
        for line in str(error[2]).rstrip("\n").split("\n"):
            yield "      " + one_line(line, 500)


def _arguments(timeline: Timeline, redaction: Redaction) -> str:
    if timeline.payload is None:
        return "arguments that were dropped"
    try:
        args, kwargs = decode_payload(timeline.payload)
    except (CodecError, TypeError, ValueError):
        return "arguments that this version cannot read"
    shown, named = redaction.learn(timeline.parameters).call(timeline.task.handler, args, kwargs)
    return one_line("(" + ", ".join([*map(repr, shown), *(f"{name}={value!r}" for name, value in named.items())]) + ")", 2_000)


def _words(kind: str, details: Mapping[str, Any], attempt: int | None, at: int, redaction: Redaction) -> Iterator[str]:
    """What an event says, in the order of its fields."""
    if attempt:
        yield f"run {attempt}"
    if kind == "AttemptStarted" and at > details["eligible_at"]:
        yield f"waited {span(at - details['eligible_at'])}"
    if details.get("error"):
        yield f"{details['error'][0]}: {details['error'][1]}"
    for name, value in details.items():
        if name in _NAMED or name in _UNTOLD or value in (None, "", 0, False):
            continue
        if name in _TIMES:
            if name != "eligible_at" and value > at:
                yield f"{_TIMES[name]} in {span(value - at)}"
        elif name.endswith("_us") and isinstance(value, int):
            yield f"{name.removesuffix('_us')} {span(value)}"
        else:
            yield f"{name}={redaction.value({name: value})[name]}"


_NAMED: Final = frozenset({"at", "queue", "qseq", "epoch", "task", "attempt", "options"})


def _remarks(queue: QueuePicture) -> str:
    if queue.paused is not None:
        by, reason, _ = queue.paused
        return one_line("paused" + (f" by {by}" if by else "") + (f": {reason}" if reason else ""), 40)
    return "parked" if queue.parked_until else ""


def _some(count: int) -> str:
    return f"{count:,}" if count else ""


def _spans(values: Spread) -> tuple[str, str]:
    return span(values.p50), span(values.p99)


def picture_json(picture: Picture, owner: int | None, redaction: Redaction) -> dict[str, Any]:
    """Everything a picture holds; the newest events as cells."""
    return {
        "at_us": picture.now,
        "owner_pid": owner,
        "last_seq": picture.last_seq,
        "window_us": picture.window_us,
        "events": picture.events,
        "queues": [
            {
                "queue": queue.name,
                "counts": {state.value: queue.counts[state] for state in State},
                "oldest_due_us": queue.oldest_due_us,
                "last_minute": queue.rates._asdict(),
                "durations_us": queue.durations._asdict(),
                "waits_us": queue.waits._asdict(),
                "concurrency": queue.concurrency,
                "paused": None
                if queue.paused is None
                else {"by": queue.paused[0], "reason": queue.paused[1], "at_us": queue.paused[2]},
                "parked_until_us": queue.parked_until or None,
            }
            for queue in picture.queues
        ],
        "running": picture.running,
        "runs": [
            {"task": id_text(run.task), "queue": run.queue, "handler": run.handler, "attempt": run.attempt, "age_us": run.age_us}
            for run in picture.runs
        ],
        "dead_letters": [
            {
                "task": id_text(letter.task),
                "queue": shown_name(letter.queue),
                "handler": letter.handler,
                "at_us": letter.at,
                "runs": letter.runs,
                "reason": letter.reason,
                "error": letter.error,
            }
            for letter in picture.dead
        ],
        "newest": [dict(zip(("seq", "at", "kind", "queue", "task", "words"), event_cells(seq, event), strict=True))
                   for seq, event in picture.newest],
    }  # fmt: skip


__all__ = [
    "DEAD", "EVENTS", "NUMBERS", "QUEUES", "RUNS", "dead_cells", "event_cells", "headline", "one_line", "picture_json", "queue_cells",
    "run_cells", "timeline_lines",
]  # fmt: skip

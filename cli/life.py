"""`journeyman task` and `journeyman why`: one task's whole life, and what keeps it from running now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any, Final

import typer

from journeyman.cli.failures import NO_TASK, WrongCall, command
from journeyman.cli.moments import task_id
from journeyman.cli.screen import AsJson, JournalPath, Redact, Reveal, Screen, instant, span, visible
from journeyman.journal.cbor import CodecError, decode_payload
from journeyman.journal.contents import arguments, call_text, result, value_text
from journeyman.journal.echoes import Echoes, echoes_of
from journeyman.journal.lines import facts, spelled, words
from journeyman.journal.redaction import HIDDEN, Redaction
from journeyman.journal.timeline import Attempt, Life, life, reasons
from journeyman.journal.view import JournalView, open_journal
from journeyman.journal.waits import Cause, Wait, distance, explained
from journeyman.kernel.events import AttemptStarted, Event, TaskRetried, TaskSubmitted
from journeyman.kernel.ids import id_text
from journeyman.kernel.lifecycle import observed
from journeyman.kernel.namespace import shown_name
from journeyman.kernel.policy import Priority

commands = typer.Typer()
_NEAR: Final = 500_000  # events that are folded for causes without being asked to: a few seconds
_SHORT: Final = 1_000  # microseconds: shorter waits are not worth a line
_OPTIONS: Final = (
    "key", "unique", "owner", "source", "tags", "cost", "deadline_at", "attempts", "timeout_us", "parent", "root", "schedule",
)  # fmt: skip
TaskId = Annotated[str, typer.Argument(metavar="ID", help="The task's id.", show_default=False)]


@command(commands)
def task(
    path: JournalPath,
    id: TaskId,
    causes: Annotated[
        bool | None,
        typer.Option(
            "--causes/--no-causes",
            help="Fold the journal through the waits, to say what each was for. Done by itself where that takes a few seconds.",
        ),
    ] = None,
    reveal: Reveal = False,
    redact: Redact = None,
    as_json: AsJson = False,
) -> None:
    """One task's whole life: its arguments, every attempt with its outcome and error, and what it waited for in between.

    Causes of waits are found by folding the journal up to them, and each is what the engine's own `explain` would have said then; what is
    not on record (a slot of the whole engine, a handler that was missing) is marked as inferred.
    """
    redaction, screen = Redaction(redact or (), reveal=reveal), Screen(as_json)
    with open_journal(path) as view:
        redaction.learn(view.parameters())
        found = life(view, task_id(id))
        if found is None:
            raise WrongCall(NO_TASK)
        waits, left_out = _waits(view, found, causes, screen)
        now = view.now()
    echoes = _echoes(found, redaction)
    if as_json:
        screen.json(echoes.value(_json(found, waits, now, redaction)))
        return
    screen.facts((name, echoes.text(str(value))) for name, value in _head(found, now, redaction))
    screen.say("")
    for text in _timeline(found, waits):
        screen.say(echoes.text(text))
    if left_out:
        screen.note(f"journeyman: to say what it waited for, {left_out:,} events must be folded: add --causes")


def _waits(view: JournalView, found: Life, wanted: bool | None, screen: Screen) -> tuple[list[Wait], int]:
    """The waits, and how far the fold for their causes would have gone if it was left out."""
    far = distance(view.store, found.waits, view.last_seq)
    if wanted is False or (wanted is None and far > _NEAR):
        return list(found.waits), far if wanted is None else 0
    with screen.progress("folding the journal", far) as bar:
        start = view.last_seq - far
        return explained(view, found.task.queue, found.task.id, found.waits, lambda seq: bar.to(min(far, max(0, seq - start)))), 0


def _echoes(found: Life, redaction: Redaction) -> Echoes:
    returned = [_decoded(found.result), {name: _decoded(value) for name, value in found.steps.items()}]
    return echoes_of(redaction, found.task.handler, found.arguments, (found.task.options or {}).get("meta"), *returned)


def _decoded(value: bytes | None) -> Any:
    try:
        return None if value is None else decode_payload(value)
    except CodecError:
        return None


def _head(found: Life, now: int, redaction: Redaction) -> Iterator[tuple[str, Any]]:
    task = found.task
    state = observed(task.state, task.due_at, now)
    yield "task", id_text(task.id)
    yield "queue", shown_name(task.queue)
    yield "state", f"{state}{f' ({task.reason})' if task.reason else ''}"
    yield "call", visible(call_text(task.handler, arguments(task.handler, found.arguments, redaction)))
    if found.result is not None:
        yield "result", visible(value_text(result(found.result, redaction)))
    for name, value in found.steps.items():
        shown = "done, its value is not kept" if value is None else value_text(_step(name, value, redaction))
        yield f"step {visible(name)}", visible(shown)
    yield "attempts", "; ".join(f"{n} {outcome}" for outcome, n in Counter(one.outcome for one in found.attempts).items()) or "none"
    if task.priority != Priority.NORMAL:
        yield "priority", task.priority
    options = task.options or {}
    for name in _OPTIONS:
        if name in options:
            value = spelled(name, options[name])
            yield name, instant(value) if name.endswith("_at") else visible(str(value))
    if "meta" in options:
        yield "meta", visible(str(redaction.value(options["meta"])))
    if task.expires_at is not None:
        yield "kept until", instant(task.expires_at)


def _step(name: str, value: bytes | None, redaction: Redaction) -> Any:
    """What a done step came to; hidden where its name says that it is a secret."""
    return HIDDEN if redaction.hides_key(name) else result(value, redaction)


def _timeline(found: Life, waits: list[Wait]) -> Iterator[str]:
    """Own events in order, what each attempt came to, and the waits."""
    ends = {attempt.ended: attempt for attempt in found.attempts}
    after = {wait.after: wait for wait in waits}
    for seq, event in found.events:
        yield f"{instant(event.at)}  {visible(_told(event, ends.get(seq)))}"
        attempt = ends.get(seq)
        if attempt is not None and attempt.error is not None:
            yield from (f"{'':26}| {line}" for line in visible(attempt.error[2]).rstrip().splitlines())
        wait = after.get(seq)
        if wait is not None and wait.us >= _SHORT:
            yield from (f"{'':26}{line}" for line in _wait_lines(wait))


def _told(event: Event, attempt: Attempt | None) -> str:
    if isinstance(event, TaskSubmitted):
        return f"submitted: {words(event)}"
    if isinstance(event, AttemptStarted):
        return f"attempt {event.attempt} started"
    if isinstance(event, TaskRetried):
        return f"retried by hand {words(event)}"
    if attempt is None:
        return f"{type(event).__name__} {words(event)}"
    took = "" if attempt.elapsed_us is None else f" after {span(attempt.elapsed_us)}"
    return f"attempt {attempt.number} {attempt.outcome}{took}{_why(event, attempt)}"


def _why(event: Event, attempt: Attempt) -> str:
    if attempt.error is not None:
        return f": {attempt.error[0]}: {attempt.error[1]}"
    said = [str(part) for part in (getattr(event, "reason", None), getattr(event, "by", None)) if part]
    return f": {', by '.join(said)}" if said else ""


def _wait_lines(wait: Wait) -> Iterator[str]:
    head = f"waited {span(wait.us)}" if wait.until is not None else f"has been waiting for {span(wait.us)}"
    told = [cause for cause in wait.causes if cause.us >= max(_SHORT, wait.us // 1_000)]
    if len(told) == 1:
        yield f"{head}: {_cause(told[0])}"
        return
    yield head + (", for the most part:" if told else "")
    yield from (f"  {span(cause.us):>8}  {_cause(cause)}" for cause in told)


def _cause(cause: Cause) -> str:
    return f"{visible(cause.text)}{' (inferred)' if cause.inferred else ''}"


def _json(found: Life, waits: list[Wait], now: int, redaction: Redaction) -> dict[str, Any]:
    task = found.task
    options = {name: spelled(name, value) for name, value in (task.options or {}).items() if name != "steps"}
    if "meta" in options:
        options["meta"] = redaction.value(options["meta"])
    return {
        "id": id_text(task.id),
        "queue": shown_name(task.queue),
        "handler": task.handler,
        "state": observed(task.state, task.due_at, now),
        "reason": task.reason,
        "priority": task.priority,
        "failures": task.failures,
        "crashes": task.crashes,
        "submitted_at_us": task.submitted_at,
        "due_at_us": task.due_at,
        "finished_at_us": task.finished_at,
        "expires_at_us": task.expires_at,
        "options": options,
        "arguments": arguments(task.handler, found.arguments, redaction),
        "result": result(found.result, redaction),
        "steps": {name: _step(name, value, redaction) for name, value in found.steps.items()},
        "attempts": [_attempt_json(attempt) for attempt in found.attempts],
        "waits": [
            {
                "after_seq": wait.after,
                "until_seq": wait.until,
                "from_us": wait.from_at,
                "to_us": wait.to_at,
                "causes": [{"kind": cause.kind, "text": cause.text, "us": cause.us, "inferred": cause.inferred} for cause in wait.causes],
            }
            for wait in waits
        ],
        "events": [facts(seq, event, redaction) for seq, event in found.events],
    }


def _attempt_json(attempt: Attempt) -> dict[str, Any]:
    error = attempt.error
    return {
        "attempt": attempt.number,
        "started_seq": attempt.started,
        "started_at_us": attempt.started_at,
        "ended_seq": attempt.ended,
        "ended_at_us": attempt.ended_at,
        "outcome": attempt.outcome,
        "elapsed_us": attempt.elapsed_us,
        "error": None if error is None else {"type": error[0], "message": error[1], "traceback": error[2]},
    }


@command(commands)
def why(path: JournalPath, id: TaskId, reveal: Reveal = False, redact: Redact = None, as_json: AsJson = False) -> None:
    """Why a task does not run now: every reason its journal knows of, and whether an engine is there to run it.

    What only the engine knows (free slots of the whole engine, handlers it has) is not in the journal: ask Engine.explain there.
    """
    screen = Screen(as_json)
    with open_journal(path) as view:
        found = reasons(view, task_id(id))
        if found is None:
            raise WrongCall(NO_TASK)
        task, some = found
        state = observed(task.state, task.due_at, view.now())
        redaction = Redaction(redact or (), reveal=reveal).learn(view.parameters())
        payload = view.payload(task.payload_seq, task.payload_digest) if task.keep_payload else None
    echoes = echoes_of(redaction, task.handler, payload, (task.options or {}).get("meta"))
    some = [reason._replace(text=echoes.text(reason.text)) for reason in some]
    if as_json:
        told = [{"kind": reason.kind, "text": reason.text, "until_at_us": reason.until_at} for reason in some]
        screen.json({"id": id_text(task.id), "queue": shown_name(task.queue), "state": state, "reasons": told})
        return
    screen.say(f"{id_text(task.id)} of queue {shown_name(task.queue)} is {state}")
    for reason in some:
        until = "" if reason.until_at is None else f" (until {instant(reason.until_at)})"
        screen.say(f"  {reason.kind}: {visible(reason.text)}{until}")


__all__ = ["commands"]

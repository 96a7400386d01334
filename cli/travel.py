"""`journeyman at` and `journeyman diff`: the state as of any moment that is still on record, and what changed between two."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Final

import typer

from journeyman.cli.failures import NO_TASK, WrongCall, command
from journeyman.cli.moments import moment, task_id
from journeyman.cli.screen import AsJson, JournalPath, Redact, Reveal, Screen, instant, span, visible
from journeyman.journal.changes import Change, JournalChange, QueueChange, TaskChange
from journeyman.journal.echoes import echoes_of
from journeyman.journal.lines import spelled
from journeyman.journal.past import Past, resolve, task_at
from journeyman.journal.policies import policy_words
from journeyman.journal.redaction import Redaction
from journeyman.journal.view import JournalView, Moment, open_journal
from journeyman.kernel.ids import id_text
from journeyman.kernel.lifecycle import State, observed
from journeyman.kernel.namespace import namespace_of, shown_name
from journeyman.kernel.policy import Policy, Priority
from journeyman.kernel.state import QueueState
from journeyman.kernel.steps import in_order
from journeyman.kernel.taskstate import ROW, TaskState

commands = typer.Typer()
_STATES: Final = tuple(State)
_SHOWN: Final = 20  # running tasks in the answer for people
_DEFAULTS: Final = Policy().facts()
_SIGNS: Final = {"added": "+", "added and ended": "+", "ended": "-", "retried": "*", "changed": "~"}


@command(commands)
def at(
    path: JournalPath,
    seq: Annotated[int | None, typer.Option("--seq", metavar="N", help="As of this event.")] = None,
    time: Annotated[
        str | None, typer.Option("--time", metavar="MOMENT", help="As of this instant (2026-11-22T10:00:00Z), or so long ago (2h).")
    ] = None,
    queue: Annotated[str | None, typer.Option("--queue", help="One queue: its policy, what ran, what waited.")] = None,
    task: Annotated[str | None, typer.Option("--task", metavar="ID", help="One task as it stood then.")] = None,
    reveal: Reveal = False,
    redact: Redact = None,
    as_json: AsJson = False,
) -> None:
    """The state as of a moment: each queue's tasks by state, its policy, whether it was paused.

    Tasks that were pruned since are in no past: nothing of them is on record. What a compaction took is known again where it says so, and
    else named as not known.
    """
    screen = Screen(as_json)
    with open_journal(path) as view:
        wanted = _moment(seq, time)
        if task is not None:
            if queue is not None:
                raise WrongCall("give --task or --queue: a task is in one queue")
            _one_task(screen, view, wanted, task_id(task), Redaction(redact or (), reveal=reveal).learn(view.parameters()))
            return
        past = _past(screen, view, wanted)
    names = sorted(past.state.queues)
    if queue is not None:
        names = [name for name in names if shown_name(name) == queue]
        if not names:
            raise WrongCall(
                f"there was no queue {queue!r} then; there were: {', '.join(map(shown_name, sorted(past.state.queues))) or 'none'}"
            )
    if as_json:
        screen.json(_past_json(past, names))
        return
    screen.say(f"as of seq {past.seq}, {instant(past.at)}: {_engine(past)}")
    if queue is not None:
        _one_queue(screen, past, past.state.queues[names[0]])
        return
    columns = ("queue", *(state.value for state in _STATES), "at a time", "")
    rows = [(shown_name(name), *(past.counts(name)[state] or "" for state in _STATES), *_remarks(past, name)) for name in names]
    screen.table(None, columns, rows, right=columns[1:-1])


def _moment(seq: int | None, time: str | None) -> Moment:
    if (seq is None) == (time is None):
        raise WrongCall("say as of when: either --seq N or --time MOMENT")
    return moment(time) if seq is None and time is not None else int(seq or 0)


def _past(screen: Screen, view: JournalView, wanted: Moment) -> Past:
    try:
        with screen.progress("folding the journal", view.last_seq) as bar:
            return view.state_at(wanted, ended=False, tell=bar.to)
    except ValueError as error:
        raise WrongCall(str(error)) from None


def _remarks(past: Past, name: str) -> tuple[str, str]:
    queue, lost = past.state.queues[name], past.unknown.get(name, ())
    found = []
    if queue.paused is not None:
        by, reason, _ = queue.paused
        found.append("paused" + (f" by {by}" if by else "") + (f": {reason}" if reason else ""))
    if queue.parked_until > past.at:
        found.append(f"parked for {span(queue.parked_until - past.at)} more")
    if queue.changed_live:
        found.append("configured live")
    if lost:
        found.append(f"{' and '.join(lost)} not known: compacted since")
    return "?" if "policy" in lost else str(queue.policy.concurrency), visible("; ".join(found))


def _one_queue(screen: Screen, past: Past, queue: QueueState) -> None:
    pairs: list[tuple[str, Any]] = [("queue", shown_name(queue.name))]
    pairs += [(f"  {state.value}", count) for state, count in past.counts(queue.name).items() if count]
    if remarks := _remarks(past, queue.name)[1]:
        pairs.append(("remarks", remarks))
    pairs += [
        policy_words(name, value) for name, value in queue.policy.facts().items() if name == "concurrency" or value != _DEFAULTS[name]
    ]
    screen.facts(pairs)
    running = sorted(queue.running.values())
    for task in running[:_SHOWN]:
        ran = past.at - (task.started_at or past.at)
        screen.say(f"running  {id_text(task.id)}  {task.handler}, attempt {task.attempt}, for {span(ran)}")
    if len(running) > _SHOWN:
        screen.say(f"running  {len(running) - _SHOWN} more (--json has them all)")


def _engine(past: Past) -> str:
    if past.unknown.get(""):
        return "which engine had it open is not known, compacted since"
    if not past.state.boots:
        return "before the first engine"
    return f"boot {past.state.boots}, {'closed in good order' if past.state.clean else 'not closed: it was open then, or had died'}"


def _past_json(past: Past, names: Iterable[str]) -> dict[str, Any]:
    return {
        "seq": past.seq,
        "at_us": past.at,
        "boots": past.state.boots,
        "closed_in_good_order": past.state.clean,
        "unknown": list(past.unknown.get("", ())),
        "queues": [_queue_json(past, past.state.queues[name]) for name in names],
    }


def _queue_json(past: Past, queue: QueueState) -> dict[str, Any]:
    paused = queue.paused
    return {
        "queue": shown_name(queue.name),
        "namespace": namespace_of(queue.name),
        "counts": {state.value: count for state, count in past.counts(queue.name).items()},
        "policy": queue.policy.facts(),
        "paused": None if paused is None else {"by": paused[0], "reason": paused[1], "at_us": paused[2]},
        "parked_until_us": queue.parked_until if queue.parked_until > past.at else None,
        "epoch": queue.epoch,
        "running": [
            {"id": id_text(task.id), "handler": task.handler, "attempt": task.attempt, "started_at_us": task.started_at}
            for task in sorted(queue.running.values())
        ],
        "unknown": list(past.unknown.get(queue.name, ())),
    }


def _one_task(screen: Screen, view: JournalView, wanted: Moment, id: bytes, redaction: Redaction) -> None:
    try:
        seq, instant_us = resolve(view, wanted)
    except ValueError as error:
        raise WrongCall(str(error)) from None
    found = task_at(view, id, seq)
    if found is None:
        if view.task(id) is None:
            raise WrongCall(NO_TASK)
        raise WrongCall(f"this task did not exist yet at seq {seq}, {instant(instant_us)}")
    payload = view.payload(found.payload_seq, found.payload_digest) if found.keep_payload else None
    echoes = echoes_of(redaction, found.handler, payload, (found.options or {}).get("meta"))
    facts = echoes.value(_task_facts(found, instant_us, redaction))
    if screen.as_json:
        screen.json({"seq": seq, "at_us": instant_us, **{_with_unit(name): value for name, value in facts.items()}})
        return
    screen.say(f"as of seq {seq}, {instant(instant_us)}")
    screen.facts((name, _shown(name, value)) for name, value in facts.items() if value not in (None, 0, "", [], False))


def _with_unit(name: str) -> str:
    """What a column is called in JSON: instants say that they are microseconds."""
    return f"{name}_us" if name.endswith("_at") or name == "first_due" else name


def _task_facts(task: TaskState, at: int, redaction: Redaction) -> dict[str, Any]:
    found = {name: spelled(name, value) for name, value in zip(ROW, task.row(), strict=True)}
    found["state"] = observed(task.state, task.due_at, at).value
    found["queue"] = shown_name(task.queue)
    if task.options is not None:
        found["options"] = {
            name: redaction.value(value) if name == "meta" else spelled(name, value)
            for name, value in task.options.items()
            if name != "steps"
        }
        found["steps"] = in_order(task)
    return found


def _shown(name: str, value: Any) -> str:
    if isinstance(value, int) and name.endswith(("_at", "due_at", "first_due")):
        return instant(value)
    if isinstance(value, list) and name == "error":
        return visible(f"{value[0]}: {value[1]}")
    return visible(str(value))


# --- diff -------------------------------------------------------------------------------------------------------------


@command(commands)
def diff(
    path: JournalPath,
    a: Annotated[str, typer.Argument(metavar="A", help="The first moment: a seq, an instant, or how long ago.", show_default=False)],
    b: Annotated[str, typer.Argument(metavar="B", help="The second one.", show_default=False)],
    queue: Annotated[str | None, typer.Option("--queue", help="Only this queue.")] = None,
    brief: Annotated[bool, typer.Option("--brief", help="Count tasks, do not list them.")] = False,
    as_json: AsJson = False,
) -> None:
    """What changed between two moments: tasks (+ new, - ended, * retried by hand, ~ changed), queues, the journal.

    Differences of facts, not events: a task that failed, waited and runs again is running with an attempt more. --json prints one change a
    line. The exit code is 0 whether anything changed or not.
    """
    screen, totals = Screen(as_json), Counter[str]()
    with open_journal(path) as view, screen.progress("folding the journal", view.last_seq) as bar:
        try:
            changes = view.diff(moment(a), moment(b), tell=bar.to)
        except ValueError as error:
            raise WrongCall(str(error)) from None
        for change in _of_queue(changes, queue):
            if isinstance(change, TaskChange):
                totals[change.what] += 1
                if brief:
                    continue
            if as_json:
                screen.json(_change_json(change))
            else:
                _say_change(screen, change, totals)


def _of_queue(changes: Iterator[Change], queue: str | None) -> Iterator[Change]:
    return (change for change in changes if queue is None or isinstance(change, JournalChange) or shown_name(change.queue) == queue)


def _say_change(screen: Screen, change: Change, totals: Counter[str]) -> None:
    if isinstance(change, TaskChange):
        head = f"{_SIGNS[change.what]} {change.id} {shown_name(change.queue)}/{change.handler}"
        sys.stdout.write(f"{head}: {visible(', '.join(_differences(change.fields, new='added' in change.what)))}\n")
    elif isinstance(change, QueueChange):
        counts = [f"{state.value} {one} -> {other}" for state, (one, other) in change.counts.items() if one != other]
        screen.say(f"queue {shown_name(change.queue)}{' (new)' if change.is_new else ''}: {', '.join(counts) or 'as many tasks as before'}")
        for text in _differences(change.fields):
            screen.say(f"    {visible(text)}")
        if change.unknown:
            screen.say(f"    {' and '.join(change.unknown)} not known at one of the moments: compacted since")
    else:
        told = ", ".join(f"{count} {what}" for what, count in totals.items()) or "none"
        screen.say(f"from seq {change.a} to {change.b}: tasks: {told}; boots: {change.boots}")
        if change.pruned:
            screen.say(f"{change.pruned} tasks were pruned in between: nothing more of them is on record")
        if change.values:
            screen.say(f"values of the application were put or deleted {change.values} times")
        if change.stepped_us:
            screen.say(f"the clock was stepped by {span(change.stepped_us)}")


def _differences(fields: Mapping[str, tuple[Any, Any]], *, new: bool = False) -> Iterator[str]:
    for name, (before, after) in fields.items():
        if name == "payload_digest":
            yield "other arguments"
        elif new and (name, after) == ("priority", Priority.NORMAL):
            continue
        elif new:
            yield str(after) if name == "state" else f"{name} {_value(name, after)}"
        elif name.startswith("policy."):
            shown, was = policy_words(name.removeprefix("policy."), before)
            yield f"{shown} {was} -> {policy_words(name.removeprefix('policy.'), after)[1]}"
        else:
            yield f"{name} {_value(name, before)} -> {_value(name, after)}"


def _value(name: str, value: Any) -> str:
    if value is None:
        return "none"
    if name == "paused":
        return (
            f"since {instant(value['at_us'])}"
            + (f" by {value['by']}" if value["by"] else "")
            + f" ({value['reason']})" * bool(value["reason"])
        )
    return instant(value) if name.endswith("_at") else str(value)


def _change_json(change: Change) -> dict[str, Any]:
    if isinstance(change, JournalChange):
        return {
            "what": "journal", "a": change.a, "b": change.b, "boots": change.boots, "stepped_us": change.stepped_us,
            "pruned": change.pruned, "compactions": change.compactions, "values": change.values,
        }  # fmt: skip
    fields = {_with_unit(name): [spelled(name, value) for value in pair] for name, pair in change.fields.items()}
    if isinstance(change, TaskChange):
        return {
            "what": f"task {change.what}",
            "id": change.id,
            "queue": shown_name(change.queue),
            "handler": change.handler,
            "fields": fields,
        }
    return {
        "what": "queue", "queue": shown_name(change.queue), "new": change.is_new, "fields": fields, "unknown": list(change.unknown),
        "counts": {state.value: list(pair) for state, pair in change.counts.items()},
    }  # fmt: skip


__all__ = ["commands"]

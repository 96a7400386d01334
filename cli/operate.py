"""`journeyman retry`, `cancel`, `reschedule`, `reprioritise`, `clear`, `pause`, `resume` and `prune`: an operator's orders.

Each becomes an `Order` (engine/orders.py) and is carried out by an engine opened for it alone (engine/carrying.py), or counted (--dry-run)
beside whatever engine there is (engine/foresee.py).  Each leaves events that name who gave it and why.  What would touch everything must be
told so (--all): an order typed without its filter is the commonest accident there is."""

from __future__ import annotations

import getpass
import logging
import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from journeyman.cli.failures import Exit, WrongCall, command
from journeyman.cli.moments import duration, moment, task_id
from journeyman.cli.screen import AsJson, JournalPath, Screen
from journeyman.engine.carrying import at_rest
from journeyman.engine.errors import JourneymanError, NotRetryable, QueueNotFound
from journeyman.engine.foresee import foresee
from journeyman.engine.orders import Action, Order, Outcome, Selection
from journeyman.journal.view import open_journal
from journeyman.kernel.bounds import BY_MAX
from journeyman.kernel.ids import id_text
from journeyman.kernel.lifecycle import TERMINAL, State

commands = typer.Typer()

SHOWN = 1_000  # ids in an answer, at most
_FILTERS = "--queue, --state, --handler, --owner, --source, --tag, --key"

Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Tasks; or else name a filter.", show_default=False)]
Queues = Annotated[list[str] | None, typer.Argument(metavar="[QUEUE]...", help="Queues; or else --all.", show_default=False)]
OfQueue = Annotated[str | None, typer.Option("--queue", metavar="NAME", help="Tasks of this queue.")]
OfState = Annotated[list[State] | None, typer.Option("--state", help="Tasks in this state; can be repeated.")]
OfHandler = Annotated[str | None, typer.Option("--handler", metavar="NAME", help="Tasks of this handler.")]
OfOwner = Annotated[str | None, typer.Option("--owner", metavar="KIND:ID", help="Tasks of this owner.")]
OfSource = Annotated[str | None, typer.Option("--source", metavar="NAME", help="Tasks of this source.")]
OfTag = Annotated[str | None, typer.Option("--tag", metavar="NAME", help="Tasks with this tag.")]
OfKey = Annotated[str | None, typer.Option("--key", metavar="KEY", help="Tasks with this serialization key.")]
All = Annotated[bool, typer.Option("--all", help="Everything, as no filter narrows it down.")]
DryRun = Annotated[bool, typer.Option("--dry-run", "-n", help="Count what it would be, and touch nothing; beside an engine too.")]
By = Annotated[str | None, typer.Option("--by", metavar="WHO", help="Who gives the order.  [default: you@this-host]", show_default=False)]
Why = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is on the record.", show_default=False)]


@command(commands)
def retry(
    path: JournalPath, ids: Ids = None, queue: OfQueue = None, state: OfState = None, handler: OfHandler = None, owner: OfOwner = None,
    source: OfSource = None, tag: OfTag = None, key: OfKey = None, everything: All = False, dry_run: DryRun = False, by: By = None,
    reason: Why = "", as_json: AsJson = False,
) -> None:  # fmt: skip
    """Give dead letters a fresh budget, at the back of their queue.  --state cancelled or interrupted: those instead."""
    selection = _selection(queue, state, handler, owner, source, tag, key)
    order = Order("retry", _ids(ids), selection, by=_who(by), reason=reason)
    _give(path, order, everything, dry_run, as_json)


@command(commands)
def cancel(
    path: JournalPath, ids: Ids = None, queue: OfQueue = None, state: OfState = None, handler: OfHandler = None, owner: OfOwner = None,
    source: OfSource = None, tag: OfTag = None, key: OfKey = None, everything: All = False, dry_run: DryRun = False, by: By = None,
    reason: Why = "", as_json: AsJson = False,
) -> None:  # fmt: skip
    """Cancel tasks that have not ended."""
    selection = _selection(queue, state, handler, owner, source, tag, key)
    order = Order("cancel", _ids(ids), selection, by=_who(by), reason=reason)
    _give(path, order, everything, dry_run, as_json)


@command(commands)
def reschedule(
    path: JournalPath, ids: Ids = None,
    delay: Annotated[str | None, typer.Option("--in", metavar="DURATION", help="Due so long from now: 90s, 2h30m; 0 is now.")] = None,
    at: Annotated[str | None, typer.Option("--at", metavar="INSTANT", help="Due at this instant.")] = None,
    queue: OfQueue = None, state: OfState = None, handler: OfHandler = None, owner: OfOwner = None, source: OfSource = None,
    tag: OfTag = None, key: OfKey = None, everything: All = False, dry_run: DryRun = False, by: By = None, reason: Why = "",
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Let tasks that wait be due at another instant: --in or --at."""
    if (delay is None) == (at is None):
        raise WrongCall("say when: --in DURATION (from now) or --at INSTANT, one of them")
    instant = None if at is None else moment(at)
    if isinstance(instant, int):
        raise WrongCall(f"{at!r} is no instant: write it as 2026-11-22T10:00:00Z")
    selection = _selection(queue, state, handler, owner, source, tag, key)
    seconds = None if delay is None else duration(delay)
    order = Order("reschedule", _ids(ids), selection, by=_who(by), reason=reason, delay=seconds, at=instant)
    _give(path, order, everything, dry_run, as_json)


@command(commands)
def reprioritise(
    path: JournalPath, priority: Annotated[int, typer.Option("--priority", metavar="NUMBER", help="Higher first.", show_default=False)],
    ids: Ids = None, queue: OfQueue = None, state: OfState = None, handler: OfHandler = None, owner: OfOwner = None,
    source: OfSource = None, tag: OfTag = None, key: OfKey = None, everything: All = False, dry_run: DryRun = False, by: By = None,
    reason: Why = "", as_json: AsJson = False,
) -> None:  # fmt: skip
    """Give tasks that wait another priority."""
    selection = _selection(queue, state, handler, owner, source, tag, key)
    order = Order("reprioritise", _ids(ids), selection, by=_who(by), reason=reason, priority=priority)
    _give(path, order, everything, dry_run, as_json)


@command(commands)
def clear(
    path: JournalPath, queues: Queues = None, everything: All = False, dry_run: DryRun = False, by: By = None, reason: Why = "",
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Cancel all that waits in queues; what runs goes on."""
    _give(path, Order("clear", queues=tuple(queues or ()), by=_who(by), reason=reason), everything, dry_run, as_json)


@command(commands)
def pause(
    path: JournalPath, queues: Queues = None, everything: All = False, dry_run: DryRun = False, by: By = None, reason: Why = "",
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Start nothing more in queues until `resume`, restarts included."""
    _give(path, Order("pause", queues=tuple(queues or ()), by=_who(by), reason=reason), everything, dry_run, as_json)


@command(commands)
def resume(
    path: JournalPath, queues: Queues = None, everything: All = False, dry_run: DryRun = False, by: By = None, reason: Why = "",
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Let queues start tasks again: undoes `pause`, and a handler's own parking of its queue."""
    _give(path, Order("resume", queues=tuple(queues or ()), by=_who(by), reason=reason), everything, dry_run, as_json)


@command(commands)
def prune(
    path: JournalPath, queues: Queues = None,
    ids: Annotated[list[str] | None, typer.Option("--id", metavar="ID", help="This task, whatever its age; can be repeated.")] = None,
    older: Annotated[str, typer.Option("--older-than", metavar="DURATION", help="Ended at least so long ago.")] = "1h",
    state: Annotated[list[State] | None, typer.Option("--state", help="In this state; can be repeated.  [default: succeeded, cancelled]",
                                                      show_default=False)] = None,
    handler: OfHandler = None, owner: OfOwner = None, source: OfSource = None, tag: OfTag = None, key: OfKey = None,
    everything: All = False, dry_run: DryRun = False, by: By = None, reason: Why = "", as_json: AsJson = False,
) -> None:  # fmt: skip
    """Delete ended tasks, whatever their retention says.  The file shrinks by `compact` only."""
    if wrong := [one for one in state or () if one not in TERMINAL]:
        raise WrongCall(f"only ended tasks can be pruned, not those that are {wrong[0]}")
    selection = _selection(None, state, handler, owner, source, tag, key)
    order = Order("prune", _ids(ids), selection, tuple(queues or ()), _who(by), reason, older_than=duration(older))
    _give(path, order, everything, dry_run, as_json)


# --- what they share --------------------------------------------------------------------------------------------------------


def _selection(
    queue: str | None, state: list[State] | None, handler: str | None, owner: str | None, source: str | None, tag: str | None,
    key: str | None,
) -> Selection:  # fmt: skip
    kind, colon, id = (owner or "").partition(":")
    if owner is not None and not (kind and colon and id):
        raise WrongCall(f"--owner takes KIND:ID, such as customer:7, not {owner!r}")
    pair = (kind, id) if owner is not None else None
    return Selection(queue, tuple(dict.fromkeys(state or ())), handler, pair, source, tag, key)


def _ids(ids: list[str] | None) -> tuple[str, ...]:
    return tuple(id_text(task_id(id)) for id in ids or ())


def _who(by: str | None) -> str:
    """The given name, or that of the user and the host, as the system has them."""
    if by is not None:
        if not by.strip():
            raise WrongCall("--by names nobody: say who gives the order, or leave it out (then it is the user and the host)")
        return by
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"[:BY_MAX]


def _give(path: Path, order: Order, everything: bool, dry_run: bool, as_json: bool) -> None:
    """Carry the order out, or count; say what came of it.  Exit code 1 if a task that was named by id refused."""
    _refuse_unsaid(order, everything)
    screen, log = Screen(as_json), logging.getLogger("journeyman")
    said = log.level
    log.setLevel(logging.ERROR)  # that queues are not declared here and schedules rest is meant so
    try:
        done = _foreseen(path, order) if dry_run else _done(path, order, screen)
    except (QueueNotFound, NotRetryable) as error:
        raise WrongCall(str(error)) from None
    except JourneymanError:
        raise
    except ValueError as error:  # a reason too long, a priority out of range: said by the engine, meant for the caller
        raise WrongCall(str(error)) from None
    finally:
        log.setLevel(said)
    _tell(screen, order, done, dry_run)
    if done.refused:
        raise typer.Exit(Exit.FOUND)


def _refuse_unsaid(order: Order, everything: bool) -> None:
    """WrongCall unless it is said, and once, what the order is about."""
    pruning, of_queues = order.action == "prune", order.action in ("clear", "pause", "resume")
    chosen = replace(order.selection, states=()) if pruning else order.selection  # of a prune they say how, not what
    narrowed = bool(order.queues) or not chosen.everything
    if order.ids and (narrowed or everything or (pruning and order.selection.states)):
        raise WrongCall("name tasks by their ids, or by a filter: not both")
    if order.queues and everything:
        raise WrongCall("name queues, or say --all: not both")
    if not (order.ids or narrowed or everything):
        what = "queues" if of_queues else f"tasks by id or by a filter ({_FILTERS})"
        if pruning:
            what = f"queues, tasks by --id, or a filter ({_FILTERS.removeprefix('--queue, --state, ')})"
        raise WrongCall(f"{order.action} what?  Name {what}, or say --all for everything")


def _done(path: Path, order: Order, screen: Screen) -> Outcome:
    with screen.progress(order.action) as bar:
        return at_rest(path, order, shown=SHOWN if screen.as_json else 0, tell=lambda done: bar.now(order.action, done))


def _foreseen(path: Path, order: Order) -> Outcome:
    with open_journal(path) as view:
        return foresee(view, order, shown=SHOWN)


_DONE: dict[Action, str] = {
    "retry": "retried", "cancel": "cancelled", "reschedule": "rescheduled", "reprioritise": "reprioritised", "clear": "cleared",
    "pause": "paused", "resume": "resumed", "prune": "pruned",
}  # fmt: skip


def _tell(screen: Screen, order: Order, done: Outcome, dry_run: bool) -> None:
    of_queues = order.action in ("pause", "resume")
    if screen.as_json:
        screen.json(
            {
                "action": order.action,
                "dry_run": dry_run,
                "count": done.count,
                "of": "queues" if of_queues else "tasks",
                "ids": done.ids,
                "refused": [{"id": id, "why": why} for id, why in done.refused],
                "by": order.by,
                "reason": order.reason,
            }
        )
        return
    what = ("queue" if of_queues else "task") + ("" if done.count == 1 else "s")
    if dry_run:
        screen.say(f"{done.count} {what} would be {_DONE[order.action]}; nothing was touched")
    else:
        screen.say(f"{done.count} {what} {_DONE[order.action]} by {order.by}" + (f": {order.reason}" if order.reason else ""))
    for _, why in done.refused:
        screen.note(why)


__all__ = ["commands"]

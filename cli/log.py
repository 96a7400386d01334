"""`journeyman log`: the events, and those to come.

Lines go straight to stdout, many at a time: rich's console would take most of a minute for what the journal reads in a second.  Ctrl-C is
how following ends, with exit code 130; nothing is left behind, for nothing was opened but a reader.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from threading import Event as Alarm
from typing import Annotated, Final

import typer

from journeyman.cli.failures import NO_TASK, WrongCall, command
from journeyman.cli.moments import moment, task_id
from journeyman.cli.screen import AsJson, JournalPath, Redact, Reveal, Screen
from journeyman.journal.lines import KINDS, Lines
from journeyman.journal.redaction import Redaction
from journeyman.journal.selection import Feed, Selection, Sieve, selected
from journeyman.journal.view import JournalView, Moment, open_journal
from journeyman.kernel.events import Event
from journeyman.kernel.namespace import shown_name

commands = typer.Typer()
_LINES: Final = 1_000  # written at a time
_PAUSE: Final = 0.2  # seconds between two looks at a journal in which nothing happens

Since = Annotated[
    str | None,
    typer.Option("--since", metavar="MOMENT", help="From a seq, an instant (2026-11-22T10:00:00Z), or so long ago (2h)."),
]
Until = Annotated[str | None, typer.Option("--until", metavar="MOMENT", help="Up to here, this moment included.")]


@command(commands)
def log(
    path: JournalPath,
    since: Since = None,
    until: Until = None,
    queue: Annotated[str | None, typer.Option("--queue", help="Only this queue (plugin/mail: mail of namespace plugin).")] = None,
    task: Annotated[str | None, typer.Option("--task", metavar="ID", help="Only this task, found at once.")] = None,
    kind: Annotated[list[str] | None, typer.Option("--kind", help="Only this kind, such as TaskFailed; can be repeated.")] = None,
    handler: Annotated[str | None, typer.Option("--handler", help="Only tasks of this handler.")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="What is written from now on (or since --since), until Ctrl-C.")] = False,
    reveal: Reveal = False,
    redact: Redact = None,
    as_json: AsJson = False,
) -> None:
    """Events, one a line, oldest first: seq, time, queue, task, kind, and what matters in it.

    --json prints one document a line, with every field.  --follow never misses an event and never repeats one, also when the engine
    restarts; it ends with Ctrl-C (exit code 130).
    """
    wanted = Selection(
        queue=queue,
        task=None if task is None else task_id(task),
        kinds=frozenset(map(_kind, kind or ())),
        handler=handler,
    )
    if follow and until is not None:
        raise WrongCall("--follow has no end: leave out --until, or --follow")
    screen = Screen(as_json)
    lines = Lines(Redaction(redact or (), reveal=reveal), colour=screen.coloured and not as_json)
    if follow:
        _follow(screen, path, wanted, None if since is None else moment(since), lines)
        return
    with open_journal(path) as view:
        first, last = moment(since) if since is not None else 1, None if until is None else moment(until)
        if last is not None and view.first_of(first) > view.seq_at(last) + 1:
            raise WrongCall(f"--since {since} is after --until {until}: give the earlier moment first")
        if not _write(_found(view, wanted, first, last), lines, as_json):
            screen.note(f"journeyman: {_nothing(view, wanted)}")


def _kind(name: str) -> type[Event]:
    found = KINDS.get(name.lower())
    if found is None:
        raise WrongCall(f"there is no kind of event {name!r}: give one of {', '.join(sorted(kind.__name__ for kind in KINDS.values()))}")
    return found


def _found(view: JournalView, wanted: Selection, since: Moment, until: Moment | None) -> Iterator[tuple[int, Event]]:
    try:
        return selected(view, wanted, since, until)
    except KeyError:
        raise WrongCall(NO_TASK) from None


def _write(found: Iterable[tuple[int, Event]], lines: Lines, as_json: bool) -> bool:
    """Whether there was anything to write."""
    line, rest, any_of_them = lines.json if as_json else lines.text, iter(found), False
    while some := list(islice(rest, _LINES)):
        any_of_them = True
        sys.stdout.write("".join([line(seq, event) + "\n" for seq, event in some]))
    return any_of_them


def _nothing(view: JournalView, wanted: Selection) -> str:
    """An empty answer, with what may be a slip of the pen."""
    text = f"no event matches; the journal holds seqs {view.first_seq} to {view.last_seq}"
    if wanted.queue is not None:
        with view.newest() as found:
            names = sorted(map(shown_name, found.state.queues))
        if wanted.queue not in names:
            text += f", and no queue {wanted.queue!r}: there are {', '.join(names) or 'none'}"
    return text


def _follow(screen: Screen, path: Path, wanted: Selection, since: Moment | None, lines: Lines) -> None:
    with Feed(path) as feed:
        if since is not None:
            feed.after = feed.view.first_of(since) - 1
        sieve, bell = Sieve(lambda: feed.view, wanted), Alarm()
        while True:
            page = feed.page()
            _write(((seq, event) for seq, event in page if sieve.lets(seq, event)), lines, screen.as_json)
            sys.stdout.flush()
            while feed.missed:
                first, last = feed.missed.pop(0)
                screen.note(f"journeyman: seqs {first} to {last} left the journal, pruned or compacted, before they were read")
            if not page:
                bell.wait(_PAUSE)


__all__ = ["commands"]

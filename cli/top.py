"""`journeyman top`: the journal as it is now, once or live."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from journeyman.cli.failures import WrongCall, command
from journeyman.cli.panels import (
    DEAD,
    EVENTS,
    NUMBERS,
    QUEUES,
    RUNS,
    dead_cells,
    event_cells,
    headline,
    picture_json,
    queue_cells,
    run_cells,
)
from journeyman.cli.screen import AsJson, JournalPath, Redact, Reveal, Screen
from journeyman.journal.following import Follower
from journeyman.journal.redaction import Redaction
from journeyman.journal.watching import Picture

commands = typer.Typer()
_ROWS: Final = 10  # of each list, in text

INSTALL: Final = "the live screen needs textual: pip install 'journeyman[top]'.  `journeyman top --once` works without it"


@command(commands)
def top(
    path: JournalPath,
    once: Annotated[bool, typer.Option("--once", help="Print one screen as text, and end.")] = False,
    every: Annotated[float, typer.Option("--every", metavar="SECONDS", help="Seconds between two looks.", min=0.2)] = 1.0,
    reveal: Reveal = False,
    redact: Redact = None,
    as_json: AsJson = False,
) -> None:
    """A live screen: queues, rates, what runs, dead letters, a task's timeline on Enter.  Reads only; --once for a pipe."""
    redaction = Redaction(redact or (), reveal=reveal)
    if once:
        _once(path, Screen(as_json), redaction)
    elif as_json:
        raise WrongCall("--json is for one screen: write `journeyman top PATH --once --json`")
    elif not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise WrongCall("the live screen needs a terminal: write `journeyman top PATH --once` for a pipe")
    else:
        _live(path, every, redaction)


def _live(path: Path, every: float, redaction: Redaction) -> None:
    try:
        from journeyman.cli.live import TopApp
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] != "textual":
            raise
        raise WrongCall(INSTALL) from None
    TopApp(path, every=every, redaction=redaction).run()


def _once(path: Path, screen: Screen, redaction: Redaction) -> None:
    follower = Follower(path)
    try:
        picture, owner = follower.refresh(), follower.owner
    finally:
        follower.close()
    if screen.as_json:
        screen.json(picture_json(picture, owner, redaction))
    else:
        _print(screen, picture, owner, redaction)


def _print(screen: Screen, picture: Picture, owner: int | None, redaction: Redaction) -> None:
    screen.say(headline(picture, owner))
    screen.say("")
    screen.table(None, QUEUES, map(queue_cells, picture.queues), right=NUMBERS)
    lists = (
        (RUNS, [run_cells(run) for run in picture.runs[:_ROWS]], picture.running),
        (DEAD, [dead_cells(letter) for letter in picture.dead[:_ROWS]], len(picture.dead)),
        (EVENTS, [event_cells(seq, event) for seq, event in picture.newest[:_ROWS]], 0),
    )
    for columns, rows, total in lists:
        if rows:
            screen.say("")
            screen.table(None, columns, rows, right=NUMBERS)
            if total > len(rows):
                screen.say(f"and {total - len(rows):,} more")


__all__ = ["commands"]

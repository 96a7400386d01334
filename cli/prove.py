"""`journeyman verify`, `replay` and `verify-code`: is it sound, and is it read as it was written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Final

import typer

from journeyman.cli.failures import Exit, WrongCall, command
from journeyman.cli.screen import AsJson, JournalPath, Screen
from journeyman.journal.findings import Finding, advice
from journeyman.journal.prover import run
from journeyman.journal.prover import verify as prove
from journeyman.journal.verify import Head, Verdict

commands = typer.Typer()
_SHOWN: Final = 20
READING: Final = {"pages": "reading every page", "events": "records", "rows": "rows and indexes", "state": "comparing the state"}


@contextmanager
def reporting(screen: Screen, first: str) -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar that follows a child's words."""
    with screen.progress(READING.get(first, first)) as bar:
        yield lambda what, done, total: bar.to(done, total)


@command(commands)
def verify(
    path: JournalPath,
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="SEQ:HASH", help="A chain head noted earlier: prove that history up to it is unaltered."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Prove a journal: every record, payload, row and index, and that events and tables say the same.

    Exit codes: 0 sound, 1 damage found or the head of --against does not hold, 3 too damaged to be opened, 4 of another version.
    """
    screen = Screen(as_json)
    try:
        head = None if against is None else Head.read(against)
    except ValueError as failure:
        raise WrongCall(str(failure)) from None
    with reporting(screen, "events") as tell:
        found = prove(path, against=head, tell=tell)
    if as_json:
        screen.json(verdict_json(found))
    else:
        _show(screen, found)
    if not found.sound:
        raise typer.Exit(Exit.FOUND)


@command(commands)
def replay(path: JournalPath, as_json: AsJson = False) -> None:
    """Fold the whole journal from its first event with this code, and say how fast.

    Exit codes: 0 done, 1 an event cannot be folded, 3 damaged.
    """
    screen = Screen(as_json)
    with reporting(screen, "events") as tell:
        found = run(path, "replay", tell=tell)
    stuck = [difference for difference in found["differences"] if "cannot be folded" in difference["text"]]
    rate = found["events"] / found["seconds"] if found["seconds"] else 0.0
    if as_json:
        keep = ("events", "seconds", "held", "digest", "last_seq")
        screen.json({**{name: found[name] for name in keep}, "per_second": rate, "stuck": stuck})
    else:
        screen.facts(
            [
                ("events", f"{found['events']}, to seq {found['last_seq']}"),
                ("time", f"{found['seconds']:.1f} s, {rate:,.0f} events/s"),
                ("tasks held", f"{found['held']} unfinished or newer than the checkpoint"),
                ("state", found["digest"]),
            ]
        )
        _show_differences(screen, stuck)
    if stuck:
        raise typer.Exit(Exit.FOUND)


@command(commands, "verify-code")
def verify_code(path: JournalPath, as_json: AsJson = False) -> None:
    """Whether the installed code reads the past as the code that wrote it did.  For a copy of a production journal, before a deploy.

    Folds everything and compares it with the rows, facts and digests of the newest checkpoint, and with the indexes.

    Exit codes: 0 the same, 1 read otherwise (the first seq is named), 3 damaged.
    """
    screen = Screen(as_json)
    with reporting(screen, "events") as tell:
        found = run(path, "code", tell=tell)
    same = not found["differences"] and not found["tables"]
    first = min((difference["first"] for difference in found["differences"]), default=None)
    if as_json:
        screen.json({"same": same, "first_seq": first, **found})
    elif same:
        screen.say(
            f"the same: {found['events']} events lead to the rows, facts and indexes of the checkpoint at seq {found['checkpoint']} "
            f"and of what followed, to seq {found['last_seq']}"
        )
    else:
        if first is not None:
            screen.say(f"this code reads the past differently, from seq {first} on; do not deploy it on this journal:")
            _show_differences(screen, found["differences"], found["more"])
        for text in found["tables"][:_SHOWN]:
            screen.say(f"  {text}")
        if found["tables"]:
            screen.say("tables that do not fit each other are damage, not a matter of code: run `journeyman verify`")
    if not same:
        raise typer.Exit(Exit.FOUND)


def _show_differences(screen: Screen, differences: list[dict[str, Any]], more: int = 0) -> None:
    for difference in differences[:_SHOWN]:
        screen.say(f"  {difference['text']}")
    rest = len(differences) - _SHOWN + more
    if rest > 0:
        screen.say(f"  and {rest} more")


def _show(screen: Screen, found: Verdict) -> None:
    pairs: list[tuple[str, Any]] = [
        ("journal", found.path),
        ("read", f"{found.records} records, {found.payloads} payloads, {found.rows} rows in {found.seconds:.1f} s"),
    ]
    if found.head is not None:
        pairs.append(("head", f"{found.head}   note it down: `verify --against` proves later that history up to here is unaltered"))
        if found.proven_from > found.first_seq:
            pairs.append(("", f"it speaks for records {found.proven_from} to {found.head.seq}; older commits are not whole any more"))
    if found.proof is not None:
        pairs.append(("against", ("holds: " if found.proof.holds else "DOES NOT HOLD: ") + found.proof.text))
    screen.facts(pairs)
    if found.sound:
        screen.say("sound")
        return
    shown = 0
    for finding in found.findings[:_SHOWN]:
        screen.say(f"  {finding.table}{place(finding)}: {finding.text}")
        shown += 1
    total = sum(found.counts.values())
    if total > shown:
        screen.say(f"  and {total - shown} more (--json lists the first hundred of each table)")
    if not found.complete:
        screen.say("the examination did not come to its end")
    if total:
        screen.say(f"damaged: {total} findings")
    for line in advice(found.counts, found.path):
        screen.say(line)


def place(finding: Finding) -> str:
    """Where it is, as far as is known."""
    words = [] if finding.seq is None else [f"seq {finding.seq}"]
    words += [] if finding.offset is None else [f"byte {finding.offset}"]
    words += [f"key {finding.key}"] if finding.key is not None and finding.seq is None else []
    return " " + ", ".join(words) if words else ""


def verdict_json(found: Verdict) -> dict[str, Any]:
    return {
        "path": found.path,
        "sound": found.sound,
        "complete": found.complete,
        "records": found.records,
        "payloads": found.payloads,
        "rows": found.rows,
        "first_seq": found.first_seq,
        "head": None if found.head is None else str(found.head),
        "proven_from": found.proven_from,
        "against": None if found.proof is None else found.proof._asdict(),
        "counts": found.counts,
        "findings": [finding._asdict() for finding in found.findings],
        "advice": advice(found.counts, found.path),
        "seconds": found.seconds,
    }


__all__ = ["READING", "commands", "place", "reporting", "verdict_json"]

"""`journeyman repair`: a new journal of all that can be saved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from journeyman.cli.failures import Exit, WrongCall, command
from journeyman.cli.screen import AsJson, JournalPath, Screen
from journeyman.journal.judge import Affected
from journeyman.journal.prover import verify
from journeyman.journal.repair import Repaired
from journeyman.journal.repair import repair as save
from journeyman.journal.verify import Verdict
from journeyman.journal.vouched import CONFIRMED, CONTRADICTED
from journeyman.kernel.ids import id_text
from journeyman.kernel.namespace import shown_name
from journeyman.kernel.values import shown_key

commands = typer.Typer()
_SHOWN: Final = 20


@command(commands)
def repair(
    path: JournalPath,
    destination: Annotated[Path, typer.Argument(metavar="DEST", help="Where the new journal goes; must not exist.", show_default=False)],
    report: Annotated[Path | None, typer.Option("--report", metavar="FILE", help="Write the whole report to this file, as JSON.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a new journal of all that can be saved of a damaged one, and report every task that is not in it as it was.

    PATH is only read. The new journal is verified before the command ends.

    Exit codes: 0 everything was saved, 1 something was not (the report names it), 3 nothing can be saved, 6 an engine has PATH open.
    """
    screen = Screen(as_json)
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise WrongCall(f"{destination} is there already: give the new journal a directory that does not exist")
    with screen.progress("reading") as bar:

        def tell(what: str, done: int, total: int) -> None:
            bar.to(done, total or None)

        verdicts: list[Verdict] = []

        def check(directory: str) -> None:
            bar.now("verifying the new journal", 0)
            verdicts.append(verify(directory, tell=lambda what, done, total: bar.to(done, total)))

        found = save(path, destination, tell, check)
    verdict = verdicts[0]
    told = {**report_json(found), "verified": verdict.sound, "head": None if verdict.head is None else str(verdict.head)}
    if report is not None:
        report.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    if as_json:
        screen.json(told)
    else:
        _show(screen, found)
        if verdict.sound:
            screen.say(f"the new journal at {found.destination} is sound, head {verdict.head}")
    if not verdict.sound:
        screen.note(
            f"journeyman: the new journal at {found.destination} does not verify: {verdict.findings[:3]}; please report this as a bug"
        )
        raise typer.Exit(Exit.FAILED)
    if not found.whole:
        raise typer.Exit(Exit.FOUND)


def _show(screen: Screen, found: Repaired) -> None:
    screen.facts(
        [
            ("saved", f"{found.records} records"),
            ("lost", f"{found.lost} records that cannot be read; {found.left_out} sound ones left out with their tasks"),
            ("restored", f"{len(found.mended)} by turning back one bit or byte, {found.strays} that no table led to any more"),
        ]
    )
    for said in found.unreadable:
        screen.say(f"{said}: what it alone had is lost")
    unproven = [seq for seq, said in found.vouched.items() if said not in (CONFIRMED, CONTRADICTED)]
    if unproven:
        screen.say(f"of the restored records {len(unproven)} are vouched for by their crc alone, the first is {min(unproven)}")
    refuted = [seq for seq, said in found.vouched.items() if said == CONTRADICTED]
    if refuted:
        screen.say(
            f"{len(refuted)} records could have been restored, but the chain says that they, or others of their commits, are not what was "
            f"written; they count as lost, the first is {min(refuted)}"
        )
    _list(screen, "tasks that are not as they were:", found.affected)
    _list(screen, "tasks of which nobody can say whether they had ended; they are as they were when last heard of:", found.doubtful)
    if found.values:
        shown = ", ".join(shown_key(name) for name in found.values[:_SHOWN]) + (", ..." if len(found.values) > _SHOWN else "")
        screen.say(f"keys of the application whose values are lost, and that have none now: {shown}")
    if found.paused:
        names = ", ".join(shown_name(name) for name in found.paused)
        screen.say(f"paused: {names}. Nothing of these queues starts before `resume`; cancel first what you know to have ended")


def _list(screen: Screen, title: str, tasks: list[Affected]) -> None:
    if not tasks:
        return
    screen.say(title)
    for one in tasks[:_SHOWN]:
        screen.say(f"  {id_text(one.task)}  {shown_name(one.queue)}  {one.what}: {one.why}")
    if len(tasks) > _SHOWN:
        screen.say(f"  and {len(tasks) - _SHOWN} more (--report FILE has them all)")


def report_json(found: Repaired) -> dict[str, Any]:
    """The whole report."""

    def tasks(those: list[Affected]) -> list[dict[str, Any]]:
        return [
            {
                "task": id_text(one.task),
                "queue": shown_name(one.queue),
                "first_seq": one.first,
                "last_seq": one.last,
                "what": one.what,
                "why": one.why,
            }
            for one in those
        ]

    return {
        "source": found.source,
        "destination": found.destination,
        "whole": found.whole,
        "unreadable": found.unreadable,
        "records": found.records,
        "lost": found.lost,
        "left_out": found.left_out,
        "strays": found.strays,
        "mended": [{"seq": seq, "what": what, "chain": found.vouched.get(seq)} for seq, what in sorted(found.mended.items())],
        "contradicted": sorted(seq for seq, said in found.vouched.items() if said == CONTRADICTED),
        "affected": tasks(found.affected),
        "doubtful": tasks(found.doubtful),
        "values": [{"namespace": namespace, "key": key.hex()} for namespace, key in found.values],
        "paused": [shown_name(name) for name in found.paused],
    }


__all__ = ["commands", "report_json"]

"""`make bench`, `make bench-sim`: measure rows of the speed table beside their baselines, and say whether the minimums hold.

    python bench/run.py [--quick] [--only NAME ...] [--without NAME ...] [--json OUT] [--plot SVG] [--record] [--dir DIR] [--allow-tmpfs]
                        [--no-gate]

Exit code 1: a minimum was missed (not with --no-gate). 2: the benchmark could not be run here.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import ground
import plot
import report
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from row import Result, Round, Row

REPOSITORY = Path(__file__).resolve().parent.parent


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure Journeyman beside its baselines.")
    parser.add_argument("--quick", action="store_true", help="two small rounds of each row: for a first impression, not for a claim")
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="run this row only (may be repeated; --list names them)"
    )
    parser.add_argument("--without", action="append", default=[], metavar="NAME", help="run every row but this one (may be repeated)")
    parser.add_argument("--list", action="store_true", help="name the rows and stop")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write every round of every figure here")
    parser.add_argument("--plot", type=Path, metavar="SVG", help="draw the picture here (default: var/bench.svg)")
    parser.add_argument("--record", action="store_true", help="after a full run: put picture and table into docs/")
    parser.add_argument("--dir", type=Path, default=REPOSITORY / "var" / "bench", help="where the journals are made (default: var/bench)")
    parser.add_argument("--allow-tmpfs", action="store_true", help="accept a memory file system, on which the figures mean nothing")
    parser.add_argument("--no-gate", action="store_true", help="report missed minimums, but exit 0")
    return parser.parse_args()


def chosen(names: list[str], without: list[str]) -> list[Row]:
    from rows import ROWS  # after the arguments: --help needs no engine

    known = {row.name: row for row in ROWS}
    unknown = [name for name in (*names, *without) if name not in known]
    if unknown:
        raise SystemExit(f"no row named {', '.join(unknown)}; there are: {', '.join(known)}")
    return [known[name] for name in names or known if name not in without]


def run(rows: list[Row], place: ground.Ground, console: Console, *, quick: bool) -> list[Result]:
    """Round by round, all rows in each, so that a slow minute of the machine touches every row alike."""
    results = [Result(row) for row in rows]
    rounds = {row.name: 2 if quick else row.rounds for row in rows}
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description:<60}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, refresh_per_second=2) as progress:
        bar = progress.add_task("", total=sum(rounds.values()))
        for number in range(max(rounds.values())):
            for result in results:
                if number >= rounds[result.row.name]:
                    continue

                def announce(job: str, result: Result = result, number: int = number) -> None:
                    progress.update(bar, description=f"{result.row.name}, round {number + 1}: {job}", refresh=True)

                place.flushes_us.append(ground.flush_cost(place.root))
                result.rounds.append(result.row.measure(Round(place, number, quick, announce)))
                progress.advance(bar)
    return results


def main() -> int:
    asked = arguments()
    if asked.record and (asked.quick or asked.only or asked.without):
        raise SystemExit("--record wants a full run: leave out --quick, --only and --without")
    console = Console() if sys.stdout.isatty() else Console(width=140)
    if asked.list:
        for row in chosen([], []):
            console.print(f"[bold]{row.name:14}[/]{row.title}")
        return 0
    try:
        place = ground.survey(asked.dir, allow_tmpfs=asked.allow_tmpfs)
    except ground.UnfitGround as unfit:
        console.print(f"[bold red]not measured:[/] {unfit}")
        return 2
    facts = report.machine()
    results = run(chosen(asked.only, asked.without), place, console, quick=asked.quick)
    console.print(report.table(results))
    console.print(place.durability(), style="dim")
    if place.restless():
        console.print("[bold yellow]the disk was busy with something else: compare ratios, not rates, or measure again[/]")
    content = report.as_json(results, place, facts, quick=asked.quick)
    if asked.json:
        report.write_json(asked.json, content)
    caption = f"CPython {facts['python']}, {facts['cores']} cores, {place.filesystem}, flush {place.flush_us:.0f} us"
    picture = asked.plot or REPOSITORY / "var" / "bench.svg"
    plot.draw(results, picture, f"{caption}; medians, the thin line is the range")
    console.print(f"picture: {picture}", style="dim")
    if asked.record:
        plot.draw(results, REPOSITORY / "docs" / "bench.svg", f"{caption}; medians, the thin line is the range")
        report.record(REPOSITORY / "docs" / "PERFORMANCE.md", results, content)
    return 0 if report.summary(console, results) or asked.no_gate else 1


if __name__ == "__main__":
    sys.exit(main())

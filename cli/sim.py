"""`journeyman sim`: random runs of the engine in simulated worlds, and files of failed ones.

Exit codes: 0 all is well, 1 a promise was broken (the file that shows it is named), 2 a wrong call, 130 stopped by Ctrl-C:
then too what was found is said and saved.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import random
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from journeyman.cli.failures import Exit
from journeyman.sim.batch import SeedResult, Tally, run_seeds
from journeyman.sim.replay import Failure, Recording, examine
from journeyman.sim.reproduce import replay_file
from journeyman.sim.shrink import shrink
from journeyman.sim.swarm import swarm

commands = typer.Typer(
    help="Simulation: production code, virtual time, one seed.", no_args_is_help=True, add_completion=False, rich_markup_mode=None
)
SEEDS = "0-299"
FOLDER = Path("sim-failures")
SHOWN = 25  # lines of a trace


@commands.command()
def run(
    minutes: Annotated[float | None, typer.Option(min=0, help="Go on with fresh random seeds for so long.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes that work side by side.")] = max(1, os.cpu_count() or 1),
    seeds: Annotated[str | None, typer.Option(metavar="A-B", help=f"These seeds, both ends included.  [default: {SEEDS}]")] = None,
    twice: Annotated[bool, typer.Option(help="Run each seed twice, and compare the digests.")] = False,
    shrinking: Annotated[bool, typer.Option("--shrink/--no-shrink", help="Make a failing run small before it is saved.")] = True,
    save: Annotated[Path, typer.Option(help="Where failing runs are saved.")] = FOLDER,
    most: Annotated[int, typer.Option(min=1, help="Stop after so many failures.")] = 3,
) -> None:
    """Simulate many seeds: each draws faults, queues and load of its own, and checks every promise all the time."""
    console = Console(highlight=False)
    if minutes is not None and seeds is not None:
        raise typer.BadParameter("give --minutes or --seeds, not both")
    span = None if minutes is not None else _span(seeds or SEEDS)
    _require_writable(save)
    tally, began = Tally(), time.monotonic()
    first = random.randrange(1 << 40) if span is None else span[0]  # without a span: seeds that nobody has tried
    console.print(f"seeds from {first} on")
    results = run_seeds(itertools.count(first) if span is None else span, jobs=jobs, twice=twice)
    stopped = False
    try:
        for result in _shown(console, results, tally, None if span is None else len(span), minutes):
            console.print(f"seed {result.seed} fails: {result.failure}", markup=False, soft_wrap=True)
            if len(tally.failed) >= most:
                break
    except KeyboardInterrupt:
        stopped = True
    console.print(_summary(tally, time.monotonic() - began))
    for result in tally.failed:
        try:
            _keep(console, result, save, shrinking and not stopped)
        except KeyboardInterrupt:  # while it was made smaller
            stopped = True
            _keep(console, result, save, shrinking=False)
    if stopped:
        console.print("stopped")
        raise typer.Exit(Exit.STOPPED)
    if tally.failed:
        raise typer.Exit(1)


@commands.command()
def replay(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A file that `sim run` or a test has saved.")],
    lines: Annotated[int, typer.Option(min=0, help="How much of the end of the trace to show.")] = SHOWN,
) -> None:
    """Run a saved plan or example again, bit for bit, and say whether it still fails in the same way (then the exit code is 1)."""
    console = Console(highlight=False)
    logging.disable(logging.CRITICAL)
    try:
        again = replay_file(file)
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from None
    if lines:
        console.print(again.outcome.trace.render(last=lines), markup=False, no_wrap=True, overflow="crop")
    console.print(again.verdict, markup=False, soft_wrap=True)
    if again.outcome.failure is not None:
        raise typer.Exit(1)


def _span(text: str) -> range:
    first, dash, last = text.partition("-")
    try:
        seeds = range(int(first), int(last if dash else first) + 1)
    except ValueError:
        seeds = range(0)
    if not seeds:
        raise typer.BadParameter(f"--seeds takes A-B with A <= B, such as {SEEDS}, not {text!r}")
    return seeds


def _require_writable(folder: Path) -> None:
    """Where nothing can be saved, that is said before an hour of work and not after it.  Leaves nothing behind."""
    made: list[Path] = []
    try:
        made = [each for each in (folder, *folder.parents) if not each.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise typer.BadParameter(f"failing runs cannot be saved in {folder}: {error.strerror}; give another folder to --save") from None
    finally:
        for each in made:
            with contextlib.suppress(OSError):
                each.rmdir()


def _shown(console: Console, results: Iterable[SeedResult], tally: Tally, total: int | None, minutes: float | None) -> Iterator[SeedResult]:
    """Count the results below a progress bar until time is up; hand on the failures."""
    bar = Progress(
        SpinnerColumn(),
        BarColumn(24),
        MofNCompleteColumn() if total is not None else TextColumn("{task.completed:,} seeds"),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
        console=console,
        transient=True,
    )
    began = time.monotonic()
    with bar:
        task = bar.add_task("", total=total)
        for result in results:
            tally.add(result)
            spent = time.monotonic() - began
            pace = f"{tally.runs / max(spent, 1e-3):.0f} seeds/s, {tally.seconds / 3600:,.0f} simulated hours"
            bar.update(task, advance=1, description=f"{pace}, {sum(tally.faults.values()):,} faults, {len(tally.failed)} failures")
            if result.failure is not None:
                yield result
            if minutes is not None and spent > minutes * 60:
                return


def _summary(tally: Tally, spent: float) -> Table:
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column()
    table.add_row("seeds", f"{tally.runs:,} in {spent:.0f} s, {tally.runs / max(spent, 1e-3):.0f} a second")
    table.add_row("simulated", f"{tally.seconds / 3600:,.1f} hours, {tally.boots:,} boots")
    table.add_row("faults", _listed(tally.faults) or "none")
    table.add_row("events", _listed(type_counts(tally)))
    for kind in sorted({name.partition(" ")[0] for name in tally.reached}):
        names = [name for name in tally.reached if name.partition(" ")[0] == kind]
        table.add_row(kind, f"{len(names)} reached, {sum(tally.reached[name] for name in names):,} times")
    table.add_row("failures", str(len(tally.failed)))
    return table


def type_counts(tally: Tally) -> dict[str, int]:
    """Events of the journal, by type: the states and transitions that the runs went through."""
    return {name: n for name, n in tally.events.items() if name[0].isupper()}


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {n:,}" for name, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _keep(console: Console, result: SeedResult, folder: Path, shrinking: bool) -> None:
    """Save a failing run, small if that is wanted, and say how to see it again."""
    logging.disable(logging.CRITICAL)
    plan = swarm(result.seed)
    outcome = examine(plan)
    if shrinking and outcome.failure is not None:
        with console.status(f"making seed {result.seed} smaller"):
            small = shrink(plan)
        plan, outcome = small.plan, small.outcome
    failure: Failure | None = outcome.failure or result.failure
    recording = Recording.make(plan, outcome, f"swarm seed {result.seed}: {failure}")
    path = folder / f"seed-{result.seed}.json"
    console.print(outcome.trace.render(last=SHOWN), markup=False, no_wrap=True, overflow="crop")
    try:
        recording.save(path)
        again = f"see it again: journeyman sim replay {path}"
    except OSError as error:
        again = f"{path} cannot be written: {error.strerror}. To see it again, give `sim replay` a file of this:\n{recording.text()}"
    console.print(f"seed {result.seed}: {failure}\n{again}", markup=False, soft_wrap=True)

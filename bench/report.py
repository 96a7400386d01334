"""The results as a table for people and as JSON for whoever compares two runs."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

from ground import Ground
from rich.console import Console
from rich.table import Table
from row import Result, Target

BEGIN, END = "<!-- figures: written by bench/run.py --record -->", "<!-- end of figures -->"
PACKAGES = ("lmdb", "cbor2", "msgspec", "trio", "huey")


def show(value: float, unit: str) -> str:
    if unit == "/s":
        return f"{value:,.0f} /s"
    if unit == "":
        return f"{value:,.0f}"
    return f"{value:.2f} {unit}"


def verdict(result: Result, target: Target) -> str:
    value = result.median(target)
    if not target.meets(value, target.least):
        return "[bold red]MISSED[/]"
    if target.aim is not None and target.meets(value, target.aim):
        return "[bold green]aim[/]"
    return "[green]ok[/]" if target.least is not None else ""


def table(results: list[Result]) -> Table:
    drawn = Table(title="Journeyman, measured", title_justify="left", header_style="bold", row_styles=["", "dim"], expand=False)
    for heading, side in (("work", "left"), ("median", "right"), ("range", "right"), ("at least", "right"), ("aim", "right"), ("", "left")):
        drawn.add_column(heading, justify=side, no_wrap=True)  # type: ignore[arg-type]
    for result in results:
        drawn.add_row(f"[bold]{result.row.title}[/]", "", f"{len(result.rounds)} rounds", "", "", "")
        for target in result.row.targets:
            values = result.values(target)
            spread = (
                f"{show(min(values), '')} - {show(max(values), '')}"
                if target.unit in ("/s", "")
                else f"{min(values):.2f} - {max(values):.2f}"
            )
            bound = "under " if target.lower else ""
            drawn.add_row(
                "  " + target.label,
                show(result.median(target), target.unit),
                spread,
                bound + show(target.least, target.unit) if target.least is not None else "",
                bound + show(target.aim, target.unit) if target.aim is not None else "",
                verdict(result, target),
            )
        drawn.add_section()
    return drawn


def machine() -> dict[str, Any]:
    """What a reader needs to place the figures, taken before they are measured; nothing that identifies the machine."""
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent, check=False
    ).stdout.strip()
    return {
        "commit": commit or None,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load before": round(os.getloadavg()[0], 1),
        "sqlite": sqlite3.sqlite_version,
        **{name: importlib.metadata.version(name) for name in PACKAGES},
    }


def as_json(results: list[Result], ground: Ground, facts: dict[str, Any], *, quick: bool) -> dict[str, Any]:
    return {
        "machine": facts,
        "durability": ground.durability(),
        "quick": quick,
        "rows": [
            {
                "name": result.row.name,
                "title": result.row.title,
                "rounds": result.rounds,
                "targets": [
                    {
                        "label": target.label,
                        "unit": target.unit,
                        "median": result.median(target),
                        "least": target.least,
                        "aim": target.aim,
                        "lower": target.lower,
                        "met": target.meets(result.median(target), target.least),
                    }
                    for target in result.row.targets
                ],
            }
            for result in results
        ],
    }


def write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


def markdown(results: list[Result], content: dict[str, Any]) -> str:
    """The judged and the reported figures as a Markdown table, with what they were measured on."""
    facts = ", ".join(f"{name} {value}" for name, value in content["machine"].items() if value is not None)
    lines = [f"Measured on: {facts}.", "", f"Durability: {content['durability']}.", ""]
    lines += ["| work | median | range | at least | aim |", "|---|---:|---:|---:|---:|"]
    for result in results:
        lines.append(f"| **{result.row.title}** | | {len(result.rounds)} rounds | | |")
        for target in result.row.targets:
            values, bound = result.values(target), "under " if target.lower else ""
            cells = (
                f"{show(min(values), target.unit)} ... {show(max(values), target.unit)}",
                bound + show(target.least, target.unit) if target.least is not None else "",
                bound + show(target.aim, target.unit) if target.aim is not None else "",
            )
            missed = "" if target.meets(result.median(target), target.least) else " (missed)"
            lines.append(f"| {target.label} | {show(result.median(target), target.unit)}{missed} | {' | '.join(cells)} |")
    return "\n".join(lines)


def record(page: Path, results: list[Result], content: dict[str, Any]) -> None:
    """Put the table between the two marks of the page."""
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{page} lacks the marks between which the figures go")
    page.write_text(f"{before}{begin}\n\n{markdown(results, content)}\n\n{end}{after}")


def summary(console: Console, results: list[Result]) -> bool:
    """Print what was missed; True if nothing was."""
    missed = [(result, target) for result in results for target in result.missed()]
    for result, target in missed:
        reached, wanted = show(result.median(target), target.unit), show(target.least or 0, target.unit)
        console.print(f"[bold red]missed[/] {result.row.title}: {target.label} is {reached}, wanted {wanted}")
    return not missed

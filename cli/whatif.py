"""`journeyman whatif`: the recorded tasks of a queue, played under another policy, beside what happened."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from journeyman.cli.failures import Exit, WrongCall, command
from journeyman.cli.moments import moment
from journeyman.cli.plots import check_plot, plot
from journeyman.cli.screen import AsJson, JournalPath, Screen, instant, span
from journeyman.journal.view import open_journal
from journeyman.journal.whatif.comparing import Baseline, Comparison, Variant, what_if
from journeyman.journal.whatif.meter import Figures
from journeyman.journal.whatif.playing import Played
from journeyman.journal.whatif.settings import settings

commands = typer.Typer()

_Set = Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Change the policy; can be repeated.")]
_Variants = Annotated[
    list[str] | None,
    typer.Option("--variant", metavar='"NAME=VALUE ..."', help="One more policy to compare, on top of all --set; can be repeated."),
]
_Plot = Annotated[Path | None, typer.Option("--plot", metavar="FILE", help="Draw the backlog over time: FILE.svg or FILE.html.")]


@command(commands)
def whatif(
    path: JournalPath,
    queue: Annotated[str, typer.Option("--queue", help="The queue.")],
    sets: _Set = None,
    variants: _Variants = None,
    since: Annotated[str | None, typer.Option("--since", metavar="MOMENT", help="Leave out what came before.")] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="MOMENT", help="Leave out what came after.")] = None,
    plot_to: _Plot = None,
    as_json: AsJson = False,
) -> None:
    """A queue's recorded tasks played under another policy: waits, backlog, failures, beside what happened.

    The first play is one under the recorded policy; if that does not reproduce the recorded waits, this says so and ends with exit code 1.
    """
    screen = Screen(as_json)
    wanted = _wanted(sets or [], variants or [])
    if plot_to is not None:
        check_plot(plot_to)
    with open_journal(path) as view, ExitStack() as bars:
        hears = bars.enter_context(screen.progress("reading", view.last_seq)).to
        try:
            found = what_if(
                view,
                queue,
                wanted,
                since=None if since is None else moment(since),
                until=None if until is None else moment(until),
                hears=hears,
                plays=_plays(screen, bars),
            )
        except ValueError as error:
            raise WrongCall(str(error)) from None
    if as_json:
        screen.json(_json(found))
    else:
        _show(screen, found, " ".join(sets or []) if variants else "")
    if plot_to is not None:
        plot(plot_to, _title(found), _curves(found))
        screen.note(f"drawn to {plot_to}")
    if not found.baseline.trusted:
        raise typer.Exit(Exit.FOUND)


def _wanted(sets: list[str], variants: list[str]) -> list[Variant]:
    """Each --variant on top of all --set; without one, what --set says; with neither, nothing but the baseline."""
    try:
        shared = settings(sets)
        found = [Variant(" ".join(text.split()), settings([*sets, text])) for text in variants]
    except ValueError as error:
        raise WrongCall(str(error)) from None
    if len({each.name for each in found}) < len(found):
        raise WrongCall("two --variant are the same: give each once")
    return found or ([Variant(" ".join(sets), shared)] if sets else [])


def _plays(screen: Screen, bars: ExitStack) -> Callable[[str, int], Callable[[int], object]]:
    def begin(name: str, total: int) -> Callable[[int], object]:
        bars.close()
        return bars.enter_context(screen.progress(f"playing: {name}", total)).to

    return begin


# --- for people ---------------------------------------------------------------------------------------------------------


def _show(screen: Screen, found: Comparison, shared: str) -> None:
    """`shared`: what is set for every variant, which the heads of their columns do not say."""
    recording, baseline = found.recording, found.baseline
    screen.say(f"{_title(found)}, {instant(recording.began_at)} to {instant(recording.ended_at)}")
    if shared:
        screen.say(f"every variant with {shared}")
    screen.say("")
    columns = ("", "recorded", "as it was", *(each.variant.name for each in found.variants))
    plays = [found.as_it_was, *(each.played for each in found.variants)]
    figures = [found.recorded, *(played.figures for played in plays)]
    rows = [(name, *(read(each) for each in figures)) for name, read in _FIGURES]
    rows += [(name, "", *(read(played) for played in plays)) for name, read in _GUESSES if any(read(played) for played in plays)]
    screen.table(None, columns, rows, right=columns[1:])
    screen.say("")
    _show_baseline(screen, baseline)
    for played, name in zip(plays, columns[2:], strict=True):
        if played.stopped:
            screen.say(f"{name}: given up, as it came to no end; its figures are those so far")
    screen.say("It assumes:")
    for line in found.assumptions:
        screen.say(f"- {line}")


def _show_baseline(screen: Screen, baseline: Baseline) -> None:
    if baseline.near is None:
        screen.say("Nothing that started in this span could be compared.")
    else:
        screen.say(
            f"Played as it was, waits differ from the recorded ones by {span(baseline.error_mean_us)} on average, "
            f"p95 {span(baseline.error_p95_us)}; {baseline.near:.1%} are within 5 ms or 5 % "
            f"({baseline.compared} of {baseline.starts} starts compared)."
        )
    if not baseline.trusted:
        screen.say("DO NOT TRUST THIS COMPARISON: played under its own policy, the queue does not behave as recorded.", style="bold red")
    for reason in baseline.reasons:
        screen.say(f"- {reason}")


def _title(found: Comparison) -> str:
    return f"queue {found.recording.queue}".replace("\x1f", "/")


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


_FIGURES: list[tuple[str, Callable[[Figures], Any]]] = [
    ("tasks", lambda f: f.tasks),
    ("wait p50", lambda f: span(f.wait_p50_us)),
    ("wait p95", lambda f: span(f.wait_p95_us)),
    ("wait p99", lambda f: span(f.wait_p99_us)),
    ("wait max", lambda f: span(f.wait_max_us)),
    ("makespan", lambda f: span(f.makespan_us)),
    ("backlog mean", lambda f: f"{f.backlog_mean:.3g}" if f.backlog_mean >= 0.001 else "0"),
    ("backlog max", lambda f: f.backlog_max),
    ("attempts", lambda f: f.starts),
    ("failures", lambda f: f.failures),
    ("retries", lambda f: f.retries),
    ("dead letters", lambda f: f.dead_letters),
    ("snoozes", lambda f: f.snoozes),
    ("cancelled", lambda f: f.cancelled),
    ("cut short", lambda f: f.cut_short),
    ("succeeded", lambda f: f.succeeded),
    ("unfinished", lambda f: f.unfinished),
    ("slots in use", lambda f: _share(f.utilisation)),
    ("held by a rate", lambda f: span(f.limited_us)),
]
_GUESSES: list[tuple[str, Callable[[Played], Any]]] = [
    ("runs drawn", lambda p: p.drawn),
    ("ends not known", lambda p: p.hidden),
    ("submits refused", lambda p: p.refused),
    ("submits merged", lambda p: p.merged),
    ("orders unheard", lambda p: p.unheard),
    ("tasks never submitted", lambda p: p.unborn),
]


# --- for programs -------------------------------------------------------------------------------------------------------


def _json(found: Comparison) -> dict[str, Any]:
    recording = found.recording
    return {
        "queue": _title(found).removeprefix("queue "),
        "since_us": recording.began_at,
        "until_us": recording.ended_at,
        "baseline": {name: getattr(found.baseline, name) for name in Baseline.__slots__},
        "recorded": _figures(found.recorded),
        "as_it_was": _played(found.as_it_was),
        "variants": [{"name": each.variant.name, "policy": each.variant.facts, **_played(each.played)} for each in found.variants],
        "assumptions": found.assumptions,
    }


def _played(played: Played) -> dict[str, Any]:
    words = ("drawn", "hidden", "refused", "merged", "unheard", "unborn", "stopped")
    return {**_figures(played.figures), **{name: getattr(played, name) for name in words}}


def _figures(figures: Figures) -> dict[str, Any]:
    return {name: getattr(figures, name) for name in Figures.__slots__ if name != "curve"}


def _curves(found: Comparison) -> list[tuple[str, list[tuple[int, int]]]]:
    plays = [("as it was", found.as_it_was), *((each.variant.name, each.played) for each in found.variants)]
    return [("recorded", found.recorded.curve), *((name, played.figures.curve) for name, played in plays)]


__all__ = ["commands"]

"""`journeyman from-test`: a task's history as a test that makes it happen again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from journeyman.cli.failures import Exit, WrongCall, command, fail
from journeyman.cli.from_history import test_of
from journeyman.cli.moments import task_id
from journeyman.cli.screen import AsJson, JournalPath, Redact, Reveal, Screen
from journeyman.cli.script import NOTICED_US
from journeyman.journal.course import Course, Neighbour, course_of, neighbours_of, stood_in_the_way, waiting
from journeyman.journal.redaction import Redaction
from journeyman.journal.view import open_journal
from journeyman.kernel.errors import JourneymanError

commands = typer.Typer()


@command(commands, "from-test")
def from_test(
    path: JournalPath,
    id: Annotated[str, typer.Argument(metavar="ID", help="The task's id.", show_default=False)],
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it here instead of to stdout.")] = None,
    with_neighbours: Annotated[
        int, typer.Option("--with-neighbours", metavar="N", min=0, help="Play up to N tasks that kept it waiting, too.")
    ] = 0,
    reveal: Reveal = False,
    redact: Redact = None,
    check: Annotated[bool, typer.Option("--check", help="Run it at once; exit code 1 if it does not happen again.")] = False,
    as_json: AsJson = False,
) -> None:
    """Turn a task's history into a pytest file that makes it happen again in simulation."""
    screen = Screen(as_json)
    if output is not None and output.exists():
        raise WrongCall(f"{output} is there already: name another file, or delete it first")
    with open_journal(path) as view, screen.progress("reading", view.last_seq) as bar:
        redaction = Redaction(redact or (), reveal=reveal).learn(view.parameters())
        course = course_of(view, task_id(id), bar.to)
        if course is None:
            raise WrongCall(f"there is no task {id} in this journal: it was never submitted here, or retention has dropped it")
        if with_neighbours:
            course = _with_neighbours(screen, course, neighbours_of(view, course, with_neighbours, bar.to))
    source = test_of(course, redaction)
    if output is not None:
        output.write_text(source, encoding="ascii")
        screen.note(f"wrote {output}: run it with `pytest {output}`")
    if as_json:
        screen.json({"task": id, "events": len(course.events), "output": None if output is None else str(output), "source": source})
    elif output is None:
        typer.echo(source, nl=False)
    if check:
        _check(source)


def _with_neighbours(screen: Screen, course: Course, found: list[Neighbour]) -> Course:
    """With those who were in the way, if they alone explain how long it waited."""
    if all(until - since < NOTICED_US for since, until in waiting(course.events)):
        screen.note("it never waited for anything noticeable: nobody else takes part")
        return course
    if not found:
        screen.note("nothing that the journal still holds of this queue ran while it waited")
        return course
    if not stood_in_the_way(course, found, NOTICED_US):
        screen.note(f"{len(found)} tasks that ran while it waited do not explain how long it did: the test pauses the queue instead")
        return course
    of_key = [one for one in found if one.key is not None and one.key == (course.task.options or {}).get("key")]
    return replace(course, neighbours=of_key if stood_in_the_way(course, of_key, NOTICED_US) else found)


def _check(source: str) -> None:
    """Whether the test passes, here and now."""
    module: dict[str, Any] = {"__name__": "from_test"}
    exec(compile(source, "<from-test>", "exec"), module)
    try:
        module["test_it_happens_again"]()
    except (AssertionError, JourneymanError) as error:
        fail(f"it does not happen again: {str(error).strip() or type(error).__name__}", Exit.FOUND)


__all__ = ["commands"]

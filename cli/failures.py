"""How a command ends: exit codes, and errors as what the operator must do.

    0    done                                          5    there is no journal here, or it is another program's
    1    done, and found what must not be (damage,     6    an engine has the journal open, and this needs it alone
         a difference, a broken promise)               7    no room on a disk: the journal's, or the one that the answer goes to
    2    a wrong call                                  8    it cannot be done for another reason, which is named
    3    the journal is damaged                        130  stopped by Ctrl-C
    4    the journal is of another version             141  whoever read the output has gone

Errors go to stderr, one or a few lines and never a traceback, so that stdout stays what was asked for.  An answer that could not be
written must not end like one: CI reads 1 as "damage found" and 0 as "all is well", so a full or closed stdout has codes of its own.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import inspect
import os
import sys
from collections.abc import Callable
from enum import IntEnum
from typing import Any, NoReturn, TypeVar

import typer

from journeyman.cli import guard
from journeyman.journal.errors import JournalCorrupt, JournalFull, JournalLocked, JournalVersion, NoJournal, NotAJournal
from journeyman.kernel.errors import JourneymanError

_CAREFUL = frozenset({"verify", "replay", "verify_code", "repair"})  # what they read cannot kill them

F = TypeVar("F", bound=Callable[..., Any])


NO_TASK = "there is no such task in this journal: it was never submitted here, or retention has dropped it"


class Exit(IntEnum):
    """Exit codes; the head of this file says what they mean."""

    DONE = 0
    FOUND = 1
    WRONG_CALL = 2
    DAMAGED = 3
    VERSION = 4
    NO_JOURNAL = 5
    LOCKED = 6
    FULL = 7
    FAILED = 8
    STOPPED = 130
    UNHEARD = 141


class WrongCall(Exception):
    """What was asked for makes no sense; the message says what would."""


def command(app: typer.Typer, name: str | None = None) -> Callable[[F], F]:
    """Make a function a command of `app` whose errors end as the head of this file says."""

    def register(run: F) -> F:
        @functools.wraps(run)
        def answered(*args: Any, **kwargs: Any) -> None:
            if sys.stdout is None:  # as Python has it when it was started without one
                fail("there is nowhere to write the answer: stdout is closed", Exit.FAILED)
            path = kwargs.get("path")
            try:
                if run.__name__ not in _CAREFUL and guard.needed(path) and (ended := guard.in_child()) is not None:
                    raise typer.Exit(ended)
                run(*args, **kwargs)
                sys.stdout.flush()
            except guard.Killed as death:
                fail(
                    f"the journal at {path} is damaged: reading it killed the process ({death}). Keep a copy of the directory, and let "
                    "`journeyman verify` say what is left",
                    Exit.DAMAGED,
                )
            except KeyboardInterrupt as stopped:
                guard.heard_once()
                fail(with_notes("stopped", stopped), Exit.STOPPED)
            except BrokenPipeError:
                _forget_stdout()
                raise typer.Exit(Exit.UNHEARD) from None
            except WrongCall as error:
                fail(str(error), Exit.WRONG_CALL)
            except JourneymanError as error:
                fail(with_notes(str(error), error), code_of(error))
            except OSError as error:
                fail(*_refused(error))

        answered.__signature__ = inspect.signature(run, eval_str=True)  # type: ignore[attr-defined]
        app.command(name)(answered)
        return run

    return register


def _forget_stdout() -> None:
    """What is still in its buffer goes nowhere, or the interpreter would complain at its end."""
    with contextlib.suppress(OSError, ValueError):  # a test's stdout has no number
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _refused(error: OSError) -> tuple[str, Exit]:
    """What the operating system would not do.  Without a file's name it was the answer that could not be written."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    said = error.strerror or str(error)
    if error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {said}", Exit.FULL if full else Exit.FAILED
    _forget_stdout()
    advice = ": free some room where the output goes, or send it elsewhere" if full else ""
    return f"the answer could not be written ({said}){advice}", Exit.FULL if full else Exit.FAILED


def code_of(error: JourneymanError) -> Exit:
    """What an error of the journal's means for the exit code."""
    if isinstance(error, JournalCorrupt):
        return Exit.DAMAGED
    if isinstance(error, JournalVersion):
        return Exit.VERSION
    if isinstance(error, JournalLocked):
        return Exit.LOCKED
    if isinstance(error, JournalFull):
        return Exit.FULL
    if isinstance(error, NoJournal | NotAJournal):
        return Exit.NO_JOURNAL
    return Exit.FAILED


def with_notes(message: str, error: BaseException) -> str:
    """With what was noted on the way, such as how far an order had come."""
    return "\n".join([message, *getattr(error, "__notes__", ())])


def fail(message: str, code: Exit) -> NoReturn:
    """Say it on stderr and end."""
    typer.echo(f"journeyman: {message}", err=True)
    raise typer.Exit(code)


__all__ = ["NO_TASK", "Exit", "WrongCall", "code_of", "command", "fail"]

"""A command that reads a big journal works in a child, so that damage which kills its reader is an answer and not a crash.

Problem.  LMDB trusts its file: behind a cut, or a damaged page, a read ends the process by a signal.  A small journal is looked through by
a child before it is opened (journal/probe.py); a big one only where recovery reads, for an operator is in a hurry, so any read after that
may still die.  Choice: for a big journal the command goes on in a fork of itself, which has the terminal and the output as its own; this
process only waits, passes on what is sent to it alone, and ends as the fork ended, or with exit code 3 and a sentence.  Costs 2 ms.

A fork comes before anything is opened, and before there are threads.  Rejected: looking through everything first (40 s for two gigabytes);
a child that reads and talks back, for every command (each would need words of its own, as journal/prover.py has).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path
from typing import Final

from journeyman.journal.probe import SMALL

_DEADLY: Final = frozenset({signal.SIGBUS, signal.SIGSEGV, signal.SIGABRT})
_HEARD: Final = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT})
_BY_SOMEBODY: Final = 0  # si_code of a signal that a process has sent; a terminal's goes to the whole group
_GRACE: Final = 1.0  # seconds for the child to end of a signal that somebody has sent to the group; then it is passed on
_DEATH_OF_PARENT: Final = 1  # prctl's PR_SET_PDEATHSIG


_forked: Final[list[int]] = []  # not empty in a child


def needed(path: object) -> bool:
    """Whether the journal is so big that nobody looks through it first, and this is a process whose output is its own."""
    if sys.stdout is not sys.__stdout__ or not isinstance(path, Path) or not hasattr(signal, "sigwaitinfo"):
        return False
    try:
        return (path / "data.mdb").stat().st_size >= SMALL
    except OSError:
        return False


class Killed(Exception):
    """What was read has killed the child; the name of the signal."""


def in_child() -> int | None:
    """None in the child, which goes on; in the parent the exit code with which the child has ended.  Killed."""
    sys.stdout.flush()
    sys.stderr.flush()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD | {signal.SIGCHLD})
    parent, pid = os.getpid(), os.fork()
    if pid == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        _end_with(parent)
        _forked.append(pid)
        return None
    passed_on: int | None = None
    while True:
        heard = signal.sigtimedwait(_HEARD | {signal.SIGCHLD}, _GRACE)
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            break
        if heard is None and passed_on is not None:
            os.kill(pid, passed_on)
            passed_on = None
        elif heard is not None and heard.si_signo in _HEARD and heard.si_code <= _BY_SOMEBODY:
            passed_on = heard.si_signo
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    code = os.waitstatus_to_exitcode(status)
    if -code in _DEADLY:
        raise Killed(signal.Signals(-code).name)
    if code == -signal.SIGINT:  # by a second one, while it was ending of the first
        return 128 + signal.SIGINT
    if code < 0:  # by somebody's order: so do we
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


def heard_once() -> None:
    """In a child that a Ctrl-C has reached: the same one, passed on by a parent that heard it too, must not strike its way out."""
    if _forked:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _end_with(parent: int) -> None:
    """Where the system can do that, a parent killed by force takes its child along."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_DEATH_OF_PARENT, int(signal.SIGTERM))
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)


__all__ = ["Killed", "heard_once", "in_child", "needed"]

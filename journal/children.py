"""Child processes that look at a journal in this one's stead (probe, prover): begun so that none is forgotten, ended whatever happens.

Problem.  A Ctrl-C that comes just while a child is being started ends `Popen` half-way: the child runs, and nobody knows of it.  It then
goes on reading for minutes, or keeps a place among the readers, after its command has said that it was stopped.  Choice: for that moment
Ctrl-C is only noted, and takes effect when the child is known.  Rejected: blocking the signal (the thread of a progress bar would take it,
and Python raises in the main thread whoever took it).

A child is told to end by SIGTERM, so that it may close what it has open, and by force if that takes too long or somebody presses Ctrl-C
again.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any, Final

PATIENCE: Final = 5.0  # seconds for a child to come to its end when told to


@contextlib.contextmanager
def begun(module: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`python -m module arguments` as a child with pipes for what it says, which has ended when the block has.

    Its stdin is at its end when this process is gone.
    """
    environment = dict(os.environ)
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    environment["PYTHONPATH"] = os.pathsep.join([*(os.path.abspath(entry) for entry in sys.path if entry), root])
    child: subprocess.Popen[str] | None = None
    try:
        with _noting_ctrl_c():
            child = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                env=environment, cwd=os.sep, text=True, errors="replace",
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
        yield child
    finally:
        if child is not None:
            _end(child)


@contextlib.contextmanager
def _noting_ctrl_c() -> Iterator[None]:
    """A Ctrl-C takes effect at the end of the block."""
    before = signal.getsignal(signal.SIGINT)
    if not callable(before) or threading.current_thread() is not threading.main_thread():
        yield
        return
    struck: list[tuple[int, Any]] = []
    signal.signal(signal.SIGINT, lambda number, frame: struck.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if struck:
            before(*struck[0])


def _end(child: subprocess.Popen[str]) -> None:
    """Whatever it was doing."""
    try:
        if child.poll() is None:
            child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(PATIENCE)
    finally:
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout, child.stderr):
            if pipe is not None:
                pipe.close()


__all__ = ["PATIENCE", "begun"]

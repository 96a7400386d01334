"""Checks run in forked children of one warm process: a crash state costs milliseconds, and a dead child is a finding, not an accident."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable

TOOK_TOO_LONG = "still running after its time"


def in_child(check: Callable[[], str | None], *, seconds: float = 30.0) -> str | None:
    """Run `check` in a forked child.  Returns its finding (None: healthy), or how the child died."""
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        code = 0
        try:
            os.close(reading)
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 2)  # LMDB prints its assertions; how the child died says enough
            try:
                found = check()
            except BaseException as error:
                found = f"{type(error).__name__}: {error}"
            if found:
                code = 1
                os.write(writing, found.encode(errors="replace")[:4000])
        finally:
            os._exit(code)
    os.close(writing)
    until = time.monotonic() + seconds
    status = 0
    pause = 0.0005
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() > until:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(reading)
            return TOOK_TOO_LONG
        time.sleep(pause)
        pause = min(pause * 1.5, 0.02)
    with os.fdopen(reading, "rb") as file:
        said = file.read().decode(errors="replace")
    if os.WIFSIGNALED(status):
        return f"the interpreter died of {signal.Signals(os.WTERMSIG(status)).name}"
    return said or (None if os.WEXITSTATUS(status) == 0 else f"exit {os.WEXITSTATUS(status)}")

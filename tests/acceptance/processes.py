"""Programs of their own, for what a test must not do to itself: dying, being interrupted, doing nothing and being watched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]


class Ended(NamedTuple):
    code: int
    out: str
    err: str


class Program:
    """`python -m tests.acceptance.victim MODE ...`, whose lines can be waited for."""

    def __init__(self, *args: object, prefix: tuple[str, ...] = ()) -> None:
        env = dict(os.environ)
        paths = [str(ROOT / ".build")] if (ROOT / ".build" / "journeyman").is_dir() else []
        env["PYTHONPATH"] = os.pathsep.join([*paths, *filter(None, [env.get("PYTHONPATH")])])
        env["PYTHONUNBUFFERED"] = "1"
        victim = Path(__file__).with_name("victim.py")
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-P", str(victim), *map(str, args)],
            env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
        )  # fmt: skip
        self._seen: list[str] = []

    @property
    def pid(self) -> int:
        return self.process.pid

    def until(self, line: str) -> None:
        """Wait for a line that begins so."""
        assert self.process.stdout is not None
        for said in self.process.stdout:
            self._seen.append(said)
            if said.startswith(line):
                return
        raise AssertionError(f"the program ended without saying {line!r}: {self.ended()}")

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ended(self, timeout: float = 60.0) -> Ended:
        """Wait for its end; one that does not end is killed."""
        try:
            out, err = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, err = self.process.communicate()
            err += "\n(killed: it did not end)"
        return Ended(self.process.returncode, "".join(self._seen) + out, err)

"""Starting the programs under test: same interpreter, our modules importable, the shim loaded when wanted, descriptors passed by number.

Everything that may die (a kill, SIGBUS on a cut file, an LMDB assertion) runs in a process of its own; a test that died with its patient
would report nothing.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPO = HERE.parents[1]
ACK_FD = 77


@dataclass(frozen=True)
class Ended:
    """How a program ended.  `code` below 0: by that signal."""

    code: int
    out: str
    err: str

    @property
    def how(self) -> str:
        if self.code >= 0:
            return f"exit {self.code}"
        return f"killed by {signal.Signals(-self.code).name}"

    @property
    def last_words(self) -> str:
        lines = [line for line in (self.err.strip() or self.out.strip()).splitlines() if line.strip()]
        return lines[-1][:400] if lines else "(silence)"


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a program under test: tests/ on the path, and the link tree where the package is not installed."""
    env = dict(os.environ)
    paths = [str(HERE.parent)]
    links = REPO / ".build"
    if (links / "journeyman").is_dir():
        paths.append(str(links))
    if env.get("PYTHONPATH"):
        paths.append(env["PYTHONPATH"])
    env["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
    env["PYTHONSAFEPATH"] = "1"  # not the current directory: the repository's journeyman/ is only the face of the package
    env.update(extra or {})
    return env


def command(module: str, *args: object) -> list[str]:
    return [sys.executable, "-m", f"crash.{module}", *map(str, args)]


def run(argv: Sequence[str], *, env: Mapping[str, str] | None = None, timeout: float = 120.0) -> Ended:
    """Run to the end.  A program that does not end is killed and reported as code -9 with "timeout" in its words."""
    try:
        done = subprocess.run(argv, env=environment(env), capture_output=True, text=True, errors="replace", timeout=timeout)
    except subprocess.TimeoutExpired as late:
        err = late.stderr.decode(errors="replace") if isinstance(late.stderr, bytes) else late.stderr or ""
        return Ended(-signal.SIGKILL, "", f"{err}\ntimeout: still running after {timeout:g} s")
    return Ended(done.returncode, done.stdout, done.stderr)


class Running:
    """A program left running, acknowledging through a pipe on descriptor 77, its words kept in a file."""

    def __init__(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> None:
        reading, writing = os.pipe()
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`

        def place() -> None:  # in the child, before exec
            os.dup2(writing, ACK_FD, inheritable=True)

        self.process = subprocess.Popen(
            argv, env=environment(env), stdout=self._words, stderr=self._words, preexec_fn=place, close_fds=False
        )
        os.close(writing)
        self._said = bytearray()
        self._spoke = threading.Event()
        self._listener = threading.Thread(target=self._listen, args=(reading,), daemon=True)
        self._listener.start()

    def _listen(self, reading: int) -> None:
        """Keep reading: a full pipe would stop the program."""
        with os.fdopen(reading, "rb", buffering=0) as pipe:
            while words := pipe.read(1 << 16):
                self._said += words
                self._spoke.set()
        self._spoke.set()

    def wait_word(self, timeout: float = 30.0) -> bool:
        """Wait for the first word; False when it ended or hung without one."""
        return self._spoke.wait(timeout) and bool(self._said)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)

    def ended(self, timeout: float = 60.0) -> Ended:
        """Wait for the end (killing it when late); the acknowledgements are then in `acks`."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            code = self.process.wait()
        self._words.seek(0)
        return Ended(code, "", self._words.read().decode(errors="replace"))

    def acks(self) -> bytes:
        """Everything acknowledged.  Waits for the end."""
        self._listener.join()
        return bytes(self._said)

    def close(self) -> None:
        self._listener.join()
        self._words.close()

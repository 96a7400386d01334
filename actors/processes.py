"""Worker processes for handlers with `run_in="process"`, by trio-parallel (extra `process`).

Problem.  Only a process can be killed, and only processes compute beside each other.  It must end when its attempt does, must not outlive
the engine (the next one would run the task beside it), and must be able to say how far it is.
Choice: trio-parallel keeps workers and kills one whose attempt is cancelled.  Each worker watches for the end of its parent, by the pipe
that multiprocessing opens for that, and dies with it.  What a handler says while it runs comes as datagrams to a socket in a directory
of our own (0700), which nothing reads until something comes; what has come is read before the end of the run is told.

A worker leads a session of its own, so what a handler has started there is killed with it, and a Ctrl-C or a stop that is meant for the
engine does not end its runs first.

Workers are as many as the queues' slots, as with threads: the limiter says never no.

Rejected: a pool of our own (well-kept libraries exist); multiprocessing's queues for progress (a thread each, and a poll).
"""

from __future__ import annotations

import atexit
import json
import math
import multiprocessing
import os
import signal
import socket
import tempfile
import threading
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import trio

from journeyman.actors.apart import Ended, Job, Say, WorkerDied, carry_out
from journeyman.actors.ending import storable
from journeyman.actors.logs import LOG
from journeyman.kernel.bounds import PROGRESS_MESSAGE_MAX

if TYPE_CHECKING:
    import trio_parallel

_LONG: Final = 70  # characters; the address of a socket has room for some hundred
_DATAGRAM: Final = 65_536  # a message is at most a few thousand characters
_GRACE: Final = 2.0  # seconds an idle worker has to leave when the engine closes


class Processes:
    """The workers of one engine; none before the first job."""

    def __init__(self) -> None:
        self._limiter = trio.CapacityLimiter(math.inf)
        self._opening = trio.Lock()
        self._workers: trio_parallel.WorkerContext | None = None
        self._socket: socket.socket | None = None
        self._address = ""
        self._said: dict[str, Say] = {}
        self._pids: dict[str, int] = {}  # of the workers, by run

    async def run(self, job: Job, say: Say, nursery: trio.Nursery) -> Ended:
        """Carry `job` out in a worker, which is killed if this is cancelled.  `nursery` keeps the workers.  WorkerDied."""
        import trio_parallel

        async with self._opening:
            if self._workers is None:
                await nursery.start(self._keep)
        assert self._workers is not None
        token = uuid.uuid4().hex
        self._said[token] = say
        try:
            workers = self._workers
            run, ended = await workers.run_sync(_in_worker, job, self._address, token, kill_on_cancel=True, limiter=self._limiter)
        except trio_parallel.BrokenWorkerError as error:
            self._end_session(token)
            raise WorkerDied(_why(error)) from None
        except trio.Cancelled:
            self._end_session(token)
            raise
        finally:
            self._listen()
            del self._said[token]
            self._pids.pop(token, None)
        if run != token:
            raise WorkerDied("the worker process gave the answer of another run")
        answer: Ended = ended
        return answer

    def _end_session(self, token: str) -> None:
        """The worker is dead; so shall be what the handler has started there."""
        self._listen()
        if (pid := self._pids.get(token)) is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)

    async def _keep(self, task_status: trio.TaskStatus[None]) -> None:
        import trio_parallel

        long = len(tempfile.gettempdir()) > _LONG
        with (
            tempfile.TemporaryDirectory(prefix="journeyman-", dir="/tmp" if long else None) as folder,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear,
        ):
            self._address = str(Path(folder) / "ear")
            ear.bind(self._address)
            ear.setblocking(False)
            with suppress(trio_parallel.BrokenWorkerError):  # one did not leave in time: it was killed
                async with trio_parallel.open_worker_context(init=_watch_parent, grace_period=_GRACE) as workers:
                    self._workers, self._socket = workers, ear
                    task_status.started()
                    try:
                        while True:
                            await trio.lowlevel.wait_readable(ear)
                            self._listen()
                    finally:
                        self._workers = self._socket = None

    def _listen(self) -> None:
        """Hear what has come."""
        while self._socket is not None:
            try:
                data = self._socket.recv(_DATAGRAM)
            except BlockingIOError:
                return
            try:
                token, ppm, message, pid = json.loads(data)
                say = self._said.get(token)
            except (ValueError, TypeError):
                LOG.warning("a worker process said what nobody understands")
                continue
            if say is None:
                continue  # its run is over
            if pid is not None:
                self._pids[token] = pid
            else:
                say(ppm, message)


def _why(error: BaseException) -> str:
    codes = [one.exitcode for arg in error.args for one in (arg if isinstance(arg, tuple) else (arg,)) if hasattr(one, "exitcode")]
    how = "" if not codes or codes[0] is None else f" with exit code {codes[0]}" if codes[0] >= 0 else f" of {_signal(-codes[0])}"
    return (
        f"the worker process died{how} while the handler ran.  Too little memory, a crash in native code and os._exit look like this; "
        'so does a script that starts its engine without `if __name__ == "__main__":`, as every worker imports it'
    )


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


# --- in the worker ----------------------------------------------------------------------------------------------------


def _in_worker(job: Job, address: str, token: str) -> tuple[str, Ended]:
    """The answer bears the run's token: a worker that answers twice must not answer for another."""
    pid = os.getpid()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as mouth:

        def tell(ppm: int | None, message: str | None, pid: int | None = None) -> None:
            with suppress(OSError):  # the engine is gone, and this process is about to be
                mouth.sendto(json.dumps([token, ppm, message, pid]).encode(), address)

        def say(ppm: int | None, message: str | None) -> None:
            tell(ppm, None if message is None else storable(message, PROGRESS_MESSAGE_MAX))

        tell(None, None, pid)
        ended = carry_out(job, say)
    if os.getpid() != pid:  # the handler has forked, and this is the child: it has no business here
        os._exit(1)
    return token, ended


def _watch_parent() -> bool:
    """Die when the engine's process does, and not before: nothing else tells a worker that works."""
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # sent to all processes of a service: the engine decides what becomes of its runs
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_die_with, args=(parent,), name="journeyman-parent", daemon=True).start()
    return True


def _die_with(parent: Any) -> None:
    parent.join()
    os.killpg(0, signal.SIGKILL)


def _end_workers() -> None:
    """At the interpreter's exit, after an engine in the background was stopped and before multiprocessing waits for its children."""
    for child in multiprocessing.active_children():
        if child.name.startswith("trio-parallel"):
            child.kill()


# Hooks run last in, first out: first that of an engine in the background, then ours, then multiprocessing's, which this call registers
# (it would do so anew at trio-parallel's import).
multiprocessing.get_logger()
atexit.register(_end_workers)


__all__ = ["Processes"]

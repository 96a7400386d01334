"""The queues of the crash workload: every kind of handler and ending, each leaving a trace outside the journal.

The trace is a file opened O_APPEND, kept off the disk whose power is cut.  One write a line, so that a SIGKILL leaves whole lines, except
where a line crosses a page: there the system may stop in the middle.  The next process marks such a line as cut off, and it was never said.
    E <task> <attempt> <pid>           a handler was entered
    X <task> <attempt> <how> <time>    it left: ok, fail (retried), dead (will not be retried), snooze, cancel, stop
It is the outside world's memory.  What the journal says is held against it.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import trio

from crash.evidence import CUT_OFF
from crash.programs import ACK_FD
from journeyman.engine import Cancel, Constant, Context, Fatal, Queue, Rate, Retention, Retry, Snooze

FOR_EVER = Retention(succeeded=None, failed=None, cancelled=None, interrupted=None)
BRIEF = 0.3  # seconds the queue "brief" keeps what ended
KEPT = 25.0  # seconds the queue "mail" does
EVIDENCE = {"brief": BRIEF, "mail": KEPT}  # queues whose tasks may be gone, and after how long


class Trace:
    """The side-effect log ("-": descriptor 77).  `entered` is called with the number of handlers entered so far."""

    def __init__(self, path: str, entered: Callable[[int], None] | None = None) -> None:
        self._fd = ACK_FD if path == "-" else os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        if path != "-":
            end_torn_line(self._fd, path)
        self._hook = entered
        self.entered = self.left = 0

    def enter(self, ctx: Context) -> None:
        os.write(self._fd, f"E {ctx.id} {ctx.attempt} {os.getpid()}\n".encode())
        self.entered += 1
        if self._hook:
            self._hook(self.entered)

    def leave(self, ctx: Context, how: str) -> None:
        os.write(self._fd, f"X {ctx.id} {ctx.attempt} {how} {time.time():.3f}\n".encode())
        self.left += 1


def end_torn_line(fd: int, path: str) -> None:
    """Mark and end what a killed process left without its end."""
    raw = Path(path).read_bytes()[-1:]
    if raw and raw != b"\n":
        os.write(fd, f" {CUT_OFF}\n".encode())


@dataclass
class Lanes:
    queues: list[Queue]
    handlers: dict[str, object] = field(default_factory=dict)


def build(trace: Trace, *, pace: float = 1.0) -> Lanes:
    """The queues, with handlers that sleep `pace` times their usual time (0: not at all)."""
    busy, odd = _busy(trace, pace), _odd(trace, pace)
    return Lanes([*busy.queues, *odd.queues], busy.handlers | odd.handlers)


def _busy(trace: Trace, pace: float) -> Lanes:
    """What most of the load is: retries, dead letters, threads, and tasks that are gone soon."""
    mail = Queue("mail", concurrency=8, retry=Retry(attempts=3, backoff=Constant(0.05), crashes=50), retention=Retention(*[KEPT] * 4))
    files = Queue("files", concurrency=3, retry=Retry(attempts=2, backoff=Constant(0.02), crashes=50), retention=FOR_EVER)
    brief = Queue("brief", concurrency=16, retry=Retry(crashes=50), retention=Retention(*[BRIEF] * 4))

    @mail.handler
    async def send(ctx: Context, n: int) -> str:
        trace.enter(ctx)
        try:
            if n % 5 == 0:
                ctx.progress(0.5, f"half of {n}")
            await trio.sleep(pace * (n % 11) / 1000)
            if n % 53 == 0:
                trace.leave(ctx, "dead" if ctx.attempt >= 3 else "fail")
                raise OSError(f"{n} never works")
            if n % 59 == 0:
                trace.leave(ctx, "dead")
                raise Fatal(f"{n} is hopeless")
            if n % 7 == 0 and ctx.attempt == 1:
                trace.leave(ctx, "fail")
                raise ConnectionError(f"{n} fails once")
        except trio.Cancelled:
            trace.leave(ctx, "stop")
            raise
        trace.leave(ctx, "ok")
        return f"sent {n}"

    @files.handler
    def digest(ctx: Context, blob: bytes) -> str:
        trace.enter(ctx)
        time.sleep(pace * 0.002)
        if len(blob) % 13 == 0 and ctx.attempt == 1:
            trace.leave(ctx, "fail")
            raise ValueError("once more")
        trace.leave(ctx, "ok")
        return hashlib.sha256(blob).hexdigest()

    @brief.handler
    async def note(ctx: Context, n: int) -> None:
        trace.enter(ctx)
        trace.leave(ctx, "ok")

    return Lanes([mail, files, brief], {"send": send, "digest": digest, "note": note})


def _odd(trace: Trace, pace: float) -> Lanes:
    """The rare ones: long runs with a small crash budget, delays and snoozes, never run twice, rate limited."""
    slow = Queue("slow", concurrency=4, retry=Retry(crashes=2), retention=FOR_EVER)
    later = Queue("later", concurrency=4, retry=Retry(crashes=50), retention=FOR_EVER)
    once = Queue("once", concurrency=2, on_crash="interrupt", retention=FOR_EVER)
    paced = Queue("paced", concurrency=2, rate=Rate(40, per=1.0, burst=2), retry=Retry(crashes=50), retention=FOR_EVER)

    @slow.handler
    async def grind(ctx: Context, n: int) -> int:
        trace.enter(ctx)
        try:
            await trio.sleep(pace * 0.25)
        except trio.Cancelled:
            trace.leave(ctx, "stop")
            raise
        if n % 6 == 0:
            trace.leave(ctx, "cancel")
            raise Cancel("thought better of it")
        trace.leave(ctx, "ok")
        return n

    @later.handler
    async def remind(ctx: Context, n: int) -> str:
        trace.enter(ctx)
        if n % 4 == 0 and ctx.attempt == 1:
            trace.leave(ctx, "snooze")
            raise Snooze(0.05)
        trace.leave(ctx, "ok")
        return "reminded"

    @once.handler
    async def pay(ctx: Context, n: int) -> str:
        trace.enter(ctx)
        try:
            await trio.sleep(pace * 0.02)
        except trio.Cancelled:
            trace.leave(ctx, "stop")
            raise
        trace.leave(ctx, "ok")
        return "paid"

    @paced.handler
    async def tick(ctx: Context, n: int) -> None:
        trace.enter(ctx)
        trace.leave(ctx, "ok")

    return Lanes([slow, later, once, paced], {"grind": grind, "remind": remind, "pay": pay, "tick": tick})


def expected(handler: str, n: int, payload: bytes = b"") -> object:
    """What a succeeded task must hold as its result."""
    if handler == "send":
        return f"sent {n}"
    if handler == "digest":
        return hashlib.sha256(payload).hexdigest()
    return {"grind": n, "remind": "reminded", "pay": "paid"}.get(handler)

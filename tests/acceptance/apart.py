"""Handlers that run in processes of their own: a worker finds them by importing this module."""

from __future__ import annotations

import ctypes
import os
import subprocess
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from journeyman.engine import Cancel, Constant, Context, Fatal, Queue, Retry, RetryLater, Snooze


class Awkward(ConnectionError):
    """It can be pickled, and not unpickled."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(f"{host}:{port} is busy")


@dataclass(frozen=True)
class Job:
    name: str
    sizes: list[int]
    at: datetime


WORK = Queue("work", concurrency=3, retry=Retry(attempts=2, backoff=Constant(0.02), jitter=0, on=(ConnectionError,)), timeout=60)
SILENT = Queue("silent", heartbeat=1.5)


@WORK.handler(run_in="process")
def measure(ctx: Context, job: Job, *, factor: int = 1) -> dict[str, int]:
    ctx.progress(0.25, f"{job.name} of {job.at:%Y}")
    return {"sum": factor * sum(job.sizes), "pid": os.getpid(), "attempt": ctx.attempt}


@WORK.handler(run_in="process", timeout=0.7)
def spin(place: str) -> None:
    Path(place).write_text(str(os.getpid()), encoding="ascii")
    while True:
        pass


@WORK.handler(run_in="process")
def stay(ctx: Context, place: str) -> int:
    Path(place).write_text(str(os.getpid()), encoding="ascii")
    ctx.progress(0.5, "staying")
    time.sleep(60)
    return os.getpid()


@WORK.handler(run_in="process")
def raises(ctx: Context, what: str) -> str:
    if what == "awkward" and ctx.attempt == 1:
        raise Awkward("example.org", 25)
    if what == "value":
        raise ValueError("not retried: on= says so")
    if what == "local":

        class Local(Exception):
            pass

        raise Local("known to nobody else")
    if what == "fatal":
        raise Fatal("at once")
    if what == "cancel":
        raise Cancel("not wanted")
    if what == "snooze" and ctx.attempt == 1:
        raise Snooze(0.01)
    if what == "later" and ctx.attempt == 1:
        raise RetryLater(ValueError("busy"), 0.01)
    if what == "odd later" and ctx.attempt == 1:
        raise RetryLater(Awkward("example.org", 25), 0.01)
    if what == "group" and ctx.attempt == 1:
        raise ExceptionGroup("both", [Awkward("example.org", 25), Awkward("example.com", 25)])
    if what == "caused":
        raise Fatal from KeyError("x")
    if what == "exit":
        raise SystemExit(3)
    return f"{what} {ctx.attempt}"


@WORK.handler(run_in="process")
def forks(n: int) -> int:
    if n == 0 and os.fork() == 0:
        raise ValueError("the child's own trouble")
    time.sleep(0.1)
    return n


@WORK.handler(run_in="process", timeout=1.0)
def starts(place: str) -> None:
    child = subprocess.Popen(["sleep", "60"])
    Path(place).write_text(str(child.pid), encoding="ascii")
    child.wait()


@SILENT.handler(run_in="process")
def talks(ctx: Context) -> None:
    for _ in range(4):
        time.sleep(0.5)
        ctx.progress(0.5, "\u20ac" * 70_000)


@WORK.handler(run_in="process")
def dies(ctx: Context, how: str) -> int:
    if ctx.attempt == 1 or how == "always":
        if how == "segfault":
            ctypes.string_at(0)
        os._exit(3)
    return ctx.attempt


@WORK.handler(run_in="process")
def asks(ctx: Context, what: str) -> str:
    assert ctx.idempotency_key == ctx.id
    assert not ctx.cancelled
    assert ctx.queue == "work"
    assert ctx.deadline is not None
    assert abs((ctx.deadline - ctx.now()).total_seconds() - 60) < 20
    assert ctx.max_attempts == 2
    if what == "submit":
        ctx.submit("measure", 1)
    if what == "step":
        ctx.step("one", len, "abc")
    if what == "engine":
        return str(ctx.engine)
    return f"{ctx.random.random():.6f}"


@SILENT.handler(run_in="process")
def beats(ctx: Context, seconds: float, *, loud: bool) -> str:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.1)
        if loud:
            ctx.heartbeat()
    return threading.current_thread().name

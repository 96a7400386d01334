"""A program with an engine in the background, for what a test must not do to itself.  `python background_victim.py MODE PATH`."""

from __future__ import annotations

import logging
import os
import random
import signal
import sys
import threading
import time
import traceback

from journeyman.engine import Queue
from journeyman.engine.background import BackgroundEngine

queue = Queue("q", concurrency=4)


@queue.handler
def add(a: int, b: int) -> int:
    return a + b


@queue.handler
def slow(seconds: float) -> str:
    print("entered", flush=True)
    time.sleep(seconds)
    print("slept", flush=True)
    return "slept"


def forgets(engine: BackgroundEngine) -> None:
    """Ends without a stop, with a task under way."""
    engine.start()
    print(engine.submit(add, 1, 2).result(10))
    engine.submit(slow, 0.5)
    while not engine.count(state="running"):
        time.sleep(0.01)


def forgets_what_never_ends(engine: BackgroundEngine) -> None:
    engine.start()
    engine.submit(slow, 3600)
    while not engine.count(state="running"):
        time.sleep(0.01)
    raise SystemExit(3)


def interrupted(engine: BackgroundEngine) -> None:
    """Waits for what takes an hour, until somebody presses Ctrl-C; `with`, so the engine is stopped."""
    with engine:
        handle = engine.submit(slow, 3600)
        handle.result()


def terminated(engine: BackgroundEngine) -> None:
    """SIGTERM becomes SystemExit, as servers do it."""

    def leave(*_: object) -> None:
        raise SystemExit(7)

    signal.signal(signal.SIGTERM, leave)
    with engine:
        engine.submit(slow, 3600).wait()


def impatient(engine: BackgroundEngine) -> None:
    """Ctrl-C while `stop` waits for the grace."""
    engine.start()
    engine.submit(slow, 3600)
    while not engine.count(state="running"):
        time.sleep(0.01)
    print("stopping", flush=True)
    try:
        engine.stop(grace=3600)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    print(engine.stop())


def forks(engine: BackgroundEngine) -> None:
    """Started in the parent, used in the child, as gunicorn with preload_app would."""
    with engine:
        child = os.fork()
        if not child:
            for call in (lambda: engine.submit(add, 1, 2), lambda: engine.start(), lambda: engine.stop()):
                try:
                    call()
                except RuntimeError as error:
                    print("child:", error, flush=True)
            return  # leaves the block, then the interpreter, in the child
        _, status = os.waitpid(child, 0)
        print("child ended", os.waitstatus_to_exitcode(status), flush=True)
        print(engine.submit(add, 1, 2).result(10))


def forks_first(engine: BackgroundEngine) -> None:
    """Made in the parent, started in the child."""
    child = os.fork()
    if not child:
        with engine:
            print("child:", engine.submit(add, 1, 2).result(10), flush=True)
        return
    _, status = os.waitpid(child, 0)
    with engine:
        print("parent:", engine.count(), os.waitstatus_to_exitcode(status))


def dies(engine: BackgroundEngine) -> None:
    engine.start()
    for n in range(100_000):
        print(engine.submit(add, n, 1).id, flush=True)


def threads(engine: BackgroundEngine) -> None:
    """Threads of the program's own still call while the interpreter ends."""
    engine.start()

    def calls() -> None:
        try:
            while True:
                engine.submit(add, 1, 1)
        except BaseException:
            traceback.print_exc()

    threading.Thread(target=calls, daemon=True).start()
    time.sleep(0.2)


class Alarm(BaseException):
    """Of the clock, as SystemExit and KeyboardInterrupt are of signals."""


def interrupted_anywhere(engine: BackgroundEngine) -> None:
    """An exception out of a signal handler strikes at any instant of calls, and of starting and stopping."""
    chance, armed = random.Random(1), [False]

    def strike(*_: object) -> None:
        if armed[0]:
            armed[0] = False
            raise Alarm

    signal.signal(signal.SIGALRM, strike)

    def calls() -> None:
        for n in range(10):
            engine.submit(add, n, 1).result(10)
            engine.count()

    def restarts() -> None:
        engine.stop()
        engine.start()

    engine.start()
    for work, longest, often in ((calls, 0.003, 200), (restarts, 0.03, 25)):
        struck = 0
        while struck < often:
            try:
                armed[0] = True
                signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.00001, longest))
                try:
                    work()
                finally:
                    armed[0] = False
            except Alarm:
                struck += 1
        print("struck", struck, flush=True)
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    engine.start()
    print(engine.submit(add, 1, 2).result(10), engine.stop())


if __name__ == "__main__":
    logging.basicConfig()
    mode, path = sys.argv[1:]
    globals()[mode](BackgroundEngine(path, [queue], grace=float(os.environ.get("GRACE", "10"))))

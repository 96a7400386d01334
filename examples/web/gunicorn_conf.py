"""gunicorn for an application with an engine in it: one worker process with threads, and the engine opened where the work is done."""

from typing import Any

from jobs import jobs

workers = 1  # one engine per journal: a second worker would be told JournalLocked
threads = 8
graceful_timeout = 30  # more than the engine's grace


def post_worker_init(worker: Any) -> None:
    jobs.start()  # after the fork; in the parent it would be of no use to the worker


def worker_exit(server: Any, worker: Any) -> None:
    jobs.stop()

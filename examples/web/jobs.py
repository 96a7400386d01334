"""What the three web applications beside this file share: one queue, and an engine in the background that their hooks open and close.

The engine is made here and started nowhere: a process that only imports this (a test, a management command, a parent that will fork) opens
no journal.
"""

import os

from journeyman import Context, Queue, Retry
from journeyman.engine.background import BackgroundEngine

mail = Queue("mail", concurrency=4, retry=Retry(attempts=5))
jobs = BackgroundEngine(os.environ.get("JOBS", "var/jobs"), queues=[mail])


@mail.handler
def welcome(ctx: Context, to: str) -> str:
    """A plain `def` runs in a thread, so it may use whatever blocks: smtplib, requests, an ORM."""
    return f"welcomed {to} in attempt {ctx.attempt}"

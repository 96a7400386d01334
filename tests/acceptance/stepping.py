"""What the tests of durable steps (row 90) run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from journeyman.engine import Constant, Queue, Retry

NO_PAUSE = Constant(0.0)
LOG: list[Any] = []


@dataclass
class Receipt:
    number: int
    parts: tuple[int, ...]


async def charge(card: str, amount: int) -> Receipt:
    LOG.append(f"charge {card}")
    return Receipt(amount, (amount, 1))


def mail(to: str) -> str:
    LOG.append(f"mail {to}")
    return "250 ok"


def untyped() -> Any:
    return {"when": (1, 2)}


def queue_of(*, attempts: int = 3, **policy: Any) -> Queue:
    return Queue("orders", concurrency=4, retry=Retry(attempts=attempts, backoff=NO_PAUSE, jitter=0), **policy)


def never(*args: Any) -> None:
    raise AssertionError("it must not be run")


async def never_async() -> None:
    raise AssertionError("it must not be run")

"""Rows 4, 5, 10, 11: a queue is a policy and a registry."""

from __future__ import annotations

from typing import Any

import pytest

from journeyman.engine import Constant, HandlerExists, Queue, Rate, Retention, Retry


def test_defaults() -> None:  # row 11
    policy = Queue("mail").policy
    assert (policy.concurrency, policy.attempts, policy.crashes, policy.on_crash, policy.rate) == (1, 1, 3, "retry", None)
    assert (policy.timeout_us, policy.heartbeat_us, policy.max_pending, policy.max_payload) == (None, None, None, 1 << 20)


def test_policy_is_compiled() -> None:  # row 4
    queue = Queue(
        "mail",
        concurrency=8,
        retry=Retry(attempts=5, backoff=Constant(2), crashes=0),
        on_crash="interrupt",
        rate=Rate(10, per=1.0),
        timeout=30,
        heartbeat=5,
        retention=Retention(succeeded=0),
        max_pending=100,
        max_payload=10,
    )
    policy = queue.policy
    assert (policy.concurrency, policy.attempts, policy.crashes, policy.on_crash) == (8, 5, 0, "interrupt")
    assert (policy.timeout_us, policy.heartbeat_us, policy.keep_succeeded_us) == (30_000_000, 5_000_000, 0)
    assert (policy.max_pending, policy.max_payload, queue.retry.on) == (100, 10, (Exception,))


@pytest.mark.parametrize(
    "bad",
    [
        {"concurrency": 0}, {"concurrency": True}, {"concurrency": 1.5}, {"timeout": 0}, {"timeout": -1}, {"timeout": float("nan")},
        {"heartbeat": 0}, {"max_pending": -1}, {"max_payload": -1}, {"on_crash": "explode"},
    ],
)  # fmt: skip
def test_values_out_of_range(bad: dict[str, Any]) -> None:  # row 11
    with pytest.raises(ValueError, match=next(iter(bad))):
        Queue("mail", **bad)


def test_immutable() -> None:
    queue: Any = Queue("mail")
    for name in ("name", "policy", "retry", "handlers"):
        with pytest.raises(AttributeError):
            setattr(queue, name, None)
    with pytest.raises(TypeError):
        queue.handlers["x"] = None


def test_several_handlers_on_one_queue() -> None:  # row 5
    queue = Queue("mail")

    @queue.handler
    async def send(to: str) -> None: ...

    @queue.handler(name="other")
    def receive(to: str) -> None: ...

    assert dict(queue.handlers) == {"send": send, "other": receive}
    assert (send.queue_name, receive.name, receive.threaded, send.threaded) == ("mail", "other", True, False)


def test_handler_exists() -> None:  # row 10
    queue = Queue("mail")

    @queue.handler
    async def send() -> None: ...

    with pytest.raises(HandlerExists, match="'send'"):
        queue.handler(name="send")(lambda: None)


def test_sealed_once_entered() -> None:
    queue = Queue("mail")
    queue.enter()
    queue.enter()  # any number of engines
    with pytest.raises(RuntimeError, match="before the engine is entered"):
        queue.handler(lambda: None)


def test_what_is_not_known_when_entered() -> None:
    queue = Queue("mail")

    @queue.handler
    async def send(to: Unknown) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(NameError, match=r"handler 'send': the type of parameter 'to' .*Unknown"):
        queue.enter()

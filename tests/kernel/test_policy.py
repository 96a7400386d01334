"""Policies: seconds outside, exact integers inside, bad values refused where they are written.  # row 11"""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest

from journeyman.kernel.duration import microseconds
from journeyman.kernel.lifecycle import State
from journeyman.kernel.policy import Constant, Exponential, Linear, Policy, Priority, Rate, Retention, Retry


def test_defaults_are_those_of_the_design() -> None:
    assert Policy.compile() == Policy()
    policy = Policy()
    assert (policy.concurrency, policy.attempts, policy.crashes, policy.jitter_ppm, policy.on_crash) == (1, 1, 3, 100_000, "retry")
    assert policy.backoff == ("exponential", 10**6, 2, 1, 3600 * 10**6)
    assert (policy.keep_succeeded_us, policy.keep_failed_us) == (3600 * 10**6, 7 * 86400 * 10**6)
    assert policy.max_payload == 1 << 20
    assert (Priority.LOW, Priority.NORMAL, Priority.HIGH, Priority.URGENT) == (0, 5, 10, 20)


def backoff(n: int) -> float:
    return 1.0


POLICIES = [
    Policy(),
    Policy.compile(
        concurrency=8, retry=Retry(5, Constant(2), 0, (OSError,), 0), rate=Rate(10, 60, 3), timeout=timedelta(seconds=3), heartbeat=0.5
    ),
    Policy.compile(
        retry=Retry(backoff=Linear(1, 5)), retention=Retention(None, None, 0, 1.5, "failed", False), max_pending=0, max_payload=0
    ),
    Policy.compile(retry=Retry(backoff=backoff), on_crash="interrupt", per_key=3, key_order="relaxed", aging=60),
    Policy.compile(retry=Retry(backoff=Exponential(0.1, 1.7, timedelta(days=1)))),
]


def plain(value: Any) -> bool:
    """Only what strict CBOR takes without tags or floats."""
    if isinstance(value, list):
        return all(map(plain, value))
    if isinstance(value, dict):
        return all(type(k) is str and plain(v) for k, v in value.items())
    return type(value) in (int, str, bool, type(None))


@pytest.mark.parametrize("policy", POLICIES)
def test_facts_are_plain_and_come_back(policy: Policy) -> None:
    facts = policy.facts()
    assert plain(facts)
    assert Policy.from_facts(facts) == policy
    assert Policy.from_facts({**facts, "of_a_younger_version": 1}) == policy


def test_absent_facts_take_the_default() -> None:
    assert Policy.from_facts({}) == Policy()


def test_expiry_and_payload_by_state() -> None:
    policy = POLICIES[2]
    assert policy.expiry(State.SUCCEEDED, 10) is None
    assert policy.expiry(State.CANCELLED, 10) == 10
    assert policy.expiry(State.INTERRUPTED, 10) == 1_500_010
    assert [policy.keeps_payload(s) for s in (State.SUCCEEDED, State.FAILED, State.CANCELLED, State.INTERRUPTED)] == [
        False,
        True,
        False,
        True,
    ]
    assert not any(Policy(payload=False).keeps_payload(s) for s in State)
    assert all(Policy().keeps_payload(s) for s in State)


BAD: list[dict[str, Any]] = [
    {"concurrency": 0}, {"concurrency": True}, {"concurrency": 1.5}, {"concurrency": 10**9}, {"timeout": 0}, {"timeout": -1},
    {"timeout": math.nan}, {"timeout": "3"}, {"heartbeat": 0}, {"max_pending": -1}, {"max_payload": -1}, {"max_payload": 1 << 40},
    {"on_crash": "ignore"}, {"per_key": 0}, {"key_order": "none"}, {"aging": 0}, {"timeout": 1e18}, {"timeout": 10**400},
]  # fmt: skip


@pytest.mark.parametrize("bad", BAD)
def test_bad_queue_values_are_value_errors(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be"):
        Policy.compile(**bad)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Retry(0), lambda: Retry(crashes=-1), lambda: Retry(jitter=1.1), lambda: Retry(jitter=-0.1), lambda: Retry(on=OSError),
        lambda: Retry(on=(3,)), lambda: Retry(attempts=True), lambda: Rate(0), lambda: Rate(1.5), lambda: Rate(1, 0), lambda: Rate(1, 1, 0),
        lambda: Rate(1, math.inf), lambda: Retention(-1), lambda: Retention(payload="all"), lambda: Retention(result=1),
    ],
)  # fmt: skip
def test_bad_parts_are_value_errors(make: Any) -> None:
    with pytest.raises(ValueError, match=r"must be"):
        make()


def test_seconds_become_microseconds_never_early() -> None:
    assert microseconds(0.07) == 70_000  # not 70,001: the binary fraction's noise is no wish
    assert microseconds(1e-9) == 1
    assert microseconds(0.0000015) == 2
    assert microseconds(3) == 3_000_000
    assert microseconds(timedelta(days=1, microseconds=1)) == 86_400_000_001
    assert microseconds(0) == microseconds(0.0) == 0

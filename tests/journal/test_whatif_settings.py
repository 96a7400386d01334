"""whatif: settings as people type them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from journeyman.journal.whatif import settings


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("concurrency=16", {"concurrency": 16}),
        ("rate=20/1s", {"rate": [20, 1_000_000, 1], "limiter": None}),
        ("rate=1200/m burst 5", {"rate": [1200, 60_000_000, 5], "limiter": None}),
        ("rate=none", {"rate": None, "limiter": None}),
        ("retry.attempts=3 concurrency=2", {"attempts": 3, "concurrency": 2}),
        ("retry.backoff=exponential(1, 2, 3600)", {"backoff": ["exponential", 1_000_000, 2, 1, 3_600_000_000]}),
        ("retry.backoff=constant(0.5)", {"backoff": ["constant", 500_000]}),
        ("retry.jitter=0.2", {"jitter_ppm": 200_000}),
        ("timeout=1.5m", {"timeout_us": 90_000_000}),
        ("aging=none", {"aging_us": None}),
        ("fair_by=owner", {"fair_by": "owner"}),
    ],
)
def test_settings(text: str, facts: dict[str, Any]) -> None:
    assert settings([text]) == facts


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("concurency=3", "there is no setting 'concurency'; there are: concurrency, rate"),
        ("16", "'16' sets nothing"),
        ("rate=3", "not a rate; write rate=20/1s"),
        ("rate=0/1s", "rate limit must be a whole number from 1"),
        ("concurrency=0", "concurrency must be a whole number from 1"),
        ("concurrency=many", "not a whole number"),
        ("retry.backoff=fibonacci(1)", "write retry.backoff=exponential"),
        ("retry.backoff=constant(x)", "not a number"),
        ("key_order=loose", 'key_order must be "strict" or "relaxed"'),
        ("heartbeat=3s", "signs of life are not recorded"),
        ("retention.failed=3d", "changes no wait"),
    ],
)
def test_wrong_settings_say_what_there_is(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        settings([text])


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["concurrency=2", "concurrency=5"], "concurrency is set twice, to 2 and to 5"),
        (["rate=1/1s", "concurrency=2 rate=2/1s"], "rate is set twice"),
        ([""], "nothing is set"),
    ],
)
def test_contradictions_are_refused(texts: list[str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        settings(texts)

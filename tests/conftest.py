"""What every test shares: Hypothesis profiles, and a note of what was left out for want of root or mount."""

from __future__ import annotations

import os
import signal

import pytest
import trio.testing
from hypothesis import HealthCheck, settings

# A shell that starts the tests in the background has Ctrl-C ignored, and so would every process that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# "ci" repeats itself exactly, so that a red build stays red; "thorough" looks for new trouble: HYPOTHESIS_PROFILE=thorough make test
settings.register_profile("ci", derandomize=True, deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", deadline=None, max_examples=1_000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture
def leaping_clock() -> trio.testing.MockClock:
    """Trio's clock at its real pace that a test can make leap with `jump(seconds)`.

    For time-outs of thread handlers: a short one strikes before the thread has begun when the machine is busy, and a thread that was
    abandoned before it began never runs.  Here the time-out is long, and strikes when the test says so.  (Half a minute, not a whole one,
    at which the housekeeper wakes too.)
    """
    return trio.testing.MockClock(rate=1.0)

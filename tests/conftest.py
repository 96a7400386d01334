"""What every test shares: Hypothesis profiles, and a note of what was left out for want of root or mount."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# "ci" repeats itself exactly, so that a red build stays red; "thorough" looks for new trouble: HYPOTHESIS_PROFILE=thorough make test
settings.register_profile("ci", derandomize=True, deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", deadline=None, max_examples=1_000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

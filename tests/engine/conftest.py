"""What tests of an engine in the background share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engine.callers import Work


@pytest.fixture
def work() -> Iterator[Work]:
    made = Work()
    yield made
    made.gate.set()

"""What simulation has found in the engine (docs/FOUND.md): the plans that found it, as data, so that they outlive changes of the swarm."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from journeyman.sim.plan import Plan

FOUND = sorted((Path(__file__).parent / "found").glob("*.json"))


@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.stem)
def test_what_was_found_stays_mended(path: Path) -> None:
    Plan.of(json.loads(path.read_text(encoding="utf-8"))).run()

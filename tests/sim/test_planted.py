"""Simulation finds every bug that is planted into the engine.  CI runs one seed for each, known from `python -m tests.sim.planted`."""

from __future__ import annotations

import pytest

from tests.sim.planted import BUGS, SEEDS, Bug, hunt, planted, raised


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_it_is_found(bug: Bug) -> None:
    assert raised(bug, bug.seed) is not None, f"search for another seed: python -m tests.sim.planted '{bug.name}'"
    bug.run(bug.seed)  # and it is the bug that was found: without it the same run is sound


@pytest.mark.slow
@pytest.mark.skip(reason="half an hour; run `python -m tests.sim.planted`")
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_it_is_found_within_so_many_seeds(bug: Bug) -> None:
    assert hunt(bug, range(SEEDS)) is not None


def test_there_are_enough_of_them() -> None:
    assert len({bug.name for bug in BUGS}) == len(BUGS) >= 25


def test_the_engine_is_itself_again_afterwards() -> None:
    codes = [edit[0].__code__ for bug in BUGS for edit in bug.edits if hasattr(edit[0], "__code__")]
    for bug in BUGS:
        with planted(bug):
            pass
    assert codes == [edit[0].__code__ for bug in BUGS for edit in bug.edits if hasattr(edit[0], "__code__")]

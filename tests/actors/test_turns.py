"""Whose turn it is: in proportion to weights, whatever is taken at once."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from journeyman.actors.turns import Turns


class One:
    def __init__(self, name: str, weight: int = 1) -> None:
        self.name, self.weight = name, weight

    def wake(self) -> None: ...


@pytest.mark.parametrize("weights", [(1, 1), (3, 1), (1, 2, 5)])
@pytest.mark.parametrize("free", [1, 2, 3, 10, 100])
@pytest.mark.parametrize("seed", range(5))
def test_those_that_always_want_get_by_weight(weights: tuple[int, ...], free: int, seed: int) -> None:
    """In whatever order they happen to ask."""
    chance, turns, got = Random(seed), Turns[One](), Counter[str]()
    ones = [One(str(n), weight) for n, weight in enumerate(weights)]
    for one in ones:
        turns.join(one)
    for _ in range(3_000 // free):
        left = free
        while left:
            for one in chance.sample(ones, len(ones)):
                took = turns.share(one, left)
                if took:
                    turns.took(one, took, wants_more=True)
                    got[one.name] += took
                    left -= took
    total = sum(got.values())
    for one in ones:
        assert got[one.name] / total == pytest.approx(one.weight / sum(weights), rel=0.02, abs=0.005)


def test_who_has_rested_is_owed_nothing() -> None:
    turns, early, late = Turns[One](), One("early"), One("late")
    for _ in range(100):
        assert turns.share(early, 1) == 1
        turns.took(early, 1, wants_more=False)
    turns.join(early)
    turns.join(late)
    got = Counter[str]()
    for _ in range(20):
        [first] = turns.first()
        turns.took(first, 1, wants_more=True)
        got[first.name] += 1
    assert got == {"early": 10, "late": 10}


def test_one_alone_gets_all_and_one_that_is_behind_nothing() -> None:
    turns, one, other = Turns[One](), One("one"), One("other")
    assert turns.share(one, 7) == 7
    turns.join(one)
    assert (turns.share(one, 7), turns.share(one, 0), turns.share(other, 1)) == (7, 0, 0)
    assert one in turns
    assert turns.leave(one)
    assert not turns.leave(one)

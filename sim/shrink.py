"""Making a failing plan small: leave out what is not needed for the failure, lower what is left.

Problem.  A swarm's run has hundreds of steps, a dozen of which matter. Choice: plain delta debugging over the plan's data.  Every reference
in a plan may dangle, so any element of any list and any key of any map can be tried without knowing what it means; what makes nonsense
fails in another way and is put back.  First whole halves of lists, then single elements, then keys, then numbers, until nothing more goes.

A fault strikes at an opportunity drawn from the seed, so leaving a step out moves it.  Hence each candidate may be tried under
a few seeds.  Rejected: leaving it to Hypothesis alone (sim/strategies.py does, for users' own tests): it shrinks the
choices of a draw, and a swarm plan drawn anew from smaller choices is mostly a different kind of run.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from journeyman.sim.plan import Plan
from journeyman.sim.replay import Failure, Outcome, examine

Path = tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Shrunk:
    """The smallest plan found.  runs: how many were tried."""

    plan: Plan
    outcome: Outcome
    runs: int


def shrink(plan: Plan, *, seeds: int = 3, runs: int = 3_000, seconds: float = 60.0, told: Callable[[Plan], object] | None = None) -> Shrunk:
    """The smallest plan found that fails as `plan` does.  ValueError if it does not fail.

    seeds: under how many a candidate is tried before it is put back.  runs, seconds: when to be content.  told: called with each smaller
    plan.
    """
    outcome = examine(plan)
    if outcome.failure is None:
        raise ValueError("this plan does not fail, so there is nothing to shrink")
    search = _Search(plan, outcome, outcome.failure, seeds, runs, time.monotonic() + seconds, told)
    search.to_rest()
    return Shrunk(search.plan, search.outcome, search.runs)


@dataclass
class _Search:
    plan: Plan
    outcome: Outcome
    failure: Failure
    seeds: int
    budget: int
    until: float
    told: Callable[[Plan], object] | None
    runs: int = 0

    def to_rest(self) -> None:
        """Pass after pass, as long as one of them finds something."""
        size = -1
        while size != self.plan.size and not self.over():
            size = self.plan.size
            for candidates in (_without_elements, _without_keys, _with_lower_numbers):
                self._pass(candidates)

    def over(self) -> bool:
        return self.runs >= self.budget or time.monotonic() >= self.until

    def _pass(self, candidates: Callable[[Any, int], Iterator[Any]]) -> None:
        """Try candidates of the newest plan; after a success go on from about where we were."""
        tried = 0
        while not self.over():
            for facts in candidates(self.plan.facts(), tried):
                tried += 1
                if self.over():
                    return
                if self._fails(facts):
                    tried -= 1
                    break
            else:
                return

    def _fails(self, facts: dict[str, Any]) -> bool:
        try:
            candidate = Plan.of(facts)
        except (ValueError, TypeError):
            return False
        chance = bool(candidate.faults)
        for seed in [candidate.seed, *range(self.seeds - 1 if chance else 0)]:
            self.runs += 1
            plan = replace(candidate, seed=seed)
            outcome = examine(plan)
            if self.failure.same_way(outcome.failure):
                self.plan, self.outcome = plan, outcome
                if self.told is not None:
                    self.told(plan)
                return True
        return False


# --- candidates: each is the facts with one thing less; the first `skip` are passed over ------------------------------------


def _without_elements(facts: Any, skip: int) -> Iterator[Any]:
    spans = [
        (path, start, start + size)
        for path, value in sorted(_walk(facts), key=lambda found: len(found[0]))
        if _is_sequence(value)
        for size in _halves(len(value))
        for start in range(0, len(value), size)
    ]
    spans.sort(key=lambda span: span[1] - span[2])
    for path, start, stop in spans[skip:]:
        smaller = copy.deepcopy(facts)
        del _at(smaller, path)[start:stop]
        yield smaller


def _without_keys(facts: Any, skip: int) -> Iterator[Any]:
    keys = [(path, key) for path, value in _walk(facts) if path and isinstance(value, dict) for key in value]
    for path, key in keys[skip:]:
        smaller = copy.deepcopy(facts)
        del _at(smaller, path)[key]
        yield smaller


def _with_lower_numbers(facts: Any, skip: int) -> Iterator[Any]:
    lower = [
        (path, simpler)
        for path, value in _walk(facts)
        if path != ("seed",) and isinstance(value, (int, float)) and not isinstance(value, bool)
        for simpler in _simpler(value)
    ]
    for path, simpler in lower[skip:]:
        smaller = copy.deepcopy(facts)
        _at(smaller, path[:-1])[path[-1]] = simpler
        yield smaller


def _simpler(value: float) -> Iterator[float]:
    """Numbers that are easier to read, the easiest first."""
    for candidate in (0, 1, 10, round(value), float(f"{value:.1g}")):
        if candidate != value and len(repr(candidate)) <= len(repr(value)) and abs(candidate) <= abs(value):
            yield candidate


def _is_sequence(value: Any) -> bool:
    """Whether it is a list of things of one kind; a list that begins with a word or a number is one thing, [verb, ...]."""
    return isinstance(value, list) and bool(value) and all(isinstance(element, (list, dict)) for element in value)


def _halves(length: int) -> Iterator[int]:
    size = length
    while size >= 1:
        yield size
        size //= 2


def _walk(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    yield path, value
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _walk(inner, (*path, key))
    elif isinstance(value, list):
        for n, inner in enumerate(value):
            yield from _walk(inner, (*path, n))


def _at(facts: Any, path: Path) -> Any:
    for step in path:
        facts = facts[step]
    return facts

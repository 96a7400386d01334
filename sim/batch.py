"""Many seeds, on several cores, and what they came to.

Each seed is a world of its own, so they share nothing; worker processes are started afresh (spawn), because a forked one would inherit
trio's and the journal's state.  A seed can be run twice, and then has to give the same digest: what depends on anything but the
seed is a bug of the simulation, and would make every failure it finds worthless.
"""

from __future__ import annotations

import logging
import multiprocessing
import signal
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from journeyman.sim.replay import Failure, examine
from journeyman.sim.swarm import swarm

CHUNK = 8  # seeds that a worker takes at a time


@dataclass(frozen=True, slots=True)
class SeedResult:
    """One seed's run.  seconds: of virtual time."""

    seed: int
    digest: str
    failure: Failure | None
    seconds: float
    boots: int
    faults: Counter[str]
    events: Counter[str]
    reached: Counter[str]


@dataclass
class Tally:
    """What seeds came to so far."""

    runs: int = 0
    seconds: float = 0.0
    boots: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    reached: Counter[str] = field(default_factory=Counter)
    failed: list[SeedResult] = field(default_factory=list)

    def add(self, result: SeedResult) -> None:
        self.runs += 1
        self.seconds += result.seconds
        self.boots += result.boots
        self.faults.update(result.faults)
        self.events.update(result.events)
        self.reached.update(result.reached)
        if result.failure is not None:
            self.failed.append(result)


def run_seed(seed: int, *, twice: bool = False) -> SeedResult:
    """The swarm's run of `seed`; with `twice` it is run again and must be the same."""
    outcome = examine(swarm(seed))
    failure, trace = outcome.failure, outcome.trace
    if twice and (again := examine(swarm(seed)).digest) != outcome.digest:
        failure = Failure("NotDeterministic", "", f"one seed, two runs: digests {outcome.digest} and {again}")
    return SeedResult(seed, outcome.digest, failure, trace.seconds, trace.boots, trace.faults, trace.counts, trace.reached)


def run_seeds(seeds: Iterable[int], *, jobs: int = 1, twice: bool = False) -> Iterator[SeedResult]:
    """Results as they come; close the iterator to stop early.  In order of seeds with jobs=1."""
    if jobs == 1:
        level = logging.root.manager.disable
        logging.disable(logging.CRITICAL)  # engines that die as planned say so
        try:
            for seed in seeds:
                yield run_seed(seed, twice=twice)
        finally:
            logging.disable(level)
        return
    with multiprocessing.get_context("spawn").Pool(jobs, initializer=_quiet) as pool:
        work = ((seed, twice) for seed in seeds)
        yield from pool.imap_unordered(_one, work, CHUNK)


def _quiet() -> None:
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends Ctrl-C to us too; who started us ends us


def _one(work: tuple[int, bool]) -> SeedResult:
    seed, twice = work
    return run_seed(seed, twice=twice)

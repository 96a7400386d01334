"""The pytest plugin: the fixture `simulate`, and a failure that says how to have it again.

    def test_letters_go_out(simulate):
        simulate(scenario, faults=Faults(crash=0.01))          # under --sim-seeds N seeds, 20 unless told

    pytest --sim-seeds 500            more seeds
    pytest --sim-seed 7               only this one: the command that a failure prints

Problem.  pytest loads this in every project that has Journeyman installed, before anything else: what it imports is paid for by every
run of every test, and is missing from every measurement of coverage.  Choice: a module beside the package, as Hypothesis has it, because
importing anything below `journeyman` imports the engine, and trio with it; both are imported when a test calls the fixture.
"""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from journeyman.sim.simulate import Scenario
    from journeyman.sim.trace import Trace

SEEDS: Final = 20
LINES: Final = 30  # of the trace of a failure
_FAILED: Final = pytest.StashKey[tuple[int, BaseException]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("journeyman", "simulation with Journeyman")
    group.addoption("--sim-seeds", type=_count, default=None, metavar="N", help=f"seeds that `simulate` tries in each test ({SEEDS})")
    group.addoption("--sim-seed", type=int, default=None, metavar="S", help="the one seed that `simulate` tries: repeats a failure")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"a number of seeds is a whole number of at least 1, not {text!r}")
    return int(text)


class Simulate:
    """What the fixture gives.  `seeds`: those of this test run.  `traces`: of the last call, one a seed."""

    def __init__(self, seeds: range, node: pytest.Item) -> None:
        self.seeds = seeds
        self.traces: list[Trace] = []
        self._node = node

    def __call__(self, scenario: Scenario, *, seeds: int | range | None = None, **options: Any) -> Trace:
        """`journeyman.sim.simulate(scenario, seed=..., **options)` for each seed; the last trace.

        seeds: how many, or which, for this call, where the command line does not say.  A `seed=` of your own is the only one tried.
        """
        from journeyman.sim import simulate

        wanted = self._seeds(seeds) if "seed" not in options else [options.pop("seed")]
        self.traces = []
        for seed in wanted:
            try:
                self.traces.append(simulate(scenario, seed=seed, **options))
            except BaseException as error:  # pytest.fail() in a scenario is none of Exception's
                self._node.stash[_FAILED] = seed, error
                raise
        return self.traces[-1]

    def _seeds(self, asked: int | range | None) -> range:
        if asked is not None and (asked < 1 if isinstance(asked, int) else not asked):
            raise ValueError(f"seeds must be how many to try, at least 1, or which: a range that is not empty; not {asked!r}")
        config = self._node.config
        if asked is None or config.getoption("--sim-seed") is not None or config.getoption("--sim-seeds") is not None:
            return self.seeds
        return range(asked) if isinstance(asked, int) else asked


@pytest.fixture
def simulate(request: pytest.FixtureRequest) -> Simulate:
    """Run a scenario in simulated worlds, one for each seed: `simulate(scenario, faults=Faults(crash=0.01))`."""
    one: int | None = request.config.getoption("--sim-seed")
    many: int | None = request.config.getoption("--sim-seeds")
    return Simulate(range(many or SEEDS) if one is None else range(one, one + 1), request.node)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Below a failure: the command that repeats it, and what went before, in a table."""
    report: Any = yield
    found = item.stash.get(_FAILED, None)
    if report.failed and found is not None and call.excinfo is not None and _comes_of(call.excinfo.value, found[1]):
        seed, error = found
        report.sections.append(("simulation", f"to see it again:  pytest {_named(item)} --sim-seed {seed}"))
        trace: Trace | None = error.__dict__.get("trace")
        if trace is not None:
            report.sections.append((f"simulated world, seed {seed}, the last {LINES} lines", trace.render(last=LINES)))
    return report


def _comes_of(error: BaseException | None, simulated: BaseException) -> bool:
    """Whether `error` is what a simulation raised, or was raised because of it.  Another failure of the same test has another reason."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        if error is simulated:
            return True
        seen.append(error)
        error = error.__cause__ or error.__context__
    return False


def _named(item: pytest.Item) -> str:
    """A test as the shell and pytest take it in the folder where pytest was called; its id is said from the root."""
    from os.path import relpath
    from shlex import quote

    file, _, name = item.nodeid.partition("::")
    return quote(f"{relpath(item.config.rootpath / file, item.config.invocation_params.dir)}::{name}")


__all__: list[str] = ["Simulate", "pytest_addoption", "pytest_runtest_makereport", "simulate"]

"""The simulated examples as tests: each fails with the mistake and passes without.  (tests/test_examples.py runs them as programs.)"""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest

from journeyman.sim import CrashSweepFailed, Faults, PromiseBroken, simulate
from tests.sources import ROOT

MENDED = ("sim_charges_twice", "sim_rate_limit", "sim_retention_audit", "sim_retry_storm")


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_one_is_here() -> None:
    assert tuple(sorted(path.stem for path in (ROOT / "examples").glob("sim_*.py"))) == MENDED


def test_charging_twice_is_found_by_chance_and_by_trying_every_crash() -> None:  # row 89
    charging = example("sim_charges_twice")
    assert "order 17" in charging.hunt(seeds=200)
    with pytest.raises(CrashSweepFailed, match="crash points break something") as caught:
        simulate(charging.mistaken, crash_at="every")
    point, error = caught.value.broken[0]
    with pytest.raises(PromiseBroken, match=r"effects at most once: \('charge', 'order 17'\) 2 times"):
        simulate(charging.mistaken, crash_at=point)
    assert isinstance(error, PromiseBroken)


def test_a_retry_storm_is_found() -> None:  # row 89
    with pytest.raises(AssertionError, match="30 of 60 calls are in the dead letter"):
        simulate(example("sim_retry_storm").mistaken, seed=11)


def test_a_rate_that_the_partner_rejects_is_found() -> None:  # row 89
    with pytest.raises(AssertionError, match="the partner rejected a call"):
        simulate(example("sim_rate_limit").mistaken, seed=11)


def test_a_retention_too_short_is_found() -> None:  # row 89
    with pytest.raises(AssertionError, match="6 of 6 payouts cannot be audited"):
        simulate(example("sim_retention_audit").mistaken, seed=11)


@pytest.mark.parametrize("name", MENDED)
@pytest.mark.parametrize("seed", [11, 12])
def test_mended_nothing_is_found(name: str, seed: int) -> None:
    scenario = example(name).mended
    simulate(scenario, seed=seed)
    if name in ("sim_charges_twice", "sim_rate_limit"):  # their scenarios expect crashes
        simulate(scenario, seed=seed, faults=Faults(crash=0.001))


def test_each_is_a_test_that_pytest_finds_and_that_fails_with_the_mistake() -> None:
    for name in MENDED:
        module = example(name)
        (kept,) = [member for title, member in vars(module).items() if title.startswith("test_")]
        kept()
        module.mended = module.mistaken
        with pytest.raises((AssertionError, PromiseBroken)):
            kept()

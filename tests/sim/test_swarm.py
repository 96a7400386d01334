"""The swarm: plans are data, differ in kind, repeat themselves, and leave nothing of the API out."""

from __future__ import annotations

import dataclasses
import inspect
import json

import pytest

from journeyman.engine import Engine, Queue
from journeyman.engine.spec import Submittable
from journeyman.sim import Faults, odds, simulate
from journeyman.sim.plan import Plan
from journeyman.sim.play import Player
from journeyman.sim.scripts import policy_of
from journeyman.sim.swarm import swarm, swarm_scenario

PLANS = [swarm(seed) for seed in range(300)]


@pytest.mark.parametrize("seed", range(40))
def test_a_seed_is_a_run(seed: int) -> None:
    scenario, faults = swarm_scenario(seed)
    assert simulate(scenario, seed=seed, faults=faults, converge=True).digest == swarm(seed).run().digest


def test_plans_are_data() -> None:
    for plan in PLANS:
        assert Plan.of(json.loads(json.dumps(plan.facts()))) == plan


def test_plans_differ_in_kind() -> None:
    assert len({json.dumps(plan.facts()) for plan in PLANS}) == len(PLANS)
    assert 5 <= sum(not plan.faults for plan in PLANS) <= 60, "some worlds are calm"
    for fault in odds.FAULTS:
        share = sum(fault in plan.faults for plan in PLANS) / len(PLANS)
        assert 0 < share < 0.7, f"{fault} is in {share:.0%} of the plans"


def test_a_policy_has_its_odds() -> None:
    """Whoever adds a parameter to Queue, a fault or an option says here how often it is drawn."""
    assert odds.POLICY.keys() == inspect.signature(Queue).parameters.keys() - {"name"}
    assert odds.OPTIONS.keys() == inspect.signature(Submittable.using).parameters.keys() - {"self"}
    assert odds.SCHEDULE.keys() == inspect.signature(Engine.schedule).parameters.keys() - {
        "self",
        "name",
        "handler",
        "args",
        "kwargs",
        "by",
    }
    assert odds.FAULTS.keys() == {field.name for field in dataclasses.fields(Faults)}
    for table, name in ((odds.RETRY, "retry"), (odds.RETENTION, "retention"), (odds.RATE, "rate")):
        value = policy_of({name: {"limit": 1} if name == "rate" else {}})[name]
        assert table.keys() == {field.name for field in dataclasses.fields(value)}


def test_every_verb_is_played_and_drawn() -> None:
    played = {name.removeprefix("do_") for name in dir(Player) if name.startswith("do_")}
    assert played == {*odds.VERBS, *odds.STREWN, *odds.RECURRING_VERBS, "plug"}
    drawn = {verb for plan in PLANS for lane in plan.lanes for verb, _ in lane}
    assert drawn == played


def test_a_plan_with_holes_is_a_plan() -> None:
    """Shrinking leaves things out without asking what refers to them."""
    for plan in PLANS[:30]:
        dataclasses.replace(plan, deploys=[], faults={}).run()
        dataclasses.replace(plan, lanes=[[step for step in lane if step[0] != "submit"] for lane in plan.lanes], faults={}).run()


@pytest.mark.parametrize("facts", [{"seeed": 1}, {"faults": {"crsh": 1}}])
def test_a_misspelt_plan_is_refused(facts: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"seeed|crsh"):
        Plan.of(facts)

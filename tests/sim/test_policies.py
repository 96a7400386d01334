"""Every policy has its invariant, its oracle rule and its odds; one that nobody has named fails here."""

from __future__ import annotations

import inspect
from dataclasses import fields

import pytest

from journeyman.engine import Engine, Queue
from journeyman.engine.spec import Submittable
from journeyman.kernel.policy import Policy, Retention, Retry
from journeyman.sim import odds
from journeyman.sim.invariants import BUILT_IN, Invariant
from journeyman.sim.invariants.invariant import HEARD, MOMENTS
from journeyman.sim.policies import LATER, POLICIES

NO_POLICY = {"self", "name", "handler", "args", "kwargs", "by", "path", "queues", "clock", "store", "threads", "entropy", "allow_unsafe_fs"}


def named(*callables: object) -> set[str]:
    return {name for each in callables for name in inspect.signature(each).parameters} - NO_POLICY  # type: ignore[arg-type]


def test_every_option_of_the_kernel_is_named() -> None:
    assert {field.name for field in fields(Policy)} <= POLICIES.keys()


def test_every_public_option_is_named() -> None:
    groups = {"retry": fields(Retry), "retention": fields(Retention)}
    for name in named(Queue.__init__, Engine.__init__, Submittable.using, Engine.schedule):
        inside = [field.name for field in groups.get(name, ())]
        for option in inside or [name]:
            if option not in ("on", "result"):
                places = {each for watched in POLICIES.values() for each in watched.options}
                assert option in places, f"say in sim/policies.py which invariant watches {option!r}"


@pytest.mark.parametrize("name", sorted(POLICIES.keys() - LATER))
def test_what_is_built_is_watched_and_drawn(name: str) -> None:
    watched = POLICIES[name]
    assert watched.invariant in BUILT_IN
    assert watched.rule
    tables = {
        "queue": odds.POLICY,
        "retry": odds.RETRY,
        "retention": odds.RETENTION,
        "engine": odds.ENGINE,
        "terms": {"namespaces": odds.TERMS},
        "submit": odds.OPTIONS,
        "recurring": odds.SCHEDULE,
    }
    tables["act"] = odds.LAST_ACTS
    for option in watched.options:
        assert any(option in table for table in tables.values()), f"sim/odds.py has no row for {option!r}"


@pytest.mark.parametrize("kind", BUILT_IN, ids=lambda kind: kind.__name__)
def test_an_invariant_states_its_promise_and_hears_something(kind: type[Invariant]) -> None:
    assert kind.__doc__
    assert kind.name
    heard = {*HEARD.values(), *MOMENTS, "each", "records"}
    assert heard & set(vars(kind)), "it hears nothing"


def test_promises_have_names_of_their_own() -> None:
    assert len({kind.name for kind in BUILT_IN}) == len(BUILT_IN)

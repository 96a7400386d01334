"""A plan: everything that one simulated run is made of, as plain data.

Problem.  A failing run is worth little until it is small, and worth nothing if it cannot be had again.  A seed alone gives it back only as
long as nobody changes how plans are drawn from seeds. Choice: what is drawn is a value, not behaviour.  It holds numbers, strings, lists
and maps, so that it can be written to a file, read by a person, and made smaller by leaving parts out, whoever drew it (the swarm,
Hypothesis, a hand).  Every reference inside it is by name and may dangle: a plan with anything left out is still a plan.

    faults    the facts of a `Faults`
    engine    options of the engine
    deploys   what is deployed, one after another: each a list of queues, as `scripts.queue_of` reads them
    lanes     what clients do side by side: lists of steps [verb, {arguments}], as `play.py` reads them
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from journeyman.sim.faults import Faults
from journeyman.sim.simulate import simulate
from journeyman.sim.trace import Trace
from journeyman.sim.world import World

Step = list[Any]  # [verb, {arguments}]
MAX_STEPS = 200_000  # of tasks; a run of a plan takes some thousands


@dataclass(frozen=True)
class Plan:
    """See above.  `scenario` is what `simulate` takes; `run` simulates it."""

    seed: int = 0
    faults: dict[str, Any] = field(default_factory=dict)
    engine: dict[str, Any] = field(default_factory=dict)
    deploys: list[list[dict[str, Any]]] = field(default_factory=list)
    lanes: list[list[Step]] = field(default_factory=list)

    @property
    def fault_plan(self) -> Faults:
        return Faults.of(self.faults)

    async def scenario(self, world: World) -> None:
        """Play it in `world`."""
        from journeyman.sim.play import Player

        await Player(world, self).run()

    def run(self, *, max_steps: int = MAX_STEPS) -> Trace:
        """One simulation of it; raises what `simulate` raises."""
        return simulate(self.scenario, seed=self.seed, faults=self.fault_plan, converge=True, max_steps=max_steps)

    @property
    def size(self) -> int:
        """How much there is to read: what shrinking makes smaller."""
        return len(json.dumps(self.facts()))

    def facts(self) -> dict[str, Any]:
        """As JSON holds it."""
        return dataclasses.asdict(self)

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Self:
        """The plan that `facts` describes.  ValueError for what is no map of a plan's fields, or has a fault that there is not."""
        if not isinstance(facts, Mapping):
            raise ValueError(f"a plan is a map of its fields, not {facts!r:.60}")
        unknown = facts.keys() - {each.name for each in dataclasses.fields(cls)}
        if unknown:
            raise ValueError(f"a plan has no {', '.join(sorted(unknown))}")
        plan = cls(**facts)
        for name, shape in _SHAPES.items():
            if not _fits(value := getattr(plan, name), shape):
                raise ValueError(f"{name} of a plan: {value!r:.60} is not what belongs there (sim/plan.py says what does)")
        Faults.of(plan.faults)
        return plan


# Of each field: a type, a list of one shape, or the shapes of a pair.
_SHAPES: Mapping[str, Any] = {"seed": int, "faults": dict, "engine": dict, "deploys": [[dict]], "lanes": [[(str, dict)]]}


def _fits(value: Any, shape: Any) -> bool:
    if isinstance(shape, type):
        return isinstance(value, shape)
    if not isinstance(value, (list, tuple)):
        return False
    if isinstance(shape, list):
        return all(_fits(one, shape[0]) for one in value)
    return len(value) == len(shape) and all(map(_fits, value, shape))

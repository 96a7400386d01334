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
        """The plan that `facts` describes.  ValueError for a field that plans do not have, or a fault that there is not."""
        unknown = facts.keys() - {each.name for each in dataclasses.fields(cls)}
        if unknown:
            raise ValueError(f"a plan has no {', '.join(sorted(unknown))}")
        plan = cls(**facts)
        Faults.of(plan.faults)
        return plan

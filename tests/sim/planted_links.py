"""Bugs planted into unique keys, debounce and dependencies (tests/sim/planted.py)."""

from __future__ import annotations

from journeyman.actors import recorder
from journeyman.actors.dependencies import Dependencies
from journeyman.kernel import claims, conditions, dependencies, rearrange, unique
from tests.sim.bug import Bug

LINKS = (
    Bug("two of a unique key", ((unique.Keys._conflict, 'command.on_conflict == "return"', 'command.on_conflict == "never"'),), seed=370),
    Bug("a kept key is forgotten by prune", ((claims.Claims.residue, "kept[key] = list(found)", "pass"),), seed=68),
    Bug("the replaced one goes on", ((conditions.Conditions.ask, "claim.replaced, failed", "(), failed"),), seed=4),
    Bug("a debounce beyond max_wait", ((unique.due, "min(due_at, latest_at)", "due_at"),), seed=4),
    Bug(
        "debounced arguments are left behind",
        ((recorder.Recorder._take_moved, "step.drops.append(actor.state.tasks[event.task].payload_seq)", "pass"),),
        seed=4,
    ),
    Bug("later arguments are not remembered", ((rearrange.rescheduled, "task.payload_seq = seq", "pass"),), seed=4),
    Bug("other queues are not told of an end", ((Dependencies.tell, "in step.over:", "in []:"),), seed=381),
    Bug("a failure counts as a success", ((dependencies._failed, "if ended != State.SUCCEEDED", "if ended is False"),), seed=0),
    Bug(
        "one of many dependencies is enough",
        ((dependencies.meet, "[[dependency, ended]]", "[[other, ended] for other in state.tasks[id].waits_for or ()]"),),
        seed=12,
    ),
)

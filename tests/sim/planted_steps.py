"""Bugs planted into durable steps (tests/sim/planted.py)."""

from __future__ import annotations

from journeyman.actors import recorder
from journeyman.engine import steps
from journeyman.journal import prune
from journeyman.kernel import apply, stepping
from journeyman.kernel import steps as kernel_steps
from tests.sim import workloads
from tests.sim.bug import Bug

STEPS = (
    Bug(
        "a step's value is there before it is durable",
        ((steps.Steps.run, "answer = await self._record(name, data).wait_through()", "self._record(name, data); answer = None"),),
        seed=0,
        run=workloads.stepping,
    ),
    Bug("a done step is run again", ((steps.Steps._begin, "if entry is not None:", "if False:"),), seed=0, run=workloads.stepping),
    Bug(
        "a retry by hand forgets what is done",
        ((apply._retried, 'options.pop("deadline_at", None)', 'options.pop("deadline_at", None); options.pop("steps", None)'),),
        seed=6,
        run=workloads.stepping,
    ),
    Bug(
        "the fold forgets the steps before",
        ((kernel_steps.step_recorded, '{**options.get("steps", _NONE), event.name: entry}', "{event.name: entry}"),),
        seed=0,
        run=workloads.stepping,
    ),
    Bug(
        "a stale attempt's step counts",
        ((stepping.record_step, "task.state is not State.RUNNING or task.attempt != attempt or task.epoch != epoch", "False"),),
        seed=0,
        run=workloads.stepping,
    ),
    Bug(
        "values outlive the arguments",
        ((recorder.Recorder._ended, "kept_seqs(task)", "[task.payload_seq]"),),
        seed=0,
        run=workloads.stepping,
    ),
    Bug(
        "prune leaves the values",
        ((prune._payload_seqs, "yield from kept_seqs(task)", "yield task.payload_seq"),),
        seed=1,
        run=workloads.stepping,
    ),
)

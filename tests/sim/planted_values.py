"""Bugs planted into the application's key-values (tests/sim/planted.py)."""

from __future__ import annotations

from journeyman.actors import values as actors_values
from journeyman.actors import writer
from journeyman.journal import log
from journeyman.kernel import values
from tests.sim import shop
from tests.sim.bug import Bug

VALUES = (
    Bug("what was read may have changed", ((values.decide_values, "newest[name] != seq", "False"),), seed=0, run=shop.run_whole),
    Bug("a value outlives the next one", ((actors_values.Values.record, "if event.former:", "if False:"),), seed=0, run=shop.run_whole),
    Bug(
        "the rows of values are forgotten",
        ((writer.Writer._ship, "if step.values is not None:", "if False:"),),
        seed=0,
        run=shop.run_whole,
    ),
    Bug(
        "of two puts that share a commit the first stays",
        ((writer.Writer.record, "{**(gathering.values or {}), **step.values}", "{**step.values, **(gathering.values or {})}"),),
        seed=0,
        run=shop.run_gathered,
    ),
    Bug(
        "a put that is under way is not seen by the next",
        ((actors_values.Values._newest, "self._shell.writer.gathered(key) or self._shell.writer.under_way(key)", "None"),),
        seed=0,
        run=shop.run_gathered,
    ),
    Bug(
        "compaction takes the event that speaks for a key",
        ((log.Journal.note, "self.loose.append(event.former)", "self.loose.append(seq)"),),
        seed=0,
        run=shop.run_days,
    ),
    Bug(
        "a handler's puts come without asking what it has read",
        ((actors_values.Values.of_success, "isinstance(plan, Refused)", "False"),),
        seed=0,
        run=shop.run_whole,
    ),
)

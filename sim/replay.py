"""A run that can be had again: a plan, and what came of it, in a small file.

    examine(plan)            what comes of it: the trace's digest, and how it failed if it did
    Recording.save, load     as JSON: a header with the version of this format, the plan, the failure, the digest
    recording.replay()       runs it again and says what is the same

A file keeps the plan itself, not only the seed, so it says the same after the way plans are drawn has changed.  The digest tells whether
a run was the same *bit for bit*; once the engine has been mended the digest differs and the failure is gone, and
the file goes on as a regression test.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, Protocol, Self

from journeyman.sim.errors import PromiseBroken
from journeyman.sim.plan import Plan
from journeyman.sim.play import Player
from journeyman.sim.trace import Trace

FORMAT: Final = 1
HEADER: Final = "journeyman-sim"
_VARIABLE: Final = re.compile(r"'[^']*'|\"[^\"]*\"|\b[0-9a-f]{8}-[0-9a-f-]{27}\b|\d+(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class Failure:
    """How a run failed.  kind: the exception's type.  promise: which one was broken.  text: the first line of it."""

    kind: str
    promise: str
    text: str

    @classmethod
    def of(cls, error: BaseException) -> Self:
        first = (str(error).splitlines() or [""])[0]
        return cls(type(error).__name__, error.promise if isinstance(error, PromiseBroken) else "", first)

    def same_way(self, other: Failure | None) -> bool:
        """Whether both are of one sort: what differs from run to run, numbers and names, is left out."""
        return other is not None and self._sort == other._sort

    @property
    def _sort(self) -> tuple[str, str]:
        return self.kind, self.promise or _VARIABLE.sub("#", self.text)

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one run.  error: as it was raised."""

    trace: Trace
    digest: str
    failure: Failure | None = None
    error: Exception | None = None


def examine(plan: Plan) -> Outcome:
    """Run `plan`; whatever an engine or a scenario may raise is an outcome."""
    try:
        trace = plan.run()
    except Exception as error:
        trace = error.__dict__.get("trace") or Trace(plan.seed)
        return Outcome(trace, trace.digest, Failure.of(error), error)
    return Outcome(trace, trace.digest)


@dataclass(frozen=True, slots=True)
class Recording:
    """What a file holds.  `journeyman`: the version that it was made with."""

    plan: Plan
    digest: str = ""
    failure: Failure | None = None
    note: str = ""
    journeyman: str = ""

    @classmethod
    def make(cls, plan: Plan, outcome: Outcome, note: str = "") -> Self:
        return cls(plan, outcome.digest, outcome.failure, note, version_of_journeyman())

    def save(self, path: str | Path) -> Path:
        """Write it; the folder is made if need be."""
        place = Path(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(self.text(), encoding="utf-8")
        return place

    def text(self) -> str:
        failure = self.failure and {"kind": self.failure.kind, "promise": self.failure.promise, "text": self.failure.text}
        facts = {HEADER: FORMAT, "journeyman": self.journeyman, "note": self.note, "failure": failure, "digest": self.digest}
        return json.dumps({**facts, "plan": self.plan.facts()}, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read one.  ValueError for a file that is none, of a later format, or with a part that is not as it should be."""
        facts = facts_in(path)
        if "plan" not in facts:
            raise ValueError(f"{path} is an example of a state machine or a test, and no plan: `journeyman sim replay` runs it")
        try:
            plan, failure = _plan_of(facts["plan"]), failure_of(facts.get("failure"))
        except ValueError as error:
            raise ValueError(f"{path} cannot be run: {error}") from None
        return cls(plan, facts.get("digest", ""), failure, facts.get("note", ""), facts.get("journeyman", ""))

    def replay(self) -> Replay:
        return Replay(self, examine(self.plan))


def facts_in(path: str | Path) -> dict[str, Any]:
    """What the file holds, of which so far only the header is known to be right.  ValueError for a file that is none of ours."""
    try:
        facts: Any = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not a {HEADER} file: {error}") from None
    if not isinstance(facts, dict) or HEADER not in facts:
        raise ValueError(f"{path} is not a {HEADER} file: it has no header")
    if facts[HEADER] != FORMAT:
        raise ValueError(f"{path} has format {facts[HEADER]!r}, and this version reads {FORMAT}: it was saved by a newer Journeyman")
    return facts


def _plan_of(facts: Any) -> Plan:
    """A plan whose steps this version knows: a verb that nobody can play is a mistake of the file, not of the engine."""
    plan = Plan.of(facts)
    unknown = {verb for lane in plan.lanes for verb, _ in lane if not hasattr(Player, f"do_{verb}")}
    if unknown:
        raise ValueError(f"this version knows no step {', '.join(map(repr, sorted(unknown)))}")
    return plan


def failure_of(facts: Any) -> Failure | None:
    """From the file's part of that name.  ValueError if it is none."""
    if not facts:
        return None
    if not isinstance(facts, dict) or facts.keys() != set(Failure.__slots__) or not all(isinstance(said, str) for said in facts.values()):
        raise ValueError(f"a failure is texts called {', '.join(Failure.__slots__)}, not {facts!r:.60}")
    return Failure(**facts)


def run_or_save(plan: Plan, path: str | Path) -> Outcome:
    """Run `plan` and raise what it raises, having saved it: below `@given`, where the smallest failing example is run last, the file
    holds that one.
    """
    outcome = examine(plan)
    if outcome.error is not None:
        try:
            Recording.make(plan, outcome, "saved by run_or_save").save(path)
        except OSError as trouble:  # never in the place of what the run has found
            outcome.error.add_note(f"the plan could not be saved: {trouble}")
        raise outcome.error
    return outcome


class Saved(Protocol):
    """What was saved of a run: a Recording, or an example of Hypothesis's."""

    @property
    def digest(self) -> str: ...

    @property
    def failure(self) -> Failure | None: ...


@dataclass(frozen=True, slots=True)
class Replay:
    """What was saved, beside what came of it this time."""

    recording: Saved
    outcome: Outcome

    @property
    def bit_for_bit(self) -> bool:
        return self.outcome.digest == self.recording.digest

    @property
    def verdict(self) -> str:
        """In a sentence."""
        before, now = self.recording.failure, self.outcome.failure
        exactly = "bit for bit the same run" if self.bit_for_bit else "another run than then (the code has changed)"
        if now is None:
            return f"it passes; {exactly}"
        if before is None:
            return f"it did not fail then, and fails now: {now}; {exactly}"
        if before.same_way(now):
            return f"it still fails in the same way: {now}; {exactly}"
        return f"it fails in another way: {now} (then: {before}); {exactly}"


def version_of_journeyman() -> str:
    """Of this one, "" if nobody installed it."""
    try:
        return version("journeyman")
    except PackageNotFoundError:  # run from a folder that nobody installed
        return ""

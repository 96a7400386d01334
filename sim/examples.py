"""A failing example of Hypothesis's in a file, so that it can be had again.

    play(run, outline, ...)     run a world for an example; if it fails, write the file
    Example.of(facts)           what such a file holds

Problem.  An example is made of arguments that only Hypothesis can draw and of code that only its module has.  Choice: the file says which
machine or test it was, and holds the choices from which Hypothesis draws the same example again (the blob of its
`reproduce_failure`); beside them, for whoever reads it, stand seed, faults and commands in words.  Rejected: the commands themselves,
as data: a function given to `then`, a strategy's own objects and a test's check cannot be written down.  The price: a blob is read
only by the version of Hypothesis that made it, and the file says which.  sim/reproduce.py runs it.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import sys
import unittest
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, Self

from journeyman.sim.replay import FORMAT, HEADER, Failure, Outcome, failure_of, version_of_journeyman
from journeyman.sim.trace import Trace

FOLDER: Final = Path("sim-failures")
_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{4,}")
_OWN_SETTING_UP: Final = ("setup_method", "setup_class", "setup")


@dataclass(frozen=True, slots=True)
class Outline:
    """An example in words.  faults: as `Faults.facts` has them.  commands: what is done, in order."""

    seed: int
    faults: dict[str, Any]
    commands: list[str]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Outline) and self._plain == other._plain

    @property
    def _plain(self) -> Any:
        """As JSON has it, and without what differs from process to process."""
        return json.loads(_ADDRESS.sub("0x", json.dumps([self.seed, self.faults, self.commands])))


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an example comes from.

    of: "machine" or "test".  module, name: where the class or the function is.  file: of the module, from the folder in which it ran.
    hypothesis: the version that drew it.  blob: from which that version draws it again.  steps: how many rules an example may have.
    rewritten: whether pytest had rewritten its asserts, which then speak in other words.  missing: why it cannot be replayed; "" if it can.
    """

    of: str
    module: str
    name: str
    file: str
    hypothesis: str = ""
    blob: str = ""
    steps: int = 0
    rewritten: bool = False
    missing: str = ""


@dataclass(frozen=True, slots=True)
class Example:
    """What a file holds.  digest: of the trace.  journeyman: the version that it was made with."""

    origin: Origin
    outline: Outline
    failure: Failure | None = None
    digest: str = ""
    journeyman: str = ""

    def text(self) -> str:
        """The file's."""
        head = {HEADER: FORMAT, "journeyman": self.journeyman, "example": asdict(self.origin)}
        failure = None if self.failure is None else asdict(self.failure)
        return json.dumps({**head, "failure": failure, "digest": self.digest, **asdict(self.outline)}, indent=1) + "\n"

    @classmethod
    def of(cls, facts: dict[str, Any]) -> Self:
        """From what `text` wrote.  ValueError for what it did not write."""
        try:
            origin, outline = Origin(**facts["example"]), Outline(facts["seed"], facts["faults"], facts["commands"])
        except (TypeError, KeyError) as error:
            raise ValueError(f"its part 'example' is not as it should be: {error}") from None
        if type(outline.seed) is not int or type(outline.faults) is not dict or not _are_texts(outline.commands):
            raise ValueError("its seed, faults and commands are not as they should be")
        wrong = [name for name, value in asdict(origin).items() if type(value) is not type(getattr(_SAMPLE, name))]
        if wrong:
            raise ValueError(f"of its part 'example' {', '.join(wrong)} is not as it should be")
        return cls(origin, outline, failure_of(facts.get("failure")), facts.get("digest", ""), facts.get("journeyman", ""))


def _are_texts(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


_SAMPLE: Final = Origin("", "", "", "")


@dataclass
class Replaying:
    """While an example is replayed, its runs are kept here, and nothing is saved."""

    played: list[tuple[Outcome, Outline]] = field(default_factory=list)


REPLAYING: Final[ContextVar[Replaying | None]] = ContextVar("replaying", default=None)


def play(run: Callable[[], Trace], outline: Outline, save_to: Path | str | None, machine: type | None = None) -> Trace:
    """`run()`; if it fails the example is saved in the folder `save_to` first, None: nowhere.  Raises what it raises.

    machine: whose example it is; without one it is the example of the running test.  As Hypothesis runs the smallest failing example last,
    that is the one left in the file.
    """
    replaying = REPLAYING.get()
    try:
        trace = run()
    except Exception as error:
        found = error.__dict__.get("trace")  # a user's errors may have one of their own
        trace = found if isinstance(found, Trace) else Trace(outline.seed)
        failed = Outcome(trace, trace.digest, Failure.of(error), error)
        if replaying is not None:
            replaying.played.append((failed, outline))
        elif save_to is not None:
            _save(failed, error, outline, Path(save_to), machine)
        raise
    if replaying is not None:
        replaying.played.append((Outcome(trace, trace.digest), outline))
    return trace


def _save(failed: Outcome, error: Exception, outline: Outline, folder: Path, machine: type | None) -> None:
    context = running()
    test = machine if machine is not None else getattr(context, "wrapped_test", None)
    origin = _origin(context, test, "test" if machine is None else "machine")
    name = origin.name if machine is None else machine.__name__
    named = f"{origin.module.rpartition('.')[2]}.{name}" if name else "scenario"
    path = folder / (re.sub(r"[^\w.-]+", "_", named) + ".json")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        example = Example(origin, outline, failed.failure, failed.digest, version_of_journeyman())
        half = path.with_suffix(f".{os.getpid()}")
        half.write_text(example.text(), encoding="utf-8")
        half.replace(path)  # whoever reads it meanwhile, in another process of the tests, reads all of it
    except OSError as trouble:  # never in the place of what the test has found
        error.add_note(f"the example could not be saved in {folder}: {trouble}")
    else:
        again = f"its replay is not possible: {origin.missing}" if origin.missing else f"see it again: journeyman sim replay {path}"
        error.add_note(f"saved in {path}; {again}")


def running() -> Any:
    """The context of the example that Hypothesis runs now; None if there is none."""
    try:
        from hypothesis.control import current_build_context
        from hypothesis.errors import InvalidArgument
    except ImportError:
        return None
    try:
        return current_build_context()
    except InvalidArgument:
        return None


def cut_off() -> bool:
    """Whether Hypothesis has given up the example that runs, in the middle of drawing it."""
    return bool(getattr(getattr(running(), "data", None), "frozen", False))


def _origin(context: Any, made: Any, of: str) -> Origin:
    named = _as_written(made)
    module, name = getattr(named, "__module__", ""), getattr(named, "__qualname__", "")
    blob, missing = _blob(context)
    missing = _unreachable(made, of) or missing
    loader = getattr(sys.modules.get(module), "__loader__", None)
    rewritten = type(loader).__name__ == "AssertionRewritingHook"
    return Origin(of, module, name, _file(named), _hypothesis(), blob, _steps(), rewritten, missing)


def _blob(context: Any) -> tuple[str, str]:
    """The choices that were drawn so far, or why there are none."""
    if context is None:
        return "", "Hypothesis did not draw it, so only the code that made it can make it again"
    try:
        from hypothesis.core import encode_failure

        choices = context.data.choices
        if not choices:
            return "", "it was written down with @example, and is run whenever its test is: run that test"
        return encode_failure(choices).decode("ascii"), ""
    except Exception as error:  # these two are no promise of Hypothesis's: another version of it costs the replay, not the test
        return "", f"Hypothesis {_hypothesis()} does not give an example's choices in a way known here ({type(error).__name__}: {error})"


def _as_written(made: Any) -> Any:
    """The function below what `@given` made of it, for the name and the place; a class as it is."""
    return getattr(getattr(made, "hypothesis", None), "inner_test", made)


def _unreachable(made: Any, of: str) -> str:
    """Why it cannot be imported and called; "" if it can."""
    name = getattr(_as_written(made), "__qualname__", "")
    if not name:
        return "nothing says which test made it"
    if "<locals>" in name:
        return f"{name} is made inside a function, where nobody can import it: move it to the top of its module"
    if of == "machine":
        return ""
    parameters = inspect.signature(made).parameters.values()
    wanted = [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    owner, dot, _ = name.rpartition(".")
    if dot:
        wanted = wanted[1:]
        found = _looked_up(sys.modules.get(getattr(made, "__module__", "")), owner)
        if not isinstance(found, type):
            return f"{owner} is not in its module"
        if issubclass(found, unittest.TestCase) or any(hasattr(found, each) for each in _OWN_SETTING_UP):
            return f"{owner} sets its tests up in ways that only a test runner knows: make the test a function"
    if wanted:
        return f"the test is given {', '.join(wanted)} by pytest, which a replay cannot: make these in the test"
    return ""


def _looked_up(module: Any, name: str) -> Any:
    for part in name.split("."):
        module = getattr(module, part, None)
    return module


def _file(made: Any) -> str:
    try:
        path = inspect.getsourcefile(inspect.unwrap(made)) if callable(made) else None
        return Path(os.path.relpath(path)).as_posix() if path else ""
    except (TypeError, ValueError, OSError):  # typed at a prompt; on another drive
        return ""


def _steps() -> int:
    try:
        from hypothesis import settings

        return settings().stateful_step_count
    except ImportError:
        return 0


def _hypothesis() -> str:
    try:
        return version("hypothesis")
    except PackageNotFoundError:
        return ""


__all__ = ["FOLDER", "REPLAYING", "Example", "Origin", "Outline", "Replaying", "cut_off", "play", "running"]

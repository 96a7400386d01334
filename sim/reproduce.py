"""Files of failed runs, run again: plans of the swarm, and examples of Hypothesis's (sim/examples.py).

An example is had again as it came to be: its module is imported, and Hypothesis draws from the choices in the file what it drew then; it
shrinks nothing and looks for nothing else.  That the example is still the one that was saved is seen by its outline: where strategies
or rules have changed, Hypothesis makes of old choices whatever fits.  Whether the run is the same says the digest.

Rejected: to have pytest run the test, with its fixtures: what its configuration adds (workers, coverage, a report) is not wanted here, and
whoever runs state machines without pytest would have nothing.  What a replay cannot give a test, the file says when it is saved.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
import unittest
from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from types import ModuleType, new_class
from typing import Any

from journeyman.sim.examples import REPLAYING, Example, Origin, Outline, Replaying
from journeyman.sim.replay import Failure, Outcome, Recording, Replay, facts_in


def load(path: str | Path) -> Recording | Example:
    """What `sim run`, `run_or_save`, a SimulationMachine or a Scenario has saved.  ValueError for a file that is none of theirs."""
    facts = facts_in(path)
    if "example" in facts:
        try:
            return Example.of(facts)
        except ValueError as error:
            raise ValueError(f"{path} cannot be run: {error}") from None
    if "machine" in facts:
        raise ValueError(
            f"{path} says too little to be run: a Journeyman before this one has saved it; run the test of {facts['machine']} again"
        )
    return Recording.load(path)


def replay_file(path: str | Path) -> Replay:
    """Run again what is in a file.  ValueError, saying who must do what, if that cannot be."""
    saved = load(path)
    if isinstance(saved, Recording):
        return saved.replay()
    try:
        return Replay(saved, again(saved, Path(path)))
    except ValueError as error:
        raise ValueError(f"{path} cannot be run: {error}") from None


def again(example: Example, saved_in: Path) -> Outcome:
    """Run an example.  saved_in: its file; what it names is looked for from the working directory, then from the folders of the file.

    ValueError if it cannot be run, or is not the example that was saved any more.
    """
    origin = example.origin
    if origin.missing:
        raise ValueError(f"{origin.missing}; then run the test once more{_by_hand(origin)}")
    _require_hypothesis(origin)
    replaying = Replaying()
    with _importable(origin, saved_in) as module:
        test = _runnable(origin, module)
        token = REPLAYING.set(replaying)
        try:
            error = _raised_by(test, origin)
        finally:
            REPLAYING.reset(token)
    if not replaying.played:
        raise ValueError(f"{_changed(origin)}" + (f" ({type(error).__name__}: {error})" if error is not None else ""))
    outcome, outline = replaying.played[-1]
    if outcome.error is None and error is not None:  # raised beside the simulated world, such as for what its trace says
        outcome = Outcome(outcome.trace, outcome.digest, Failure.of(error), error)
    if outcome.digest != example.digest and outline != example.outline:
        raise ValueError(_changed(origin) + _first_difference(example.outline, outline))
    return outcome


def _changed(origin: Origin) -> str:
    return f"what {origin.name} draws has changed since, and the example no longer fits: run the test again, which saves a new one"


def _first_difference(then: Outline, now: Outline) -> str:
    if then.commands != now.commands:
        pairs = zip([*then.commands, "(the end)"], [*now.commands, "(the end)"], strict=False)
        before, after = next(pair for pair in pairs if pair[0] != pair[1])
        return f" (where it was {before!r:.80}, it is {after!r:.80})"
    return " (its seed or its faults are others)"


def _by_hand(origin: Origin) -> str:
    if not origin.blob:
        return ""
    choices = f"@hypothesis.reproduce_failure({origin.hypothesis!r}, b{origin.blob!r})"
    return f", or for this very example put {choices} above {origin.name} and run that"


def _require_hypothesis(origin: Origin) -> None:
    try:
        import hypothesis
    except ImportError:
        raise ValueError("it needs Hypothesis: pip install 'journeyman[sim]'") from None
    if hypothesis.__version__ != origin.hypothesis:
        said = f"Hypothesis {origin.hypothesis} drew it, only that version can draw it again, and here is {hypothesis.__version__}"
        raise ValueError(f"{said}: pip install hypothesis=={origin.hypothesis}, or run the test of {origin.name} again")


# --- the module --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _importable(origin: Origin, saved_in: Path) -> Generator[ModuleType]:
    """The module, while it and what it imports later are found."""
    file = _found(origin, saved_in)
    parts = origin.module.split(".")
    by_name = list(file.with_suffix("").parts[-len(parts) :]) == parts  # else it was loaded from its file, under a name that pytest chose
    places = [str(file.parents[len(parts) - 1] if by_name else file.parent), str(Path.cwd())]
    before = list(sys.path)
    sys.path[:0] = [place for place in places if place not in sys.path]
    try:
        with _asserts_as_pytest_has_them(origin):
            try:
                module = importlib.import_module(origin.module) if by_name else _loaded(origin.module, file)
                if Path(module.__file__ or "").resolve() != file:  # one of that name was imported before, from elsewhere
                    module = _loaded(origin.module, file)
            except ImportError as error:
                raise ValueError(
                    f"{origin.file} cannot be imported: {error}; the folder of a missing module goes into PYTHONPATH"
                ) from error
            except (Exception, SystemExit) as error:  # somebody is at work on it
                raise ValueError(f"{origin.file} cannot be imported: {type(error).__name__}: {error}") from error
            yield module
    finally:
        sys.path[:] = before


def _found(origin: Origin, saved_in: Path) -> Path:
    for folder in (Path.cwd(), *saved_in.resolve().parents):
        with contextlib.suppress(OSError):  # a name that no file can have
            file = (folder / origin.file).resolve()
            if file.is_file() and origin.file:
                return file
    wanted = origin.file or f"the file of {origin.module}"
    raise ValueError(
        f"{wanted} is not there (any more): call this from the folder in which the test ran, or run the test again where it is now"
    )


def _loaded(name: str, file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file.name} is no module")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def _asserts_as_pytest_has_them(origin: Origin) -> Generator[None]:
    """What an assert says is in the trace when a handler fails of it, and pytest makes asserts say more.  Without pytest they say less:
    then the run is another, and is called that.
    """
    hook: Any = None
    if origin.rewritten:
        with contextlib.suppress(Exception):  # none of this is a promise of pytest's
            from _pytest.assertion import install_importhook
            from _pytest.config import get_config

            hook = install_importhook(get_config())
            hook.mark_rewrite(origin.module)
    try:
        yield
    finally:
        if hook in sys.meta_path:
            sys.meta_path.remove(hook)


# --- the test ----------------------------------------------------------------------------------------------------------


def _runnable(origin: Origin, module: ModuleType) -> Callable[[], Any]:
    """The machine or the test with the choices of the example: to be called."""
    from hypothesis import reproduce_failure, settings
    from hypothesis.stateful import run_state_machine_as_test

    from journeyman.sim.machine import SimulationMachine

    made: Any = module
    owner: Any = None
    for part in origin.name.split("."):
        owner, made = made, getattr(made, part, None)
    if made is None:
        raise ValueError(
            f"{origin.file} has no {origin.name} any more: run its test under the name it has now, so that it saves the example anew"
        )
    choices = reproduce_failure(origin.hypothesis, origin.blob.encode())
    if origin.of == "machine":
        if not (isinstance(made, type) and issubclass(made, SimulationMachine)):
            raise ValueError(f"{origin.name} in {origin.file} is no SimulationMachine any more: run its test again")
        limits = settings(made.TestCase.settings, stateful_step_count=max(1, origin.steps), database=None)
        named = {"__module__": made.__module__, "__qualname__": made.__qualname__}
        machine = new_class(made.__name__, (made,), {}, lambda space: space.update(named))  # so that `made` stays as it is
        return partial(run_state_machine_as_test, choices(machine), settings=limits)
    if not hasattr(made, "hypothesis") or not callable(made):
        raise ValueError(f"{origin.name} in {origin.file} is no test with @given any more: run its test again")
    return _once(made, owner if isinstance(owner, type) else None, choices)


def _once(test: Any, owner: type | None, choices: Callable[[Any], Any]) -> Callable[[], Any]:
    def run() -> Any:
        before = dict(vars(test))
        try:
            choices(test)
            return test() if owner is None else test(owner())
        finally:  # whoever else calls this test wants it to draw
            vars(test).clear()
            vars(test).update(before)

    return run


def _raised_by(test: Callable[[], Any], origin: Origin) -> Exception | None:
    """What the example raises; None if it passes, which Hypothesis takes for a failure."""
    from hypothesis.errors import DidNotReproduce, InvalidArgument

    try:
        test()
    except DidNotReproduce:
        return None
    except unittest.SkipTest as error:
        raise ValueError(f"{origin.name} was skipped: {error}") from None
    except InvalidArgument as error:
        raise ValueError(f"Hypothesis cannot read its choices: {error}") from None
    except Exception as error:
        return error
    return None


__all__ = ["again", "load", "replay_file"]

"""The handler of a generated test: at each attempt it takes as long as the recorded run took, and ends as that one ended."""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

from journeyman.cli.script import Run, Script, near
from journeyman.cli.source import Literals, Node, call, lines, named, plain, seconds, text
from journeyman.journal.instants import instant_of
from journeyman.journal.redaction import Redaction
from journeyman.kernel.events import (
    DUE_BY_INSTANT,
    AttemptFailed,
    AttemptReleased,
    AttemptSnoozed,
    Error,
    Event,
    TaskCancelled,
    TaskFailed,
    TaskSucceeded,
)

_PACKAGE: Final = "journeyman"
_HEARD_US: Final = 500  # a run that ends at the instant at which it is told to stop ends so much later
_MESSAGE: Final = 300  # characters of an error's text that are kept
_TAKEN: Final = frozenset({
    "Any", "Cancel", "Constant", "Context", "Exponential", "Fatal", "Faults", "Linear", "Queue", "Rate", "Retention", "Retry", "RetryLater",
    "Snooze", "World", "UTC", "datetime", "UUID", "Decimal",
})  # fmt: skip


@dataclass(slots=True)
class Errors:
    """The exception types of a course: builtin ones, and classes that stand for the others."""

    classes: dict[str, tuple[str, str]] = field(default_factory=dict)  # recorded name -> (name here, base)

    def raised(self, error: Error) -> Node:
        """The call that makes such an exception."""
        return call(self.name(error), text(message_of(error)))

    def name(self, error: Error) -> str:
        if error[0] not in self.classes and _says(error[0], message_of(error)):
            return error[0]
        if error[0] not in self.classes:
            base = next((name for name in error[3][1:] if _says(name, message_of(error))), "Exception")
            if "Exception" not in error[3]:
                base = "BaseException"
            self.classes[error[0]] = (self._free(error[0]), base)
        return self.classes[error[0]][0]

    def _free(self, recorded: str) -> str:
        """A name for the class that nothing else here has."""
        name = re.sub(r"\W", "_", recorded.rpartition(".")[2], flags=re.ASCII) or "Error"
        if not name.isidentifier() or keyword.iskeyword(name) or name in _TAKEN or hasattr(builtins, name):
            name = f"Recorded{name}"
        used = {here for here, _ in self.classes.values()}
        number = 2
        while name in used:
            name, number = f"{name.rstrip('0123456789')}{number}", number + 1
        return name

    def definitions(self) -> Iterator[str]:
        for recorded, (name, base) in self.classes.items():
            yield f"class {name}({base}):"
            yield f'    """Stands for {plain(recorded)}."""'
            yield ""
            yield ""


def _says(name: str, message: str) -> bool:
    """Whether a builtin exception of this name can be made of a message, and then says it."""
    kind = getattr(builtins, name, None)
    if not (isinstance(kind, type) and issubclass(kind, Exception)):
        return False
    try:
        return str(kind(message)) == message
    except TypeError:
        return False


def message_of(error: Error) -> str:
    return error[1] if len(error[1]) <= _MESSAGE else error[1][: _MESSAGE - 3] + "..."


class StandIn:
    """Writes the handler; `errors` and `beats` are known when it has been written."""

    def __init__(self, script: Script, literals: Literals, redaction: Redaction) -> None:
        self.script = script
        self.literals = literals
        self.redaction = redaction
        self.errors = Errors()
        self.heartbeat: int | None = min(filter(None, (run.heartbeat for run in script.runs)), default=None)

    @property
    def unretried(self) -> bool:
        """Whether an error was of a type that is not retried."""
        return any(isinstance(run.end, TaskFailed) and run.end.reason == "not retryable" for run in self.script.runs)

    def retried(self) -> Node:
        """The `on=` under which the recorded errors are retried, and the last one is not."""
        failed = [run.end.error for run in self.script.runs if isinstance(run.end, AttemptFailed) and _cause(run.end) == "exception"]
        names = list(dict.fromkeys(self.errors.name(error) for error in failed))
        return "(" + ", ".join(names) + ("," if len(names) == 1 else "") + ")"

    def limits(self) -> list[Node]:
        """What the handler must have had of its own: time-outs that neither task nor queue explains."""
        found: list[Node] = []
        for kind in ("timeout", "heartbeat"):
            struck = [run for run in self.script.runs if run.end is not None and _cause(run.end) == kind]
            unexplained = [elapsed_of(run) for run in struck if not near(elapsed_of(run), getattr(run, kind))]
            if unexplained:
                found.append(named(kind, seconds(min(unexplained))))
            elif kind == "timeout" and self.overran:
                found.append("timeout=None")
        return found

    @property
    def overran(self) -> bool:
        """Whether a run took longer than it may and was not struck: a thread cannot be."""
        ended = [run for run in self.script.runs if run.end is not None and not run.died]
        if any(_cause(run.end) == "timeout" for run in ended if run.end is not None):
            return False
        return any(run.timeout is not None and run.length > run.timeout for run in ended)

    def body(self) -> Iterator[str]:
        """What it does at each attempt."""
        for lines_of_it, alike in groupby(self.script.runs, lambda run: list(self._run(run))):
            runs = list(alike)
            first, last = runs[0].attempt, runs[-1].attempt
            yield f"    if ctx.attempt == {first}:" if first == last else f"    if {first} <= ctx.attempt <= {last}:"
            yield from ("        " + line for line in lines_of_it)
        yield '    raise AssertionError(f"run {ctx.attempt} is not in the journal")'

    # --- one run ------------------------------------------------------------------------------------------------------

    def _run(self, run: Run) -> Iterator[str]:
        end = run.end
        if end is None:
            yield from self._stays(run, "it still ran")
        elif run.died and run.asked_at is not None:
            yield from self._deaf(run.length)
        elif run.died:
            yield "await trio.sleep_forever()  # the process died"
        elif isinstance(end, AttemptReleased):
            yield from self._stays(run, f"the engine was stopped ({plain(end.reason)})")
        elif _cause(end) in ("timeout", "heartbeat"):
            yield from self._struck(run, _cause(end))
        elif run.asked_at is not None:
            yield from self._asked(run, run.asked_at)
        else:
            yield from self._takes(run)
            yield from self._ends(run, end)

    def _takes(self, run: Run) -> Iterator[str]:
        if run.heartbeat is not None and run.length >= run.heartbeat // 2:
            yield f"await busy(ctx, {seconds(run.length)})"
        elif run.length:
            yield f"await trio.sleep({seconds(run.length)})"

    def _stays(self, run: Run, why: str) -> Iterator[str]:
        if run.heartbeat is not None and run.length >= run.heartbeat // 2:
            yield f"await busy(ctx, {seconds(2 * run.length)})  # {why}"
        else:
            yield f"await trio.sleep_forever()  # {why}"

    def _deaf(self, length: int) -> Iterator[str]:
        yield "with trio.CancelScope(shield=True):  # it did not hear that it was to stop"
        yield f"    await trio.sleep({seconds(length)})"

    def _struck(self, run: Run, kind: str) -> Iterator[str]:
        if kind == "timeout" and run.heartbeat is not None and run.length >= run.heartbeat:
            yield f"await busy(ctx, {seconds(2 * run.length)})  # until its time is out"
            return
        if kind == "heartbeat" and run.heartbeat is not None and run.length > run.heartbeat:
            yield f"await busy(ctx, {seconds(run.length - run.heartbeat)})"
        yield f"await trio.sleep_forever()  # until its {kind} strikes"

    def _asked(self, run: Run, asked_at: int) -> Iterator[str]:
        """It was told to stop."""
        rest = run.length - asked_at
        if isinstance(run.end, TaskSucceeded):
            yield from self._deaf(max(run.length, asked_at + _HEARD_US))
            yield from self._ends(run, run.end)
        elif rest < 1_000:
            yield "await trio.sleep_forever()  # until it is told to stop"
        else:
            yield "try:"
            yield "    await trio.sleep_forever()  # until it is told to stop"
            yield "finally:"
            yield "    with trio.CancelScope(shield=True):"
            yield f"        await trio.sleep({seconds(rest)})"

    def _ends(self, run: Run, end: Event) -> Iterator[str]:
        if isinstance(end, TaskSucceeded):
            result = self.redaction.value(self.script.course.result)
            yield from lines(self.literals.of(result), before="return ")
        elif isinstance(end, AttemptSnoozed):
            self.literals.need(_PACKAGE, "Snooze")
            delay = self.literals.instant(instant_of(end.due_at)) if end.due_kind == DUE_BY_INSTANT else seconds(end.due_at - end.at)
            yield from lines(call("Snooze", named("until", delay) if end.due_kind == DUE_BY_INSTANT else delay), before="raise ")
        elif isinstance(end, TaskCancelled):
            self.literals.need(_PACKAGE, "Cancel")
            yield from lines(call("Cancel", text(end.reason)), before="raise ")
        elif isinstance(end, AttemptFailed | TaskFailed) and end.error is not None:
            yield from self._raises(run, end, end.error)

    def _raises(self, run: Run, end: AttemptFailed | TaskFailed, error: Error) -> Iterator[str]:
        cause = _cause(end)
        own = error[0].rpartition(".")[2]
        if cause == "fatal" or (isinstance(end, TaskFailed) and end.reason == "fatal"):
            self.literals.need(_PACKAGE, "Fatal")
            if own == "Fatal":
                yield from lines(call("Fatal", text(message_of(error))), before="raise ")
            else:
                yield from lines(self.errors.raised(error), before="raise Fatal from ")
        elif cause == "retry_later" and isinstance(end, AttemptFailed):
            self.literals.need(_PACKAGE, "RetryLater")
            why = text(message_of(error)) if own == "RetryLater" else self.errors.raised(error)
            yield from lines(call("RetryLater", why, seconds(end.due_at - end.at)), before="raise ")
        elif cause == "retry_later":
            self.literals.need(_PACKAGE, "RetryLater")
            why = text(message_of(error)) if own == "RetryLater" else self.errors.raised(error)
            yield from lines(call("RetryLater", why), before="raise ")
        elif run.paused_by and isinstance(end, AttemptFailed):
            self.literals.need(_PACKAGE, "RetryLater")
            yield f"# A backoff of the later policy's own, {plain(run.paused_by)}, chose the pause."
            yield from lines(call("RetryLater", self.errors.raised(error), seconds(end.due_at - end.at)), before="raise ")
        else:
            yield from lines(self.errors.raised(error), before="raise ")


def _cause(end: Event) -> str:
    return str((end.options or {}).get("cause", "exception"))


def elapsed_of(run: Run) -> int:
    return int(getattr(run.end, "elapsed_us", run.length))


__all__ = ["Errors", "StandIn", "message_of"]

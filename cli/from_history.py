"""A recorded course as a pytest file that makes it happen again in simulation: what `journeyman from-test` writes.

Problem.  An incident is over when a test fails for it.  What a journal holds of one (policy, arguments, instants, errors) is enough to
play it, but nobody writes that down by hand.  Choice: plain code of the kind that docs/SIMULATION.md shows, without anything of ours
around it but `simulate`: the queue with the recorded policy, a stand-in for the handler, the scenario step by step, and what must come
of it.  Whoever gets it puts the real handler in the place of the stand-in and goes on from there.

The simulated clock begins at the recorded instant and the task has its recorded id, so instants, deadlines and the jitter of its
backoff are the recorded ones, to the microsecond.

Rejected: a recording that a library plays back (nobody can change it into the test they want).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any, Final

from journeyman.cli.policy_source import changed, keyword_items, parameters, without_ends
from journeyman.cli.script import CLOCK, CONFIGURE, CRASH, LEAVE, OTHER, PAUSE, RESUME, SUBMIT, Script, Step
from journeyman.cli.source import Group, Literals, Node, call, import_lines, lines, named, plain, seconds, text
from journeyman.cli.stand_in import StandIn, message_of
from journeyman.journal.course import BLINK_US, Course, Neighbour
from journeyman.journal.echoes import echoes_in
from journeyman.journal.instants import instant_of
from journeyman.journal.redaction import Redaction
from journeyman.kernel.events import (
    DUE_BY_INSTANT,
    AttemptFailed,
    AttemptLost,
    CancelRequested,
    Event,
    TaskCancelled,
    TaskFailed,
    TaskReprioritised,
    TaskRescheduled,
    TaskRetried,
    TaskSubmitted,
)
from journeyman.kernel.ids import id_text
from journeyman.kernel.lifecycle import State
from journeyman.kernel.namespace import local_name
from journeyman.kernel.policy import Policy

_PACKAGE: Final = "journeyman"
_ENGINES_OWN: Final = frozenset({"api", "dependency", "unique", "debounce", "deadline", "handler"})  # whom nobody else may call himself
_TOLD: Final = ("error", "reason", "message")  # fields of events that hold text of the handler's or of the operator's
_ENDINGS: Final = {State.SUCCEEDED: "succeeded", State.CANCELLED: "cancelled", State.INTERRUPTED: "interrupted"}


def test_of(course: Course, redaction: Redaction) -> str:
    """The whole file."""
    return "\n".join(_File(_without_echoes(course, redaction), redaction).lines()) + "\n"


test_of.__test__ = False  # type: ignore[attr-defined]  # pytest collects functions of this name


def _without_echoes(course: Course, redaction: Redaction) -> Course:
    """What its errors and reasons repeat of hidden arguments is hidden before anything is made of them, so the test agrees with itself."""
    args, kwargs = course.arguments or ([], {})
    echoes = echoes_in(redaction, course.task.handler, args, kwargs, (course.task.options or {}).get("meta"), course.result)
    if not echoes:
        return course
    events = [
        event._replace(**{name: echoes.value(getattr(event, name)) for name in _TOLD if name in event._fields}) for event in course.events
    ]
    return replace(course, events=events, result=echoes.value(course.result))


class _File:
    def __init__(self, course: Course, redaction: Redaction) -> None:
        self.course = course
        self.redaction = redaction
        self.script = Script(course)
        self.literals = Literals()
        self.literals.need("typing", "Any")
        self.literals.need(_PACKAGE, "Context", "Queue")
        self.literals.need("journeyman.sim", "World", "simulate")
        self.stand_in = StandIn(self.script, self.literals, redaction)
        self.body = list(self.stand_in.body())  # first: then it is known which exceptions there are
        self.uncharged = sum(1 for event in course.events if isinstance(event, AttemptLost) and not event.entered)
        self.policy = self._staged(course.policy)

    def _staged(self, policy: Policy) -> Policy:
        """As the test has it: nothing hides the task before it was looked at, and the pauses that a function chose are as recorded."""
        policy = without_ends(policy, self.course.events[-1].at - self.course.submitted.at)
        jitter = 0 if policy.backoff[0] == "callable" else policy.jitter_ppm
        return replace(policy, crashes=policy.crashes + self.uncharged, jitter_ppm=jitter)

    def lines(self) -> Iterator[str]:
        """What must be imported is known when the rest is written."""
        body = [*self._constants(), *self._queue(), *self._handler(), *self._scenario(), *self._test()]
        yield from self._head()
        yield from import_lines({module: names for module, names in self.literals.imports.items() if module in _STANDARD})
        yield ""
        if any("trio." in line for line in body):
            yield "import trio"
        yield from import_lines({module: names for module, names in self.literals.imports.items() if module not in _STANDARD})
        yield from body

    def _head(self) -> Iterator[str]:
        task, events = self.course.task, self.course.events
        when = instant_of(self.course.submitted.at).strftime("%Y-%m-%d %H:%M:%S")
        yield f'"""Task {id_text(task.id)}, as it went once, again.'
        yield ""
        yield f"Submitted on {when} UTC; made by `journeyman from-test` of {len(events)} events"
        yield f"(seq {task.seq} to {task.last_seq}).  The handler is a stand-in that takes as long as the"
        yield "recorded runs took, and ends as they ended.  Put your own in its place to see whether"
        yield "it does better."
        if self.uncharged:
            yield ""
            yield "Of the runs that were lost some had not entered their handler, which is not charged.  Here"
            yield "they have, and the policy forgives as many crashes more."
        if not self.course.policy_known:
            yield ""
            yield "The journal does not say any more what the policy was at first; this is the oldest one it knows."
        yield '"""'
        yield ""
        yield "from __future__ import annotations"
        yield ""

    # --- before the scenario ------------------------------------------------------------------------------------------

    def _constants(self) -> Iterator[str]:
        yield ""
        yield f'TASK = "{id_text(self.course.task.id)}"'
        yield from lines(self.literals.instant(instant_of(self.course.submitted.at)), before="START = ")

    def _queue(self) -> Iterator[str]:
        yield from self._backoff()
        on = None
        if self.stand_in.unretried:
            on = self.stand_in.retried()
        items = keyword_items(parameters(self.policy, self.literals, on=on))
        definitions = list(self.stand_in.errors.definitions())
        if definitions:
            yield ""
            yield ""
            yield from definitions[:-2]
            yield ""
        yield ""
        yield from lines(call("Queue", text(local_name(self.course.task.queue)), *items), before="queue = ")

    def _backoff(self) -> Iterator[str]:
        """The pauses that a function of the program chose."""
        if self.policy.backoff[0] != "callable":
            return
        pauses = {event.failures: event.due_at - event.at for event in self.course.events if isinstance(event, AttemptFailed)}
        yield ""
        yield ""
        yield "def backoff(failures: int) -> float:"
        yield f'    """Stands for {plain(str(self.policy.backoff[1]))}, with its jitter."""'
        items = tuple(f"{failures}: {seconds(pause)}" for failures, pause in pauses.items())
        yield from lines(Group("{", items, "}[failures]"), 4, before="return ")
        yield ""

    def _handler(self) -> Iterator[str]:
        if self.course.neighbours:
            yield from self._others()
        if any("busy(" in line for line in self.body):
            yield from self._busy()
        yield ""
        yield ""
        yield from lines(call("@queue.handler", named("name", text(self.course.task.handler)), *self.stand_in.limits()))
        yield "async def stand_in(ctx: Context, *args: Any, **kwargs: Any) -> Any:"
        yield '    """Does what the recorded runs did."""'
        if self.course.neighbours:
            yield "    if ctx.id != TASK:"
            yield "        return await another(ctx)"
        yield from self.body

    def _others(self) -> Iterator[str]:
        """What the tasks did that were in its way."""
        self.literals.need(_PACKAGE, "Snooze")
        yield ""
        yield "# Who was in its way: seconds of each run, and those until the next (None: there is none)."
        table = Group("{", tuple(self._played(other) for other in self.course.neighbours), "}")
        yield from lines(table, before="OTHERS: dict[str, list[tuple[float, float | None]]] = ")
        yield ""
        yield ""
        yield "async def another(ctx: Context) -> None:"
        yield '    """Does what the recorded runs of one of these did."""'
        yield "    duration, pause = OTHERS[ctx.id][ctx.attempt - 1]"
        yield "    await trio.sleep(duration)"
        yield "    if pause is not None:"
        yield "        raise Snooze(pause)"

    def _played(self, other: Neighbour) -> Node:
        """A line of that table; what ran before the task existed is over, or has the rest of its time to go."""
        start = self.course.submitted.at
        runs: list[tuple[int, int]] = []
        for begun, end, _ in other.runs:
            if runs and begun - runs[-1][1] <= BLINK_US:  # nobody else came in between
                runs[-1] = runs[-1][0], end
            elif end > start:
                runs.append((max(begun, start), end))
        pauses = [seconds(later[0] - run[1]) for run, later in pairwise(runs)]
        items = tuple(f"({seconds(end - begun)}, {pause})" for (begun, end), pause in zip(runs, [*pauses, "None"], strict=True))
        return Group(f'"{id_text(other.task.id)}": [', items, "]")

    def _busy(self) -> Iterator[str]:
        yield ""
        yield ""
        yield "async def busy(ctx: Context, duration: float) -> None:"
        yield '    """Takes so many seconds, and gives signs of life."""'
        yield "    with trio.move_on_after(duration):"
        yield "        while True:"
        yield "            ctx.heartbeat()"
        yield f"            await trio.sleep({seconds(max(1, (self.stand_in.heartbeat or 2) // 2))})"

    # --- the scenario -------------------------------------------------------------------------------------------------

    def _scenario(self) -> Iterator[str]:
        yield ""
        yield ""
        yield "async def scenario(world: World) -> None:"
        yield from self._enter()
        now = 0
        for step in self.script.steps:
            if step.at > now:
                now = step.at
                yield f"        await trio.sleep_until({seconds(now)})"
            yield from self._step(step)
        yield f"        await trio.sleep_until({seconds(self.script.end)})"
        yield "        life = await world.history(TASK)"
        yield from self._claims()

    def _enter(self) -> Iterator[str]:
        yield "    async with world.engine(queues=[queue], grace=0) as engine:"

    def _step(self, step: Step) -> Iterator[str]:
        queue = text(local_name(self.course.task.queue))
        if step.what == PAUSE:
            yield "        # Something that is not part of this test kept it from starting."
            yield from lines(call("engine.pause", queue), 8, before="await ")
        elif step.what == RESUME:
            yield from lines(call("engine.resume", queue), 8, before="await ")
        elif step.what == SUBMIT:
            yield from self._submit()
        elif step.what == OTHER and step.other is not None:
            yield from self._submit_other(step.other)
        elif step.what == CLOCK:
            yield f"        world.step_clock({seconds(step.by)})"
        elif step.what == CRASH:
            yield "        world.crash()"
            yield "        await engine.ready()"
        elif step.what == LEAVE:
            yield "    # The engine was stopped, and started again."
            yield from self._enter()
        elif step.what == CONFIGURE and step.policy is not None:
            policy = self._staged(step.policy)
            if policy.backoff[0] == "callable":  # no engine can be told of that: the stand-in says how long
                policy = replace(policy, backoff=Policy().backoff)
            items = keyword_items(changed(self.policy, policy, self.literals))
            self.policy = policy
            if items:
                yield from lines(call("engine.configure", queue, *items), 8, before="await ")
        elif step.about is not None:
            yield from lines(self._order(step.about), 8, before="await ")

    def _order(self, event: Event) -> Node:
        """What an operator did."""
        if isinstance(event, CancelRequested | TaskCancelled):
            return call("engine.cancel", "TASK", *self._words(event.reason, event.by))
        if isinstance(event, TaskRetried):
            return call("engine.retry", "TASK", *self._words(event.reason, event.by))
        if isinstance(event, TaskReprioritised):
            return call("engine.reprioritise", "TASK", str(event.priority), *self._words(event.reason, event.by))
        assert isinstance(event, TaskRescheduled)
        if event.due_kind == DUE_BY_INSTANT:
            due = named("at", self.literals.instant(instant_of(event.due_at)))
        else:
            due = named("delay", seconds(max(0, event.due_at - event.at)))
        return call("engine.reschedule", "TASK", due, *self._words(event.reason, event.by))

    def _words(self, reason: str, by: str) -> list[Node]:
        by = "" if by in _ENGINES_OWN else by
        return [named(name, text(value)) for name, value in (("reason", reason), ("by", by)) if value]

    def _submit(self) -> Iterator[str]:
        items: list[Node] = [call("stand_in.using", named("id", "TASK"), *keyword_items(self._options()))]
        if self.course.arguments is None:
            yield "        # Its arguments were dropped at its end."
        else:
            args, kwargs = self.redaction.call(self.course.task.handler, *self.course.arguments)
            items += [self.literals.of(value) for value in args]
            named_items = [(name, self.literals.of(value)) for name, value in kwargs.items()]
            items += [named(name, value) for name, value in named_items if name.isidentifier()]
        yield from lines(call("engine.submit", *items), 8, before="await ")

    def _submit_other(self, other: Neighbour) -> Iterator[str]:
        event = other.submitted
        items = {"id": text(id_text(other.task.id)), **self._place(event, ("key", "cost"))}
        if (due_in := event.due_at - max(event.at, self.course.submitted.at)) > 0:
            items["delay"] = seconds(due_in)
        yield from lines(call("engine.submit", call("stand_in.using", *keyword_items(items))), 8, before="await ")

    def _place(self, event: TaskSubmitted, names: tuple[str, ...]) -> dict[str, Node]:
        """What decides about a task's place among others, and options that need no words."""
        options = event.options or {}
        found: dict[str, Node] = {} if event.priority == 5 else {"priority": str(event.priority)}
        found |= {name: self.literals.of(options[name]) for name in names if name in options}
        return found | ({"owner": self.literals.of(tuple(options["owner"]))} if "owner" in options else {})

    def _options(self) -> dict[str, Node]:
        """The options of the submission that decide about its course, and its labels."""
        event = self.course.submitted
        found: dict[str, Node] = {}
        if event.due_at > event.at:
            if event.due_kind == DUE_BY_INSTANT:
                found["at"] = self.literals.instant(instant_of(event.due_at))
            else:
                found["delay"] = seconds(event.due_at - event.at)
        found |= self._place(event, ("key", "source", "tags", "attempts", "cost", "unique"))
        options = event.options or {}
        for name in ("timeout", "heartbeat", "unique_for"):
            if (value := options.get(f"{name}_us")) is not None and not (name == "timeout" and self.stand_in.overran):
                found[name] = seconds(value) if value else "None"
        if "deadline_at" in options:
            if options.get("deadline_kind", DUE_BY_INSTANT) == DUE_BY_INSTANT:
                found["deadline"] = self.literals.instant(instant_of(options["deadline_at"]))
            else:
                found["deadline"] = seconds(options["deadline_at"] - event.at)
        if "meta" in options:
            found["meta"] = self.literals.of(self.redaction.value(options["meta"]))
        return found

    # --- what must come of it -----------------------------------------------------------------------------------------

    def _claims(self) -> Iterator[str]:
        kinds = tuple(f'("{type(event).__name__}", {getattr(event, "attempt", None)})' for event in self.course.events)
        yield from lines(Group("[", kinds, "]"), 4, before="assert [(event.kind, event.attempt) for event in life.events] == ")
        runs = self.script.runs
        if self.course.steps:
            yield "    # Pauses are not compared, as the clock was set meanwhile."
        elif runs and self.course.neighbours:
            begun = seconds(self.script.begun)
            yield "    waited = (life.starts[0] - START).total_seconds()"
            yield f"    assert abs(waited - {begun}) < 0.1 + 0.1 * waited"
        items: list[Node] = [str(len(runs))]
        if self.script.gaps and not self.course.neighbours and not self.course.steps:
            items += [named("apart", Group("[", tuple(map(seconds, self.script.gaps)), "]")), f"tolerance={self._tolerance()}"]
        ending = self._ending(self.course.events[-1])
        if runs:
            yield from lines(call("life.assert_ran", *items), 4, after=ending)
        elif ending:
            yield f"    life{ending}"
        if not ending:
            yield "    assert life.state is None  # it had not ended"

    def _tolerance(self) -> float:
        """How far a pause may be from the recorded one: the share of the jitter, which falls as the recorded one does."""
        return max(0.01, self.course.policy.jitter_ppm / 1_000_000)

    def _ending(self, last: Event) -> str:
        if self.course.task.finished_at is None:
            return ""
        if isinstance(last, TaskFailed):
            said = last.error is not None and last.reason != "crashes" and not self._timed_out(last)
            message = message_of(last.error) if said and last.error is not None else ""
            return f".then_dead_lettered({_inline(message)})" if message else ".then_dead_lettered()"
        return f".then_{_ENDINGS[self.course.task.state]}()"

    def _timed_out(self, last: TaskFailed) -> bool:
        return (last.options or {}).get("cause") in ("timeout", "heartbeat")

    def _test(self) -> Iterator[str]:
        crashed = any(step.what == CRASH for step in self.script.steps)
        yield ""
        yield ""
        yield "def test_it_happens_again() -> None:"
        if not crashed:
            yield "    simulate(scenario, start=START)"
            return
        self.literals.need("journeyman.sim", "Faults")
        yield from lines(
            call("simulate", "scenario", "start=START", f"faults=Faults(restart={seconds(self.script.restart)})"), 4
        )  # fmt: skip


def _inline(message: str) -> Any:
    """A part of a message that is short enough to stand at the end of a line."""
    node = text(message[:24])
    return node if isinstance(node, str) else '""'


_STANDARD: Final = frozenset({"datetime", "decimal", "typing", "uuid"})

__all__ = ["test_of"]

"""A recording played under a policy: a small loop of events in virtual time around the real kernel.

Nothing of the rules is written twice.  Every arrival, end, order and expiry goes through `decide`, every event through `apply`, and the
next instant at which time alone changes something is `next_wakeup`; this file only says what comes next, and measures.  It stands in for
the shell of one queue: turn by turn, as the recorded one did (hearing.py), so that what was decided together is so here.

What it does not have: other queues (their slots, their turns), commits (what they took is part of each recorded run), a loop that is busy
(its timers are as late as the recorded ones).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any, Final, NamedTuple, cast

from journeyman.journal.whatif.meter import Figures, Meter
from journeyman.journal.whatif.orders import draw, obey
from journeyman.journal.whatif.recording import ASLEEP, BORN, NONE, REPLACES, Recording
from journeyman.journal.whatif.runs import Run, Runs
from journeyman.kernel.apply import apply
from journeyman.kernel.bounds import DAY_US
from journeyman.kernel.commands import Accepted, Command, Configure, Dispatch, Env, Expire, Finish, Meet, Outcome, Stopped, Submit
from journeyman.kernel.decide import decide
from journeyman.kernel.events import (
    DUE_BY_DURATION,
    AttemptStarted,
    Event,
    TaskCancelled,
    TaskFailed,
    TaskInterrupted,
    TaskSubmitted,
    TaskSucceeded,
)
from journeyman.kernel.lifecycle import State
from journeyman.kernel.taskstate import TaskState
from journeyman.kernel.wakeup import next_wakeup

_ENDS: Final[Mapping[type, State]] = {
    TaskSucceeded: State.SUCCEEDED,
    TaskFailed: State.FAILED,
    TaskCancelled: State.CANCELLED,
    TaskInterrupted: State.INTERRUPTED,
}
_ALL: Final = 1 << 60
_LATER: Final = 1 << 62  # seq of what was never recorded: after whatever was, at the same instant
_TELL: Final = 4_096
_DISPATCH: Final = Dispatch()
_UNCALLED: Final = BORN | ASLEEP  # marks of arrivals that do not come by themselves
_FIRST_US: Final = 1_000  # where two queues wait for one token, it goes to the recorded one, though its timer was a little late


@dataclass(slots=True)
class Played:
    """What a policy would have come to."""

    figures: Figures
    drawn: int = 0  # runs whose end was drawn, as none was recorded
    hidden: int = 0  # runs that the recorded time-out ended, and that fail here as they did, as no longer one of the handler is known
    refused: int = 0  # submits, by max_pending or max_payload
    merged: int = 0  # submits that a unique key led to another task
    unheard: int = 0  # orders that found their task in another state
    unborn: int = 0  # tasks that were submitted by runs which did not happen, or not so
    stopped: bool = False  # it did not come to an end
    compared: int = 0  # of the baseline: starts that have a recorded counterpart
    differences: array[int] = field(default_factory=lambda: array("q"))  # their waits, less the recorded ones
    recorded_waits: array[int] = field(default_factory=lambda: array("q"))


class _Way(NamedTuple):
    """A run under way.  `token`: of its live entry in the heap of ends; `run` None: it was told to stop."""

    token: int
    at: int
    run: Run | None


class Player:
    """Plays once."""

    def __init__(
        self, recording: Recording, overrides: Mapping[str, Any] | None = None, tell: Callable[[int], object] = lambda n: None
    ) -> None:
        self.recording = recording
        self.overrides = dict(overrides or {})
        self.state = recording.begin()
        self.meter = Meter()
        self.runs = Runs(recording, "timeout_us" in self.overrides)
        self.env = Env()
        self.crashed = False
        self.now = recording.began_at
        self.ended: dict[bytes, State] = {}  # of those that others ask about later
        self._aliases: dict[bytes, bytes] = {}  # submits that were led to another task -> that one
        self.unheard = 0
        self.numbers: dict[bytes, int] = {}  # unfinished tasks
        self._under_way: dict[bytes, _Way] = {}  # running tasks
        self._ends: list[tuple[int, int, int, int, bytes]] = []  # at, seq, turn, token, task
        self._over: list[tuple[bytes, str | None]] = []  # ended, and those that wait for them have not heard
        self._tokens = 0
        self._arrival = recording.carried
        self._many = len(recording)
        self._late = 0  # timers so far that started something
        self._order = self._draw = 0
        self._seq = max((row[1][1] for row in recording.rows), default=0)
        self._tell = tell
        self._refused = self._merged = self._unborn = 0
        self._compares = not self.overrides  # only the baseline is held against what happened
        self._differences, self._recorded = array("q"), array("q")

    def play(self) -> Played:
        """From the beginning until nothing is left that could happen."""
        self._begin()
        recording, count, stopped = self.recording, 0, False
        last_at = recording.ended_at + max(10 * (recording.ended_at - recording.began_at), DAY_US)
        most = 100 * (recording.starts + len(recording)) + 10_000
        wake = self._settle()
        late_us = recording.late_us or array("q", [0])
        while (head := self._head()) is not None or wake is not None:
            late = late_us[self._late % len(late_us)]
            started = self.meter.counts[AttemptStarted]
            woken = head is None or (wake is not None and wake + late < head[0])
            if woken:
                at = cast("int", wake) + late
                self._reach(at)
            else:
                assert head is not None
                at = head[0]
                self._reach(at)
                self._turn(head)
            if at > last_at or count > most:
                stopped = True
                break
            was_due = woken or (wake is not None and wake < at)
            wake = self._settle()
            self._late += was_due and self.meter.counts[AttemptStarted] > started
            count += 1
            if not count % _TELL:
                self._tell(self._arrival)
        return Played(
            self.meter.figures(len(self.numbers)), self.runs.drawn, self.runs.hidden, self._refused, self._merged, self.unheard,
            self._unborn + recording.children_count, stopped, len(self._differences), self._differences, self._recorded,
        )  # fmt: skip

    # --- what the orders use (orders.py) ----------------------------------------------------------------------------------

    def ask(self, command: Command) -> list[Event]:
        """Decide and apply one command; the events."""
        events = decide(self.state, [command], self.now, self.env).events
        for event in events:
            self.take(event)
        return events

    def take(self, event: Any) -> None:
        """Apply one event."""
        self._seq += 1
        apply(self.state, event, self._seq)
        self.meter.count(event, self.now)
        final = _ENDS.get(type(event))
        if final is None:
            return
        id = event.task
        self.numbers.pop(id, None)
        self._under_way.pop(id, None)
        if id in self.recording.remembered:
            self.ended[id] = final
        if id in self.state.waits.on:
            self._over.append((id, final.value))
        self.state.settle([id])

    def cut(self, id: bytes) -> None:
        """The run of this task does not come to its end."""
        self._under_way.pop(id, None)
        self.runs.cut(self.numbers[id])

    def stop_after(self, id: bytes, lag_us: int) -> None:
        """The handler of this running task has been told to end, and takes so long for it."""
        way = self._under_way.get(id)
        at = self.now + lag_us
        if way is not None and at <= way.at:
            self._plan(id, at, _LATER, 0, None)

    def submit(self, number: int, due_at: int, *, internal: bool) -> tuple[Submit, dict[bytes, str]]:
        """The command with which the task of this number came, and the states of what it is to run after."""
        recording = self.recording
        options = recording.options.get(number)
        states: dict[bytes, str] = {}
        if options is not None and ("after" in options or "debounce_us" in options):
            unmet = frozenset(options.get("waits_for", ()))
            options = {name: value for name, value in options.items() if name not in ("waits_for", "latest_at")}
            if "after" in options:
                named: list[bytes] = options["after"]
                named = list(dict.fromkeys(self._aliases.get(id, id) for id in named))
                states = {id: self._state_of(id, id in unmet) for id in named}
                options["after"] = named
        return Submit(
            recording.id(number), recording.handlers[recording.handler[number]], recording.priority[number], due_at,
            recording.due_kind[number], recording.size[number], b"", 0, None, options, internal,
            "replace" if recording.marks[number] & REPLACES else "return",
        ), states  # fmt: skip

    # --- the loop ---------------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        recording, state, meter = self.recording, self.state, self.meter
        if recording.carried:
            meter.begin(self.now)
            self.numbers = {task.id: number for number, task in self._carried()}
            meter.tasks = len(self.numbers)
        if self.overrides and state.configured:
            self.ask(Configure(self.overrides, "whatif"))
        for task in sorted(state.running.values()):
            self._start(task, task.started_at or self.now, None)

    def _carried(self) -> list[tuple[int, TaskState]]:
        tasks = self.state.tasks
        return [(number, tasks[row[0]]) for number, row in self.recording.rows if row[0] in tasks]

    def _head(self) -> tuple[int, int, int, str] | None:
        """What comes next: (at, seq, turn, where from)."""
        recording, ends, many = self.recording, self._ends, self._many
        while ends and ((way := self._under_way.get(ends[0][4])) is None or way.token != ends[0][3]):
            heappop(ends)
        best: tuple[int, int, int, str] | None = (*ends[0][:3], "end") if ends else None
        n = self._arrival
        while n < many and recording.marks[n] & _UNCALLED:
            n += 1
        self._arrival = n
        if n < many and (best is None or (recording.at[n], recording.seq[n]) < best[:2]):
            best = (recording.at[n], recording.seq[n], recording.turn[n], "arrival")
        if self._draw < len(recording.draw_at):
            at, seq = recording.draw_at[self._draw] - _FIRST_US, recording.draw_seq[self._draw]
            if best is None or (at, seq) < best[:2]:
                best = (at, seq, 0, "draw")
        if self._order < len(recording.orders):
            order = recording.orders[self._order]
            if best is None or (order.at, order.seq) < best[:2]:
                best = (order.at, order.seq, order.turn, "order")
        return best

    def _turn(self, head: tuple[int, int, int, str]) -> None:
        """Everything that was decided on together."""
        at, turn = head[0], head[2]
        following: tuple[int, int, int, str] | None = head
        while following is not None and following[0] == at and following[2] == turn:
            if following[3] == "arrival":
                self._arrive(at, turn)
            elif following[3] == "order":
                order = self.recording.orders[self._order]
                self._order += 1
                obey(self, order)
            elif following[3] == "draw":
                draw(self, self.recording.draw_at[self._draw], self.recording.draw_cost[self._draw])
                self._draw += 1
            else:
                self._end(heappop(self._ends)[4])
            if not turn:
                return
            following = self._head()

    def _reach(self, at: int) -> None:
        if self.state.agenda.later:
            self.meter.come_due(self.state, at, 0, self.env)
        self.now = max(self.now, at)
        self.state.advance(self.now)

    def _settle(self) -> int | None:
        """The end of a turn: what came too late, what waited for others, what may start; when to look again."""
        state, now = self.state, self.now
        if state.agenda.next_deadline() is not None:
            self.ask(Expire())
        while self._over:
            over, self._over = self._over, []
            self.ask(Meet(over, _ALL))
        state.advance(now)
        env, agenda = self.env, state.agenda
        if agenda.ready.count or agenda.suspects.count:
            for event in decide(state, [_DISPATCH], now, env).events:
                self.take(event)
                self._start(state.tasks[event.task], now, cast("AttemptStarted", event))  # type: ignore[union-attr]
        self.meter.look(state, now, now, env)
        return next_wakeup(state, now, env)

    # --- arrivals, starts, ends -------------------------------------------------------------------------------------------

    def _arrive(self, at: int, turn: int) -> None:
        """All that come one after another in this turn, until something else does."""
        recording = self.recording
        numbers: list[int] = []
        other = recording.orders[self._order].seq if self._order < len(recording.orders) else _LATER
        other = min(other, self._ends[0][1]) if self._ends and self._ends[0][0] == at else other
        n = self._arrival
        while n < self._many and recording.at[n] == at and recording.turn[n] == turn and (not numbers or recording.seq[n] < other):
            if not recording.marks[n] & _UNCALLED:
                numbers.append(n)
            n += 1
        self._arrival = n
        self.meter.begin(at)
        self.come(numbers)

    def come(self, numbers: list[int], parent_at: bool = False) -> None:
        """Tasks are submitted.  `parent_at`: by a run that ends now, whenever that was in the recording."""
        recording = self.recording
        commands: list[Submit] = []
        states: dict[bytes, str] = {}
        for number in numbers:
            late = parent_at and recording.due_kind[number] == DUE_BY_DURATION
            due_at = recording.due_at[number] + (self.now - recording.at[number] if late else 0)
            command, known = self.submit(number, due_at, internal=parent_at)
            commands.append(command)
            states.update(known)
        decision = decide(self.state, commands, self.now, self.env._replace(dependencies=states) if states else self.env)
        coming = {command.task: number for command, number in zip(commands, numbers, strict=True)}
        for event in decision.events:
            if type(event) is TaskSubmitted:
                self.numbers[event.task] = coming[event.task]
            self.take(event)
        self.meter.tasks += len(numbers)
        for command, answer in zip(commands, decision.answers, strict=True):
            remembered = command.task in recording.remembered
            if type(answer) is not Accepted:
                self._refused += 1
                if remembered:
                    self.ended[command.task] = State.CANCELLED
            elif answer.existing:
                self._merged += 1
                if remembered and answer.task is not None and answer.task != command.task:
                    self._aliases[command.task] = answer.task

    def _state_of(self, dependency: bytes, unmet: bool) -> str:
        task = self.state.tasks.get(dependency)
        if task is not None:
            return task.state.value
        ended = self.ended.get(dependency)
        if ended is not None:
            return ended.value
        return State.PENDING.value if unmet else State.SUCCEEDED.value

    def _start(self, task: TaskState, started_at: int, event: AttemptStarted | None) -> None:
        number, recording = self.numbers[task.id], self.recording
        run = self.runs.begin(number, task.attempt, self.state.policy.timeout_us)
        if self._compares and event is not None and run.head != NONE and recording.wait_us[run.head] != NONE:
            self._recorded.append(recording.wait_us[run.head])
            self._differences.append(event.at - event.eligible_at - recording.wait_us[run.head])
        seq, turn = (_LATER, 0) if run.drawn else (recording.end_seq[run.ending], recording.end_turn[run.ending])
        self._plan(task.id, max(self.now, started_at + run.slot_us), seq, turn, run)

    def _plan(self, id: bytes, at: int, seq: int, turn: int, run: Run | None) -> None:
        self._tokens += 1
        self._under_way[id] = _Way(self._tokens, at, run)
        heappush(self._ends, (at, seq, turn, self._tokens, id))

    def _end(self, id: bytes) -> None:
        """A run has come to its end."""
        run = self._under_way.pop(id).run
        task, number = self.state.tasks[id], self.numbers[id]
        if run is None:
            self.runs.cut(number)
            outcome: Outcome = Stopped(self.now - (task.started_at or self.now))
        else:
            self.runs.ended(number, run)
            outcome = self.runs.outcome(run, self.state.policy.backoff[0] == "callable")
        events = self.ask(Finish(id, task.epoch, task.attempt, outcome))
        if run is not None and not run.drawn and type(events[0]) is TaskSucceeded:
            children = self.recording.children(run.ending)
            if children:
                self.come(children, parent_at=True)
                self._unborn -= len(children)


__all__ = ["Played", "Player"]

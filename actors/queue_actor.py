"""The queue actor: the one owner of a queue's state.

    mailbox -> drain -> decide -> apply -> hand to the writer -> (commit) -> replies, starts, publications

Problem.  Submits, endings, operators and time all want to change the same state, and each change must be decided on the newest
state, be durable before it shows, and cost microseconds.  Choice: everything is a message; one trio task drains them all in one
synchronous step that never awaits, so nobody can see or change a half-decided state (law 2).  Submits that came together are
decided together.  What may start now is decided at the end of the same step, so that a submit to an idle queue is recorded and
started in one commit, and the end of one attempt and the start of the next share one. Rejected: a lock around the state
(somebody always forgets it), a task a message (a scheduler hop each).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

import trio

from journeyman.actors.attempt import Attempt
from journeyman.actors.budget import Budget, tighter, with_room
from journeyman.actors.call import Call
from journeyman.actors.figures import Figures
from journeyman.actors.finishing import finish
from journeyman.actors.fresh import FreshPayloads
from journeyman.actors.lane import Lane, Runnable
from journeyman.actors.limiters import Tap
from journeyman.actors.recorder import Recorder
from journeyman.actors.recurrence import Recurrence
from journeyman.actors.starter import Starter, has_ready
from journeyman.actors.surroundings import around, around_starts
from journeyman.actors.writer import Step
from journeyman.journal.parameters import parameters_batch
from journeyman.kernel.commands import Accepted, Answer, Command, Decision, Env, Expire, Open, Outcome, Retry, Submit
from journeyman.kernel.decide import decide
from journeyman.kernel.events import CancelRequested, QueueEvent, StepRecorded, TaskEvent
from journeyman.kernel.lifecycle import State
from journeyman.kernel.state import QueueState, TaskState
from journeyman.kernel.wakeup import next_wakeup

if TYPE_CHECKING:
    from journeyman.actors.shell import Shell

_SUBMIT: Final = 0
_ASK: Final = 1
_FINISH: Final = 2


class QueueActor:
    """One queue.  `lane` None: the journal knows the queue, this process does not declare it; its tasks are parked."""

    def __init__(self, shell: Shell, state: QueueState, lane: Lane | None) -> None:
        self.shell = shell
        self.name = state.name
        self.lane = lane
        self.state = state
        self.tap = Tap(self)
        self.figures = Figures(shell.now(), shell.tallied)
        self.recorder = Recorder(self)
        self.attempts: dict[bytes, Attempt] = {}  # entered or about to be
        self.stragglers: dict[bytes, Attempt] = {}  # abandoned threads that have not ended
        self.reserved = 0  # room promised to ctx.submit calls that have not committed yet
        self.broken: BaseException | None = None  # what it was given up for
        self.resting: tuple[BaseException, int] | None = None  # what it has died of, and when it goes on
        self.doubtful = False  # a step failed half-way, and the state has not been read anew since
        self.met: dict[bytes, None] = {}  # ended tasks that some here may wait for (actors/dependencies.py)
        self.drops_at_once = False  # whether a task may be gone the moment it ends
        self.retry_on: tuple[type[BaseException], ...] = lane.retry_on if lane is not None else (Exception,)
        self.runnables: Mapping[str, Runnable] = lane.runnables if lane is not None else {}
        self.budget: Budget | None = lane.budget if lane is not None else None
        self.handler_names = frozenset(self.runnables)
        self._mailbox: list[tuple[int, Any, Any, Any]] = []
        self.starter = Starter(self)
        self.recurrence = Recurrence(self)
        self._parked_task: trio.lowlevel.Task | None = None
        self._woken = False
        self.backoff = lane.backoff if lane is not None else None
        self.adopt(state)

    def adopt(self, state: QueueState) -> None:
        """Take over a state as read from the journal."""
        self.state = state
        self.doubtful = False
        self._crashed: Exception | None = None
        self.fresh = FreshPayloads()  # may hold what a step that failed had brought
        self.starter.forget_all()
        self.shell.dependencies.adopted(self)
        if state.handlers != self.handler_names:
            state.set_handlers(self.handler_names)
        self.figures.recount(state.tasks.values())
        self.policy_changed()
        self.tap.regulate()

    def declare(self, lane: Lane) -> None:
        """The queue, so far only stored, is declared in this process now."""
        self.lane = lane
        self.retry_on, self.runnables = lane.retry_on, lane.runnables
        self.budget = lane.budget
        self.backoff = lane.backoff
        self.handler_names = frozenset(lane.runnables)
        self.state.set_handlers(self.handler_names)
        self.open(self.shell.boot, frozenset(), crashed=False)

    # --- what others may ask, all of it on the loop's thread ----------------------------------------------------------

    def submit(self, command: Submit, payload: bytes) -> Call[Answer]:
        call: Call[Answer] = Call()
        self._mailbox.append((_SUBMIT, call, command, payload))
        self._step_or_wake()
        return call

    def ask(self, command: Command, value: bytes = b"") -> Call[Answer]:
        call: Call[Answer] = Call()
        self._mailbox.append((_ASK, call, command, value))
        self._step_or_wake()
        return call

    def finished(self, attempt: Attempt, outcome: Outcome, result: bytes) -> None:
        if self.attempts.get(attempt.task.id) is attempt:
            del self.attempts[attempt.task.id]
        if attempt.straggling:
            self.stragglers[attempt.task.id] = attempt
        self.shell.attempt_ended()
        self._mailbox.append((_FINISH, attempt, outcome, result))
        if self.attempts:
            self.wake()  # others are likely to end in this same turn of the loop: let them share the commit
        else:
            self._step_or_wake()

    def wake(self) -> None:
        self._woken = True
        if self._parked_task is not None:
            task, self._parked_task = self._parked_task, None
            trio.lowlevel.reschedule(task)

    @trio.lowlevel.enable_ki_protection
    def _step_or_wake(self) -> None:
        """Take the step here and now if nothing is likely to share its commit, which saves a turn of the loop; else let the loop gather.

        Where the last commit served several, their next words come in this same turn: a commit for the first of them would make the
        others wait for it.
        """
        if self._parked_task is None:
            self._woken = True
            return
        writer = self.shell.writer
        if self._woken or len(self._mailbox) > 1 or not writer.idle or writer.crowd > 1:
            self.wake()
            return
        try:
            self.step()
        except Exception as error:  # a bug; the actor's own loop dies of it, and its supervisor decides
            self.crash(error)

    def crash(self, error: Exception) -> None:
        """Let the actor's loop raise `error`; the state is in doubt from now on."""
        self.doubtful = True
        self._crashed = error
        self.wake()

    def live(self) -> int:
        """Attempts that hold a slot: the running ones and the stragglers whose task is not counted among them."""
        running = self.state.running
        return len(running) + sum(1 for task in self.stragglers if task not in running)

    def straggler(self, attempt: Attempt) -> Callable[[], None]:
        """For the thread runner: what to call when an abandoned thread has ended at last."""

        def ended() -> None:
            attempt.straggling = False
            if self.stragglers.get(attempt.task.id) is attempt:
                del self.stragglers[attempt.task.id]
                self.shell.straggler_ended()
                if self.budget is not None:
                    self.budget.slots.freed()
                if attempt.late is not None:  # it is fenced; that it came is put on record
                    self._mailbox.append((_FINISH, attempt, attempt.late, b""))
                self.wake()

        return ended

    def stop_attempts(self) -> None:
        """Tell every running handler to end, uncharged."""
        for attempt in list(self.attempts.values()):
            attempt.stop()

    @property
    def keeps_results(self) -> bool:
        return self.state.policy.result

    @property
    def backlog(self) -> int:
        """Messages that have not been looked at."""
        return len(self._mailbox)

    def view(self) -> Env:
        """What the kernel's readers (explain) must know of the world around the queue."""
        free = self.shell.slots.free()
        return around_starts(self, self.shell.now(), free if self.budget is None else tighter(free, self.budget.slots.free()))

    @property
    def weight(self) -> int:
        """Its share of what queues share."""
        return self.state.policy.weight

    def moving(self) -> bool:
        """Whether anything is left here that can move by itself (DECISIONS 19)."""
        state = self.state
        if self.broken is not None:
            return bool(self.attempts)  # what it recorded as running is for the next boot
        if self._mailbox or state.running or self.attempts or self.met:
            return True
        if state.schedules and self.recurrence.moving(self.shell.now()):
            return True
        if state.paused is not None:
            return False
        if state.counts(self.shell.now())[State.RETRYING] or has_ready(state) or state.agenda.next_token() is not None:
            return True
        return any(task.attempt for task in state.listed(State.SCHEDULED, self.shell.now()))  # snoozed

    # --- the loop -----------------------------------------------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Drain and decide until cancelled.  An exception here is a bug; the supervisor rebuilds the state from the journal."""
        while True:
            await self.woken()
            if self._crashed is not None:
                raise self._crashed
            self.step()

    async def woken(self, standing_in: bool = False) -> None:
        """Wait for the next message.  For whoever stands in for the actor: the next that comes from here on, and no step is taken of it."""
        if not self._woken or standing_in:
            self._woken = standing_in  # as if it were about to run: `_step_or_wake` leaves the step to it
            self._parked_task = trio.lowlevel.current_task()
            try:
                await trio.lowlevel.wait_task_rescheduled(self._unpark)
            finally:
                self._parked_task = None
        self._woken = False

    def _unpark(self, _: object) -> trio.lowlevel.Abort:
        self._parked_task = None  # at once: a wake before the cancelled task runs must not schedule it a second time
        return trio.lowlevel.Abort.SUCCEEDED

    def step(self) -> None:
        """One uninterrupted turn: everything in the mailbox, then whatever may start."""
        self._woken = False
        mailbox, self._mailbox = self._mailbox, []
        shell = self.shell
        now = shell.now()
        step = Step()
        mark = shell.mark()
        try:
            self.state.advance(now)
            self._drain(mailbox, now, step)
            if self.state.agenda.next_deadline() is not None:
                self.decide_apply(Expire(), now, step)
            if self.state.schedules:
                self.recurrence.fire(now, step)
            if self.met:
                self.shell.dependencies.meet(self, now, step)
            self.state.agenda.advance(now)  # an ending may have made a task due at this very instant
            self.starter.dispatch(now, step)
        except BaseException:
            self._undo(step, mark)  # its callers are told by the supervisor; what it has applied is in memory until then
            self._mailbox = [message for message in mailbox if message[0] != _FINISH] + self._mailbox
            raise
        if step.items or step.effects:
            shell.writer.record(step)
            shell.recorded()
            if step.over or step.waits:
                shell.dependencies.tell(step)
        state = self.state
        if shell.news is not None and not state.running and (state.paused is not None or not has_ready(state)):
            shell.news.set()  # whoever waits for the queues to come to rest has reason to look
        wake_at = next_wakeup(state, now, around_starts(self, now))
        shell.timer.set(self, self.recurrence.or_sooner(wake_at, now) if state.schedules else wake_at)

    def _undo(self, step: Step, mark: tuple[int, int]) -> None:
        """A step has failed, and nothing of it was handed over: whoever waits goes on waiting, other queues it touched are read anew."""
        self.doubtful = True
        self.shell.back_to(mark)
        for task_id, waiting in step.ended:
            self.shell.waiters.setdefault(task_id, []).extend(waiting)
        for other in step.touched:
            if other is not self:
                other.crash(RuntimeError(f"a step of queue {self.name!r} that had reached into {other.name!r} failed"))

    def break_off(self, error: BaseException) -> None:
        """Fail every caller whose message has not been answered."""
        mailbox, self._mailbox = self._mailbox, []
        for kind, call, _, _ in mailbox:
            if kind != _FINISH:
                call.fail(error)

    # --- inside a step ------------------------------------------------------------------------------------------------

    def _drain(self, mailbox: Sequence[tuple[int, Any, Any, Any]], now: int, step: Step) -> None:
        i, n = 0, len(mailbox)
        while i < n:
            kind, first, second, third = mailbox[i]
            if kind == _SUBMIT:
                j = i + 1
                while j < n and mailbox[j][0] == _SUBMIT:
                    j += 1
                _, calls, commands, payloads = zip(*mailbox[i:j], strict=True)
                for call, command, answer in zip(calls, commands, self.submit_many(commands, payloads, now, step), strict=True):
                    call.answer = answer
                    if self.drops_at_once and type(answer) is Accepted:
                        call.keepsake = self.shell.keepsakes.of(answer.task or command.task)  # at once: it may end in the next moment
                    step.effects.append((Call.settle, call))
                i = j
                continue
            if kind == _FINISH:
                if first.submits and any(each.actor.doubtful for each in first.submits):
                    self._mailbox.append(mailbox[i])  # until the queue that it submits to has been read anew (Shell.mend)
                    i += 1
                    continue
                finish(self, first, second, third, now, step)
            else:
                first.answer = self.decide_apply(second, now, step, third)
                step.effects.append((Call.settle, first))
            i += 1

    def submit_many(self, commands: Sequence[Submit], payloads: Sequence[bytes], now: int, step: Step) -> list[Answer]:
        """Decide and apply submits that came together; each stands for itself."""
        decision = self.propose(commands, now)
        self.accept(decision, payloads, step)
        return decision.answers

    def propose(
        self,
        commands: Sequence[Submit],
        now: int,
        states: Mapping[bytes, str] | None = None,
        known: Mapping[bytes, TaskState] | None = None,
    ) -> Decision:
        """What these submits would come to; changes nothing.  `states`: of the tasks they name by `after`, if looked up already."""
        known = self.shell.known(commands) if known is None else known
        states = self.shell.dependencies.states(commands, self.name) if states is None else states
        return decide(self.state, commands, now, with_room(around(self, known=known, states=states), self.budget))

    def accept(self, decision: Decision, payloads: Sequence[bytes], step: Step) -> None:
        """Apply what was proposed in this same step."""
        self.recorder.take_new(decision, payloads, step)

    def decide_apply(self, command: Command, now: int, step: Step, value: bytes = b"") -> Answer:
        """Decide one command and apply what it came to.  `value`: what a step that it records came to."""
        if type(command) is Retry and command.task not in self.state.tasks:
            # Looked up now and not when it was asked for: a prune may have taken it since.
            command = command._replace(ended=self.shell.catalog.get(command.task, 0))
        decision = decide(self.state, [command], now, around(self))
        for event in cast("list[TaskEvent | QueueEvent]", decision.events):
            seq = self.recorder.take(event, step)
            if value and type(event) is StepRecorded:
                step.payloads.append((seq, value))
            elif type(event) is CancelRequested and (attempt := self.attempts.get(event.task)) is not None:
                step.effects.append((Attempt.cancel, attempt))
        return decision.answers[0]

    def policy_changed(self) -> None:
        policy = self.state.policy
        self.drops_at_once = 0 in (policy.keep_succeeded_us, policy.keep_failed_us, policy.keep_cancelled_us, policy.keep_interrupted_us)
        self.tap.turn()

    def clock_moved(self, delta_us: int) -> None:
        """Kernel time has jumped: tasks that are not decided yet must follow it as the recorded ones do (kernel/world.py)."""
        attempts = {*self.attempts.values(), *self.stragglers.values()}
        for n, (kind, first, second, third) in enumerate(self._mailbox):
            if kind == _SUBMIT:
                self._mailbox[n] = (kind, first, second.moved(delta_us), third)
            elif kind == _FINISH:
                attempts.add(first)
        for attempt in attempts:
            attempt.submits = [each._replace(command=each.command.moved(delta_us)) for each in attempt.submits]
        self.recurrence.rebuild()
        self.wake()

    def open(self, boot: int, entered: frozenset[bytes], crashed: bool) -> None:
        """Take charge: a new epoch, the declared policy, a verdict on the attempts of older epochs; recovery is an ordinary command."""
        now = self.shell.now()
        step, mark = Step(), self.shell.mark()
        self.state.advance(now)
        policy = self.lane.policy.facts() if self.lane is not None else None
        try:
            self.decide_apply(Open(boot, policy, entered, crashed), now, step)
        except Exception as error:
            self._undo(step, mark)
            self.crash(error)
            raise
        if self.lane is not None:
            step.extras.append(parameters_batch(self.name, self.lane.parameters))
        self.tap.regulate()
        self.recurrence.rebuild()
        self.shell.writer.record(step)
        self.shell.dependencies.tell(step)
        self.wake()

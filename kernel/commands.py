"""What is asked of a kernel: commands, the outcomes of attempts, the environment, and the answers.

A command is imperative and may be refused; the refusal is a value, not an exception, because it must wait for the commit of
whatever the kernel saw when it refused (law 3).  An outcome is what ended an attempt, whatever the handler did.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from journeyman.kernel.events import DUE_BY_DURATION, Error, Event, Options, deadline_moved

if TYPE_CHECKING:
    from journeyman.kernel.state import TaskState


# --- commands ---------------------------------------------------------------------------------------------------------


class Submit(NamedTuple):
    """Record a task.  `due_at` None means now.  The same id again answers with the task that has it."""

    task: bytes
    handler: str
    priority: int
    due_at: int | None
    due_kind: int
    payload_len: int
    payload_digest: bytes
    codec: int = 0
    key_id: str | None = None
    options: Options = None
    internal: bool = False  # not from outside: max_pending does not apply
    on_conflict: Literal["return", "raise", "replace"] = "return"  # when the unique key in `options` is taken

    def moved(self, delta_us: int) -> Submit:
        """The same after kernel time has jumped by `delta_us`: a delay is as long as before, an instant is that instant."""
        moved = self
        if self.options is not None and "deadline_kind" in self.options:
            moved = moved._replace(options=deadline_moved(self.options, delta_us))
        if self.due_at is None or self.due_kind != DUE_BY_DURATION:
            return moved
        return moved._replace(due_at=self.due_at + delta_us)


class Cancel(NamedTuple):
    task: bytes
    reason: str
    by: str
    running: bool = True  # False: refuse a running task


class Retry(NamedTuple):
    """`ended`: the task as it is stored, if the state holds it no longer; filled in by whoever decides, at that moment."""

    task: bytes
    reason: str
    by: str
    ended: TaskState | None = None


class Reschedule(NamedTuple):
    """Let a waiting task be due `delay_us` from now, or at `due_at`."""

    task: bytes
    delay_us: int
    due_at: int | None
    reason: str
    by: str


class Reprioritise(NamedTuple):
    task: bytes
    priority: int
    reason: str
    by: str


class Clear(NamedTuple):
    """Cancel everything that waits, oldest first, at most `limit` tasks; running tasks are untouched."""

    reason: str
    by: str
    limit: int | None = None


class Pause(NamedTuple):
    by: str
    reason: str = ""


class Resume(NamedTuple):
    by: str
    reason: str = ""


class Configure(NamedTuple):
    """Another policy until the declared one changes.  `policy`: those of `Policy.facts` that change; the others stay as they are."""

    policy: Mapping[str, Any]
    by: str
    reason: str = ""


class Open(NamedTuple):
    """Take charge of the queue: a new epoch, the declared policy if it is another than last time, and a verdict on every attempt of an
    older epoch.

    `entered`: ids of tasks whose handler had been entered when the process died.  `crashed` False: the attempts died with a queue actor
    that had a bug, not with the process, so nothing is charged.
    """

    boot: int
    policy: Mapping[str, Any] | None  # None: the queue is not declared in this process
    entered: Collection[bytes] = ()
    crashed: bool = True


class Finish(NamedTuple):
    """An attempt ended.  (epoch, attempt) is its fence."""

    task: bytes
    epoch: int
    attempt: int
    outcome: Outcome


class Progress(NamedTuple):
    task: bytes
    epoch: int
    attempt: int
    fraction_ppm: int | None
    message: str | None


class RecordStep(NamedTuple):
    """A step of an attempt is done; what it came to is beside this command."""

    task: bytes
    epoch: int
    attempt: int
    name: str
    result_len: int
    result_digest: bytes
    codec: int = 0


class Heartbeat(NamedTuple):
    """A sign of life.  The shell asks only about one that came too late: one in time is nobody's news."""

    task: bytes
    epoch: int
    attempt: int


class Meet(NamedTuple):
    """Tasks that others of this queue wait for have ended: (id, state), None for one that is gone.  At most `limit` are told."""

    ended: Sequence[tuple[bytes, str | None]]
    limit: int


class Dispatch(NamedTuple):
    """Start what may start now."""


class Expire(NamedTuple):
    """Cancel waiting tasks whose deadline has passed."""


class Declare(NamedTuple):
    """Have a task recur as `spec` says (docs/FORMAT.md).  The same once more changes nothing.  `wall`: what the wall clock says."""

    name: str
    spec: Mapping[str, Any]
    by: str
    wall: int


class Unschedule(NamedTuple):
    name: str
    by: str
    reason: str = ""


class Fire(NamedTuple):
    """Decide the due fire times of a schedule.  `seed`: an id for the first task that comes of it; `after`: its cron expression."""

    name: str
    wall: int
    seed: bytes
    after: Callable[[int], int | None]


Command = (
    Submit | Cancel | Retry | Reschedule | Reprioritise | Clear | Pause | Resume | Configure | Open
    | Finish | Progress | RecordStep | Heartbeat | Dispatch | Expire | Declare | Unschedule | Fire | Meet
)  # fmt: skip


# --- outcomes ---------------------------------------------------------------------------------------------------------


class Succeeded(NamedTuple):
    elapsed_us: int
    result_len: int = 0
    result_digest: bytes = b""
    codec: int = 0
    options: Options = None  # message, progress_ppm


class Failed(NamedTuple):
    """`cause`: exception, timeout, heartbeat, retry_later, fatal or result.  `retryable`: what the queue's `on` said of the exception.

    `delay_us` is the handler's own choice and wins over backoff and cap; None leaves it to the policy.
    """

    elapsed_us: int
    error: Error
    cause: str = "exception"
    retryable: bool = True
    delay_us: int | None = None
    options: Options = None
    parks: bool = False  # the whole queue waits for as long


class Snoozed(NamedTuple):
    elapsed_us: int
    delay_us: int = 0
    until_at: int | None = None  # an instant instead of a delay
    options: Options = None


class Stopped(NamedTuple):
    """The attempt ended because of a cancel.  `reason` None: that of the request is used."""

    elapsed_us: int
    reason: str | None = None
    by: str | None = None
    options: Options = None  # error


class Released(NamedTuple):
    elapsed_us: int
    reason: Literal["stop", "unfit", "actor"] = "stop"
    options: Options = None


Outcome = Succeeded | Failed | Snoozed | Stopped | Released


# --- environment ------------------------------------------------------------------------------------------------------


class Env(NamedTuple):
    """What is not the queue's own: brought by the shell, true for the length of one decision."""

    free_slots: int | None = None  # engine-wide; None: unlimited
    handlers: Collection[str] | None = None  # names this process can run; None: all
    unfit: Mapping[bytes, str] = {}  # tasks whose arguments no longer fit -> why
    stragglers: Collection[bytes] = ()  # tasks whose timed-out thread still runs: they hold their slot
    suspects_running: int = 0  # attempts, in any queue, of tasks one crash from the end of their budget
    backoff: Callable[[int], float] | None = None  # the queue's own function, if it has one
    known: Mapping[bytes, TaskState] = {}  # ended tasks the state no longer holds, for duplicate ids
    stopping: bool = False  # nothing new starts
    reserved: int = 0  # room that attempts were promised for tasks that come with their success
    straggler_keys: Mapping[str, Collection[bytes]] = {}  # serialization keys that those threads hold -> their tasks
    room: int | None = None  # for tasks that wait in the queue's whole namespace; None: unlimited
    limiter_at: int = 0  # where the queue's limiter stands, if it is a shared one: the latest that any queue knows
    tokens: int | None = None  # how much cost is this queue's turn, of a shared limiter; None: as much as conforms; 0: not its turn
    dependencies: Mapping[bytes, str] = {}  # states of tasks that submits name by `after`


# --- answers ----------------------------------------------------------------------------------------------------------


class Accepted(NamedTuple):
    """`existing`: no new task, `task` is the one that was there: the id was known, with the same handler and payload, or its unique key
    was taken.  `count`: how many tasks a bulk command touched.  Of a submit that was taken in as it is, nothing is left to say (`NEW`)."""

    task: bytes | None = None
    existing: bool = False
    count: int = 0  # type: ignore[assignment]  # hides tuple.count, which nobody calls on an answer


NEW: Final = Accepted()


class Refused(NamedTuple):
    """`error` names the class of engine.errors to raise: QueueFull, DuplicateTask, TaskNotFound, NotCancellable, NotRetryable, NotWaiting,
    PayloadTooLarge, DuplicateStep, TooManySteps.  `figures`: what that error is made of, where it words its message itself.
    """

    error: str
    message: str
    figures: tuple[int, ...] = ()


Answer = Accepted | Refused


class Decision(NamedTuple):
    events: list[Event]
    answers: list[Answer]  # one a command
    sources: list[int] | None = None  # where submits came to other events than TaskSubmitted: for each event, the place of its command


__all__ = [
    "NEW", "Accepted", "Answer", "Cancel", "Clear", "Command", "Configure", "Decision", "Declare", "Dispatch", "Env", "Expire", "Failed",
    "Finish", "Fire", "Heartbeat", "Meet", "Open", "Outcome", "Pause", "Progress", "RecordStep", "Refused", "Released", "Reprioritise",
    "Reschedule", "Resume", "Retry", "Snoozed", "Stopped", "Submit", "Succeeded", "Unschedule",
]  # fmt: skip

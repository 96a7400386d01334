"""The kernel and the oracle in lockstep: the same question to both, and the answers must be one."""

from __future__ import annotations

from collections.abc import Collection
from copy import deepcopy
from typing import Any

from journeyman.kernel.commands import (
    Accepted,
    Cancel,
    Clear,
    Command,
    Configure,
    Dispatch,
    Env,
    Expire,
    Failed,
    Finish,
    Open,
    Outcome,
    Pause,
    Refused,
    Released,
    Resume,
    Retry,
    Snoozed,
    Stopped,
    Succeeded,
)
from journeyman.kernel.events import Event
from journeyman.kernel.lifecycle import observed
from journeyman.kernel.policy import Policy
from journeyman.kernel.wakeup import next_wakeup
from tests.kernel.lane import ERROR, Lane, task, tid
from tests.kernel.oracle import Oracle, Rules, Said

_REFUSALS = {"DuplicateTask": "duplicate", "QueueFull": "full", "TaskNotFound": "not found", "NotCancellable": "not cancellable"}
_REFUSALS["NotRetryable"] = "not retryable"
_FACTS = {
    "TaskSubmitted": ("submitted", "due_at"), "AttemptStarted": ("started", "attempt"), "TaskSucceeded": ("succeeded",),
    "TaskCancelled": ("cancelled",), "TaskFailed": ("failed",), "TaskInterrupted": ("interrupted",),
    "AttemptFailed": ("will retry", "due_at"),
    "AttemptSnoozed": ("snoozed", "due_at"), "AttemptReleased": ("released",), "AttemptLost": ("lost", "crashes"),
    "CancelRequested": ("asked",),
    "TransitionRejected": ("rejected", "attempt"), "TaskRetried": ("retried",),
}  # fmt: skip
HOW: dict[str, Outcome] = {
    "success": Succeeded(1), "failure": Failed(1, ERROR), "cancel": Stopped(1), "release": Released(1), "snooze": Snoozed(1),
}  # fmt: skip


def policy_of(rules: Rules) -> Policy:
    return Policy(
        concurrency=rules.concurrency, attempts=rules.attempts, crashes=rules.crashes, jitter_ppm=0, rate=rules.rate,
        backoff=("exponential", rules.base, rules.factor, 1, rules.cap), on_crash="interrupt" if rules.interrupt else "retry",
        max_pending=rules.max_pending, keep_succeeded_us=rules.keep, keep_failed_us=rules.keep, keep_cancelled_us=rules.keep,
        keep_interrupted_us=rules.keep, per_key=rules.per_key, key_order="relaxed" if rules.relaxed else "strict", aging_us=rules.aging,
    )  # fmt: skip


class Twin:
    """Both, on one clock.  `checked`: compare live with replayed at every step, too."""

    def __init__(self, rules: Rules, checked: bool = True) -> None:
        self.oracle = Oracle(rules)
        self.lane = Lane(policy_of(rules), checked=checked)
        self.stragglers: set[int] = set()

    @property
    def now(self) -> int:
        return self.lane.now

    def _same(self, command: Command, said: Said, env: Env) -> None:
        self.lane.when(command, env=env)
        heard: Said = [_said(event) for event in self.lane.last if type(event).__name__ in _FACTS]
        answer = self.lane.answers[0]
        if isinstance(answer, Refused) and answer.error in _REFUSALS:
            heard.append((_REFUSALS[answer.error], int.from_bytes(command.task, "big")))  # type: ignore[union-attr]
        elif isinstance(answer, Accepted) and answer.existing:
            heard.append(("same", int.from_bytes(command.task, "big")))  # type: ignore[union-attr]
        assert heard == said, (command, heard, said)
        self.compare()

    def compare(self) -> None:
        for work in self.oracle.tasks:
            mine = self.lane[work.n]
            assert observed(mine.state, mine.due_at, self.now).value == self.oracle.look(work.n, self.now)
            assert (mine.attempt, mine.failures, mine.crashes, mine.first_due) == (work.attempt, work.failures, work.crashes, work.first)
        live = sum(w.state == "running" for w in self.oracle.tasks)
        assert len(self.lane.state.running) == live

    def env(self, slots: int | None = None) -> Env:
        keys: dict[str, list[bytes]] = {}
        for n in self.stragglers:
            if (work := self.oracle.find(n)) is not None and work.key is not None:
                keys.setdefault(work.key, []).append(tid(n))
        return Env(free_slots=slots, stragglers={tid(n) for n in self.stragglers}, straggler_keys=keys)

    # --- the same question to both ------------------------------------------------------------------------------------------

    def submit(
        self, n: int, handler: str = "send", priority: int = 5, delay: int = 0, deadline: int | None = None, key: str | None = None
    ) -> None:
        deadline_at = None if deadline is None else self.now + deadline
        found = {"deadline_at": deadline_at, "key": key}
        options = {name: value for name, value in found.items() if value is not None} or None
        said = self.oracle.submit(n, handler, priority, self.now + delay, deadline_at, self.now, key)
        self._same(task(n, handler=handler, priority=priority, due_at=self.now + delay, options=options), said, self.env())

    def dispatch(self, slots: int | None = None) -> None:
        self._same(Dispatch(), self.oracle.dispatch(self.now, slots, self.stragglers), self.env(slots))

    def finish(self, n: int, how: str, *, epoch: int | None = None, attempt: int | None = None, delay: int = 0) -> None:
        work = self.oracle.find(n)
        if epoch is None or attempt is None:
            epoch, attempt = (work.epoch, work.attempt) if work else (1, 1)
        outcome = Snoozed(1, delay) if how == "snooze" else HOW[how]
        said = self.oracle.finish(n, epoch, attempt, how, self.now, delay)
        self._same(Finish(tid(n), epoch, attempt, outcome), said, self.env())

    def cancel(self, n: int, running: bool = True) -> None:
        self._same(Cancel(tid(n), "", "", running), self.oracle.cancel(n, running, self.now), self.env())

    def retry(self, n: int) -> None:
        self._same(Retry(tid(n), "", ""), self.oracle.retry(n, self.now), self.env())

    def clear(self) -> None:
        self._same(Clear("", ""), self.oracle.clear(self.now), self.env())

    def expire(self) -> None:
        self._same(Expire(), self.oracle.expire(self.now), self.env())

    def pause(self, on: bool) -> None:
        self.oracle.paused = on
        self._same(Pause("") if on else Resume(""), [], self.env())

    def handlers(self, names: Collection[str] | None) -> None:
        self.oracle.known = names
        self.lane.state.set_handlers(names)
        self.compare()

    def configure(self, rules: Rules) -> None:
        self.oracle.rules = rules
        self._same(Configure(policy_of(rules).facts(), ""), [], self.env())

    def reopen(self, entered: Collection[int], crashed: bool = True) -> None:
        self.stragglers.clear()
        said = self.oracle.reopen(self.now, entered, crashed)
        self._same(Open(2, None, [tid(n) for n in entered], crashed), said, self.env())

    def straggle(self, n: int) -> None:
        """A time-out whose thread runs on."""
        self.finish(n, "failure")
        self.stragglers.add(n)

    def wait(self, us: int) -> None:
        self.lane.now += us
        self.compare()

    def sleep_until_woken(self) -> None:
        """Nothing may start before the wake-up the kernel asked for, or it asked too late."""
        self.dispatch()
        wakeup = next_wakeup(self.lane.state, self.now, self.env())
        if wakeup is None:
            later = deepcopy(self.oracle).dispatch(self.now + 10**12, None, self.stragglers)
            assert later == [], "it would have slept for ever"
            return
        assert wakeup > self.now
        self.lane.now = wakeup - 1
        self.dispatch()
        assert not self.lane.last, "something could start before the wake-up"
        self.lane.now = wakeup

    @property
    def running(self) -> list[int]:
        return [w.n for w in self.oracle.tasks if w.state == "running"]


def _said(event: Event) -> tuple[Any, ...]:
    word, *fields = _FACTS[type(event).__name__]
    return (word, int.from_bytes(event.task, "big"), *(getattr(event, name) for name in fields))  # type: ignore[union-attr]

"""A second opinion: what the journal's events come to, told in the most naive form there is.

Problem.  "live == replayed" cannot see a mistake in the fold itself: both sides make it.  Choice: plain dicts and strings, driven by the
events as they become durable, that predict what `get`, `list`, `count`, `stats` and `wait` must answer.  It shares no code with the
kernel (not `apply`, not `decide`, not the table of transitions), so that a mistake must be made twice, in two shapes, to go unseen.
It is told of events only when they are on the disk, so an answer that it cannot explain was given too early, too late, or wrongly.

Rejected: a full shadow implementation that decides too (it becomes a second engine with bugs of its own); tests/kernel/oracle.py does
that for the kernel alone, where it is small.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from journeyman.sim.timetable import Timetable
from journeyman.sim.work import ENDED as ENDED
from journeyman.sim.work import STATES as STATES
from journeyman.sim.work import WAITING as WAITING
from journeyman.sim.work import Lane as Lane
from journeyman.sim.work import Lanes as Lanes
from journeyman.sim.work import Work as Work

GONE_KEPT: Final = 5_000  # pruned tasks remembered in full, for answers that were under way


class Oracle:
    """The naive journal."""

    def __init__(self) -> None:
        self.tasks: dict[bytes, Work] = {}
        self.by_seq: dict[int, Work] = {}  # seq of submission -> task, also of those whose id was used again
        self.by_payload: dict[int, Work] = {}  # seq of a payload record that is not that of the submission -> task
        self.awaited: dict[bytes, set[bytes]] = {}  # task -> those that wait for it
        self.replaced: set[int] = set()  # seqs of payload records whose place another has taken, in the commit that is taken in
        self.lanes = Lanes()
        self.lane: Callable[[str], Lane] = self.lanes.__getitem__  # asked a dozen times a task
        self.limiters: dict[tuple[str, str], int] = {}  # (namespace, name) -> theoretical arrival time
        self.starts: dict[int, Work] = {}  # seq of AttemptStarted -> the task that runs
        self.gone: dict[bytes, Work] = {}  # pruned, the newest of them
        self.gone_ids: set[bytes] = set()
        self.loose: set[int] = set()  # records that concern no task
        self.values: dict[tuple[str, bytes], tuple[int, int, bytes]] = {}  # (namespace, key) -> seq, length and digest of the value
        self.newest_seq = 0
        self.last_at = 0
        self.boots = 0
        self.clean = True
        self.timetable = Timetable()

    def apply(self, seq: int, event: Any, work: Work | None) -> None:
        """`event` is durable.  `work`: the task it names, if it is known."""
        _TOLD[type(event).__name__](self, seq, event, work)
        self.newest_seq = seq
        self.last_at = event[0]

    def ear(self, kind: str) -> Callable[[int, Any, Work | None], None]:
        """What takes in events of one kind, for whoever has many: `newest_seq` and `last_at` are theirs to set then."""
        return getattr(self, _TOLD[kind].__name__)  # type: ignore[no-any-return]

    # --- tasks --------------------------------------------------------------------------------------------------------

    def submitted(self, seq: int, event: Any, work: Work | None) -> None:
        came = self.tasks[event.task] = self.by_seq[seq] = Work(seq, event)
        lane = self.lane(event.queue)
        lane.waiting += 1
        lane.keeps(came)
        for id in came.waits_for:
            self.awaited.setdefault(id, set()).add(came.id)

    def started(self, seq: int, event: Any, work: Work | None) -> None:
        if work is None:
            return
        lane = self.lane(event.queue)
        lane.waiting -= work.waits
        lane.running[work.id] = work
        if "key_tat_at" in (event.options or {}):
            lane.key_tats[work.options["key"]] = event.options["key_tat_at"]
        name = (event.options or {}).get("limiter")
        if name is not None:
            self.limiters[event.queue.rpartition(chr(31))[0], name] = event.tat_at
        else:
            lane.tat_at = event.tat_at or lane.tat_at
        self.starts[seq] = work
        work.state, work.attempt, work.started_at, work.start_seq = "running", event.attempt, event.at, seq
        work.events.append((seq, event))

    def _returns(self, seq: int, event: Any, work: Work, state: str, due_at: int, due_kind: int) -> None:
        """A run is over, another will follow."""
        lane = self.lane(event.queue)
        self.starts.pop(work.start_seq, None)
        if lane.running.pop(work.id, None) is not None:
            lane.waiting += 1
        work.state, work.due_at, work.due_kind, work.start_seq = state, due_at, due_kind, 0
        self._hears(work, event)
        work.events.append((seq, event))

    def _hears(self, work: Work, event: Any) -> None:
        options = event.options or {}
        work.message = options.get("message", work.message)
        work.ppm = options.get("progress_ppm", work.ppm)
        work.error = options.get("error", work.error)

    def failed(self, seq: int, event: Any, work: Work | None) -> None:
        if work is not None:
            self._returns(seq, event, work, "retrying", event.due_at, 0)
            work.failures += 1
            work.error = event.error

    def lost(self, seq: int, event: Any, work: Work | None) -> None:
        if work is not None:
            self._returns(seq, event, work, "pending", event.at, 0)
            work.crashes += 1 if event.entered else 0

    def released(self, seq: int, event: Any, work: Work | None) -> None:
        if work is not None:
            self._returns(seq, event, work, "pending", event.at, 0)

    def snoozed(self, seq: int, event: Any, work: Work | None) -> None:
        if work is not None:
            self._returns(seq, event, work, "scheduled", event.due_at, event.due_kind)

    def _ends(self, seq: int, event: Any, work: Work, state: str) -> None:
        lane = self.lane(event.queue)
        self.starts.pop(work.start_seq, None)
        if lane.running.pop(work.id, None) is None:
            lane.waiting -= work.waits
        lane.loses(work)
        for id in work.waits_for:
            self.awaited.get(id, set()).discard(work.id)
        work.waits_for = set()
        work.state, work.finished_at, work.expires_at, work.start_seq = state, event.at, event.expires_at, 0
        work.keep_payload = event.keep_payload
        work.reason = getattr(event, "reason", None)
        self._hears(work, event)
        work.events.append((seq, event))

    def succeeded(self, seq: int, event: Any, work: Work | None) -> None:
        if work is not None:
            self._ends(seq, event, work, "succeeded")
            work.result_len, work.result_digest = event.result_len, event.result_digest
            work.result_seq = seq if event.result_len else 0
            if "unique_for_us" in work.options:
                self.lane(event.queue).holds[work.options["unique"]] = (event.at + work.options["unique_for_us"], work.id, seq)

    def dead(self, seq: int, event: Any, work: Work | None) -> None:
        if work is not None:
            if event.reason == "crashes":
                work.crashes += 1
            else:
                work.failures += 1
            self._ends(seq, event, work, "failed")
            work.error = event.error if event.error is not None else work.error

    def cancelled(self, seq: int, event: Any, work: Work | None) -> None:
        if work is not None:
            self._ends(seq, event, work, "cancelled")

    def interrupted(self, seq: int, event: Any, work: Work | None) -> None:
        if work is not None:
            self._ends(seq, event, work, "interrupted")

    def retried(self, seq: int, event: Any, work: Work | None) -> None:
        if work is not None:
            work.state, work.due_at, work.first_due, work.due_kind = "pending", event.at, event.at, 0
            work.failures = work.crashes = 0
            work.place = seq
            work.options = {name: value for name, value in work.options.items() if name not in ("deadline_at", "deadline_kind")}
            work.waits_for = set()
            work.finished_at = work.expires_at = work.reason = work.cancel = work.message = work.ppm = None
            work.events.append((seq, event))
            lane = self.lane(event.queue)
            lane.waiting += 1
            lane.keeps(work)

    def rescheduled(self, seq: int, event: Any, work: Work | None) -> None:
        if work is not None:
            work.state = "scheduled" if event.due_at > event.at else "pending"
            work.due_at, work.due_kind, work.first_due = event.due_at, event.due_kind, event.place_at
            work.latest_at = (event.options or {}).get("latest_at", work.latest_at)
            work.events.append((seq, event))
            if "payload_digest" in (event.options or {}):
                self.replaced.add(work.payload_seq)
                work.payload_seq = seq
                self.by_payload[seq] = work

    def reprioritised(self, seq: int, event: Any, work: Work | None) -> None:
        if work is not None:
            work.priority = event.priority
            work.events.append((seq, event))

    def met(self, seq: int, event: Any, work: Work | None) -> None:
        if work is not None:
            for id, _ in event.met:
                work.waits_for.discard(id)
                self.awaited.get(id, set()).discard(work.id)
            work.events.append((seq, event))

    def cancel_requested(self, seq: int, event: Any, work: Work | None) -> None:
        if work is not None:
            work.cancel = event.reason
            work.events.append((seq, event))

    def progress(self, seq: int, event: Any, work: Work | None) -> None:
        if work is not None:
            work.ppm = work.ppm if event.fraction_ppm is None else event.fraction_ppm
            work.message = work.message if event.message is None else event.message
            work.events.append((seq, event))

    def step_recorded(self, seq: int, event: Any, work: Work | None) -> None:
        if work is not None:
            work.steps = {**work.steps, event.name: (seq, event.result_len, event.result_digest)}
            if event.result_len:
                self.by_payload[seq] = work
            work.events.append((seq, event))

    def rejected(self, seq: int, event: Any, work: Work | None) -> None:
        if work is not None:
            work.events.append((seq, event))

    # --- queues and the journal ---------------------------------------------------------------------------------------

    def opened(self, seq: int, event: Any, work: Work | None) -> None:
        self.lane(event.queue).epoch = event.epoch
        self.loose.add(seq)

    def configured(self, seq: int, event: Any, work: Work | None) -> None:
        lane, options = self.lane(event.queue), event.options or {}
        lane.policy, lane.config_seq = event.policy, seq
        lane.tat_at = options.get("tat_at", lane.tat_at)
        if not options.get("live"):
            lane.declared = event.policy
        self.loose.add(seq)

    def paused(self, seq: int, event: Any, work: Work | None) -> None:
        lane = self.lane(event.queue)
        lane.paused, lane.pause_seq = True, seq
        self.loose.add(seq)

    def resumed(self, seq: int, event: Any, work: Work | None) -> None:
        lane = self.lane(event.queue)
        lane.paused, lane.pause_seq = False, seq
        lane.parked_until = 0
        self.loose.add(seq)

    def parked(self, seq: int, event: Any, work: Work | None) -> None:
        self.lane(event.queue).parked_until = event.until_at
        self.loose.add(seq)

    def pruned(self, seq: int, event: Any, work: Work | None) -> None:
        self.loose.add(seq)
        for first, _, _ in event.entries:
            gone = self.by_seq.pop(first, None)
            if gone is None:
                continue
            gone.pruned_seq = seq
            for at in (gone.payload_seq, *(at for at, _, _ in gone.steps.values())):
                self.by_payload.pop(at, None)
            if event.by != "retention":
                holds = self.lane(event.queue).holds
                for key in [key for key, (_, holder, _) in holds.items() if holder == gone.id]:
                    del holds[key]
            if self.tasks.get(gone.id) is gone:
                del self.tasks[gone.id]
                self.gone[gone.id] = gone
                self.gone_ids.add(gone.id)
        while len(self.gone) > GONE_KEPT:
            del self.gone[next(iter(self.gone))]

    def scheduled(self, seq: int, event: Any, work: Work | None) -> None:
        self.timetable.told(seq, event)
        self.loose.add(seq)

    def booted(self, seq: int, event: Any, work: Work | None) -> None:
        self.boots, self.clean = event.epoch, False
        self.loose.add(seq)

    def closed(self, seq: int, event: Any, work: Work | None) -> None:
        self.clean = True
        self.loose.add(seq)

    def stepped(self, seq: int, event: Any, work: Work | None) -> None:
        """Instants that came from durations move with the clock; those that somebody named stay."""
        self.loose.add(seq)
        self.limiters = {name: tat_at + event.delta_us for name, tat_at in self.limiters.items()}
        for lane in self.lanes.values():
            lane.tat_at += event.delta_us if lane.tat_at else 0
            lane.key_tats = {key: tat_at + event.delta_us for key, tat_at in lane.key_tats.items()}
            lane.parked_until += event.delta_us if lane.parked_until else 0
            lane.holds = {key: (until_at + event.delta_us, holder, at) for key, (until_at, holder, at) in lane.holds.items()}
        self.timetable.stepped(seq, event)
        for work in self.tasks.values():
            if not work.ended:
                if work.due_kind == 0:
                    work.due_at += event.delta_us
                    work.first_due += event.delta_us
                if work.latest_at is not None:
                    work.latest_at += event.delta_us
                if "deadline_kind" in work.options:
                    work.options = {**work.options, "deadline_at": work.options["deadline_at"] + event.delta_us}
                work.events.append((seq, event))

    def compacted(self, seq: int, event: Any, work: Work | None) -> None:
        self.loose.add(seq)

    def put(self, seq: int, event: Any, work: Work | None) -> None:
        """A key has another value, or none."""
        if event.former:
            self.loose.add(event.former)
            self.replaced.add(event.former)
        if event.deleted:
            self.loose.add(seq)
            self.values.pop((event.namespace, event.key), None)
        else:
            self.values[event.namespace, event.key] = (seq, event.value_len, event.value_digest)

    # --- questions ----------------------------------------------------------------------------------------------------

    def known(self, id: bytes) -> Work | None:
        """The task, pruned ones included as long as they are remembered."""
        return self.tasks.get(id) or self.gone.get(id)

    def lives(self, work: Work, after: int) -> Iterator[Work]:
        """The task as it stood after each of its events from `after` on, the newest first; at least as it stands now."""
        yield work
        n = len(work.events)
        while n > 1 and work.events[n - 1][0] > after:
            n -= 1
            yield _as_after(work.events[:n])


def _as_after(events: list[tuple[int, Any]]) -> Work:
    alone = Oracle()
    id = events[0][1].task
    for seq, event in events:
        alone.apply(seq, event, alone.tasks.get(id))
    return alone.tasks[id]


_TOLD: Final[Mapping[str, Callable[[Oracle, int, Any, Work | None], None]]] = {
    "TaskSubmitted": Oracle.submitted,
    "AttemptStarted": Oracle.started,
    "AttemptFailed": Oracle.failed,
    "AttemptLost": Oracle.lost,
    "AttemptReleased": Oracle.released,
    "AttemptSnoozed": Oracle.snoozed,
    "CancelRequested": Oracle.cancel_requested,
    "ProgressSampled": Oracle.progress,
    "TaskSucceeded": Oracle.succeeded,
    "TaskFailed": Oracle.dead,
    "TaskCancelled": Oracle.cancelled,
    "TaskInterrupted": Oracle.interrupted,
    "TaskRetried": Oracle.retried,
    "StepRecorded": Oracle.step_recorded,
    "TransitionRejected": Oracle.rejected,
    "TaskRescheduled": Oracle.rescheduled,
    "TaskReprioritised": Oracle.reprioritised,
    "DependencyMet": Oracle.met,
    "QueueOpened": Oracle.opened,
    "QueueConfigured": Oracle.configured,
    "QueuePaused": Oracle.paused,
    "QueueResumed": Oracle.resumed,
    "QueueParkedUntil": Oracle.parked,
    "TasksPruned": Oracle.pruned,
    **dict.fromkeys(("ScheduleDeclared", "ScheduleRemoved", "ScheduleFired"), Oracle.scheduled),
    "EngineBooted": Oracle.booted,
    "EngineClosed": Oracle.closed,
    "ClockStepped": Oracle.stepped,
    "JournalCompacted": Oracle.compacted,
    "ValuePut": Oracle.put,
}

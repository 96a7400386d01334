"""The shell of one engine: what its actors share.

One object holds the seams (clock, store, thread runner), the writer, the timer and the queue actors, so that an actor needs one
reference and a test or the simulator has one place to look.  It decides nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import trio

from journeyman.actors.attempt import Attempt
from journeyman.actors.call import Call
from journeyman.actors.clock import KernelClock
from journeyman.actors.dependencies import Dependencies, names
from journeyman.actors.keepsake import Keepsakes
from journeyman.actors.limiters import Limiters
from journeyman.actors.logs import LOG
from journeyman.actors.queue_actor import QueueActor
from journeyman.actors.room import Room
from journeyman.actors.slots import Claimant, Slots
from journeyman.actors.standstill import Standstill
from journeyman.actors.submission import Submission, by_actor, renamed, same_id_in_two_queues, taken_keys, unique_key
from journeyman.actors.threads import ThreadRunner
from journeyman.actors.timer import Timer
from journeyman.actors.together import decide_together
from journeyman.actors.values import Values
from journeyman.actors.writer import Step, Writer
from journeyman.journal.catalog import Catalog
from journeyman.journal.checkpoint import Checkpoint
from journeyman.journal.errors import JournalError
from journeyman.journal.log import Journal
from journeyman.journal.store import Store
from journeyman.kernel.bounds import CHECKPOINT_EVENTS, CHECKPOINT_TAIL_EVENTS
from journeyman.kernel.commands import Accepted, Answer, Refused, Submit
from journeyman.kernel.events import Event
from journeyman.kernel.ids import id_text
from journeyman.kernel.namespace import shown_name
from journeyman.kernel.state import TaskState
from journeyman.kernel.world import JournalState, fold

T = TypeVar("T")


class Shell:
    """What the actors of one engine share.  Everything on the loop's thread."""

    def __init__(
        self,
        *,
        store: Store,
        journal: Journal,
        world: JournalState,
        catalog: Catalog,
        checkpoint: Checkpoint,
        clock: KernelClock,
        threads: ThreadRunner,
        context: Callable[[Attempt], Any],
        mint: Callable[[int], bytes],
        max_concurrency: int | None,
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self.store = store
        self.journal = journal
        self.world = world
        self.catalog = catalog
        self.checkpoint = checkpoint
        self.clock = clock
        self.now = clock.now
        self.leapt = False  # kernel time has followed a clock that was set forward, and nobody has confirmed that clock yet
        self.threads = threads
        self.context = context
        self.mint = mint  # ids, for tasks that nobody submits
        self.log = LOG
        self.room = Room(store)
        self.fail = on_failure  # the journal can be written, or read, no more
        self.writer = Writer(journal, store, on_failure, self.look_at_the_disk)
        self.timer = Timer(clock)
        self.standstill = Standstill(self)
        self.actors: dict[str, QueueActor] = {}
        self.dependencies = Dependencies(self)
        self.slots = Slots(max_concurrency, self._claimants)
        self.limiters = Limiters(self.actors.values, self.now)
        self.waiters: dict[bytes, list[Call[TaskState]]] = {}
        self.keepsakes = Keepsakes()
        self.values = Values(self)
        self.chosen: dict[bytes, int] = {}  # ids that callers chose, and how many submits of each are on their way to a decision
        self.boot = 0
        self.tallied = False  # whether queues count what a monitoring system wants (actors/tally.py)
        self.stopping = False
        self.closed = False
        self.interruption: BaseException | None = None
        self.on_interrupt: Callable[[], None] = lambda: None
        self.news: trio.Event | None = None  # set at each step of a queue while somebody waits for that
        self._mended = trio.Event()
        self._spoiled: Exception | None = None  # what broke off the keeping of the house; it is over then
        self.changed = trio.Event()  # set when an attempt or straggler has ended; replaced by whoever waits
        self.nursery: trio.Nursery = None  # type: ignore[assignment]  # set by the supervisor before anything runs
        self.checkpoint_wanted: Callable[[], None] = lambda: None
        self.prune_wanted: Callable[[], None] = lambda: None
        self.changes = 0  # events of tasks that existed before, since the last checkpoint
        self._checkpoint_seq = checkpoint.through_seq
        self._free_marks: list[int] = []
        self._marks = 0

    def look_at_the_disk(self) -> None:
        # A disk that cannot even be asked fails the next commit, which has its own way to say so.
        with contextlib.suppress(OSError, JournalError):
            self.room.look()
            if self.room.short:
                self.room.learn(self.writer.largest())

    def _claimants(self) -> list[Claimant]:
        return list(self.actors.values())

    # --- entry marks --------------------------------------------------------------------------------------------------

    def enter(self, seq: int) -> int:
        """Mark that the handler of the start at `seq` is entered; returns the mark to give back."""
        if self._free_marks:
            mark = self._free_marks.pop()
        else:
            mark = self._marks
            self._marks += 1
        self.store.enter(mark, seq)
        return mark

    def leave(self, mark: int) -> None:
        self.store.leave(mark)
        self._free_marks.append(mark)

    # --- what decisions need from outside a queue ---------------------------------------------------------------------

    def payloads(self, seqs: Sequence[int]) -> list[bytes | None]:
        return self.journal.payloads(seqs)

    def suspects_running(self) -> int:
        count = 0
        for actor in self.actors.values():
            count += len(actor.state.agenda.suspects_out)
        return count

    def freed(self, task: TaskState) -> None:
        """A run of `task` has ended: its slot is another's.  So is its turn, if one more crash would end it: those run one at a time over
        all queues, and no other queue would hear of it.
        """
        self.slots.freed()
        if task.crashes:
            for actor in self.actors.values():
                if actor.state.agenda.suspects.count:
                    actor.wake()

    def choose(self, id: bytes) -> None:
        """A submit with an id that its caller chose is about to be handed to its queue, which will look for it everywhere."""
        self.chosen[id] = self.chosen.get(id, 0) + 1

    def _decided(self, id: bytes) -> None:
        left = self.chosen.pop(id) - 1
        if left:
            self.chosen[id] = left

    def known(self, commands: Iterable[Submit]) -> Mapping[bytes, TaskState]:
        """Tasks that already bear an id a caller chose, wherever they are.

        An expired one too: its caller has had it deleted if it may go now (Session.forget_expired), so this one may not, because others
        wait for it or the clock is in doubt.  A new task beside it would take its row, and leave its records to nobody.
        """
        if not self.chosen:
            return {}
        found: dict[bytes, TaskState] = {}
        for command in commands:
            if command.task in self.chosen:
                self._decided(command.task)
                task = self.held(command.task)
                if task is not None:
                    found[command.task] = task
        return found

    def foreseen(self, wanted: Submission, promised: Sequence[Submission]) -> Answer:
        """What a task from `ctx.submit`, beside those promised already, would come to if the attempt succeeded now."""
        actor, command, _, _ = wanted
        for other in promised:
            first = other.command
            if first.task != command.task:
                continue
            if other.actor is not actor or first.handler != command.handler or first.payload_digest != command.payload_digest:
                return Refused("DuplicateTask", f"this attempt has submitted another task with id {id_text(command.task)}")
        self.choose(command.task)
        rivals: list[Submit] = []
        if (key := unique_key(command)) is not None:
            rivals = [other.command for other in promised if other.actor is actor and unique_key(other.command) == key]
        states = dict(self.dependencies.states([command, *rivals], actor.name))
        if names([command, *rivals]):
            states.update((other.command.task, "new") for other in promised if other.command.task not in states)
        return actor.propose([*rivals, command], self.now(), states=states).answers[-1]

    def find(self, task_id: bytes) -> TaskState | None:
        """The newest state of a task that retention still keeps, in memory or on disk."""
        task = self.held(task_id)
        return None if task is not None and self._has_expired(task) else task

    def expired(self, ids: Iterable[bytes]) -> bool:
        """Whether a task of one of these ids is still there, in memory or on disk, though its retention has passed.

        A new task of that id would take the row of the old one, and then no prune would ever find the old one's records.
        """
        return any(task is not None and self._has_expired(task) for task in map(self.held, ids))

    def held(self, task_id: bytes) -> TaskState | None:
        """The newest state of a task, expired or not.  What memory does not hold costs one read of the disk."""
        for actor in self.actors.values():
            task = actor.state.tasks.get(task_id)
            if task is not None:
                return task
        return self.catalog.get(task_id, 0)

    def _has_expired(self, task: TaskState) -> bool:
        return task.expires_at is not None and task.expires_at <= self.now()

    # --- steps over several queues ------------------------------------------------------------------------------------

    def submit_together(self, submissions: Sequence[Submission]) -> tuple[Step, Mapping[bytes, bytes]] | Refused:
        """All or none, over any number of queues, in one step and one commit.

        The step to hand to the writer, and for each submit whose unique key was taken the task that has it; or the first refusal, and then
        nothing has been applied.  Raises only for a bug, after which the touched queues are rebuilt.
        """
        now = self.now()
        groups = by_actor(submissions)
        if len(groups) > 1 and self.chosen and (clash := same_id_in_two_queues(submissions)) is not None:
            return clash
        decided = decide_together(self, groups, submissions, now)
        if type(decided) is Refused:
            return decided
        assert type(decided) is list
        step = Step()
        taken: dict[bytes, bytes] = {}
        mark = self.mark()
        try:
            for actor, group, decision in decided:
                if len(decision.events) < len(group) or decision.sources is not None:
                    taken.update(taken_keys(group, decision.answers))
                actor.accept(decision, [each.payload for each in group], step)
                actor.wake()
        except Exception as error:  # a bug, half applied: nothing was handed over, and every queue it reached is read anew
            self.back_to(mark)
            for actor, _, _ in decided:
                actor.crash(error)
            raise
        return step, taken

    def submit_with_success(self, submissions: Sequence[Submission], now: int, step: Step) -> None:
        """The tasks a handler submitted through its context: part of the step that records its success."""
        taken: dict[bytes, bytes] = {}
        for submission in submissions:
            actor, command = submission.actor, renamed(submission.command, taken)
            actor.state.advance(now)
            step.touched.append(actor)
            self.choose(command.task)
            [answer] = actor.submit_many([command], [submission.payload], now, step)
            if type(answer) is Accepted and answer.task is not None and answer.task != command.task:
                taken[command.task] = answer.task
            if type(answer) is Refused:  # another took the id, or the unique key, between the call and now
                self.log.warning("a task from ctx.submit was not recorded: %s", answer.message, extra={"queue": shown_name(actor.name)})
            elif type(answer) is Accepted and submission.told:
                step.effects += [(handle.name, answer.task or command.task) for handle in submission.told]
            actor.wake()

    def record_journal_event(self, event: Event, step: Step) -> int:
        """Fold an event that concerns the whole journal and put it on its way."""
        seq = self.journal.next_seq
        self.journal.next_seq = seq + 1
        self.checkpoint.before_apply(event)
        fold(self.world, event, seq)
        step.items.append((seq, event))
        return seq

    @trio.lowlevel.enable_ki_protection
    async def sealed(self, run: Callable[[], T]) -> T:
        """Run something at a moment when everything decided so far has been handed to the store, which is right after a commit
        was handed over.
        """
        call: Call[T] = Call()

        def now_sealed(call: Call[T]) -> None:
            try:
                call.answer = run()
            except Exception as error:  # a bug; its place is with whoever asked, not with the writer
                call.fail(error)
            else:
                call.settle()

        self.writer.after_sealing(now_sealed, call)
        return await call.wait_through()  # it will run, so its caller keeps what it holds (the lock) until it has: one commit's time

    @property
    def sound(self) -> bool:
        """Whether every queue's state in memory is what the journal says.

        After a step that failed half-way it is not, until the supervisor has read it anew; until then no checkpoint, prune or
        compaction may write of it, and no other queue's step may reach into it.
        """
        return not any(actor.doubtful for actor in self.actors.values())

    def mark(self) -> tuple[int, int]:
        """Where the journal stands before a step: its next number, its newest instant."""
        return self.journal.next_seq, self.world.last_at

    def back_to(self, mark: tuple[int, int]) -> None:
        """The step that began at `mark` has failed, and nothing of it was handed over."""
        self.journal.next_seq, self.world.last_at = mark

    async def mended(self) -> None:
        """Wait until every state is sound, or the engine stops."""
        while not self.sound and not self.stopping and not self.closed:
            if self._mended.is_set():
                self._mended = trio.Event()
            await self._mended.wait()

    def mend(self) -> None:
        """A state is sound again, or will never be."""
        self._mended.set()
        for actor in self.actors.values():
            actor.wake()  # what reaches into that queue has waited

    @contextlib.contextmanager
    def keeping_house(self) -> Iterator[None]:
        """Around a checkpoint, a prune, a compaction: one that is broken off leaves tallies and tables half told, so the engine closes.

        Whoever asked for it need not be one of the engine's own tasks, so the error would not end the engine by itself.
        """
        if self._spoiled is not None:
            raise self._spoiled
        try:
            yield
        except Exception as error:
            self._spoiled = error
            if not self.closed:
                self.fail(error)
            raise

    # --- news ---------------------------------------------------------------------------------------------------------

    def recorded(self) -> None:
        """A step was handed over; a checkpoint is due when enough has changed since the last.

        New tasks that only wait are no reason for one: reading a row is no quicker than folding the event it would replace.
        """
        if self.changes >= CHECKPOINT_EVENTS or self.journal.next_seq - self._checkpoint_seq >= CHECKPOINT_TAIL_EVENTS:
            self.changes = 0
            self._checkpoint_seq = self.journal.next_seq
            self.checkpoint_wanted()

    def interrupted(self, error: BaseException) -> None:
        """A handler was hit by Ctrl-C: the engine stops, nothing is charged, and the owner of the block hears of it."""
        if self.interruption is None:
            self.interruption = error
            self.stopping = True  # or what is given back would be started once more while the block unwinds
            self.on_interrupt()

    def attempt_ended(self) -> None:
        self.changed.set()

    def straggler_ended(self) -> None:
        if self.closed:
            # Nothing but this thread kept the journal's lock.
            if not self.straggling:
                self.store.close()
            return
        self.changed.set()
        self.slots.freed()

    async def next_news(self) -> None:
        """Wait until some queue has taken a step."""
        if self.closed:
            return
        if self.news is None or self.news.is_set():
            self.news = trio.Event()
        await self.news.wait()

    async def next_ending(self) -> None:
        """Wait until an attempt or a straggler ends."""
        self.changed = trio.Event()
        await self.changed.wait()

    @property
    def running(self) -> int:
        return sum(len(actor.attempts) for actor in self.actors.values())

    @property
    def straggling(self) -> int:
        return sum(len(actor.stragglers) for actor in self.actors.values())

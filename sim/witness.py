"""The witness of one simulated disk: the oracle, the invariants and what they need to know of the moment.

Problem.  A long simulation writes a hundred thousand events; whatever watches must cost microseconds for each, and remember what a crash
must not forget.  Choice: an invariant names what it wants to hear (sim/invariants/invariant.py); the witness makes, once, a tuple of
methods for each kind of event.  Facts that several invariants want (who is inside a handler, what a commit deletes) are kept here.

A power cut under relaxed durability takes back the newest commit, acknowledged or not.  What was believed of it must be forgotten: the
oracle and the invariants are made anew and told everything but that commit, in silence.  So only relaxed disks remember all they wrote.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from journeyman.engine.ids import id_bytes
from journeyman.journal.record import TAG_OF
from journeyman.journal.store import Batch, Items, Table
from journeyman.kernel.events import AttemptStarted
from journeyman.kernel.namespace import SEPARATOR
from journeyman.sim.errors import PromiseBroken
from journeyman.sim.invariants import BUILT_IN, Invariant
from journeyman.sim.invariants.folded import Folded
from journeyman.sim.invariants.invariant import HEARD, MOMENTS
from journeyman.sim.oracle import Oracle, Work

if TYPE_CHECKING:
    from journeyman.sim.boot import Boot
    from journeyman.sim.disk import Disk
    from journeyman.sim.world import World

Listeners = tuple[Callable[..., None], ...]


class Asked(NamedTuple):
    """A call from outside, as it began."""

    name: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    witness: Witness
    seq: int  # the newest durable record
    kernel_at: int
    moment_us: int  # on trio's clock
    boot: int
    calls: int  # begun before it
    alone: bool  # no other call is under way
    losses: int  # of acknowledged commits, before it
    namespace: str = ""  # whose door it was made at; "" is the owner's

    def value(self, name: str, place: int, default: Any = None) -> Any:
        """An argument, by name or by place."""
        return self.kwargs.get(name, self.args[place] if len(self.args) > place else default)

    @property
    def shell(self) -> Any:
        return self.witness.shell

    @property
    def task(self) -> bytes | None:
        """The task it is about, if its caller named one."""
        first = self.args[0] if self.args else self.kwargs.get("id")
        if self.name == "submit":
            chosen: bytes | None = getattr(first, "task", None)
            return chosen
        if isinstance(first, bytes):
            return first
        if self.name not in ("get", "cancel", "retry", "reschedule", "reprioritise", "explain", "history") or not isinstance(first, str):
            return None
        try:
            return id_bytes(first)
        except ValueError:
            return None

    @property
    def queue(self) -> str | None:
        """The queue a submit is for."""
        spec = getattr(self.args[0], "spec", None) if self.args else None
        return None if spec is None else self.stored(spec.handler.queue_name)

    def stored(self, queue: str) -> str:
        """The journal's name of a queue, as the caller names it."""
        if self.namespace:
            return f"{self.namespace}{SEPARATOR}{queue}"
        return queue.replace("/", SEPARATOR, 1)

    def called(self, stored: str) -> str | None:
        """The other way round; None for a queue that the caller must not see."""
        namespace, _, queue = stored.rpartition(SEPARATOR)
        if self.namespace:
            return queue if namespace == self.namespace else None
        return f"{namespace}/{queue}" if namespace else queue

    @property
    def steady(self) -> bool:
        """Whether it began and ended in one boot, and kernel time ran evenly between."""
        witness = self.witness
        if self.boot != witness.boot_number or witness.shell is None:
            return False
        return abs((witness.kernel_now - self.kernel_at) - (witness.now_us - self.moment_us)) <= 1


class Witness:
    def __init__(self, world: World, disk: Disk) -> None:
        self.world = world
        self.disk = disk
        self.marks: set[int] = set()  # starts whose handler was entered and not left, crashes included
        self.acknowledged: dict[bytes, None] = {}
        self.inside: dict[bytes, int] = {}  # handlers inside now, by task
        self.inside_of: Counter[str] = Counter()  # and by queue
        self.moves: Counter[tuple[str | None, str, str | None]] = Counter()
        self.boot: Boot | None = None
        self.boot_number = 0
        self.max_concurrency: int | None = None
        self.calls = 0
        self.losses = 0  # of acknowledged commits, by power cuts
        self.under_way: dict[int, Asked] = {}
        self.touched: dict[Work, None] = {}
        self.afterwards: list[Callable[[], None]] = []  # for invariants: what they want to look at when the commit is taken in
        self.pruned: set[int] = set()
        self.compacted = False
        self._inside: dict[int, Work] = {}
        self._quiet_since = 0.0
        self._disturbed = 0  # how often, and how far the wall clock had been set, when last asked
        self._history: list[tuple[Batch, Items, Sequence[tuple[int, Any]]]] = []
        self._muted = False
        self._begin()

    def _begin(self) -> None:
        """Oracle and invariants that know nothing yet."""
        self.oracle = Oracle()
        self.folded = Folded(self.disk)
        self.afterwards.clear()
        self._invariants = [kind(self) for kind in BUILT_IN]
        self._heard = {
            kind: (self._listeners(HEARD[kind.__name__]), self.oracle.ear(kind.__name__), kind.__name__, "task" in kind._fields)
            for kind in TAG_OF
        }
        self._keyed = self._listeners("keyed")
        self._started = self._heard[AttemptStarted][0]
        self._starts: dict[str, tuple[Listeners, Listeners, Listeners, Listeners]] = {}
        self._answers: dict[str, Listeners] = {}
        self._moments = {name: self._listeners(name) for name in MOMENTS}

    def _listeners(self, name: str, wants: Callable[[Invariant], bool] = lambda _: True) -> Listeners:
        return tuple(getattr(one, name) for one in self._invariants if hasattr(one, name) and wants(one))

    def _starts_of(self, queue: str) -> tuple[Listeners, Listeners, Listeners, Listeners]:
        """Who has something to say of starts in a queue, of tasks without options and of others, and the same of entries.  Until it is
        configured anew.
        """
        policy = self.oracle.lane(queue).policy

        def concerned(one: Invariant) -> bool:
            return not one.of_policy or policy.get(one.of_policy) is not None

        def of_all(one: Invariant) -> bool:
            return not one.of_option and concerned(one)

        found = self._starts[queue] = (
            self._listeners("started", of_all), self._listeners("started", concerned),
            self._listeners("entered", of_all), self._listeners("entered", concerned),
        )  # fmt: skip
        return found

    # --- what happens ---

    def written(self, boot: Boot, batch: Batch, items: Items, events: Sequence[tuple[int, Any]]) -> None:
        """A commit is on the disk."""
        if boot.number > self.boot_number:
            self._other_boot(boot)
        if self.disk.relaxed:
            self._history.append((batch, items, events))
        self._take_in(batch, items, events)

    def _take_in(self, batch: Batch, items: Items, events: Sequence[tuple[int, Any]]) -> None:
        oracle, heard, moves, touched, keyed = self.oracle, self._heard, self.moves, self.touched, self._keyed
        tasks, started, starts = oracle.tasks, self._started, self._starts
        if items:
            for listener in self._moments["records"]:
                listener(items, events)
        for seq, event in events:
            known = heard.get(type(event))
            if known is None:
                continue  # of a younger version, and ignorable
            listeners, ear, name, of_task = known
            if of_task:
                work = tasks.get(event[4])
                before = None
                if work is not None:
                    before = work.state
                    if "key" in work.options:
                        for listener in keyed:
                            listener(seq, event, work)
                    if listeners is started:
                        plain, others, _, _ = starts.get(event[1]) or self._starts_of(event[1])
                        listeners = others if work.options else plain
                for listener in listeners:
                    listener(seq, event, work)
                ear(seq, event, work)
                work = tasks.get(event[4])
                if work is None:
                    moves[before, name, None] += 1
                else:
                    touched[work] = None
                    moves[before, name, work.state] += 1
            else:
                for listener in listeners:
                    listener(seq, event, None)
                ear(seq, event, None)
                if name == "QueueConfigured":
                    starts.pop(event[1], None)
                elif name == "JournalCompacted":
                    self.compacted = True
                elif name == "ClockStepped":
                    self._quiet_since = self.world.time()
            oracle.newest_seq = seq
            oracle.last_at = event[0]
        self.folded.written(batch, items, events)
        for listener in self._moments["commit"]:
            listener(batch)
        if self.afterwards:
            for look in self.afterwards:
                look()
            self.afterwards.clear()
        touched.clear()
        self.pruned.clear()
        self.compacted = False

    def _other_boot(self, boot: Boot) -> None:
        self.boot, self.boot_number = boot, boot.number
        self.max_concurrency = boot.machine.options.get("max_concurrency")
        self.inside.clear()
        self.inside_of.clear()
        self._inside.clear()

    def entered(self, boot: Boot, seq: int) -> None:
        work = self.oracle.starts.get(seq)
        self.marks.add(seq)
        if work is None:
            self.broken("durable before visible", f"a handler is entered for the start at seq {seq}, which is not durable, or over")
            return
        self._inside[seq] = work
        self.inside[work.id] = self.inside.get(work.id, 0) + 1
        self.inside_of[work.queue] += 1
        _, _, plain, others = self._starts.get(work.queue) or self._starts_of(work.queue)
        for listener in others if work.options else plain:
            listener(work)

    def left(self, boot: Boot, seq: int) -> None:
        self.marks.discard(seq)
        work = self._inside.pop(seq, None)
        if work is not None:
            self.inside_of[work.queue] -= 1
            if not self.inside[work.id] - 1:
                del self.inside[work.id]
            self._tell("left", work)

    def step(self, what: str, start: int, name: str) -> None:
        work = self.oracle.starts.get(start)
        if work is not None:
            self._tell(what, work, name)

    def booted(self, boot: Boot) -> None:
        self._other_boot(boot)
        self._quiet_since = self.world.time()
        self._tell("booted", boot)

    def closing(self, boot: Boot) -> None:
        self._tell("closing", boot)

    def crashed(self, boot: Boot) -> None:
        self._tell("crashed", boot)
        self.inside.clear()
        self.inside_of.clear()
        self._inside.clear()

    def lost_newest(self) -> None:
        """A power cut has taken back the newest commit."""
        self._history.pop()
        self.losses += 1
        self._muted = True
        self.moves, moves = Counter(), self.moves
        self._begin()
        for commit in self._history:
            self._take_in(*commit)
        self.folded.start_anew()  # whoever compared meanwhile did so with a disk that is ahead of what was told anew
        self.moves = moves
        self._muted = False
        self.marks = {seq for seq in self.marks if seq <= self.oracle.newest_seq}
        for id in list(self.acknowledged):
            if id not in self.oracle.tasks and id not in self.oracle.gone_ids:
                del self.acknowledged[id]

    def asked(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], namespace: str = "") -> Asked:
        alone = all(other.name == "wait" for other in self.under_way.values())
        self.calls += 1
        asked = Asked(
            name, args, kwargs, self, self.oracle.newest_seq, self.kernel_now, self.now_us, self.boot_number, self.calls, alone,
            self.losses, namespace,
        )  # fmt: skip
        self.under_way[self.calls] = asked
        return asked

    def answered(self, asked: Asked, answer: Any, error: BaseException | None) -> None:
        self.under_way.pop(asked.calls, None)
        if asked.losses != self.losses:
            return  # it may rest on what a power cut has taken back since
        if error is not None:
            listeners = self._moments["answered"]
        else:
            listeners = self._answers.get(asked.name) or self._answers_of(asked.name)
        for listener in listeners:
            listener(asked, answer, error)

    def _answers_of(self, call: str) -> Listeners:
        """Who listens to the answers of a call."""
        found = self._answers[call] = self._listeners("answered", lambda one: one.calls is None or call in one.calls)
        return found

    def told(self, feed: Any, place: Any, said: Any) -> None:
        self._tell("told", feed, place, said)

    def finish(self) -> None:
        self._tell("finish")

    def _tell(self, moment: str, *about: Any) -> None:
        for listener in self._moments[moment]:
            listener(*about)

    # --- what invariants ask ---

    def broken(self, promise: str, details: str) -> None:
        if not self._muted:
            self.world.give_up(PromiseBroken(promise, details))

    def reach(self, fact: str, times: int = 1) -> None:
        """A "sometimes" fact was reached (sim/coverage.py)."""
        if times:
            self.world.trace.reached[f"sometimes {fact}"] += times

    def alone(self, asked: Asked) -> bool:
        """Whether no other call has begun since `asked` did."""
        return self.calls == asked.calls

    @property
    def up(self) -> bool:
        return self.boot is not None and self.boot.open

    @property
    def shell(self) -> Any:
        """The live engine's insides; None while there is none."""
        session = None if self.boot is None or self.boot.dead else self.boot.engine._session
        return getattr(session, "shell", None)

    @property
    def kernel_now(self) -> int:
        """Kernel time of the live engine, else of the newest record."""
        shell = self.shell
        return self.oracle.last_at if shell is None else shell.now()

    @property
    def now_us(self) -> int:
        return round(self.world.clock.read() * 1_000_000)

    def quiet_seconds(self) -> float:
        """How long an engine has been up while neither disk, clock nor loop were disturbed."""
        disturbed = self.world.dice.disturbed + self.world.clock.stepped_us
        if disturbed != self._disturbed:
            self._disturbed, self._quiet_since = disturbed, self.world.time()
        return self.world.time() - self._quiet_since

    def parked(self, work: Work) -> bool:
        """Whether the live engine has set the task aside, or had until something that is not durable yet."""
        shell = self.shell
        actor = None if shell is None else shell.actors.get(work.queue)
        if actor is None or work.handler not in actor.runnables or work.id in actor.state.agenda.parked:
            return True
        task = actor.state.tasks.get(work.id)
        if task is None or task.finished_at is not None:  # cancelled since, and that is not durable yet
            return True
        # It may have been set aside when this was decided and not be any more: a change of the policy has all of them looked at anew.
        data = self.disk.get(Table.PAYLOADS, work.payload_seq.to_bytes(8, "big"))
        try:
            actor.runnables[work.handler].decode_call(data)
        except Exception:  # whatever shows that they do not fit
            return True
        return False

    def deleted(self, batch: Any) -> dict[str, set[int]]:
        """The records that a commit deletes, by table."""
        found: dict[str, set[int]] = {"EVENTS": set(), "PAYLOADS": set()}
        for table, keys in batch.deletes:
            if table is Table.EVENTS or table is Table.PAYLOADS:
                found[table.name].update(int.from_bytes(key, "big") for key in keys)
        return found


__all__ = ["Asked", "Witness"]

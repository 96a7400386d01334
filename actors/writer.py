"""The writer: group commit, and the one place where something decided becomes something said.

Problem.  A durable commit costs a disk barrier or two whatever it holds, so commits must be shared; and nothing may leave the
engine (a reply, a refusal, a start, a publication) before the commit of all that it rests on (law 3). Choice: actors hand over
their events together with the *effects* those events permit.  While one commit is under way everything that comes gathers for
the next; no timers, no batch size to tune: a batch grows exactly as fast as the disk is slow.  Effects run in order, on the
loop's thread, when their commit is durable. A failed append ends the engine (law 5): memory is ahead of the disk and nobody can
say by how much. Rejected: one trio task that awaits each commit (two scheduler hops a commit more); a commit on the loop's own
thread (a slow disk would stop the world).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import trio

from journeyman.actors.call import Call
from journeyman.journal.log import Journal
from journeyman.journal.store import Batch, Store
from journeyman.journal.values import rows_batch
from journeyman.kernel.events import Event

if TYPE_CHECKING:
    from journeyman.actors.values import Pending

_FEW: Final = 4  # a gathering under a quarter of the crowd just served waits for that crowd
Effect = tuple[Callable[[Any], object], Any]


class Step:
    """What one synchronous step of an actor decided, on its way to the writer."""

    __slots__ = ("drops", "effects", "ended", "extras", "items", "over", "payloads", "seals", "touched", "values", "waits")

    def __init__(self) -> None:
        self.items: list[tuple[int, Event]] = []
        self.payloads: list[tuple[int, bytes]] = []
        self.drops: list[int] = []  # seqs whose payload record goes
        self.effects: list[Effect] = []
        self.seals = False  # an effect wants everything to have been handed to the store
        self.ended: list[tuple[bytes, list[Any]]] = []  # tasks that ended in this step, with the calls that wait for them
        self.touched: list[Any] = []  # other queues' actors that this step changed
        self.over: list[tuple[Any, bytes]] = []  # actors of other queues, and tasks whose end theirs wait for
        self.waits: list[tuple[Any, Sequence[bytes]]] = []  # actors, and what new tasks of theirs wait for
        self.extras: list[Batch] = []  # rows of a checkpoint, deletes of a prune: in the same commit as the items
        self.values: dict[bytes, Pending] | None = None  # key-values of the application that it changes

    def __bool__(self) -> bool:
        return bool(self.items or self.effects or self.extras or self.payloads or self.drops)


class Writer:
    """Owns the order of commits.  All methods are for the loop's thread.

    `on_failure` is called once with the error of a failed append; after it the writer accepts nothing more.
    `watch` is called once for each commit, while it is under way: the moment to look at the disk.
    """

    def __init__(
        self,
        journal: Journal,
        store: Store,
        on_failure: Callable[[BaseException], None],
        watch: Callable[[], object] = lambda: None,
    ) -> None:
        self._journal = journal
        self._store = store
        self._on_failure = on_failure
        self._watch = watch
        self._token = trio.lowlevel.current_trio_token()
        self._gathering = Step()
        self._in_flight: Step | None = None
        self._in_flight_last = 0
        self.failure: BaseException | None = None
        self._closed: BaseException | None = None  # what to tell who comes too late
        self.durable_seq = journal.next_seq - 1  # the last seq known to be on disk
        self.commits = 0
        self._told: tuple[int, BaseException | None] | None = None  # what the store has said of the newest commit, and which that was
        self.crowd = 0  # how many waited for the last commit
        self._readers: dict[Call[None], None] = {}  # who waits for more to be durable, in their order

    def largest(self) -> int:
        """Bytes of the largest payload or result in the commit under way."""
        return 0 if self._in_flight is None else max((len(payload) for _, payload in self._in_flight.payloads), default=0)

    @property
    def idle(self) -> bool:
        """Whether everything recorded is durable.  Never again once the journal has failed: memory may be ahead of the disk for good."""
        return self._in_flight is None and not self._gathering and self.failure is None

    def under_way(self, key: bytes) -> Pending | None:
        """What the commit under way makes of a key-value (by its row's key)."""
        step = self._in_flight
        return None if step is None or step.values is None else step.values.get(key)

    def keys_under_way(self) -> Iterable[bytes]:
        """The rows' keys of all key-values that the commit under way changes."""
        return () if self._in_flight is None or self._in_flight.values is None else self._in_flight.values

    def gathered(self, key: bytes) -> Pending | None:
        """What the commit after that will make of it."""
        values = self._gathering.values
        return None if values is None else values.get(key)

    def record(self, step: Step) -> None:
        """Take over a step: its events become durable with the next commit, then its effects run."""
        refusal = self.failure or self._closed
        if refusal is not None:
            _refuse(step.effects, refusal)
            return
        gathering = self._gathering
        if gathering:
            gathering.items += step.items
            gathering.payloads += step.payloads
            gathering.drops += step.drops
            gathering.effects += step.effects
            gathering.extras += step.extras
            gathering.seals |= step.seals
            if step.values is not None:
                gathering.values = {**(gathering.values or {}), **step.values}
        else:
            self._gathering = step
        if self._in_flight is None:
            self._ship()
            self._watch()

    def after(self, run: Callable[[Any], object], argument: Any) -> None:
        """Run an effect as soon as everything recorded so far is durable; at once if it is.

        It never runs once the journal has failed; if its argument is a Call, whoever waits for that hears of the failure.
        """
        if self.failure is not None:
            _refuse([(run, argument)], self.failure)
            return
        gathering = self._gathering
        if gathering:
            gathering.effects.append((run, argument))
        elif self._in_flight is not None:
            self._in_flight.effects.append((run, argument))
        else:
            run(argument)

    def after_sealing(self, run: Callable[[Any], object], argument: Any) -> None:
        """As `after`, at a moment when nothing decided is left that has not been handed to the store."""
        self.after(run, argument)
        if self._gathering:
            self._gathering.seals = True
        elif self._in_flight is not None:
            self._in_flight.seals = True

    async def settled(self) -> None:
        """Wait until everything recorded so far is durable.  Raises the failure of the journal if it failed, and what `close` was given."""
        refusal = self.failure or (self._closed if self._in_flight is None else None)
        if refusal is not None:
            raise refusal
        if self.idle:
            return
        call: Call[None] = Call()
        self.after(Call.settle, call)
        await call.wait()

    async def beyond(self, seq: int) -> None:
        """Wait until an event after `seq` is durable.  Raises the failure of the journal if it failed, and what `close` was given."""
        refusal = self.failure or self._closed
        if refusal is not None:
            raise refusal
        if self.durable_seq > seq:
            await trio.lowlevel.checkpoint()
            return
        call: Call[None] = Call()
        self._readers[call] = None
        try:
            await call.wait()
        finally:
            self._readers.pop(call, None)

    def _tell_readers(self, error: BaseException | None) -> None:
        readers, self._readers = self._readers, {}
        for call in readers:
            if error is None:
                call.settle()
            else:
                call.fail(error)

    def close(self, error: BaseException) -> None:
        """The store is about to be closed: the commit under way still counts, whatever comes after it is refused with `error`.

        A call may outlive its engine (a prune in another task of the program), and the directory may belong to the next boot by then.
        """
        self._closed = error
        self._tell_readers(error)
        gathered, self._gathering = self._gathering, Step()
        _refuse(gathered.effects, error)

    def _ship(self) -> None:
        step = self._gathering
        self._gathering = Step()
        self._in_flight = step
        self._in_flight_last = step.items[-1][0] if step.items else 0
        if not (step.items or step.extras or step.payloads or step.drops):
            self._committed(None, self.commits)
            return
        try:
            batch = self._journal.seal(step.items, step.payloads, step.drops)
            for extra in step.extras:
                batch.absorb(extra)
            if step.values is not None:
                batch.absorb(rows_batch({key: pending.row for key, pending in step.values.items()}))
            self._store.begin_append(batch, self._done)
        except BaseException as error:
            self._fail(error)

    def _done(self, error: BaseException | None) -> None:
        """Called by the store, on whatever thread it commits in."""
        self._told = self.commits, error
        try:  # noqa: SIM105 - a context manager costs a microsecond, at every commit
            self._token.run_sync_soon(self._committed, error, self.commits)
        except trio.RunFinishedError:
            pass  # the loop is gone; the next open will find what was committed

    def take_in(self) -> bool:
        """For who stands on the loop's thread and cannot await (sim/inline.py): what the store has told counts now, and what has gathered
        is on its way.  Whether there was any of this.
        """
        before = self.commits, self._in_flight, self.failure
        if self._told is not None and self._told[0] == self.commits and self._in_flight is not None:
            self._committed(self._told[1], self.commits)
        self._ship_what_is_left()
        return before != (self.commits, self._in_flight, self.failure)

    def _committed(self, error: BaseException | None, number: int) -> None:
        if number != self.commits:
            return  # it has been taken in before its turn came
        if error is not None:
            self._fail(error)
            return
        step = self._in_flight
        assert step is not None
        self._in_flight = None
        self.commits += 1
        self.crowd = len(step.effects)
        if self._in_flight_last:
            self.durable_seq = self._in_flight_last
            if self._readers:
                self._tell_readers(None)
        gathered = len(self._gathering.effects)
        if step.seals or gathered * _FEW >= len(step.effects):
            if self._gathering:
                self._ship()  # before the effects run, so that the disk works meanwhile
        elif self._gathering:
            # A few came while many were served, and those many are about to speak again: a commit for the few would keep the many
            # waiting, and they would never share one again.  The next record takes them along; if none comes, two turns are the price.
            self._token.run_sync_soon(self._token.run_sync_soon, self._ship_what_is_left)
        for run, argument in step.effects:
            run(argument)
        if self._under_way():
            self._watch()

    def _under_way(self) -> bool:
        return self._in_flight is not None

    def _ship_what_is_left(self) -> None:
        if self._in_flight is None and self._gathering and self.failure is None:
            self._ship()

    def _fail(self, error: BaseException) -> None:
        if self.failure is None:
            self.failure = error
            for step in (self._in_flight, self._gathering):
                if step is not None:
                    _refuse(step.effects, error)
            self._in_flight = None
            self._tell_readers(error)
            self._on_failure(error)


def _refuse(effects: Iterable[Effect], error: BaseException) -> None:
    """Nothing of this is permitted any more; who waits for it must not wait for ever."""
    for _, argument in effects:
        if isinstance(argument, Call):
            argument.fail(error)

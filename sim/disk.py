"""The simulated disk: one that outlives the process, and one boot's view of it, which misbehaves on order.

Problem.  A real store promises one thing: a batch becomes durable whole or not at all, in order, and whoever was told so can rely on it.
Its failures are those of a disk: late, full, unreadable, wrong; and the process may die before, inside or after a commit. Choice: `Disk` is
the production `MemoryStore`, so what is tested is everything above the seam; `BootStore` stands between it and one boot of the engine.
When the boot dies its view is dead too: what it still writes goes nowhere, and it is told that the journal has failed, which is how
production code ends an engine.

A commit under way at the crash is on the disk or not, by chance: LMDB cannot do anything in between (two meta pages).  With "relaxed"
durability a power cut may also take back the newest commit that was acknowledged (journal/lmdb_store.py, `metasync=False`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from journeyman.actors.attempt import current_attempt
from journeyman.journal.errors import JournalError, JournalFull
from journeyman.journal.memory_store import MemoryStore
from journeyman.journal.store import Batch, Done, Gauge, Items, Table
from journeyman.sim.errors import EngineCrashed

if TYPE_CHECKING:
    from journeyman.sim.boot import Boot

DISK_BYTES: Final = 1 << 40
FULL_SECONDS: Final = 60.0


class Disk(MemoryStore):
    """What is left when a process has died.  One engine's directory."""

    def __init__(self, *, relaxed: bool = False) -> None:
        super().__init__()
        self.relaxed = relaxed
        self.full_until = -1.0  # on trio's clock
        self._undo: Batch | None = None

    def commit(self, batch: Batch) -> None:
        undo = self._inverse(batch) if self.relaxed else None
        super().commit(batch)
        self._undo = undo

    def _inverse(self, batch: Batch) -> Batch:
        """What would take `batch` back."""
        undo = Batch()
        touched = [(table, [key for key, _ in items]) for table, items, _ in batch.puts] + list(batch.deletes)
        for table, keys in touched:
            before = self.get_many(table, keys)
            undo.put(table, [(key, value) for key, value in zip(keys, before, strict=True) if value is not None])
            undo.delete(table, [key for key, value in zip(keys, before, strict=True) if value is None])
        return undo

    def cut_power(self) -> bool:
        """Lose the newest commit, if it need not have reached the platter; whether one was lost."""
        undo, self._undo = self._undo, None
        if undo is None or not self.relaxed:
            return False
        super().commit(undo)
        return True


class BootStore:
    """A `Store` for one boot."""

    def __init__(self, disk: Disk, boot: Boot) -> None:
        self.disk = disk
        self._boot = boot
        self._failure: BaseException | None = None
        self._in_flight: list[tuple[Batch, Done]] = []

    # --- writing ---

    def begin_append(self, batch: Batch, done: Done) -> None:
        boot, dice = self._boot, self._boot.world.dice
        if not boot.dead:
            boot.world.pulse.point("before a commit")
        if boot.dead or self._failure is not None:
            done(self._failure or _gone())
            return
        if dice.strikes("disk_full") and self._fill():
            done(self._failure)
            return
        if dice.strikes("torn_commit"):
            self._in_flight.append((batch, done))
            boot.world.note("fault", "the process dies inside a commit")
            boot.world.die()
            return
        seconds = dice.latency()
        if seconds:
            self._in_flight.append((batch, done))
            boot.world.nursery.start_soon(self._later, seconds, batch, done)
        else:
            self._arrive(batch, done)

    def _fill(self) -> bool:
        """Somebody else takes what is left of the disk; whether that is the end of this boot."""
        world = self._boot.world
        self.disk.full_until = world.time() + world.dice.size("disk_full", FULL_SECONDS)
        sudden = world.dice.coin()
        world.note("fault", f"the disk is full{', this commit included' if sudden else ''} for {self.disk.full_until - world.time():g} s")
        if sudden:
            self._failure = JournalFull("the simulated disk is full: open the engine again when there is room")
        return sudden

    def write_now(self) -> bool:
        """Let what is under way arrive, for who cannot wait for it (sim/inline.py).  Whether anything was."""
        waiting, self._in_flight = self._in_flight, []
        for batch, done in waiting:
            if self._boot.dead:  # it has died at the one before
                done(_gone())
            else:
                self._arrive(batch, done)
        return bool(waiting)

    async def _later(self, seconds: float, batch: Batch, done: Done) -> None:
        await self._boot.world.sleep(seconds)
        if (batch, done) in self._in_flight and not self._boot.dead:
            self._in_flight.remove((batch, done))
            self._arrive(batch, done)

    def _arrive(self, batch: Batch, done: Done) -> None:
        """`batch` is durable from here on."""
        try:
            self.disk.commit(batch)
        except JournalError as failure:
            self._failure = failure
            done(failure)
            return
        world = self._boot.world
        world.written(self._boot, batch)
        world.pulse.point("after a commit")
        done(_gone() if self._boot.dead else None)

    def die(self) -> None:
        """The process is gone: what was under way is on the disk, up to some point, or not."""
        arrived = True
        for batch, done in self._in_flight:
            arrived = arrived and self._boot.world.dice.coin()
            if arrived:
                self.disk.commit(batch)
                self._boot.world.written(self._boot, batch)
            else:
                self._boot.world.watch.lost(self._boot)
            done(_gone())
        self._in_flight.clear()

    @property
    def failed(self) -> bool:
        """Whether a commit failed, which is the end of the boot."""
        return self._failure is not None

    def forget(self) -> None:
        """The world ends: nobody will ever know whether what is under way arrives."""
        in_flight, self._in_flight = self._in_flight, []
        for _, done in in_flight:
            done(_gone())

    # --- reading ---

    def _reads(self) -> bool:
        """Whether what is read now has a bit flipped.  Raises for a read that fails."""
        dice = self._boot.world.dice
        if dice.strikes("read_error"):
            self._boot.world.note("fault", "a read fails")
            raise JournalError("a read of the simulated disk failed: check the disk and open the engine again")
        return dice.strikes("bit_flip")

    def _spoil(self, value: bytes | None) -> bytes | None:
        if not value:
            return value
        world = self._boot.world
        bit = world.dice.below(len(value) * 8)
        world.note("fault", f"bit {bit} of {len(value)} bytes read is flipped")
        return value[: bit // 8] + bytes((value[bit // 8] ^ (1 << bit % 8),)) + value[bit // 8 + 1 :]

    def get(self, table: Table, key: bytes) -> bytes | None:
        value = self.disk.get(table, key)
        return self._spoil(value) if self._reads() else value

    def get_many(self, table: Table, keys: Sequence[bytes]) -> list[bytes | None]:
        values = self.disk.get_many(table, keys)
        if values and self._reads():
            at = self._boot.world.dice.below(len(values))
            values[at] = self._spoil(values[at])
        return values

    def scan(self, table: Table, start: bytes = b"", stop: bytes | None = None, *, reverse: bool = False, limit: int) -> Items:
        found = self.disk.scan(table, start, stop, reverse=reverse, limit=limit)
        if found and self._reads():
            at = self._boot.world.dice.below(len(found))
            found[at] = (found[at][0], self._spoil(found[at][1]) or b"")
        return found

    def last(self, table: Table) -> tuple[bytes, bytes] | None:
        return self.disk.last(table)

    def count(self, table: Table) -> int:
        return self.disk.count(table)

    # --- the rest ---

    def gauge(self) -> Gauge:
        free, size = self.space()
        return self.disk.gauge()._replace(disk_free=free, disk_size=size)

    def space(self) -> tuple[int, int]:
        return (0 if self._boot.world.time() < self.disk.full_until else DISK_BYTES), DISK_BYTES

    def tend(self) -> None:
        """Nothing goes stale here."""

    def enter(self, slot: int, seq: int) -> None:
        if not self._boot.dead:
            self.disk.enter(slot, seq)
            self._boot.world.entered(self._boot, seq)

    def leave(self, slot: int) -> None:
        if not self._boot.dead:
            seq = self.disk.marks.get(slot)
            self.disk.leave(slot)
            if seq is not None:
                self._boot.world.left(self._boot, seq)

    def entered(self, through: int | None = None) -> set[int]:
        return self.disk.entered(through)

    def give_way(self) -> int:
        return 0

    def close(self) -> None:
        """The disk stays.  What was handed over is written first, while the caller waits, as the real store does it."""
        waiting, self._in_flight = self._in_flight, []
        for batch, done in waiting:
            self._arrive(batch, done)


def boot_of_handler() -> Boot | None:
    """The boot whose handler asks, from within or from a thread or task that it has started; None for the scenario."""
    attempt = current_attempt.get()
    store = None if attempt is None else attempt.actor.shell.store
    return store._boot if isinstance(store, BootStore) else None


def dead_handler_speaks() -> bool:
    """Whether who asks is a handler of a boot that is dead, being unwound: nobody hears what it does (DECISIONS 37)."""
    boot = boot_of_handler()
    return boot is not None and boot.dead


def _gone() -> EngineCrashed:
    return EngineCrashed("the simulated process has died")

"""The application's key-values in a running engine: what is durable of them, what is on its way, and how they are changed.

Problem.  Values are read at any moment and changed in the step of a transaction or of a handler's success.  A read must show what is
durable (law 3), a decision must rest on the newest that was decided, and a step that fails half-way must leave nothing behind.
Choice: memory holds no values but those under way.  A step carries what it changes (`Step.values`), and the writer's two steps (the one
that gathers, the one under way) are looked through before the table is: what is newest is in the first of step, gathering, under way and
table that knows the key.  Each change remembers what it replaces, so a reader is shown the durable value while the commit that replaces it
is under way.  A step that is thrown away takes its changes along.

Rejected: a map of changes beside the writer, kept up by effects (a step that fails would have to be taken out of it again).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from journeyman.actors.ending import describe
from journeyman.journal.digest import digest
from journeyman.journal.errors import JournalCorrupt
from journeyman.journal.values import Rows, name_of, names_after, note_put, row_key, spoken_for, stored_value
from journeyman.kernel.bounds import CHANGES_MAX, CHANGES_MAX_BYTES, LISTED_BYTES, VALUE_KEY_MAX_BYTES
from journeyman.kernel.commands import Failed, Outcome, Refused, Succeeded
from journeyman.kernel.events import ValuePut
from journeyman.kernel.values import Name, Write, decide_values

if TYPE_CHECKING:
    from journeyman.actors.attempt import Attempt
    from journeyman.actors.shell import Shell
    from journeyman.actors.writer import Step

_CONFLICT: Final = "journeyman.engine.errors.TransactionConflict"  # as `describe` names it, in a layer that does not know it
_LINEAGE: Final = ["TransactionConflict", "JourneymanError", "Exception", "BaseException"]
Stored = tuple[int, bytes | None]  # seq of the event that speaks for a key, its value; (0, None): there is none


Plan = list[tuple[ValuePut, bytes | None, Stored]]  # the events, the value of each, and what is durable of its key until they are


class Pending(NamedTuple):
    """A change that is not durable yet.  `stands`: what is, as long as this is not; `row`: what it makes of the table."""

    stored: Stored
    stands: Stored
    row: bytes | None


class Changes:
    """What a transaction, or a run of a handler, has read and wants to change.  Keys are those of one namespace."""

    __slots__ = ("_known", "_namespace", "_values", "bytes", "reads", "writes")

    def __init__(self, values: Values, namespace: str) -> None:
        self._values = values
        self._namespace = namespace
        self.reads: dict[Name, int] = {}
        self.writes: dict[Name, bytes | None] = {}
        self._known: set[Name] = set()
        self.bytes = 0  # of the values to put

    def get(self, key: bytes) -> bytes | None:
        """Its own change of the key if there is one, else what is durable.  ValueError, TypeError, JournalCorrupt."""
        name = self._named(key)
        if name in self.writes:
            return self.writes[name]
        self._bound(name)
        seq, value = self._values.durable(name)
        self.reads.setdefault(name, seq)
        return value

    def put(self, key: bytes, value: bytes) -> None:
        """ValueError, TypeError."""
        self._set(self._named(key), value)

    def delete(self, key: bytes) -> None:
        """ValueError, TypeError."""
        self._set(self._named(key), None)

    def _set(self, name: Name, value: bytes | None) -> None:
        self._bound(name)
        total = self.bytes - len(self.writes.get(name) or b"") + len(value or b"")
        if total > CHANGES_MAX_BYTES:
            raise ValueError(f"the values of one commit come to {CHANGES_MAX_BYTES:,} bytes at most; put fewer, or shorter ones")
        self.bytes = total
        self.writes[name] = value

    def _bound(self, name: Name) -> None:
        if name not in self._known and len(self._known) >= CHANGES_MAX:
            raise ValueError(f"one commit reads and changes at most {CHANGES_MAX:,} keys; work in portions")
        self._known.add(name)

    def _named(self, key: bytes) -> Name:
        return self._namespace, checked_key(key)


def checked_key(key: object) -> bytes:
    """`key` if it can be one; TypeError, ValueError."""
    if not isinstance(key, bytes):
        raise TypeError(f'a key is bytes, not {type(key).__name__}: b"total", or name.encode()')
    if not 1 <= len(key) <= VALUE_KEY_MAX_BYTES:
        raise ValueError(f"a key has 1 to {VALUE_KEY_MAX_BYTES} bytes, not {len(key):,}")
    return key


def size_of(value: object) -> int:
    """Of a value, in bytes; TypeError for what is none."""
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise TypeError(f"a value is bytes, not {type(value).__name__}: encode it, for instance with str.encode or json.dumps")
    return value.nbytes if isinstance(value, memoryview) else len(value)


class Values:
    """Of one engine.  On the loop's thread."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    def durable(self, name: Name) -> Stored:
        """What is durable of a key.  JournalCorrupt."""
        pending = self._shell.writer.under_way(row_key(name))
        return pending.stands if pending is not None else stored_value(self._shell.store, name)

    def listed(self, namespace: str, prefix: bytes, after: bytes | None, limit: int) -> list[tuple[bytes, bytes]]:
        """Durable keys and values, ascending; fewer where they come to LISTED_BYTES, at least one.

        The table may have the commit under way already, whose keys are therefore looked at one by one.
        """
        changed = [name for row in self._shell.writer.keys_under_way() if (name := name_of(row))[0] == namespace]
        within = {name for name in changed if name[1].startswith(prefix) and (after is None or name[1] > after)}
        names = names_after(self._shell.store, namespace, prefix, after, limit + len(within))
        last = names[-1] if len(names) == limit + len(within) else None  # beyond it the table has keys that were not read
        found: list[tuple[bytes, bytes]] = []
        total = 0
        for name in sorted({*names, *within}):
            if len(found) == limit or (last is not None and name > last) or (found and total >= LISTED_BYTES):
                break
            if (value := self.durable(name)[1]) is not None:
                found.append((name[1], value))
                total += len(value)
        return found

    # --- in a step ----------------------------------------------------------------------------------------------------

    def plan(self, changes: Changes, step: Step | None = None, by_task: bytes | None = None) -> Plan | Refused:
        """What these changes come to now; changes nothing.  `step`: what it has changed so far counts.  JournalCorrupt."""
        shell = self._shell
        newest = {name: self._newest(name, step) for name in {**changes.reads, **changes.writes}}
        writes = [Write(name, None) if value is None else Write(name, len(value), digest(value)) for name, value in changes.writes.items()]
        events = decide_values(changes.reads, writes, newest, shell.now(), shell.boot, by_task)
        if isinstance(events, Refused):
            return events
        return [(event, changes.writes[event.namespace, event.key], self._stands((event.namespace, event.key), step)) for event in events]

    def of_success(self, attempt: Attempt, changes: Changes, outcome: Outcome, step: Step) -> tuple[Plan | None, Outcome]:
        """What the changes of a run come to that has ended, and how it ended: not as a success if what it read is no longer so, or the row
        of a key is damaged.  An error would end the engine, and the next one too, for the handler of one damaged value.
        """
        if type(outcome) is not Succeeded or not (changes.writes or attempt.submits):
            return None, outcome
        running = attempt.actor.state.running.get(attempt.task.id)
        if running is None or (running.epoch, running.attempt) != (attempt.epoch, attempt.number):
            return None, outcome  # a stale word, which will be rejected as what it is
        try:
            plan = self.plan(changes, step, attempt.task.id)
        except JournalCorrupt as failure:
            return None, Failed(outcome.elapsed_us, describe(failure), options=outcome.options)
        return (None, _conflicted(outcome, plan)) if isinstance(plan, Refused) else (plan, outcome)

    def record(self, plan: Plan, step: Step) -> None:
        """Apply what was planned in this same step, and put it on its way."""
        for event, value, stands in plan:
            seq = self._shell.record_journal_event(event, step)
            rows: Rows = {}
            note_put(rows, seq, event)
            if step.values is None:
                step.values = {}
            for key, row in rows.items():
                step.values[key] = Pending((0, None) if value is None else (seq, value), stands, row)
            if value is not None:
                step.payloads.append((seq, value))
            if event.former:
                step.drops.append(event.former)

    def _newest(self, name: Name, step: Step | None) -> int:
        key = row_key(name)
        pending = None if step is None or step.values is None else step.values.get(key)
        pending = pending or self._shell.writer.gathered(key) or self._shell.writer.under_way(key)
        return pending.stored[0] if pending is not None else spoken_for(self._shell.store, name)

    def _stands(self, name: Name, step: Step | None) -> Stored:
        """What is durable of a key by the time the commit of a change made now is under way."""
        key = row_key(name)
        if step is not None and step.values is not None and (own := step.values.get(key)) is not None:
            return own.stands
        writer = self._shell.writer
        if (gathered := writer.gathered(key)) is not None:
            return gathered.stands
        shipped = writer.under_way(key)
        return shipped.stored if shipped is not None else stored_value(self._shell.store, name)


def _conflicted(outcome: Succeeded, refused: Refused) -> Failed:
    """A success whose changes cannot be recorded: the run failed, as if its handler had raised the error."""
    return Failed(outcome.elapsed_us, (_CONFLICT, refused.message, "", _LINEAGE), options=outcome.options)


__all__ = ["Changes", "Pending", "Plan", "Stored", "Values", "checked_key", "size_of"]

"""Unique keys and debounce: one of a key, replaced only for a successor, moved only as promised."""

from __future__ import annotations

from typing import Any

from journeyman.engine import DuplicateTask
from journeyman.sim.invariants.invariant import Invariant
from journeyman.sim.oracle import Work


class OneOfAKey(Invariant):
    """No task comes in whose unique key is taken: by an unfinished task (in one of `unique_states`), or by one that has succeeded and keeps
    it (`unique_for`); nor does a retry by hand make two.  A task is replaced only in the commit that brings its successor.
    """

    name = "one of a unique key"
    calls = frozenset({"submit"})

    def __init__(self, witness: Any) -> None:
        super().__init__(witness)
        self._replaced: set[tuple[str, str]] = set()  # keys whose successor is still to come

    def submitted(self, seq: int, event: Any, work: Work | None) -> None:
        options = event.options or {}
        key = options.get("unique")
        if key is None:
            return
        self._replaced.discard((event.queue, key))
        lane = self.oracle.lane(event.queue)
        debounced, states = "debounce_us" in options, options.get("unique_states")
        for other in lane.keys.get(key, {}).values():
            shown = other.shown(event.at)
            if (other.waits and not other.attempt) if debounced else (states is None or shown in states):
                self.broken(f"a task with unique key {key!r} comes in at seq {seq}, and {other} has it")
        until_at, holder, _ = lane.holds.get(key, (0, b"", 0))
        if until_at > event.at and not debounced:
            self.broken(f"a task with unique key {key!r} comes in at seq {seq}, and {holder.hex()} keeps it {until_at - event.at} us more")

    def retried(self, seq: int, event: Any, work: Work | None) -> None:
        if work is not None and (key := work.options.get("unique")) is not None:
            others = self.oracle.lane(event.queue).keys.get(key)
            if others:
                self.broken(f"{work} is retried at seq {seq}, and {len(others)} others have its unique key {key!r}")

    def cancelled(self, seq: int, event: Any, work: Work | None) -> None:
        if work is not None and event.by == "unique":
            if work.state == "running":
                self.broken(f"{work} is replaced at seq {seq} while it runs")
            if not self._replaced:
                self.witness.afterwards.append(self._look)
            self._replaced.add((event.queue, work.options["unique"]))
            self.witness.reach("a task replaced by another of its key")

    def _look(self) -> None:
        if self._replaced:
            self.broken(f"tasks with unique keys {sorted(self._replaced)} were replaced, and nothing has come in their place")
            self._replaced.clear()

    def answered(self, asked: Any, answer: Any, error: BaseException | None) -> None:
        if asked.name != "submit" or not asked.args:
            return
        spec = getattr(asked.args[0], "spec", None)
        key = None if spec is None else (spec.fixed or {}).get("unique")
        if key is None:
            return
        if error is None:
            work = self.oracle.known(answer._id)
            if work is not None and work.options.get("unique") != key and work.id != asked.task:
                self.broken(f"submit() with unique key {key!r} answered with {work}, which has {work.options.get('unique')!r}")
            if work is not None and work.seq <= asked.seq:
                self.witness.reach("a taken unique key answered with its task")
        elif isinstance(error, DuplicateTask) and self.oracle.newest_seq == asked.seq and self.witness.alone(asked):
            lane = self.oracle.lane(asked.queue)
            held = lane.holds.get(key, (0, b"", 0))[0] > asked.kernel_at
            known = asked.task is not None and (asked.task in self.oracle.tasks or asked.task in self.oracle.gone_ids)
            if not held and not known and not lane.keys.get(key):
                self.broken(f"submit() was refused for unique key {key!r} of {asked.queue!r}, which is free")


class DebouncedAsPromised(Invariant):
    """A debounced submit moves only a task that waits and was never started, never beyond `max_wait` after the first, and never into the
    past; and the arguments that a task shows are those of the last of them.
    """

    name = "debounced as promised"

    def rescheduled(self, seq: int, event: Any, work: Work | None) -> None:
        if work is None or event.by != "debounce":
            return
        if not work.waits or work.attempt:
            self.broken(f"{work} is moved by a debounced submit at seq {seq}")
        if event.due_at < event.at or event.place_at != event.due_at:
            self.broken(f"{work} is moved into the past at seq {seq}: due at {event.due_at}, place {event.place_at}, now {event.at}")
        if work.latest_at is not None and event.due_at > max(work.latest_at, event.at):
            self.broken(f"{work} is moved {event.due_at - work.latest_at} us beyond its max_wait at seq {seq}")
        if "payload_digest" not in (event.options or {}):
            self.broken(f"{work} is moved by a debounced submit without its arguments at seq {seq}")
        self.witness.reach("a debounced task moved")


__all__ = ["DebouncedAsPromised", "OneOfAKey"]

"""Dependencies: nothing runs before what it was to run after, and nobody waits for what has ended."""

from __future__ import annotations

from typing import Any

from journeyman.sim.invariants.invariant import Invariant
from journeyman.sim.oracle import Work


class RunsAfter(Invariant):
    """A task starts only when every task that it was to run after has succeeded (`after_failure="run"`: has ended); it is cancelled for one
    of them only when that one has ended otherwise; what it is told of them is true; it names only tasks that exist; none of them is
    pruned before it was told; and when all has come to rest, nobody waits for a task that has ended.
    """

    name = "runs after what it names"
    of_option = "after"

    def __init__(self, witness: Any) -> None:
        super().__init__(witness)
        self._named: list[tuple[int, Any]] = []  # submissions of this commit that name others

    def submitted(self, seq: int, event: Any, work: Work | None) -> None:
        if event.options is not None and "after" in event.options:
            if not self._named:
                self.witness.afterwards.append(self._look)
            self._named.append((seq, event))

    def _look(self) -> None:
        for seq, event in self._named:
            for id in event.options["after"]:
                if self.oracle.known(id) is None and id not in self.oracle.gone_ids:
                    self.broken(f"the task submitted at seq {seq} is to run after {id.hex()}, which does not exist")
                if id in event.options.get("waits_for", ()):
                    self.witness.reach("a task waits for another")
        self._named.clear()

    def started(self, seq: int, event: Any, work: Work | None) -> None:
        if work is None or "after" not in work.options:
            return
        if work.waits_for:
            self.broken(f"{work} is started at seq {seq} and was not told of {[id.hex() for id in sorted(work.waits_for)]}")
        if work.attempt or _retried(work):
            return
        for id in work.options["after"]:
            other = self.oracle.known(id)
            if other is None or _retried(other) or other.seq > work.seq:  # forgotten, or its id was used again
                continue
            if not (other.ended if work.options.get("after_failure") == "run" else other.state == "succeeded"):
                self.broken(f"{work} is started at seq {seq}, and was to run after {other}")

    def met(self, seq: int, event: Any, work: Work | None) -> None:
        if work is None:
            return
        for id, said in event.met:
            other = self.oracle.known(id)
            if id not in work.waits_for:
                self.broken(f"{work} is told of {id.hex()} at seq {seq}, which it does not wait for")
            if other is not None and (other.state != said or not other.ended):
                self.broken(f"{work} is told at seq {seq} that {other} is {said}")
            if said != "succeeded" and work.options.get("after_failure") != "run":
                self.broken(f"{work} goes on at seq {seq} though {id.hex()} is {said}")
        self.witness.reach("a task was told of the end it waited for")

    def cancelled(self, seq: int, event: Any, work: Work | None) -> None:
        if work is None or event.by != "dependency":
            return
        others = [other for id in work.options.get("after", ()) if (other := self.oracle.known(id)) is not None]
        if work.options.get("after_failure") == "run" or not any(other.ended and other.state != "succeeded" for other in others):
            self.broken(f"{work} is cancelled for a dependency at seq {seq}, and none of {others} has failed")
        self.witness.reach("a task cancelled because of another")

    def pruned(self, seq: int, event: Any, work: Work | None) -> None:
        for first, _, _ in event.entries:
            gone = self.oracle.by_seq.get(first)
            if gone is not None and self.oracle.awaited.get(gone.id):
                self.broken(f"the prune at seq {seq} takes {gone}, and others wait to hear of its end")

    def finish(self) -> None:
        if not self.witness.up:
            return
        for id, waiting in self.oracle.awaited.items():
            other = self.oracle.tasks.get(id)
            if waiting and (other is None or other.ended):
                self.broken(f"{other or id.hex()} has ended, and {len(waiting)} tasks still wait for it")
                return


def _retried(work: Work) -> bool:
    return any(type(event).__name__ == "TaskRetried" for _, event in work.events)


__all__ = ["RunsAfter"]

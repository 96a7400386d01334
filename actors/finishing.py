"""The end of an attempt, in the step of its queue: its outcome is decided on and applied, and what it leaves behind goes its way."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from journeyman.actors.attempt import Attempt
from journeyman.actors.logs import about
from journeyman.actors.surroundings import around
from journeyman.actors.writer import Step
from journeyman.kernel.commands import Finish, Outcome, Refused
from journeyman.kernel.decide import decide
from journeyman.kernel.events import AttemptFailed, QueueEvent, TaskEvent, TaskSucceeded

if TYPE_CHECKING:
    from journeyman.actors.queue_actor import QueueActor


def finish(actor: QueueActor, attempt: Attempt, outcome: Outcome, result: bytes, now: int, step: Step) -> None:
    """What `attempt` of this actor's came to, and what goes with it: its result, the tasks it submitted, the values it put, its slot."""
    plan = None
    if attempt.values is not None:
        plan, outcome = actor.shell.values.of_success(attempt, attempt.values, outcome, step)
    command = Finish(attempt.task.id, attempt.epoch, attempt.number, outcome)
    decision = decide(actor.state, [command], now, around(actor))
    submits, attempt.submits = attempt.submits, []  # a straggler comes here twice
    for submission in submits:
        submission.actor.reserved -= 1
    for event in cast("list[TaskEvent | QueueEvent]", decision.events):
        seq = actor.recorder.take(event, step)
        if type(event) is TaskSucceeded:
            if result:
                step.payloads.append((seq, result))
                if actor.shell.keepsakes and (keepsake := actor.shell.keepsakes.get(event.task)) is not None:
                    step.effects.append((keepsake.keep_result, result))
            if submits:
                actor.shell.submit_with_success(submits, now, step)
            if plan is not None:
                actor.shell.values.record(plan, step)
        elif type(event) is AttemptFailed and event.options is not None and "warning" in event.options:
            actor.shell.log.warning("%s", event.options["warning"], extra=about(attempt.task))
    answer = decision.answers[0]
    if type(answer) is Refused:
        actor.shell.log.warning("a stale outcome was rejected: %s", answer.message, extra=about(attempt.task, attempt=attempt.number))
    actor.shell.freed(attempt.task)
    if actor.budget is not None:
        actor.budget.slots.freed()

"""The executor: runs one attempt and turns any ending into an outcome.

Problem.  User code may do anything; whatever it does must end the attempt and never the engine, must not be interrupted by Ctrl-C between
our own decisions, and must not be taken for something it is not (a stop for a failure, a time-out for a cancel).
Choice: one function a run.  It is entered only after the commit of its start (law 3), marks its entry in the store (so that a crash charges
only attempts that had begun), runs the handler in a scope of its own, and posts one `Finish` to the actor, which checks the fence.
The handler alone runs without protection from KeyboardInterrupt.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from journeyman.actors.apart import Job, WorkerDied, value_of
from journeyman.actors.attempt import Attempt, current_attempt
from journeyman.actors.ending import CANCEL, HEARTBEAT, STOP, TIMEOUT, describe, leaves, outcome_of, timed_out
from journeyman.actors.following import follow_for_named
from journeyman.actors.logs import about
from journeyman.actors.steering import RetryLater
from journeyman.journal.digest import digest
from journeyman.kernel.commands import Failed, Outcome, Released, Snoozed, Stopped, Succeeded

if TYPE_CHECKING:
    from journeyman.actors.shell import Shell


@trio.lowlevel.disable_ki_protection
async def _call_async(attempt: Attempt) -> Any:
    if attempt.handler.takes_context:
        return await attempt.handler.function(attempt.context, *attempt.args, **attempt.kwargs)
    return await attempt.handler.function(*attempt.args, **attempt.kwargs)


def _call_sync(attempt: Attempt) -> Any:
    late: Outcome = Failed(0, ("", "", "", []), "exception", False)
    try:
        if attempt.handler.takes_context:
            value = attempt.handler.function(attempt.context, *attempt.args, **attempt.kwargs)
        else:
            value = attempt.handler.function(*attempt.args, **attempt.kwargs)
        late = Succeeded(0, 0, b"", 0, None)
        return value
    finally:
        attempt.late = late  # heard only if the thread was abandoned meanwhile, and then only to be rejected


async def _call_apart(shell: Shell, attempt: Attempt) -> Any:
    """In a process, which is killed with the attempt's scope: so a time-out, a cancel and a stop end it as they end an async handler."""
    job = Job(attempt.handler, attempt.handler.encode_call(attempt.args, attempt.kwargs), attempt.context)

    def say(ppm: int | None, message: str | None) -> None:
        if ppm is None and message is None:
            attempt.beat()
        else:
            attempt.report(ppm, message)

    try:
        ended = await shell.threads.apart(job, say, shell.nursery)
    except WorkerDied as error:
        raise RetryLater(error) from error  # whatever `on=` says, as for a time-out: the handler never had its say
    return value_of(ended, attempt.handler)


@trio.lowlevel.enable_ki_protection
async def run_attempt(shell: Shell, attempt: Attempt) -> None:
    """Run `attempt` to its end and post what became of it.  Never raises, except `Cancelled` of a scope around the whole engine."""
    outcome: Outcome = Released(0, "stop")
    result = b""
    slot = -1
    try:
        if attempt.hold_us:
            await attempt.actor.tap.gate.hold(attempt)
        if attempt.why is None or (attempt.why == CANCEL and attempt.handler.threaded):
            slot = shell.enter(attempt.seq)
            outcome, result = await _enter(shell, attempt)
        elif attempt.why == CANCEL:
            outcome = Stopped(0)
    except BaseException as error:
        if attempt.why is None and not isinstance(error, trio.Cancelled):
            outcome = Failed(0, describe(error), "exception", False)
            shell.log.exception("the executor failed; this is a bug in Journeyman", extra=about(attempt.task))
        if isinstance(error, trio.Cancelled):
            raise
    finally:
        if slot >= 0:
            shell.leave(slot)
        if type(outcome) is Snoozed and outcome.until_at is not None:
            follow_for_named(shell)
        attempt.actor.finished(attempt, outcome, result)


async def _enter(shell: Shell, attempt: Attempt) -> tuple[Outcome, bytes]:
    value: Any = None
    raised: BaseException | None = None
    if attempt.handler.takes_context:
        attempt.context = shell.context(attempt)
    current_attempt.set(attempt)
    with attempt.open_scope() as scope:
        try:
            if attempt.handler.threaded:
                attempt.straggling = True  # until its thread has ended, should it be abandoned
                value = await shell.threads.run(partial(_call_sync, attempt), attempt.actor.straggler(attempt))
                attempt.straggling = False
            elif attempt.handler.apart:
                value = await _call_apart(shell, attempt)
            else:
                value = await _call_async(attempt)
        except BaseException as error:
            if isinstance(error, trio.Cancelled) and trio.current_effective_deadline() == -math.inf:
                raise  # the scope it belongs to decides; one that none of ours has sent is an error like any other, kept from somewhere
            raised = error
            attempt.straggling = attempt.straggling and not attempt.handler.threaded  # a step's thread may have been left behind
    elapsed_us = attempt.elapsed_us()
    words = attempt.last_words()
    if raised is None and not scope.cancelled_caught:
        if attempt.cancel_requested and attempt.saw_cancel and attempt.handler.threaded and value is None:
            gave_up = Released(elapsed_us, "stop", words) if attempt.why == STOP else Stopped(elapsed_us, None, None, words)
            return gave_up, b""
        return _encoded(attempt, value, elapsed_us, words)
    why = attempt.struck()
    if why is None and attempt.cancel_requested:
        why = CANCEL  # a thread that was asked to end, and raised
    if (interrupt := _interrupt_in(raised)) is not None:
        shell.interrupted(interrupt)
        why = STOP
    if raised is None:
        if why == CANCEL:
            return Stopped(elapsed_us, None, None, words), b""
        if why == STOP:
            return Released(elapsed_us, "stop", words), b""
    if raised is None or why in (TIMEOUT, HEARTBEAT):
        raised = timed_out(why, elapsed_us, raised)
    return outcome_of(raised, why=why, elapsed_us=elapsed_us, on=attempt.actor.retry_on, options=words), b""


def _interrupt_in(raised: BaseException | None) -> KeyboardInterrupt | None:
    """The Ctrl-C that struck the handler, also one that a nursery of its own has put into a group."""
    if raised is None or isinstance(raised, Exception):
        return None
    return next((leaf for leaf in leaves(raised) if isinstance(leaf, KeyboardInterrupt)), None)


def _encoded(attempt: Attempt, value: Any, elapsed_us: int, words: dict[str, Any] | None) -> tuple[Outcome, bytes]:
    if value is None:
        return Succeeded(elapsed_us, 0, b"", 0, words), b""
    try:
        result = attempt.handler.encode_result(value)
    except BaseException as error:
        retryable = isinstance(error, attempt.actor.retry_on)
        return Failed(elapsed_us, describe(error), "result", retryable, None, words), b""
    if not attempt.actor.keeps_results:
        return Succeeded(elapsed_us, 0, b"", 0, words), b""
    return Succeeded(elapsed_us, len(result), digest(result), 0, words), result

"""Bugs planted into the engine, to see whether simulation finds them.

Problem.  A test bed that finds nothing may be blind.  Choice: each bug is an edit of the source of one or a few functions of production
code, compiled and put in place of their code for the length of a `with` block; nothing is imported anew, so every table and every
`from ... import` sees the mutated function.  An edit must fit exactly once, so a bug whose place has moved fails loudly.

`seed` is one that finds the bug, known from a search (`python -m tests.sim.planted`); CI runs just that.  Most bugs are found by the swarm;
a few need what it does not draw, and name a workload of their own.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FunctionType
from typing import Any

from journeyman.actors import budget, executor, gate, limiters, queue_actor, recorder, shell, slots, starter, timer
from journeyman.engine import bulk, limits, questions, reading, scope, session
from journeyman.journal import catalog, checkpoint, prune
from journeyman.kernel import (
    agenda,
    apply,
    backoff,
    dispatch,
    ending,
    keyrates,
    keys,
    policy,
    queue_fold,
    ready,
    rearrange,
    recovery,
    shares,
    state,
    submit,
    tats,
    world,
)
from journeyman.kernel import limiters as kernel_limiters
from tests.sim import workloads
from tests.sim.bug import Bug as Bug
from tests.sim.planted_others import OTHERS

SEEDS = 2_000
PAGES = sorted(Path(__file__).parent.glob("planted*.py"))


@contextmanager
def planted(bug: Bug) -> Iterator[None]:
    """Production code with the bug in it."""
    with ExitStack() as stack:
        for function in dict.fromkeys(function for function, _, _ in bug.edits):
            stack.enter_context(_edited(function, [(old, new) for place, old, new in bug.edits if place is function]))
        yield


@contextmanager
def _edited(function: Callable[..., Any], changes: Sequence[tuple[str, str]]) -> Iterator[None]:
    target = inspect.unwrap(function)
    assert isinstance(target, FunctionType)
    source = textwrap.dedent(inspect.getsource(target))
    for old, new in changes:
        assert source.count(old) == 1, f"{target.__qualname__} has {old!r} {source.count(old)} times: move the planted bug with the code"
        source = source.replace(old, new)
    scope = dict(target.__globals__)
    exec(compile("from __future__ import annotations\n" + source, f"<planted in {target.__qualname__}>", "exec"), scope)
    made = inspect.unwrap(scope[target.__name__])
    before = target.__code__
    target.__code__ = made.__code__
    try:
        yield
    finally:
        target.__code__ = before


LINES = (ready.Ready.push, ready.Ready.push_all)
BUGS = (
    *OTHERS,
    # law 3: what is not durable is not said
    Bug("reply before commit", ((queue_actor.QueueActor._drain, "step.effects.append((Call.settle, call))", "call.settle()"),), seed=0),
    Bug(
        "handler entered before commit",
        ((starter.Starter._start, "step.effects.append((self._launch, launches))", "self._launch(launches)"),),
        seed=0,
    ),
    Bug("reads do not wait for the commit", ((questions.Questions._seen, "if shell.writer.idle:", "if True:"),), seed=4),
    # fences and attempts
    Bug(
        "missing fence for progress",
        ((ending.progress, "or task.state is not _RUNNING or task.attempt != attempt or task.epoch != epoch", ""),),
        seed=0,
        run=workloads.leaky,
    ),
    Bug("attempt number reused", ((dispatch.dispatch, "task.attempt + 1", "max(1, task.attempt)"),), seed=0),
    Bug("duplicate id accepted", ((submit.submit, "if first is not None:", "if False:"),), seed=18),
    Bug(
        "one attempt too many",
        ((ending._failed, "failures >= task.budget(policy.attempts)", "failures > task.budget(policy.attempts)"),),
        seed=2,
    ),
    Bug("retry keeps failures", ((apply._retried, "task.failures = task.crashes = 0", "task.crashes = 0"),), seed=0),
    Bug(
        "snooze charges", ((apply._snoozed, "    state.agenda.wait(task)", "    task.failures += 1\n    state.agenda.wait(task)"),), seed=4
    ),
    Bug(
        "backoff without cap",
        ((backoff.exponential_us, "return min(cap, -(-base * above // below))", "return -(-base * above // below)"),),
        seed=0,
        run=workloads.stubborn,
    ),
    # crashes and stops
    Bug("crash not charged", ((recovery._verdict, "if not entered:", "if True:"),), seed=0),
    Bug("crash charged to bystanders", ((recovery._verdict, "if not entered:", "if False:"),), seed=14),
    Bug("crash charged twice", ((recovery._verdict, "crashes = task.crashes + 1", "crashes = task.crashes + 2"),), seed=0),
    Bug("marks of older runs count", ((session.entered_tasks, "if not _started_after(task, mark, journal)", "if True"),), seed=14),
    Bug("on_crash ignored", ((recovery._verdict, 'policy.on_crash == "interrupt"', "False"),), seed=18),
    Bug(
        "graceful stop charged",
        (
            (
                executor._enter,
                'return Released(elapsed_us, "stop", words), b""',
                'return Failed(elapsed_us, ("Cancelled", "", "", []), "exception", True, None, words), b""',
            ),
        ),
        seed=17,
    ),
    Bug(
        "suspects run together",
        ((dispatch.suspects_allowed, "not env.suspects_running and not state.agenda.suspects_out", "True"),),
        seed=131,
    ),
    Bug("suspects of other queues not woken", ((shell.Shell.freed, "if task.crashes:", "if False:"),), seed=0, run=workloads.suspects),
    # cancels and pauses
    Bug("cancel lost", ((queue_actor.QueueActor.decide_apply, "elif type(event) is CancelRequested and", "elif False and"),), seed=14),
    Bug("cancel forgotten by a crash", ((recovery._verdict, "if task.cancel is not None:", "if False:"),), seed=808),
    Bug(
        "paused queue starts",
        (
            (dispatch.dispatch, "state.paused is not None or ", ""),
            (starter.Starter._start, "held = state.paused is not None or ", "held = "),
        ),
        seed=2,
    ),
    Bug(
        "pause forgotten by a checkpoint", ((state.QueueState.merge_facts, 'if facts["pause_seq"] > self.pause_seq:', "if False:"),), seed=2
    ),
    # live changes
    Bug("live change undone by a restart", ((recovery.open_queue, "if declared != state.declared:", "if declared != policy:"),), seed=2),
    Bug(
        "live change taken for a declaration",
        ((queue_fold.configured, 'if event.options is None or not event.options.get("live"):', "if True:"),),
        seed=2,
    ),
    Bug(
        "parked queue starts",
        (
            (dispatch.dispatch, "or state.parked_until > now", ""),
            (starter.Starter._start, "state.paused is not None or state.parked_until > now", "state.paused is not None"),
        ),
        seed=4,
    ),
    Bug(
        "parking forgotten by a checkpoint",
        ((state.QueueState.merge_facts, "if parked is not None and parked[2] >= self.parked_seq:", "if False:"),),
        seed=4,
    ),
    Bug("a step of the clock does not move a parking", ((world.rebase, "queue.parked_until += delta_us", "pass"),), seed=100),
    # orders about many, and about what waits
    Bug("dry run acts", ((bulk.Bulk._aimed, "if dry_run else None", "if False else None"),), seed=74),
    Bug("priority forgotten", ((rearrange.reprioritised, "task.priority = event.priority", "task.priority += 0"),), seed=2),
    Bug("a moved task slips", ((agenda.Agenda.withdraw, "self.leave(task)", "self.leave(task)\n    task.first_due += 1"),), seed=43),
    # namespaces
    Bug("a plugin reaches what is another's", ((scope.Scope.reaches, "not self.namespace or", "True or"),), seed=6),
    Bug("budget of a namespace off by one", ((limits.NamespaceScope._left, "return limit - sum", "return limit + 1 - sum"),), seed=20),
    Bug(
        "room of a namespace off by one",
        ((budget.Budget.room, "return self.pending - self.promised", "return self.pending + 1 - self.promised"),),
        seed=227,
    ),
    # limits
    Bug(
        "concurrency off by one",
        (
            (dispatch.free_slots, "concurrency - len(running)", "concurrency + 1 - len(running)"),
            (starter.Starter._start, "len(state.running) >= state.policy.concurrency", "len(state.running) > state.policy.concurrency"),
        ),
        seed=0,
    ),
    Bug("a tenant's turn is not counted", ((shares.Shares.began, "tenant.turn = self._turns", "pass"),), seed=37),
    Bug(
        "a tenant's runs are not counted",
        ((shares.Shares._place, "(tenant.running, tenant.turn, tenant)", "(0, tenant.turn, tenant)"),),
        seed=505,
    ),
    Bug(
        "tenants forgotten by a change of policy",
        (
            (
                state.QueueState._tell_agenda,
                "agenda.fair_by = policy.crashes, policy.aging_us, policy.fair_by",
                "agenda.fair_by = policy.crashes, policy.aging_us, agenda.fair_by",
            ),
        ),
        seed=217,
    ),
    Bug("max_concurrency off by one", ((slots.Slots._free, "return self._limit -", "return self._limit + 1 -"),), seed=2),
    Bug(
        "an unused slot is not passed on",
        ((slots.Slots.used, "if leaves:\n        self.freed()", "if False:\n        self.freed()"),),
        seed=74,
        run=workloads.shared,
    ),
    Bug("max_pending takes one too many", ((submit.submit, "- env.reserved", "- env.reserved + 1"),), seed=9),
    Bug("max_pending refuses one too early", ((submit.submit, "len(entry.replaced)) <= 0:", "len(entry.replaced)) <= 1:"),), seed=46),
    Bug(
        "rate token given twice",
        (
            (dispatch.conforming, "+ 1 if spare", "+ 2 if spare"),
            (dispatch._limited, "if allowed_at(rate, tat_at, cost) > now:", "if allowed_at(rate, tat_at - interval, cost) > now:"),
        ),
        seed=10,
    ),
    Bug("limiter forgotten over a restart", ((state.QueueState.merge_facts, 'if facts["tat_seq"] >= self.tat_seq:', "if False:"),), seed=2),
    Bug(
        "a shared limiter knows one queue's starts",
        ((kernel_limiters.limiter_at, "max(state.limiters.get(name), env.limiter_at)", "state.limiters.get(name)"),),
        seed=74,
    ),
    Bug(
        "a dear task costs as little as any",
        ((dispatch._limited, "after_start(rate, tat_at, now, cost)", "after_start(rate, tat_at, now)"),),
        seed=20,
    ),
    Bug("a shared limiter forgotten by a checkpoint", ((tats.Tats.merge, "if not facts:", "if True:"),), seed=2),
    Bug(
        "a turn at a limiter is not passed on",
        ((limiters.SharedLimiter.used, "if passes_on:", "if False:"),),
        seed=0,
        run=workloads.tokens,
    ),
    Bug(
        "a key's token given twice", ((keyrates.KeyTokens.token_at, "allowed_at(self._rate,", "-1 + 0 * allowed_at(self._rate,"),), seed=33
    ),
    Bug(
        "a key's tokens forgotten by a checkpoint",
        ((state.QueueState.merge_facts, 'self.key_tats.merge(facts.get("key_tats"))', "pass"),),
        seed=33,
    ),
    Bug(
        "nobody wakes for a key's token",
        ((keyrates.KeyTokens.next_at, "return at", "return None"),),
        seed=748,
    ),
    Bug("entries not held", ((gate.Gate.hold, "> trio.current_time():", "> trio.current_time() + 3600:"),), seed=10),
    Bug(
        "order by submission only",
        tuple(
            (line, "place = (-task.priority if aging is None else due - task.priority * aging, due,", "place = (0, 0,") for line in LINES
        ),
        seed=0,
    ),
    # serialization keys
    Bug("a key let go during the backoff", ((keys.Keys.holds, "return self.strict and task.attempt > 0", "return False"),), seed=237),
    Bug("one too many of a key", ((keys.Keys.leave, "len(line.front) < self.per_key", "len(line.front) <= self.per_key"),), seed=2),
    Bug("a key's line in order of submission", ((keys._place, "(task.first_due, task.place, task)", "(task.seq, 0, task)"),), seed=42),
    Bug("a key kept by the dead", ((agenda.Agenda.ended, "if key is not None:", "if False:"),), seed=2),
    Bug("aging forgotten", tuple((line, "-task.priority if aging is None else", "-task.priority if True else") for line in LINES), seed=2),
    # time
    Bug(
        "timer rounds down",
        ((queue_actor.QueueActor.step, "now = shell.now()", "now = shell.now()\n    self.state.advance(now + 20_000)"),),
        seed=88,
    ),
    Bug("lost wake-up", ((timer.Timer.set, "if self._wanted.get(sleeper) == due_at:", "if sleeper in self._wanted:"),), seed=20),
    Bug("clock step not rebased", ((world.rebase, "task.due_at += delta_us", "task.due_at += 0"),), seed=100),
    Bug("clock step moves named instants", ((world.rebase, "if task.due_kind == DUE_BY_DURATION:", "if True:"),), seed=1192),
    Bug(
        "deadline ignored",
        (
            (dispatch._filter, "late = deadline is not None and deadline < now", "late = False"),
            (queue_actor.QueueActor.step, "if self.state.agenda.next_deadline() is not None:", "if False:"),
        ),
        seed=4,
    ),
    # retention and records
    Bug(
        "pruned a little early",
        ((catalog.Catalog.expired, "self._due(now)", "self._due(now + 60_000_000)"),),
        seed=0,
        run=workloads.retained,
    ),
    Bug("kept for ever expires", ((policy.Policy.expiry, "None if keep is None else end_at + keep", "end_at + (keep or 0)"),), seed=55),
    Bug(
        "live task pruned",
        (
            (prune._expired_in_memory, "in _ENDED", "in tuple(State)"),
            (prune._expired_in_memory, "task.expires_at is not None and", "task.expires_at is None or"),
            (prune.Pruner.may_go, "task.state not in TERMINAL or ", ""),
        ),
        seed=0,
    ),
    Bug("expired shown", ((shell.Shell._has_expired, "<= self.now()", "<= self.now() - 30_000_000"),), seed=111),
    Bug("expired listed", ((reading.expired, "task.expires_at <= now", "False"),), seed=141),
    Bug("arguments dropped too early", ((recorder.Recorder._ended, "if not task.keep_payload:", "if True:"),), seed=0),
    Bug(
        "checkpoint misses a task", ((checkpoint.Checkpoint._encode, "if task is None or", "if task is None or task.failures or"),), seed=0
    ),
    Bug(
        "end of another task told",
        ((recorder.Recorder._ended, "shell.waiters.pop(task.id, None)", "shell.waiters.popitem()[1] if shell.waiters else None"),),
        seed=0,
    ),
)


def hunt(bug: Bug, seeds: range) -> tuple[int, Exception] | None:
    """The first seed that finds the bug, and what it raised.  A seed that fails without the bug does not count."""
    for seed in seeds:
        error = raised(bug, seed)
        if error is not None:
            try:
                bug.run(seed)
            except Exception:
                continue
            return seed, error
    return None


def raised(bug: Bug, seed: int) -> Exception | None:
    """What a run with the bug comes to."""
    with planted(bug):
        try:
            bug.run(seed)
        except Exception as error:
            return error
    return None


def finder(error: BaseException) -> str:
    """What found it: the promise of an invariant, or another ending of the run."""
    return str(getattr(error, "promise", type(error).__name__))


def table(rows: list[tuple[str, str, str]]) -> str:
    """For docs/SIMULATION.md."""
    head = ["| Planted bug | Seeds needed | Found by |", "|---|---:|---|"]
    return "\n".join([*head, *(f"| {name} | {seeds} | {by} |" for name, seeds, by in rows)])


def note(name: str, seed: int) -> None:
    """Write the seed that finds a bug where the bug stands: what the swarm draws for a seed changes with every new policy."""
    for page in PAGES:
        source = page.read_text(encoding="utf-8")
        lines = source.splitlines(keepends=True)
        for node in ast.walk(ast.parse(source)):
            if not isinstance(node, ast.Call) or not node.args or not isinstance(node.args[0], ast.Constant) or node.args[0].value != name:
                continue
            [place] = [keyword.value for keyword in node.keywords if keyword.arg == "seed"]
            row, start, stop = place.lineno - 1, place.col_offset, place.end_col_offset
            lines[row] = f"{lines[row][:start]}{seed}{lines[row][stop:]}"
            page.write_text("".join(lines), encoding="utf-8")
            return


def main() -> None:
    """Search from seed 0, each bug or those named; --write notes the seeds here, --lost is for those whose seed finds none now."""
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    rows = []
    for bug in BUGS:
        if words and not any(word in bug.name for word in words):
            continue
        if "--lost" in sys.argv and hunt(bug, range(bug.seed, bug.seed + 1)) is not None:
            continue
        began = time.perf_counter()
        found = hunt(bug, range(SEEDS))
        if found is not None and "--write" in sys.argv:
            note(bug.name, found[0])
        seeds, by = ("not found", "") if found is None else (f"{found[0] + 1:,}", finder(found[1]))
        rows.append((bug.name, seeds, by))
        sys.stdout.write(f"{bug.name:<40} {seeds:>9}  {by:<45} {time.perf_counter() - began:6.1f} s\n")
        sys.stdout.flush()
    sys.stdout.write("\n" + table(rows) + "\n")


if __name__ == "__main__":
    main()

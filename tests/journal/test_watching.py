"""The model of `journeyman top`: fed with events, asked for pictures."""

from __future__ import annotations

from journeyman.journal.activity import Activity, Rates, Spread, spread
from journeyman.journal.watching import SHOWN_DEAD, SHOWN_EVENTS, TopModel
from journeyman.kernel.events import (
    DUE_BY_DURATION,
    AttemptFailed,
    AttemptStarted,
    Event,
    QueuePaused,
    TaskFailed,
    TaskRetried,
    TasksPruned,
    TaskSubmitted,
    TaskSucceeded,
)
from journeyman.kernel.lifecycle import State

SECOND = 1_000_000
START = 1_000 * SECOND
ERROR = ("ValueError", "no", "", ["ValueError", "Exception", "BaseException"])


class Journal:
    """Hands out seqs and tasks; what it says goes to a model."""

    def __init__(self) -> None:
        self.model = TopModel()
        self.seq = 0

    def say(self, event: Event) -> int:
        self.seq += 1
        self.model.feed(self.seq, event)
        return self.seq

    def submitted(self, at: int, *, due_at: int | None = None, queue: str = "q") -> bytes:
        task = (self.seq + 1).to_bytes(16, "big")
        self.say(TaskSubmitted(at, queue, 1, 1, task, "work", 0, at if due_at is None else due_at, DUE_BY_DURATION, 0, b"", 0))
        return task

    def started(self, task: bytes, at: int, attempt: int = 1, waited: int = 0) -> None:
        self.say(AttemptStarted(at, "q", 1, 1, task, attempt, 1, 0, at - waited))

    def succeeded(self, task: bytes, at: int, expires_at: int | None = None) -> int:
        return self.say(TaskSucceeded(at, "q", 1, 1, task, 1, 250, expires_at, True, 0, b"", 0))

    def died(self, task: bytes, at: int) -> None:
        self.say(TaskFailed(at, "q", 1, 1, task, 1, 700, 1, 0, None, True, ERROR, "attempts"))


def test_counts_follow_events_and_time() -> None:
    journal = Journal()
    first, second, later = journal.submitted(START), journal.submitted(START), journal.submitted(START, due_at=START + 9 * SECOND)
    journal.started(first, START + SECOND, waited=SECOND)
    journal.started(second, START + SECOND)
    journal.say(AttemptFailed(START + SECOND, "q", 1, 1, second, 1, 40, 1, START + 5 * SECOND, ERROR))
    journal.say(QueuePaused(START + SECOND, "q", 1, 1, "ops", "month end"))
    picture = journal.model.picture(START + 2 * SECOND)
    (queue,) = picture.queues
    assert (queue.counts[State.RUNNING], queue.counts[State.RETRYING], queue.counts[State.SCHEDULED]) == (1, 1, 1)
    assert (queue.oldest_due_us, queue.paused) == (None, ("ops", "month end", START + SECOND))
    assert [(run.task, run.age_us) for run in picture.runs] == [(first, SECOND)]
    picture = journal.model.picture(START + 10 * SECOND)
    (queue,) = picture.queues
    assert (queue.counts[State.PENDING], queue.counts[State.SCHEDULED]) == (2, 0)
    assert queue.oldest_due_us == 5 * SECOND
    journal.started(second, START + 11 * SECOND, attempt=2)
    assert journal.model.picture(START + 12 * SECOND).queues[0].oldest_due_us == 3 * SECOND
    assert later in journal.model.state.queues["q"].tasks


def test_rates_are_those_of_a_minute_and_percentiles_of_what_was_seen() -> None:
    journal = Journal()
    for n in range(4):
        task = journal.submitted(START + n * 30 * SECOND)
        journal.started(task, START + n * 30 * SECOND, waited=n * SECOND)
        journal.succeeded(task, START + n * 30 * SECOND)
    queue = journal.model.picture(START + 91 * SECOND).queues[0]
    assert queue.rates == Rates(submits=2, starts=2, ends=2, failures=0)
    assert queue.durations == Spread(250, 250)
    assert queue.waits == Spread(SECOND, 3 * SECOND)
    assert journal.model.picture(START + 1000 * SECOND).queues[0].rates == Rates()


def test_percentiles_by_hand() -> None:
    assert spread([]) == Spread()
    assert spread([7]) == Spread(7, 7)
    assert spread(range(100)) == Spread(49, 99)
    assert spread(range(1000)) == Spread(499, 990)


def test_an_idle_queue_keeps_nothing_of_long_ago() -> None:
    activity = Activity()
    for second in range(500):
        activity.add(AttemptStarted(START + second * SECOND, "q", 1, 1, bytes(16), 1, 1, 0, START))
    assert activity.rates(START + 499 * SECOND).starts == 60


def test_dead_letters_come_newest_first_and_go_with_a_retry() -> None:
    journal = Journal()
    tasks = [journal.submitted(START) for _ in range(3)]
    for task in tasks:
        journal.started(task, START)
        journal.died(task, START + SECOND)
    model = journal.model
    assert [letter.task for letter in model.picture(START + SECOND).dead] == tasks[::-1]
    row = model.state.queues["q"].tasks[tasks[1]].row()
    journal.say(TaskRetried(START + 2 * SECOND, "q", 1, 1, tasks[1], "ops", "", row))
    picture = model.picture(START + 2 * SECOND)
    assert [letter.task for letter in picture.dead] == [tasks[2], tasks[0]]
    assert (picture.total(State.FAILED), picture.total(State.PENDING)) == (2, 1)


def test_a_task_that_is_retried_after_it_was_settled_ends_as_others_do() -> None:
    journal = Journal()
    task = journal.submitted(START)
    journal.started(task, START)
    journal.died(task, START + SECOND)
    row = journal.model.state.queues["q"].tasks[task].row()
    journal.model.let_go(journal.seq)
    assert journal.model.task(task) is None
    journal.say(TaskRetried(START + 2 * SECOND, "q", 1, 1, task, "ops", "", row))
    journal.started(task, START + 2 * SECOND, attempt=2)
    journal.say(TaskSucceeded(START + 3 * SECOND, "q", 1, 1, task, 2, 250, START + 5 * SECOND, True, 0, b"", 0))
    journal.model.called_back.clear()  # as whoever feeds it does when the tables hold it no more
    assert journal.model.picture(START + 4 * SECOND).total(State.SUCCEEDED) == 1
    assert journal.model.picture(START + 5 * SECOND).total(State.SUCCEEDED) == 0
    assert journal.model.ended == {}


def test_lists_are_bounded() -> None:
    journal = Journal()
    for n in range(2 * SHOWN_DEAD):
        task = journal.submitted(START + n)
        journal.started(task, START + n)
        journal.died(task, START + n)
    picture = journal.model.picture(START + SECOND)
    assert (len(picture.dead), len(picture.newest)) == (SHOWN_DEAD, SHOWN_EVENTS)
    assert picture.dead[0].at > picture.dead[-1].at


def test_an_end_is_hidden_on_time_and_let_go_of_when_the_tables_have_it() -> None:
    journal = Journal()
    model = journal.model
    for expires_at in (START + 5 * SECOND, None, None):
        task = journal.submitted(START)
        journal.started(task, START)
        through = journal.succeeded(task, START, expires_at)
    assert model.picture(START + 4 * SECOND).total(State.SUCCEEDED) == 3
    assert model.picture(START + 5 * SECOND).total(State.SUCCEEDED) == 2
    model.let_go(through - 1)
    model.settled = {"q": {State.SUCCEEDED: 1}}
    assert model.picture(START + 5 * SECOND).total(State.SUCCEEDED) == 2
    assert list(model.ended) == [task]


def test_a_task_of_which_only_the_submit_was_read_goes_with_its_prune() -> None:
    journal = Journal()
    ghost, other = journal.submitted(START), journal.submitted(START)
    journal.say(TasksPruned(START + SECOND, "q", 1, 1, [[1, 4, 3]], {}, "retention"))
    picture = journal.model.picture(START + SECOND)
    assert picture.total(State.PENDING) == 1
    assert list(journal.model.state.queues["q"].tasks) == [other]
    assert ghost not in journal.model.ended

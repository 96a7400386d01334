"""The door for programs that read a journal: several views at once, ids as everywhere, odd values refused."""

from __future__ import annotations

import threading
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import trio

from journeyman.engine import Engine, Queue, Retention
from journeyman.journal import open_journal
from journeyman.journal.errors import JournalError, NoJournal
from journeyman.kernel.lifecycle import State
from tests.cli.journals import filled


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled(tmp_path_factory.mktemp("view") / "jobs")


def test_views_of_one_process_share_a_store_that_closes_with_the_last(journal: Path) -> None:
    with open_journal(journal) as one:
        with open_journal(str(journal)) as other, open_journal(bytes(journal)) as third:  # type: ignore[arg-type]
            assert one.store is other.store is third.store
            assert list(one.events()) == list(other.events())
        other.close()  # a second time: nothing
        assert one.last_seq > 0
        answers: list[Any] = []
        threads = [threading.Thread(target=lambda: answers.append(len(list(one.events())))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(answers)) == 1
        assert len(answers) == 4
    with pytest.raises(JournalError, match="closed"):
        _ = one.last_seq
    with open_journal(journal) as again:
        assert again.store is not one.store


def test_the_process_that_owns_it_is_told_to_ask_its_engine(tmp_path: Path) -> None:
    async def main() -> None:
        async with Engine(tmp_path / "jobs", [Queue("q")]):
            with pytest.raises(JournalError, match="ask that engine"):
                open_journal(tmp_path / "jobs")

    trio.run(main)


def test_stats(journal: Path, tmp_path: Path) -> None:
    with open_journal(journal) as view:
        found = view.stats()
    counts = {queue.name: {state: n for state, n in queue.counts.items() if n} for queue in found.queues}
    assert counts == {"mail": {State.SUCCEEDED: 17, State.FAILED: 3}, "reports": {State.PENDING: 1, State.SCHEDULED: 1}}
    assert (found.tasks, found.expired, found.owner, found.clean) == (22, 0, None, True)
    brief = Queue("brief", retention=Retention(succeeded=0.001))

    @brief.handler
    async def noop() -> None: ...

    async def main() -> None:
        async with Engine(tmp_path / "jobs", [brief]) as engine:
            await engine.submit_many([noop.bind() for _ in range(5)])
            await engine.drain()
            await trio.sleep(0.01)

    trio.run(main)
    with open_journal(tmp_path / "jobs") as view:
        assert (view.stats().tasks, view.stats().expired) == (0, 5), "they are there, and nobody sees them any more"


def test_ids_are_text_as_everywhere_or_their_bytes(journal: Path) -> None:
    with open_journal(journal) as view:
        id = next(event.task for _, event in view.events() if hasattr(event, "task"))
        text = str(view.history(id)[0].task)
        assert view.history(text) == view.history(id) != []
        assert view.task(text) == view.task(id) or view.task(text).id == id  # type: ignore[union-attr]
        for odd in ("", "x", b"x", 7, None):
            with pytest.raises(ValueError, match="id"):
                view.history(odd)  # type: ignore[arg-type]


@pytest.mark.parametrize("odd", [-1, True, 5.0, "7", datetime(2026, 1, 1)])
def test_odd_moments(journal: Path, odd: Any) -> None:
    with open_journal(journal) as view:
        for ask in (lambda: list(view.events(odd)), lambda: view.seq_at(odd), lambda: view.state_at(odd)):
            with pytest.raises((ValueError, TypeError), match="moment|seq|aware|since"):
                ask()


def test_other_odd_values(journal: Path) -> None:
    with open_journal(journal) as view:
        assert list(view.events(1, 10**30)) == list(view.events()), "the end of time is after the last event"
        with pytest.raises(ValueError, match="a page holds"):
            list(view.events(page=0))
        with pytest.raises(ValueError, match="chain head"):
            view.verify(against="5:aa")
        head = view.verify().head
        assert head is not None
        assert view.verify(against=str(head)).sound


def test_a_file_is_no_directory_and_an_empty_one_no_journal(journal: Path, tmp_path: Path) -> None:
    with pytest.raises(NoJournal, match="give the directory that holds"):
        open_journal(journal / "data.mdb")
    (tmp_path / "data.mdb").touch()
    with pytest.raises(NoJournal, match="empty"):
        open_journal(tmp_path)

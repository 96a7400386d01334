"""`journeyman at` and `journeyman diff`: the past, and what changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from journeyman.journal.instants import instant_of
from journeyman.journal.past import task_at
from journeyman.journal.view import open_journal
from journeyman.kernel.events import AttemptFailed, TaskFailed
from journeyman.kernel.ids import id_text
from journeyman.kernel.lifecycle import State
from tests.cli.journals import called, filled


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled(tmp_path_factory.mktemp("travel") / "jobs")


def found(*arguments: object) -> Any:
    done = called(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# row 86
def test_row_86_the_state_as_of_any_event_and_any_instant(journal: Path) -> None:
    with open_journal(journal) as view:
        past, now = view.state_at(view.last_seq // 2), view.state_at(view.last_seq)
        at_once = view.state_at(instant_of(past.at))
        assert at_once.counts("mail") == view.state_at(at_once.seq).counts("mail")
        last = now.seq
    told = found("at", journal, "--seq", last // 2)
    (mail,) = [queue for queue in told["queues"] if queue["queue"] == "mail"]
    assert {State(state): count for state, count in mail["counts"].items()} == past.counts("mail")
    assert (told["seq"], told["at_us"], told["boots"], told["closed_in_good_order"]) == (last // 2, past.at, 1, False)
    assert (mail["policy"]["concurrency"], mail["policy"]["attempts"], mail["unknown"]) == (8, 3, [])
    told = found("at", journal, "--time", "now")
    assert [(queue["queue"], queue["paused"] and queue["paused"]["reason"]) for queue in told["queues"]] == [
        ("mail", None), ("reports", "month end"),
    ]  # fmt: skip
    assert told["closed_in_good_order"] is True
    assert found("at", journal, "--seq", 0)["queues"] == []


# row 86
def test_a_task_as_it_stood(journal: Path) -> None:
    with open_journal(journal) as view:
        failed = [(seq, event) for seq, event in view.events() if isinstance(event, AttemptFailed | TaskFailed)]
        id = failed[0][1].task
        own = [seq for seq, event in failed if event.task == id]
        assert task_at(view, id, 1) is None
        for seq in own:
            expected = view.state_at(seq).task(id)
            assert task_at(view, id, seq) == expected or (expected is not None and task_at(view, id, seq).row() == expected.row())  # type: ignore[union-attr]
    told = found("at", journal, "--seq", own[0], "--task", id_text(id))
    assert (told["state"], told["failures"], told["queue"]) == ("retrying", 1, "mail")
    done = called("at", journal, "--seq", own[-1], "--task", id_text(id))
    assert "failed" in done.stdout
    assert "ValueError: no such address" in done.stdout
    assert "did not exist yet" in called("at", journal, "--seq", 1, "--task", id_text(id)).stderr


def test_one_queue_for_people(journal: Path) -> None:
    with open_journal(journal) as view:
        running = next(seq for seq in range(1, view.last_seq) if view.state_at(seq).counts("mail")[State.RUNNING] > 2)
    done = called("at", journal, "--seq", running, "--queue", "mail")
    assert " ".join(("concurrency", "8")) in " ".join(done.stdout.split())
    assert done.stdout.count("running  ") >= 3
    done = called("at", journal, "--time", "now")
    assert "paused by ops: month end" in done.stdout
    assert "boot 1, closed in good order" in done.stdout


# row 86
def test_what_changed(journal: Path) -> None:
    with open_journal(journal) as view:
        last = view.last_seq
    done = called("diff", journal, 0, last)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert sum(line.startswith("+") for line in lines) == 22
    assert "queue mail (new): succeeded 0 -> 17, failed 0 -> 3" in lines
    assert lines[-1].startswith(f"from seq 0 to {last}: tasks: 20 added and ended, 2 added; boots: 1")
    brief = called("diff", journal, 0, last, "--brief", "--queue", "reports").stdout.splitlines()
    assert brief[0] == "queue reports (new): scheduled 0 -> 1, pending 0 -> 1"
    changes = [json.loads(line) for line in called("diff", journal, 0, last, "--json").stdout.splitlines()]
    assert [change["what"] for change in changes].count("task added and ended") == 20
    assert changes[-1] == {"what": "journal", "a": 0, "b": last, "boots": 1, "stepped_us": 0, "pruned": 0, "compactions": 0, "values": 0}
    (reports,) = [change for change in changes if change["what"] == "queue" and change["queue"] == "reports"]
    assert reports["fields"]["paused"][1]["by"] == "ops"


def test_wrong_moments(journal: Path) -> None:
    with open_journal(journal) as view:
        for moment, words in ((9999, "the journal ends at"), (-1, "seqs begin at 1"), (instant_of(1 << 55), "has not come yet")):
            with pytest.raises(ValueError, match=words):
                view.state_at(moment)
        with pytest.raises(ValueError, match="the other way round"):
            view.diff(50, 1)
    for arguments, words in (
        (("at", journal), "either --seq N or --time MOMENT"),
        (("at", journal, "--seq", 50, "--queue", "nobody"), "there were: mail, reports"),
        (("diff", journal, 1, 9999), "the journal ends at"),
    ):
        done = called(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert words in done.stderr

"""Every command on every kind of damage: a clear message, a documented exit code, no traceback, no dead interpreter."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import trio

from journeyman.engine import Engine
from journeyman.journal import open_journal
from journeyman.journal.building import PART
from journeyman.journal.repair import repair
from journeyman.journal.store import Table
from journeyman.journal.summary import summary
from journeyman.journal.vouched import CONFIRMED, CONTRADICTED
from journeyman.kernel.events import TaskFailed, TaskSubmitted
from journeyman.kernel.ids import id_text
from tests.cli.corpus import CASES, COMMANDS, MORE, OTHERS, another_record, one_bit, rewrite
from tests.cli.journals import filled, journeyman, mail_queue, report_queue
from tests.cli.matrix import DOCUMENTED, READING, WRITING, Answer, Call, Known, answers, complaint, in_one_process, prepared

pytestmark = pytest.mark.timeout(900)  # a child looks at each of many journals, and it takes its time on a busy machine
EXACT = (*COMMANDS, *OTHERS)


def made_sound(root: Path) -> Path:
    """A journal with a checkpoint: rows of ended tasks, of waiting ones, and a tail."""
    root.mkdir(exist_ok=True)
    home = filled(root / "jobs", tasks=120)

    async def checkpointed() -> None:
        mail, reports = mail_queue(), report_queue()
        async with Engine(home, [mail, reports]) as engine:
            await engine.submit(mail.handlers["send"], "bad and late")
            assert await engine.prune(0, "mail", states=["failed"]) > 10  # and with it a checkpoint
            await engine.submit(mail.handlers["send"], "late@example.org")
            await engine.drain()

    trio.run(checkpointed)
    return home


def known_of(home: Path) -> Known:
    """Tasks to be asked about."""
    found: dict[str, str] = {}
    with open_journal(home) as view:
        for _, event in view.events():
            if isinstance(event, TaskFailed):
                found["failed"] = id_text(event.task)
            elif isinstance(event, TaskSubmitted) and event.queue == "reports":
                found["waiting"] = id_text(event.task)
        return Known(**found, last=view.last_seq)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_sound(tmp_path_factory.mktemp("sound"))


@pytest.fixture(scope="module")
def said(sound: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, tuple[Call, Answer]]]:
    """What each command says of each case."""
    calls = prepared(sound, tmp_path_factory.mktemp("corpus"), known_of(sound), list(CASES), [*READING, *WRITING])
    found: dict[str, dict[str, tuple[Call, Answer]]] = {case: {} for case in CASES}
    for call, answer in answers(calls, in_one_process):
        found[call.case][call.command] = call, answer
    return found


# row 88
@pytest.mark.parametrize("case", CASES)
def test_every_command_on_every_kind_of_damage(said: dict[str, dict[str, tuple[Call, Answer]]], case: str) -> None:
    exact = dict(zip(EXACT, (*CASES[case][1:], *MORE.get(case, ())), strict=False))
    wrong = {}
    for command, (call, answer) in said[case].items():
        if (why := complaint(answer)) is not None:
            wrong[command] = why, answer.err[-2_000:]
        elif answer.code not in exact.get(command, DOCUMENTED):
            wrong[command] = f"exit code {answer.code}", (answer.out + answer.err)[-300:]
        if command in ("repair", "backup"):
            there = [Path(f"{call.words[2]}{more}").exists() for more in ("", PART)]
            if there != [answer.code in (0, 1), False]:
                wrong[command] = "something was left behind, or is missing", str(there)
    assert wrong == {}
    answer = said[case]["repair"][1]
    assert answer.code not in (0, 1) or json.loads(answer.out)["verified"], "the repaired journal does not verify"


def tasks_of(home: Path) -> int:
    with open_journal(home) as view:
        return summary(view).tasks


def verdict(home: Path, *options: str) -> dict[str, Any]:
    done = journeyman("verify", home, "--json", *options)
    assert done.returncode in (0, 1), done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_damage_is_located_by_table_seq_and_byte(sound: Path, tmp_path: Path) -> None:
    home = tmp_path / "jobs"
    shutil.copytree(sound, home)
    with open_journal(home) as view:
        seq = int.from_bytes(view.records(0, 1_000, 41)[40][0], "big")
    one_bit(Table.EVENTS, 40, 31)(home)
    one_bit(Table.PAYLOADS, 7, 2)(home)
    findings = {finding["table"]: finding for finding in verdict(home)["findings"]}
    assert set(findings) == {"EVENTS", "PAYLOADS"}
    assert (findings["EVENTS"]["seq"], findings["EVENTS"]["offset"]) == (seq, 31)
    assert findings["PAYLOADS"]["offset"] == 2


def test_what_is_put_right_is_asked_of_the_chain(tmp_path: Path) -> None:
    home = filled(tmp_path / "jobs")  # nothing is pruned: its commits are whole
    one_bit(Table.EVENTS, 15, 31)(home)
    one_bit(Table.PAYLOADS, 7, 2)(home)
    found = repair(home, tmp_path / "first")
    (record,) = found.vouched
    assert (found.mended[record], found.vouched[record], len(found.mended)) == ("byte 31 of its record", CONFIRMED, 2)
    rewrite(home, Table.EVENTS, 18, another_record)  # whole in itself, of the same commit
    found = repair(home, tmp_path / "second")
    assert (found.vouched, len(found.mended), found.lost) == ({record: CONTRADICTED}, 1, 1)
    assert any(one.why.startswith("its beginning is lost") for one in found.affected)
    done = journeyman("repair", home, tmp_path / "third")
    assert done.returncode == 1
    assert "1 records could have been restored, but the chain says that they, or others of their commits," in done.stdout
    assert f"they count as lost, the first is {record}" in done.stdout


@pytest.mark.parametrize(("at", "what"), [(-9, "all"), (None, "some")])
def test_a_repaired_journal_opens_and_goes_on(sound: Path, tmp_path: Path, at: int | None, what: str) -> None:
    home, new = tmp_path / "jobs", tmp_path / "new"
    shutil.copytree(sound, home)
    if at is None:
        rewrite(home, Table.EVENTS, 150, lambda key, value: value[:9] + bytes(20))
    else:
        one_bit(Table.EVENTS, 150, at)(home)
    done = journeyman("repair", home, new, "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["whole"]) == ((0, True) if what == "all" else (1, False)), done.stderr

    async def go_on() -> int:
        mail, reports = mail_queue(), report_queue()
        async with Engine(new, [mail, reports]) as engine:
            for name in told["paused"]:
                await engine.resume(name, reason="report read", by="ops")
            handle = await engine.submit(mail.handlers["send"], "new@example.org")
            assert await handle.wait(30)
            return await engine.count()

    count = trio.run(go_on)
    assert count == tasks_of(sound) + 1 - (0 if what == "all" else len([one for one in told["affected"] if one["what"] == "left out"]))
    assert verdict(new)["sound"]

"""Every command on every kind of damage: a clear message, a documented exit code, no traceback, no dead interpreter."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from journeyman.engine import Engine
from journeyman.journal import open_journal
from journeyman.journal.store import Table
from journeyman.journal.summary import summary
from tests.cli.corpus import CASES, COMMANDS, MORE, OTHERS, one_bit, rewrite
from tests.cli.journals import filled, journeyman, mail_queue, report_queue

pytestmark = pytest.mark.timeout(900)  # some ninety processes begin here, each of which takes its time on a busy machine

# Every command on each of many journals, in one process that a death would end, and with it the test.
ALL = """
import contextlib, io, json, sys
from journeyman.cli.app import app
answers = {}
for words in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            app(words)
            code = 0
        except SystemExit as end:
            code = end.code or 0
    answers["|".join(words[:2])] = [code, out.getvalue(), err.getvalue()]
print(json.dumps(answers))
"""
Answers = dict[str, tuple[int, str, str]]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal with a checkpoint: rows of ended tasks, of waiting ones, and a tail."""
    home = filled(tmp_path_factory.mktemp("sound") / "jobs", tasks=120)

    async def checkpointed() -> None:
        mail, reports = mail_queue(), report_queue()
        async with Engine(home, [mail, reports]) as engine:
            assert await engine.prune(0, "mail", states=["failed"]) > 10  # and with it a checkpoint
            await engine.submit(mail.handlers["send"], "late@example.org")
            await engine.drain()

    trio.run(checkpointed)
    return home


def contents(home: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in home.iterdir() if file.name != "lock.mdb"} if home.exists() else {}


@pytest.fixture(scope="module")
def answers(sound: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answers]:
    """What each command says of each case."""
    root = tmp_path_factory.mktemp("corpus")
    calls: list[list[str]] = []
    before: dict[str, dict[str, bytes]] = {}
    for place, (name, (change, *_)) in enumerate(CASES.items()):
        home = root / f"{place}"
        shutil.copytree(sound, home)
        change(home)
        before[name] = contents(home)
        calls += [
            [command, str(home), *([f"{home}-new"] if command == "repair" else []), "--json"]
            for command in COMMANDS + (OTHERS if name in MORE else ())
        ]
    ran = subprocess.run([sys.executable, "-c", ALL, json.dumps(calls)], capture_output=True, text=True, timeout=600, check=False)
    assert ran.returncode == 0, (ran.returncode, ran.stderr[-500:])
    said: dict[str, tuple[int, str, str]] = json.loads(ran.stdout)
    found: dict[str, Answers] = {}
    for place, name in enumerate(CASES):
        home = root / f"{place}"
        assert contents(home) == before[name], f"a tool has written to the journal with {name}"
        found[name] = {command: tuple(said[f"{command}|{home}"]) for command in (*COMMANDS, *OTHERS) if f"{command}|{home}" in said}  # type: ignore[misc]
        assert (root / f"{place}-new").exists() == (found[name]["repair"][0] in (0, 1)), "a repair that failed left something behind"
    return found


# row 88
@pytest.mark.parametrize("name", CASES)
def test_every_command_on_every_kind_of_damage(answers: dict[str, Answers], name: str) -> None:
    expected = dict(zip(COMMANDS, CASES[name][1:], strict=True)) | dict(zip(OTHERS, MORE.get(name, ()), strict=False))
    for command, (code, out, err) in answers[name].items():
        assert code in expected[command], (command, code, out[-300:], err[-300:])
        assert "Traceback" not in out + err, (command, err)
        assert code in (0, 1) or "journeyman: " in err, (command, code, err)
    code, out, _ = answers[name]["repair"]
    assert code not in (0, 1) or json.loads(out)["verified"], "the repaired journal does not verify"


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

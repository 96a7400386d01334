"""`journeyman export`, `import`, `backup` and `compact`."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as parquet
import pytest
import trio

from journeyman.cli.fields import Fields
from journeyman.engine import Engine, Queue, Retry
from journeyman.journal.errors import JournalCorrupt, NotImportable
from journeyman.journal.jsonlines import lines_of
from journeyman.journal.rebuild import import_journal
from journeyman.journal.recovery import fold_everything
from journeyman.journal.redaction import Redaction
from journeyman.journal.store import Table
from journeyman.journal.view import JournalView, open_journal
from journeyman.kernel.events import EngineBooted, TransitionRejected
from tests.cli.journals import called, filled, journeyman, mail_queue, report_queue

FORMATS = ("jsonl", "cbor", "parquet")
PROGRAM = """
import sys, trio
from journeyman import Engine
from tests.cli.journals import mail_queue
async def main():
    mail = mail_queue()
    async with Engine(sys.argv[1], [mail]) as engine:
        print("open", flush=True)
        while True:
            await engine.submit(mail.handlers["send"], "x" * 500)
            await engine.prune(older_than=0)
trio.run(main)
"""


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled(tmp_path_factory.mktemp("carry") / "jobs")


@pytest.fixture(scope="module")
def complete(journal: Path) -> Path:
    file = journal.with_name("complete.jsonl")
    assert called("export", journal, file, "--reveal").returncode == 0
    return file


@contextlib.contextmanager
def busy_engine(path: Path) -> Iterator[int]:
    """An engine in a process of its own that submits, works and prunes all the time; its pid."""
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen([sys.executable, "-c", PROGRAM, str(path)], stdout=subprocess.PIPE, text=True, cwd=root) as engine:
        assert engine.stdout is not None
        assert engine.stdout.readline() == "open\n"
        try:
            yield engine.pid
            assert engine.poll() is None, "the engine ended"
        finally:
            engine.kill()


def tables(view: JournalView) -> list[list[tuple[bytes, bytes]]]:
    """What is the journal: its records and payloads, raw."""
    return [view.store.scan(table, limit=1_000_000) for table in (Table.EVENTS, Table.PAYLOADS)]


def modes(directory: Path) -> set[int]:
    return {stat.S_IMODE(file.stat().st_mode) for file in directory.iterdir()}


# --- export and import ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
def test_a_complete_export_comes_back_as_the_same_journal(form: str, journal: Path, tmp_path: Path) -> None:
    first, again = tmp_path / f"first.{form}", tmp_path / f"again.{form}"
    done = called("export", journal, first, "--reveal", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["format"], told["complete"], told["bytes"]) == (form, True, first.stat().st_size)
    done = called("import", first, tmp_path / "jobs", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"path": str(tmp_path / "jobs"), "events": told["events"], "last_seq": told["last_seq"]}
    with open_journal(journal) as known, open_journal(tmp_path / "jobs") as made:
        assert tables(made) == tables(known)
        with made.newest() as found:
            assert found.report.tail == 0  # a checkpoint is there
            assert found.state.facts() == fold_everything(found.journal).facts()
    assert called("export", tmp_path / "jobs", again, "--reveal").returncode == 0
    assert again.read_bytes() == first.read_bytes()
    assert (tmp_path / "jobs" / "identity").read_bytes() == (journal / "identity").read_bytes()
    assert stat.S_IMODE((tmp_path / "jobs").stat().st_mode) == 0o700
    assert modes(tmp_path / "jobs") == {0o600}
    assert stat.S_IMODE(first.stat().st_mode) == 0o600  # what is in it may be secret
    assert sorted(path.name for path in tmp_path.iterdir()) == [again.name, first.name, "jobs"]


def test_an_engine_goes_on_with_what_was_imported(complete: Path, tmp_path: Path) -> None:
    assert called("import", complete, tmp_path / "jobs").returncode == 0

    async def main() -> None:
        async with Engine(tmp_path / "jobs", [mail_queue(), report_queue()]) as engine:
            assert await engine.count("mail", "failed") == 3
            assert await engine.retry_all("mail") == 3
            await engine.resume("reports")
            await engine.drain()
            assert await engine.count("mail", "failed") == 3
            assert await engine.count("reports", "succeeded") == 1

    trio.run(main)


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal with "geheim" wherever a payload or what people give may stand: arguments, result, meta, a schedule, a row in an event."""
    path = tmp_path_factory.mktemp("secrets") / "jobs"

    async def main() -> None:
        bank = Queue("bank", retry=Retry(attempts=1))

        @bank.handler
        async def pay(to: str, *, card_number: str) -> dict[str, str]:
            if to == "nobody":
                raise ValueError("nobody is there")
            return {"status": "paid", "auth": card_number}

        async with Engine(path, [bank]) as engine:
            await engine.submit(pay.using(meta={"apiToken": "geheim", "note": "open"}), "someone", card_number="geheim")
            lost = await engine.submit(pay.using(meta={"apiToken": "geheim"}), "nobody", card_number="geheim")
            await engine.submit(pay.using(debounce=60, unique="u"), "first-geheim", card_number="geheim")
            await engine.submit(pay.using(debounce=60, unique="u"), "second-geheim", card_number="geheim")
            await engine.schedule("daily", pay, args=["scheduled-geheim"], kwargs={"card_number": "geheim"}, every=86_400)
            await engine.drain()
            await engine.pause("bank")
            await engine.retry(lost.id)

    trio.run(main)
    return path


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_hidden_is_in_no_export(form: str, secrets: Path, tmp_path: Path) -> None:
    file = tmp_path / f"jobs.{form}"
    assert called("export", secrets, file, "--redact", "pay.0").returncode == 0
    if form == "parquet":  # compressed: look at the columns
        columns = parquet.read_table(file).to_pydict()
        assert "record" not in columns and "data" not in columns
        text = repr(columns)
    else:
        text = file.read_bytes().decode("utf-8", "replace")
    for kind in ("TaskRescheduled", "ScheduleDeclared", "TaskRetried", "TaskSucceeded"):
        assert kind in text
    assert "[hidden]" in text and "open" in text
    assert "geheim" not in text and "someone" not in text
    done = called("import", file, tmp_path / "made")
    assert done.returncode == 2
    assert "fields are hidden in this export" in done.stderr and "--reveal" in done.stderr
    assert not (tmp_path / "made").exists()


def test_lines_for_people(journal: Path) -> None:
    done = called("export", journal, "-", "--queue", "mail", "--since", "5", "--until", "2999-01-01T00:00:00Z", "--redact", "send.1")
    header, *events, end = map(json.loads, done.stdout.splitlines())
    assert done.returncode == 0 and "not importable" in done.stderr
    assert (header["complete"], header["selected"]) == (False, {"since": "5", "until": "2999-01-01T00:00:00Z", "queue": "mail"})
    assert end["events"] == len(events) > 0
    assert {event["queue"] for event in events} == {"mail"} and events[0]["seq"] >= 5
    submitted = next(event for event in events if event["kind"] == "TaskSubmitted")
    assert submitted["arguments"] == {"args": ["bad0", "[hidden]"], "kwargs": {}}
    assert [event["result"] for event in events if event["kind"] == "TaskSucceeded"] == ["250 ok"] * 17
    nothing = called("export", journal, "--since", "999999", "--reveal")
    assert [json.loads(line).get("events") for line in nothing.stdout.splitlines()] == [None, 0]


def test_a_rejected_word_is_exported_under_its_own_kind() -> None:
    event = TransitionRejected(1, "mail", 2, 3, bytes(16), 1, 2, "success", "retrying")
    shown = Fields(Redaction(), for_json=True).of(9, event, None)
    assert (shown["seq"], shown["kind"], shown["rejected"], shown["state"]) == (9, "TransitionRejected", "success", "retrying")
    assert "options" not in shown


def test_what_json_cannot_say_is_said_otherwise() -> None:
    values = {"nan": float("nan"), "big": 1 << 80, "bytes": b"\x01", 5: "five", "text": "\u2028é"}
    event = EngineBooted(1, "plugin\x1fmail", 0, 1, {"facts": values})
    shown = Fields(Redaction(), for_json=True).of(1, event, None)
    found = json.loads(lines_of([shown]))
    assert found["facts"] == {"facts": {"nan": "nan", "big": 1 << 80, "bytes": "01", "5": "five", "text": "\u2028é"}}
    assert found["queue"] == "plugin/mail"
    assert lines_of([shown | {"half": "\ud800"}]).endswith(b'"half":"\xed\xa0\x80"}\n')


def test_a_parquet_file_is_a_table_of_events(journal: Path, tmp_path: Path) -> None:
    assert called("export", journal, tmp_path / "jobs.parquet").returncode == 0
    rows = parquet.read_table(tmp_path / "jobs.parquet").to_pylist()
    with open_journal(journal) as view:
        assert [(row["seq"], row["kind"]) for row in rows] == [(seq, type(event).__name__) for seq, event in view.events()]
    failed = next(row for row in rows if row["kind"] == "TaskFailed")
    assert json.loads(failed["fields"])["failures"] == 3 and failed["at"].tzinfo is not None


@pytest.mark.parametrize("form", FORMATS)
def test_a_damaged_file_becomes_nothing(form: str, journal: Path, tmp_path: Path) -> None:
    file = tmp_path / f"jobs.{form}"
    assert called("export", journal, file, "--reveal").returncode == 0
    whole = file.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    damages = [whole[:-1], whole[:middle], whole[: len(whole) - 40], whole + b"\n", flipped]
    for n, data in enumerate(damages):
        file.write_bytes(data)
        with pytest.raises((JournalCorrupt, NotImportable)):
            import_journal(file, tmp_path / "made")
        assert [path.name for path in tmp_path.iterdir()] == [file.name], n
    done = called("import", file, tmp_path / "made")
    assert done.returncode == 3 and "Traceback" not in done.stderr
    assert "export" in done.stderr or "record" in done.stderr
    for foreign in (b"", b"\x00" * 100, b'{"a": 1}\n', b"PAR1PAR1", b"PAR1" * 8, b"\xd9\xd9\xf7", b"\xd9\xd9\xf7\xff", b"not json"):
        file.write_bytes(foreign)
        done = called("import", file, tmp_path / "made") if foreign == b'{"a": 1}\n' else None
        assert done is None or (done.returncode == 2 and "this is no export" in done.stderr)
        with pytest.raises((JournalCorrupt, NotImportable)):
            import_journal(file, tmp_path / "made")
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_nothing_is_overwritten(journal: Path, complete: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").write_text("mine")
    before = complete.read_bytes()
    for call in (("export", journal, complete), ("import", complete, tmp_path / "there"), ("backup", journal, tmp_path / "there")):
        done = called(*call)
        assert done.returncode == 2, call
        assert "nothing is ever overwritten" in done.stderr
    assert complete.read_bytes() == before
    assert (tmp_path / "there" / "file").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_a_part_and_a_newer_layout_are_refused(journal: Path, complete: Path, tmp_path: Path) -> None:
    assert called("export", journal, tmp_path / "part.cbor", "--reveal", "--until", "50").returncode == 0
    done = called("import", tmp_path / "part.cbor", tmp_path / "made")
    assert done.returncode == 2 and "a part of a journal" in done.stderr
    (tmp_path / "new.jsonl").write_bytes(complete.read_bytes().replace(b'"journeyman_export":1', b'"journeyman_export":2', 1))
    done = called("import", tmp_path / "new.jsonl", tmp_path / "made")
    assert done.returncode == 4 and "upgrade" in done.stderr
    assert not (tmp_path / "made").exists()


def test_without_pyarrow_it_says_what_to_install(journal: Path, tmp_path: Path) -> None:
    code = (
        f"import sys; sys.modules['pyarrow'] = None; sys.argv = ['journeyman', 'export', {str(journal)!r}, 'x.parquet']; "
        "from journeyman.__main__ import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, list(tmp_path.iterdir())) == (8, [])
    assert "pip install 'journeyman[parquet]'" in done.stderr


# --- beside a busy engine ---------------------------------------------------------------------------------------------------


def test_export_and_backup_beside_a_busy_engine(journal: Path, tmp_path: Path) -> None:
    path = filled(tmp_path / "jobs")
    with busy_engine(path) as pid:
        with open_journal(path) as view:
            begun = view.last_seq
        made = called("backup", path, tmp_path / "copy", "--json")
        exported = called("export", path, tmp_path / "jobs.cbor", "--reveal")
        alone = called("compact", path)
        order = called("retry", path, "--queue", "mail")
    assert (made.returncode, exported.returncode) == (0, 0), made.stderr + exported.stderr
    assert json.loads(made.stdout)["last_seq"] >= begun
    for refused in (alone, order):
        assert refused.returncode == 6
        assert f"process {pid}" in refused.stderr
    assert modes(tmp_path / "copy") == {0o600} and stat.S_IMODE((tmp_path / "copy").stat().st_mode) == 0o700
    with open_journal(tmp_path / "copy") as view, open_journal(path) as original:
        copied = view.last_seq
        both = [[pair for pair in tables(one)[0] if int.from_bytes(pair[0], "big") <= copied] for one in (view, original)]
        assert set(both[1]) <= set(both[0])  # the engine has pruned since, and nothing else
        assert (tmp_path / "copy" / "identity").read_bytes() == (path / "identity").read_bytes()
    assert called("import", tmp_path / "jobs.cbor", tmp_path / "imported").returncode == 0
    assert sorted(file.name for file in tmp_path.iterdir()) == ["copy", "imported", "jobs", "jobs.cbor"]

    async def main() -> None:
        async with Engine(tmp_path / "copy", [mail_queue()]) as engine:
            assert await engine.count("reports") == 2
            await engine.drain()

    trio.run(main)


def test_a_damaged_journal_is_not_backed_up(journal: Path, tmp_path: Path) -> None:
    path = tmp_path / "jobs"
    path.mkdir(mode=0o700)
    for file in journal.iterdir():
        if file.name != "lock.mdb":
            (path / file.name).write_bytes(file.read_bytes())
    whole = (path / "data.mdb").read_bytes()
    for place in (b"no such address", b"u11@example.org"):  # in a record; in a payload
        data = whole.replace(place, place[::-1])
        assert data != whole
        (path / "data.mdb").write_bytes(data)
        for command in (("backup", path, tmp_path / "copy"), ("compact", path)):
            done = called(*command)
            assert done.returncode == 3, done.stdout
        assert [file.name for file in tmp_path.iterdir()] == ["jobs"]
        assert (path / "data.mdb").read_bytes() == data


# --- compact ----------------------------------------------------------------------------------------------------------------


def test_compact_gives_room_back_and_forgets_what_was_deleted(tmp_path: Path) -> None:
    path = tmp_path / "jobs"

    async def main() -> None:
        mail = mail_queue()
        async with Engine(path, [mail]) as engine:
            await engine.submit_many([mail.handlers["send"].bind(f"someone{n}" * 100) for n in range(500)])
            await engine.drain()
            assert await engine.prune(older_than=0) == 500

    trio.run(main)
    data = (path / "data.mdb").read_bytes()
    assert sum(f"someone{n}someone".encode() in data for n in range(500)) > 100, "LMDB keeps freed pages as they are, till it needs them"
    with open_journal(path) as view:
        before = tables(view)
    done = called("compact", path, "--json")
    assert done.returncode == 0, done.stderr
    sizes = json.loads(done.stdout)
    assert sizes["after_bytes"] < sizes["before_bytes"] / 3
    assert sizes["after_bytes"] == (path / "data.mdb").stat().st_size
    data = (path / "data.mdb").read_bytes()
    assert not any(f"someone{n}someone".encode() in data for n in range(500))
    assert not (path / "compacting").exists()
    with open_journal(path) as view:
        assert tables(view) == before

    async def again() -> None:
        async with Engine(path, [mail_queue()]) as engine:
            assert await engine.count() == 0

    trio.run(again)


def test_compact_waits_for_no_reader(journal: Path, tmp_path: Path) -> None:
    path = filled(tmp_path / "jobs", 3)
    before = (path / "data.mdb").read_bytes()
    with open_journal(path):
        done = journeyman("compact", path)
    assert done.returncode == 6
    assert f"process {os.getpid()} is reading" in done.stderr
    assert (path / "data.mdb").read_bytes() == before
    assert called("compact", path).returncode == 0


def test_nothing_is_made_where_no_journal_is(tmp_path: Path) -> None:
    orders = (("retry", tmp_path, "--all"), ("pause", tmp_path, "q"))
    calls = (("export", tmp_path), ("backup", tmp_path, tmp_path / "b"), ("compact", tmp_path), *orders)
    for call in calls:
        done = called(*call)
        assert (done.returncode, done.stdout) == (5, ""), call
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_says_no_format_and_a_place_inside_the_journal(tmp_path: Path) -> None:
    home = filled(tmp_path / "jobs", tasks=1)
    done = called("export", home, tmp_path / "events.xyz")
    assert (done.returncode, ".xyz says nothing" in done.stderr) == (2, True)
    assert called("export", home, tmp_path / "events.xyz", "--format", "jsonl").returncode == 0
    before = sorted(os.listdir(home))
    done = called("backup", home, home / "copy")
    assert (done.returncode, "inside the journal's own directory" in done.stderr) == (2, True)
    assert sorted(os.listdir(home)) == before
    done = called("export", home, tmp_path / "none.jsonl", "--queue", "nosuch")
    assert "no event is in this span" in done.stderr

"""The application's key-values as tools meet them: proof, copies, repair, compaction, the log, damage."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from journeyman.engine import Context, Engine, JournalCorrupt, Queue
from journeyman.journal import open_journal
from journeyman.journal.backup import backup
from journeyman.journal.compact import compact
from journeyman.journal.log import seq_key
from journeyman.journal.migrate import append_now
from journeyman.journal.opening import open_store
from journeyman.journal.rebuild import import_journal
from journeyman.journal.recovery import recover
from journeyman.journal.repair import repair
from journeyman.journal.store import Batch, Store, Table
from journeyman.journal.values import decode_row, encode_row, name_of, row_key, stored_value
from journeyman.journal.verify import Verdict
from journeyman.kernel.events import EngineBooted, JournalCompacted, ValuePut
from journeyman.kernel.world import fold
from tests.cli.journals import called

KEYS = {b"kept": b"value", b"empty": b"", b"large": b"x" * 50_000, b"again": b"2", b"\xff\x1f": b"odd key"}


def worker() -> Queue:
    queue = Queue("q")

    @queue.handler
    async def work(ctx: Context) -> None:
        ctx.put(b"by task", b"done")

    return queue


def filled(path: Path) -> Path:
    """A journal with KEYS, one key of a task, one of a namespace; some were put before, one was deleted."""

    async def fill() -> None:
        queue = worker()
        async with Engine(path, [queue]) as engine:
            for value in (b"1", b"2"):
                async with engine.transaction() as tx:
                    tx.put(b"again", value)
                    tx.put(b"deleted", value)
            async with engine.transaction() as tx:
                for key, value in KEYS.items():
                    tx.put(key, value)
                tx.delete(b"deleted")
                tx.submit(queue.handlers["work"])
            async with engine.namespace("plugin").transaction() as tx:
                tx.put(b"kept", b"the plugin's")
            await engine.drain()

    trio.run(fill)
    return path


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled(tmp_path_factory.mktemp("values") / "jobs")


def values_in(path: Path) -> dict[bytes, bytes]:
    async def read() -> dict[bytes, bytes]:
        async with Engine(path) as engine:
            found = dict(await engine.values())
            found[b"plugin"] = await engine.namespace("plugin").value(b"kept") or b""
            return found

    return trio.run(read)


ALL = {**KEYS, b"by task": b"done", b"plugin": b"the plugin's"}


def changed(path: Path, change: Callable[[Store], Batch]) -> Path:
    store = open_store(path)
    try:
        append_now(store, change(store))
    finally:
        store.close()
    return path


def verdict_of(path: Path) -> Verdict:
    with open_journal(path) as view:
        return view.verify()


# --- proof ------------------------------------------------------------------------------------------------------------------


def test_a_sound_journal_is_proven_and_holds_what_was_put(journal: Path) -> None:
    verdict = verdict_of(journal)
    assert (verdict.sound, verdict.findings) == (True, [])
    assert values_in(journal) == ALL


def put(table: Table, key: bytes, value: bytes) -> Batch:
    batch = Batch()
    batch.put(table, [(key, value)])
    return batch


def delete(table: Table, key: bytes) -> Batch:
    batch = Batch()
    batch.delete(table, [key])
    return batch


KEPT = row_key(("", b"kept"))


def _spoken(store: Store, name: bytes = b"kept") -> tuple[int, bytes]:
    data = store.get(Table.KEYVALUES, row_key(("", name)))
    assert data is not None
    return decode_row(row_key(("", name)), data)


def _older(store: Store) -> Batch:
    seq, digest = _spoken(store)
    return put(Table.KEYVALUES, KEPT, encode_row(KEPT, seq - 2, digest))


def _flipped(store: Store) -> Batch:
    data = bytearray(store.get(Table.KEYVALUES, KEPT) or b"")
    data[6] ^= 1
    return put(Table.KEYVALUES, KEPT, bytes(data))


def _other_digest(store: Store) -> Batch:
    return put(Table.KEYVALUES, KEPT, encode_row(KEPT, _spoken(store)[0], bytes(16)))


def _unsuperseded(store: Store) -> Batch:
    events = recover(store).journal
    first = next(seq for chunk in events.walk(1, 1 << 40) for seq, event in chunk if isinstance(event, ValuePut))
    return put(Table.PAYLOADS, seq_key(first), b"1")


DAMAGE: dict[str, tuple[Callable[[Store], Batch], str, str]] = {
    "its row is gone": (lambda store: delete(Table.KEYVALUES, KEPT), "KEYVALUES", "no later record says why"),
    "its row is flipped": (_flipped, "KEYVALUES", "is damaged"),
    "its row names an older record": (_older, "KEYVALUES", "is newer"),
    "its row has another digest": (_other_digest, "KEYVALUES", "another digest"),
    "its value is gone": (lambda store: delete(Table.PAYLOADS, seq_key(_spoken(store)[0])), "PAYLOADS", "is missing"),
    "its value is another": (lambda store: put(Table.PAYLOADS, seq_key(_spoken(store)[0]), b"valve"), "PAYLOADS", "does not match"),
    "a former value came back": (_unsuperseded, "KEYVALUES", "is still there"),
    "a row that nobody put": (
        lambda store: put(Table.KEYVALUES, row_key(("", b"x")), encode_row(row_key(("", b"x")), 1, bytes(16))),
        "KEYVALUES",
        "put no such value",
    ),
    "a row of a record that is not there": (
        lambda store: put(Table.KEYVALUES, row_key(("", b"x")), encode_row(row_key(("", b"x")), 9_999, bytes(16))),
        "KEYVALUES",
        "which is missing",
    ),
    "a key that is none": (lambda store: put(Table.KEYVALUES, b"xyz", bytes(28)), "KEYVALUES", "a key that is none"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_whatever_is_wrong_is_found(damage: str, tmp_path: Path) -> None:
    change, table, text = DAMAGE[damage]
    path = changed(filled(tmp_path / "jobs"), change)
    verdict = verdict_of(path)
    assert not verdict.sound
    assert any(finding.table == table and text in finding.text for finding in verdict.findings), verdict.findings


@pytest.mark.parametrize("damage", ["its row is flipped", "its value is gone", "its value is another", "its row has another digest"])
def test_a_damaged_value_is_an_error_for_who_reads_it_and_for_nobody_else(damage: str, tmp_path: Path) -> None:
    path = changed(filled(tmp_path / "jobs"), DAMAGE[damage][0])

    async def read() -> None:
        async with Engine(path) as engine:
            with pytest.raises(JournalCorrupt, match="kept"):
                await engine.value(b"kept")
            assert await engine.value(b"again") == b"2"
            with pytest.raises(JournalCorrupt):
                async with engine.transaction() as tx:
                    tx.put(b"again", b"3")
                    tx.get(b"kept")
            assert await engine.value(b"again") == b"2"

    trio.run(read)


def test_a_handler_that_puts_a_damaged_key_fails_and_the_engine_goes_on(tmp_path: Path) -> None:
    key = row_key(("", b"by task"))
    path = changed(filled(tmp_path / "jobs"), lambda store: put(Table.KEYVALUES, key, bytes(28)))

    async def run() -> None:
        queue = worker()
        async with Engine(path, [queue]) as engine:
            task = await (await engine.submit(queue.handlers["work"])).wait(5)
            assert task.error is not None
            assert task.error.type.endswith(".JournalCorrupt")
            assert await engine.value(b"again") == b"2"

    trio.run(run)


# --- copies -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["jsonl", "cbor", "parquet"])
def test_an_export_brings_the_values_along(form: str, journal: Path, tmp_path: Path) -> None:
    file = tmp_path / f"all.{form}"
    assert called("export", journal, file, "--format", form, "--reveal").returncode == 0
    import_journal(file, tmp_path / "again")
    assert verdict_of(tmp_path / "again").sound
    assert values_in(tmp_path / "again") == ALL
    assert verdict_of(tmp_path / "again").sound  # an engine has had it open


def test_values_are_not_shown_unless_revealed(journal: Path, tmp_path: Path) -> None:
    shown = tmp_path / "shown.jsonl"
    assert called("export", journal, shown).returncode == 0
    puts = [line for line in map(json.loads, shown.read_text().splitlines()) if line.get("kind") == "ValuePut"]
    assert {line["key"] for line in puts} >= {"kept", "again", "0xff1f"}
    assert {line["value"] for line in puts if line["key"] == "kept"} == {"[hidden]: 5 bytes", "[hidden]: 12 bytes"}
    assert b"the plugin's" not in shown.read_bytes()


def test_a_backup_has_them(journal: Path, tmp_path: Path) -> None:
    backup(journal, tmp_path / "copy")
    assert values_in(tmp_path / "copy") == ALL


def test_the_log_tells_of_them(journal: Path) -> None:
    said = called("log", journal, "--kind", "valueput").stdout
    assert "b'kept', 5 bytes" in said
    assert "b'deleted', deleted" in said
    assert "b'kept' of 'plugin', 12 bytes" in said
    [line] = [line for line in said.splitlines() if "b'by task'" in line]
    assert "with the success of " in line
    said = called("log", journal, "--kind", "valueput", "--json").stdout
    assert {"total" in said, '"key": "kept"' in said} == {False, True}


# --- repair -----------------------------------------------------------------------------------------------------------------


def test_a_repair_keeps_every_value_that_can_be_read(tmp_path: Path) -> None:
    path = filled(tmp_path / "jobs")
    report = repair(path, tmp_path / "sound")
    assert report.whole
    assert values_in(tmp_path / "sound") == ALL
    changed(path, lambda store: delete(Table.KEYVALUES, KEPT))  # the rows are made anew
    report = repair(path, tmp_path / "rows")
    assert (report.whole, values_in(tmp_path / "rows")) == (True, ALL)


@pytest.mark.parametrize("what", ["value", "record"])
def test_a_value_that_is_lost_is_absent_and_told_of(what: str, tmp_path: Path) -> None:
    path = filled(tmp_path / "jobs")
    if what == "value":
        changed(path, lambda store: delete(Table.PAYLOADS, seq_key(_spoken(store, b"again")[0])))
    else:
        changed(path, lambda store: put(Table.EVENTS, seq_key(_spoken(store, b"again")[0]), b"nothing of a record"))
    report = repair(path, tmp_path / "new")
    assert not report.whole
    assert report.values == [("", b"again")]
    assert verdict_of(tmp_path / "new").sound
    assert values_in(tmp_path / "new") == {key: value for key, value in ALL.items() if key != b"again"}
    done = called("repair", path, tmp_path / "told", "--json")
    assert json.loads(done.stdout)["values"] == [{"namespace": "", "key": b"again".hex()}]

    async def goes_on() -> None:
        async with Engine(tmp_path / "new") as engine, engine.transaction() as tx:
            assert tx.get(b"again") is None
            tx.put(b"again", b"3")

    trio.run(goes_on)
    assert verdict_of(tmp_path / "new").sound


# --- compaction -------------------------------------------------------------------------------------------------------------


def test_what_is_over_goes_in_bounded_commits_and_all_agrees_before_and_after(tmp_path: Path) -> None:
    path = tmp_path / "jobs"

    async def overwrite() -> None:
        async with Engine(path) as engine:
            for n in range(300):
                async with engine.transaction() as tx:
                    tx.put(b"a", b"%d" % n)
                    tx.put(b"b%d" % (n % 7), b"%d" % n)
            async with engine.transaction() as tx:
                tx.delete(b"b3")

    def counted() -> int:
        with open_journal(path) as view:
            return sum(isinstance(event, ValuePut) for _, event in view.events())

    trio.run(overwrite)
    assert counted() == 601
    store = open_store(path)
    found = recover(store)
    loose, last = list(found.journal.loose), found.journal.sealed
    assert len(loose) > 590
    booted = EngineBooted(found.state.last_at, "", 0, 2, {"clean": True})  # compaction is an engine's work
    fold(found.state, booted, found.journal.next_seq)
    append_now(store, found.journal.seal([(found.journal.take(1), booted)]))
    last += 1
    found.checkpoint.begin(found.state, last, 0)
    while (chunk := found.checkpoint.next_chunk(1_000)) is not None:
        if chunk:
            append_now(store, found.journal.seal((), extra=chunk))
    rounds = 0
    while (compaction := compact(found.journal, found.checkpoint, found.state, 10**16, at_least=50, at_most=200)) is not None:
        seq = found.journal.take(1)
        append_now(store, found.journal.seal([(seq, compaction.event)], extra=compaction.extra))
        assert compaction.event.through_seq <= last
        rounds += 1
        assert compaction.whole is (rounds == 3)
    store.close()
    assert rounds == 3
    assert counted() <= 7 + 50
    assert verdict_of(path).findings == []
    file = tmp_path / "all.cbor"
    assert called("export", path, file, "--format", "cbor", "--reveal").returncode == 0
    import_journal(file, tmp_path / "again")
    trio.run(overwrite)  # and the engine goes on with what is left
    for place in (path, tmp_path / "again"):
        assert verdict_of(place).sound
        with open_journal(place) as view:
            assert any(isinstance(event, JournalCompacted) for _, event in view.events())
    assert stored(tmp_path / "again", b"a") == b"299"
    assert stored(tmp_path / "again", b"b3") is None


def stored(path: Path, key: bytes) -> bytes | None:
    store = open_store(path, readonly=True)
    try:
        return stored_value(store, ("", key))[1]
    finally:
        store.close()


def test_a_repaired_journal_whose_records_were_compacted_opens_and_is_compacted_again(tmp_path: Path) -> None:
    """What a compaction took is named by those that are left, and must not be asked for again."""
    path = tmp_path / "jobs"

    async def put_all(rounds: int, *, tidy: bool) -> None:
        async with Engine(path) as engine:
            for n in range(rounds):
                async with engine.transaction() as tx:
                    tx.put(b"a", b"%d" % n)
            if tidy:
                await engine._opened().runtime.housekeeper.tidy(at_once=True)

    trio.run(lambda: put_all(300, tidy=True))
    with open_journal(path) as view:
        assert sum(isinstance(event, ValuePut) for _, event in view.events()) == 1
    repair(path, tmp_path / "new")
    path = tmp_path / "new"
    trio.run(lambda: put_all(300, tidy=True))
    trio.run(lambda: put_all(1, tidy=True))
    assert verdict_of(path).sound
    assert stored(path, b"a") == b"0"


# --- rows -------------------------------------------------------------------------------------------------------------------


def test_every_flipped_bit_of_a_row_is_found() -> None:
    row = encode_row(KEPT, 77, bytes(range(16)))
    assert decode_row(KEPT, row) == (77, bytes(range(16)))
    for at in range(len(row) * 8):
        flipped = bytearray(row)
        flipped[at // 8] ^= 1 << at % 8
        with pytest.raises(JournalCorrupt):
            decode_row(KEPT, bytes(flipped))
    with pytest.raises(JournalCorrupt):
        decode_row(row_key(("", b"other")), row)


@pytest.mark.parametrize("name", [("", b"k"), ("plugin", b"k\x1f"), ("plåg", b"\x1f"), ("", b"\xff" * 256)])
def test_keys_come_back_as_they_were(name: Any) -> None:
    assert name_of(row_key(name)) == name

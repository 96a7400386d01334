"""What is hidden: by name, by place, and because it has none."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from journeyman.engine import Cancel, Context, Engine, Queue, Retry
from journeyman.journal import open_journal
from journeyman.journal.echoes import echoes_in
from journeyman.journal.redaction import HIDDEN, Redaction
from tests.cli.journals import called, filled

KNOWN = {"send": [("to", "password")], "twice": [("a",), ("secret",)]}


@pytest.mark.parametrize("name", ["password", "apiToken", "X-Token", "API_KEY", "user_password_hash", "Authorization"])
def test_names_that_tell_of_secrets(name: str) -> None:
    assert Redaction().hides(name)
    assert not Redaction(reveal=True).hides(name)


@pytest.mark.parametrize("name", ["tokens_used", "to", "passenger", "pinned", "subject"])
def test_names_that_do_not(name: str) -> None:
    assert not Redaction().hides(name)


def test_configured_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOURNEYMAN_REDACT", "customer, x?z")
    redaction = Redaction(["subject"])
    assert [redaction.hides(name) for name in ("customer_id", "xyz", "xyyz", "Subject", "to")] == [True, True, False, True, False]


def test_positional_arguments_are_hidden_by_the_names_they_have() -> None:
    redaction = Redaction().learn(KNOWN)
    assert redaction.call("send", ["a", "geheim"], {}) == (["a", HIDDEN], {})
    assert redaction.call("send", ["a", "geheim", "beyond"], {}) == (["a", HIDDEN, HIDDEN], {})
    assert redaction.call("twice", ["a"], {}) == ([HIDDEN], {}), "a handler of this name in one of two queues takes a secret"
    assert redaction.call("send", [{"token": 1, "n": [{"pin": 2}]}], {"cc": "b"}) == (
        [{"token": HIDDEN, "n": [{"pin": HIDDEN}]}],
        {"cc": "b"},
    )


def test_what_has_no_name_is_hidden() -> None:
    for redaction in (Redaction(), Redaction().learn(KNOWN)):
        assert redaction.call("unknown", [1, "a"], {"to": "b"}) == ([HIDDEN, HIDDEN], {"to": "b"})
        assert redaction.call(None, [1], {}) == ([HIDDEN], {})
    assert Redaction(reveal=True).call("unknown", [1], {}) == ([1], {})


def test_a_place_can_be_named() -> None:
    assert Redaction(["send.0"]).learn(KNOWN).call("send", ["a", "b"], {}) == ([HIDDEN, HIDDEN], {})


def test_a_secret_that_was_given_by_name_is_stored_by_place_and_hidden_all_the_same(tmp_path: Path) -> None:
    journal = filled(tmp_path / "jobs", 3)
    with open_journal(journal) as view:
        assert view.parameters() == {"send": [["to", "password"]], "report": [["number"]]}
        ids = [event.task for _, event in view.events() if type(event).__name__ == "TaskSubmitted"]
    for command in (["task", journal, ids[0].hex()], ["at", journal, "--seq", 20, "--task", ids[0].hex()], ["export", journal]):
        done = called(*command)
        assert done.returncode == 0, done.stderr
        assert "geheim" not in done.stdout + done.stderr, command
    shown = json.loads(called("task", journal, ids[1].hex(), "--json", "--reveal").stdout)
    assert "geheim" in json.dumps(shown)


def test_maps_as_pairs() -> None:
    headers = [["Authorization", "Bearer x"], ["Accept", "*/*"], ("token", 1), ["password"]]
    assert Redaction().value(headers) == [["Authorization", HIDDEN], ["Accept", "*/*"], ["token", HIDDEN], ["password"]]


def test_names_that_come_as_bytes() -> None:
    """As HTTP's headers do."""
    found = Redaction().value({b"token": "geheim", b"accept": "*/*", "headers": [[b"authorization", b"Bearer geheim"]]})
    assert found == {b"token": HIDDEN, b"accept": "*/*", "headers": [[b"authorization", HIDDEN]]}


def told(path: Path) -> list[str]:
    """A journal of tasks that repeat their secrets wherever they can; their ids."""
    queue = Queue("q", retry=Retry(attempts=1))

    @queue.handler
    async def fails(password: str, account: int) -> None:
        raise ValueError(f"no login with {password!r} on {account}")

    @queue.handler
    async def returns(ctx: Context, password: str) -> list[str]:
        ctx.progress(0.1, f"trying {password}")
        await trio.sleep(1.2)
        ctx.progress(0.2, f"trying {password} again")
        await trio.sleep(0.05)
        return ["as asked", password]

    @queue.handler
    async def anything(*values: str) -> None:
        raise Cancel(f"of no use: {values}")

    async def main() -> list[str]:
        async with Engine(path, [queue]) as engine:
            handles = [
                await engine.submit(fails, "geheim it's", 12_345_678),
                await engine.submit(returns.using(meta={"api_token": "geheim2"}), "geheim1"),
                await engine.submit(anything, "geheim3"),
            ]
            for handle in handles:
                with suppress(Exception):
                    await handle.wait(timeout=20)
            return [handle.id for handle in handles]

    return trio.run(main)


def test_what_a_handler_repeats_of_them_is_hidden_where_its_arguments_are_at_hand(tmp_path: Path) -> None:
    path = tmp_path / "jobs"
    ids = told(path)
    with open_journal(path) as view:
        last = view.last_seq
    seen = ""
    for id in ids:
        for options in ((), ("--json",)):
            for command in (("task", path, id), ("why", path, id), ("from-test", path, id), ("at", path, "--seq", last, "--task", id)):
                done = called(*command, *options, "--redact", "account")
                assert done.returncode == 0, done.stderr
                assert "geheim" not in done.stdout + done.stderr, (command[0], options)
                assert "12345678" not in done.stdout, command
                seen += done.stdout
        revealed = called("task", path, id, "--reveal").stdout
        assert "geheim" in revealed
    for form in ("jsonl", "cbor"):
        assert "geheim" not in called("export", path, "--format", form, tmp_path / f"out.{form}").stdout
        assert b"geheim" not in (tmp_path / f"out.{form}").read_bytes()
    assert "no login with '[hidden]' on [hidden]" in seen.replace('"', "'")
    for id in ids:  # and the tests that are made of them agree with themselves
        assert called("from-test", path, id, "--check").returncode == 0


def test_what_is_too_short_to_be_told_apart_stays() -> None:
    echoes = echoes_in(Redaction(), "send", ["1234", "12345", True, None], {"password": {"deep": ["secret"]}, "to": "someone"})
    assert echoes.text("1234 12345 True secret someone") == "1234 [hidden] True [hidden] someone"
    assert not echoes_in(Redaction(reveal=True), "send", ["12345"], {})

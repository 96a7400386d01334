"""What is hidden: by name, by place, and because it has none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from journeyman.cli.redaction import HIDDEN, Redaction
from journeyman.journal import open_journal
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

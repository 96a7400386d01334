"""What the kernel refuses becomes an error of the public tree, whichever it is, with ids as everybody else writes them."""

from __future__ import annotations

import ast

import pytest

from journeyman.engine.errors import REFUSALS, PayloadTooLarge
from journeyman.engine.questions import refusal
from journeyman.kernel.commands import Refused
from journeyman.kernel.policy import Policy
from tests.kernel.lane import Lane, task
from tests.sources import sources

# A stale word has nobody who waits for the answer.
UNSPOKEN = {"TransitionRejected"}


def test_every_refusal_of_the_kernel_has_its_error() -> None:
    named = {
        node.args[0].value
        for source in sources()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Refused"
        if isinstance(node.args[0], ast.Constant)
    }
    assert named - UNSPOKEN == set(REFUSALS)


@pytest.mark.parametrize("name", REFUSALS)
def test_it_can_be_raised(name: str) -> None:
    figures = (7, 5) if name == "PayloadTooLarge" else ()
    error = refusal(Refused(name, "why", figures))
    assert type(error) is REFUSALS[name]
    assert str(error) == "why" or figures


def test_arguments_over_the_limit_of_a_queue_say_both_sizes() -> None:  # row 35
    lane = Lane(Policy(max_payload=5)).when(task(1, size=7))
    [answer] = lane.answers
    assert isinstance(answer, Refused)
    error = refusal(answer)
    assert isinstance(error, PayloadTooLarge)
    assert (error.size, error.limit) == (7, 5)

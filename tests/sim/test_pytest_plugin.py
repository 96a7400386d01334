"""The pytest plugin, as a user's project has it."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

PROJECT = """
    import trio
    from journeyman import Queue
    from journeyman.sim import Faults

    async def scenario(world):
        queue = Queue("mail")

        @queue.handler
        async def send(n: int) -> None:
            await trio.sleep(n)

        async with world.engine(queues=[queue]) as engine:
            handle = await engine.submit(send, 3)
            await handle.wait()
        seen.append(world.seed)
        assert world.seed != fails_at

    fails_at = None
    seen = []
"""
OPTIONS = ("-p", "no:cacheprovider", "-o", "addopts=", "-W", "ignore")


def project(pytester: pytest.Pytester, test: str) -> None:
    import textwrap

    pytester.makepyfile(test_letters=textwrap.dedent(PROJECT) + textwrap.dedent(test))


def test_every_seed_is_tried(pytester: pytest.Pytester) -> None:
    project(
        pytester,
        """
        def test_default(simulate):
            simulate(scenario, faults=Faults(crash=0.001))
            assert seen == list(range(20)) and len(simulate.traces) == 20

        def test_asked(simulate):
            seen.clear()
            trace = simulate(scenario, seeds=3)
            assert seen == [0, 1, 2] and trace.seed == 2

        def test_own(simulate):
            assert simulate(scenario, seed=77).seed == 77
        """,
    )
    pytester.runpytest_subprocess(*OPTIONS).assert_outcomes(passed=3)


def test_a_failure_says_how_to_see_it_again(pytester: pytest.Pytester) -> None:
    project(
        pytester,
        """
        fails_at = 4

        def test_letters(simulate):
            simulate(scenario)
        """,
    )
    result = pytester.runpytest_subprocess(*OPTIONS)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*to see it again:  pytest test_letters.py::test_letters --sim-seed 4", "*seconds*what*details"])
    again = pytester.runpytest_subprocess(*OPTIONS, "test_letters.py::test_letters", "--sim-seed", "4")
    again.assert_outcomes(failed=1)
    pytester.runpytest_subprocess(*OPTIONS, "--sim-seeds", "4").assert_outcomes(passed=1)
    pytester.runpytest_subprocess(*OPTIONS, "--sim-seed", "5").assert_outcomes(passed=1)
    assert pytester.runpytest_subprocess(*OPTIONS, "--sim-seeds", "0").ret == pytest.ExitCode.USAGE_ERROR


def test_who_does_not_simulate_pays_nothing(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_nothing_is_imported():
            assert "_journeyman_pytest" in sys.modules
            assert not {"trio", "lmdb", "journeyman"} & set(sys.modules)
        """
    )
    pytester.runpytest_subprocess(*OPTIONS, "-p", "no:trio", "-p", "no:hypothesispytest").assert_outcomes(passed=1)

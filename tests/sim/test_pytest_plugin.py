"""The pytest plugin, as a user's project has it."""

from __future__ import annotations

import sys

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
    for wrong in ("0", "-3", "many"):
        refused = pytester.runpytest_subprocess(*OPTIONS, f"--sim-seeds={wrong}")
        assert refused.ret == pytest.ExitCode.USAGE_ERROR
        refused.stderr.fnmatch_lines([f"*--sim-seeds: a number of seeds is a whole number of at least 1, not '{wrong}'"])


COMMAND = "*to see it again:  pytest {} --sim-seed 4"


def test_the_command_is_for_where_pytest_was_called(pytester: pytest.Pytester) -> None:
    project(
        pytester,
        """
        fails_at = 4

        def test_letters(simulate):
            simulate(scenario)
        """,
    )
    folder = pytester.mkdir("sub")
    (pytester.path / "test_letters.py").rename(folder / "test_letters.py")
    pytester.makeini("[pytest]")
    pytester.runpytest_subprocess(*OPTIONS).stdout.fnmatch_lines([COMMAND.format("sub/test_letters.py::test_letters")])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        inside = pytester.run(sys.executable, "-m", "pytest", *OPTIONS)
    inside.stdout.fnmatch_lines([COMMAND.format("test_letters.py::test_letters")])


def test_a_failure_of_a_fixture_says_so_too(pytester: pytest.Pytester) -> None:
    project(
        pytester,
        """
        import pytest

        fails_at = 4

        @pytest.fixture
        def before(simulate):
            simulate(scenario)

        @pytest.fixture
        def after(simulate):
            yield
            simulate(scenario)

        def test_one(before): ...

        def test_two(after): ...

        def test_three(simulate):
            try:
                simulate(scenario)
            except AssertionError as error:
                raise RuntimeError("wrapped") from error
        """,
    )
    result = pytester.runpytest_subprocess(*OPTIONS)
    result.assert_outcomes(errors=2, passed=1, failed=1)
    said = result.stdout.str()
    for name in ("one", "two", "three"):
        assert f"pytest test_letters.py::test_{name} --sim-seed 4" in said


def test_a_failure_that_was_caught_is_not_told_of_another(pytester: pytest.Pytester) -> None:
    project(
        pytester,
        """
        import pytest

        fails_at = 4

        def test_letters(simulate):
            with pytest.raises(AssertionError):
                simulate(scenario)
            assert "something" == "else"
        """,
    )
    result = pytester.runpytest_subprocess(*OPTIONS)
    result.assert_outcomes(failed=1)
    result.stdout.no_fnmatch_line("*to see it again*")
    result.stdout.no_fnmatch_line("*simulated world*")


def test_no_seeds_at_all_are_refused(pytester: pytest.Pytester) -> None:
    project(
        pytester,
        """
        import pytest

        @pytest.mark.parametrize("seeds", [0, -1, range(0)])
        def test_letters(simulate, seeds):
            with pytest.raises(ValueError, match="seeds must be"):
                simulate(scenario, seeds=seeds)
        """,
    )
    pytester.runpytest_subprocess(*OPTIONS).assert_outcomes(passed=3)


def test_who_does_not_simulate_pays_nothing(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_nothing_is_imported():
            assert "_journeyman_pytest" in sys.modules
            assert not {"trio", "lmdb", "journeyman"} & set(sys.modules)
        """
    )
    pytester.runpytest_subprocess(*OPTIONS, "-p", "no:trio", "-p", "no:anyio", "-p", "no:hypothesispytest").assert_outcomes(passed=1)

"""Backoff: exact at every n, never overflowing; jitter a pure function.  # row 26 # row 27 # row 60"""

from __future__ import annotations

import math
import sys
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeyman.kernel.backoff import Constant, Exponential, Linear, compile_backoff, delay_us, exponential_us, jittered
from journeyman.kernel.bounds import BACKOFF_DEFAULT_CAP_US, DURATION_MAX_US


def plainly(base: int, num: int, den: int, cap: int, n: int) -> int:
    """The definition, in exact fractions."""
    return min(cap, math.ceil(base * Fraction(num, den) ** (n - 1)))


@given(st.integers(0, 10**12), st.integers(0, 10**6), st.integers(1, 10**6), st.integers(0, 10**15), st.integers(1, 400))
def test_equals_the_definition(base: int, more: int, den: int, cap: int, n: int) -> None:
    assert exponential_us(base, den + more, den, cap, n) == plainly(base, den + more, den, cap, n)


@pytest.mark.parametrize("factor", [(1_000_003, 1_000_000), (10_001, 10_000), (1001, 1000)])
def test_equals_the_definition_far_out(factor: tuple[int, int]) -> None:
    num, den = factor
    for n in (65, 66, 100, 1_000, 4_999):
        assert exponential_us(7_777_777, num, den, 10**15, n) == plainly(7_777_777, num, den, 10**15, n)


def test_every_n_to_a_million_rises_to_the_cap_and_stays() -> None:
    shape = Exponential(1.0, factor=1.0001, cap=3600).shape()
    last = 0
    for n in (*range(1, 3_000), *range(3_000, 10**6, 997), 10**6, 10**9, 10**18):
        delay, warning = delay_us(shape, n)
        assert warning is None
        assert last <= delay <= 3600 * 10**6
        last = delay
    assert last == 3600 * 10**6


def test_factor_two_is_powers_of_two_until_the_cap() -> None:
    shape = Exponential().shape()
    for n in range(1, 10**6 + 1):
        expected = 2 ** (n - 1) * 10**6 if n <= 12 else 3600 * 10**6
        assert delay_us(shape, n) == (expected, None)


def test_a_factor_means_what_is_spelled() -> None:
    assert Exponential(1, factor=1.1).shape()[2:4] == (11, 10)
    assert delay_us(Exponential(1, factor=1.1).shape(), 3) == (1_210_000, None)
    assert delay_us(Exponential(5, factor=1.0).shape(), 10**6) == (5_000_000, None)
    assert delay_us(Exponential(0).shape(), 10**6) == (0, None)
    assert delay_us(Exponential(10, cap=3).shape(), 1) == (3_000_000, None)


def test_the_other_shapes() -> None:
    assert [delay_us(Constant(2.5).shape(), n)[0] for n in (1, 2, 10**6)] == [2_500_000] * 3
    assert [delay_us(Linear(2, cap=5).shape(), n)[0] for n in (1, 2, 3, 10**6)] == [2_000_000, 4_000_000, 5_000_000, 5_000_000]


def squares(n: int) -> float:
    return float(n * n)


def test_a_callable_is_known_by_name_and_its_mistakes_cost_a_warning() -> None:
    shape = compile_backoff(squares)
    assert shape[0] == "callable"
    assert str(shape[1]).endswith("test_backoff.squares")
    assert delay_us(shape, 3, squares) == (9_000_000, None)
    assert delay_us(shape, 10**12, squares) == (DURATION_MAX_US, None)
    assert delay_us(shape, 1, lambda n: 1e305) == (DURATION_MAX_US, None)
    for wrong in (None, sys.exit, lambda n: math.nan, lambda n: math.inf, lambda n: -1.0, lambda n: 1 / 0, lambda n: "soon"):
        delay, warning = delay_us(shape, 3, wrong)  # type: ignore[arg-type]
        assert delay == BACKOFF_DEFAULT_CAP_US
        assert warning is not None
        assert "cap was used" in warning


@pytest.mark.parametrize(
    "make",
    [
        lambda: Exponential(-1), lambda: Exponential(1, 0.5), lambda: Exponential(1, math.inf), lambda: Exponential(math.nan),
        lambda: Exponential(cap=-1), lambda: Constant(-1), lambda: Linear(-1), lambda: Linear(1, math.inf), lambda: Constant(1e300),
        lambda: compile_backoff(3),
    ],
)  # fmt: skip
def test_bad_values_fail_at_construction(make) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match="backoff"):
        make()


@given(st.integers(0, DURATION_MAX_US), st.integers(0, 10**6), st.binary(min_size=16, max_size=16), st.integers(1, 10**9))
def test_jitter_stays_within_its_share_and_repeats(delay: int, ppm: int, task: bytes, n: int) -> None:
    moved = jittered(delay, ppm, task, n)
    assert abs(moved - delay) * 10**6 <= delay * ppm
    assert moved == jittered(delay, ppm, task, n)


def test_jitter_spreads_evenly() -> None:
    moved = [jittered(10**9, 100_000, i.to_bytes(16, "big"), 1) for i in range(4_000)]
    tenths = [sum(9 * 10**8 + k * 2 * 10**7 <= m < 9 * 10**8 + (k + 1) * 2 * 10**7 for m in moved) for k in range(10)]
    assert min(tenths) > 300
    assert len({jittered(10**9, 100_000, b"a" * 16, n) for n in range(1, 100)}) == 99

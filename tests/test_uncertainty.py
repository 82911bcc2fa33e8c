"""Intervals and significance against closed forms and slow loops."""

import math

import numpy as np
import pytest

from patchvlad.evaluate import uncertainty
from patchvlad.evaluate.uncertainty import bootstrap, compare_answers, wilson


def test_the_interval_of_a_share_is_the_binomial_one() -> None:
    hits = np.zeros((400, 1))
    hits[:300] = 1
    low, high = bootstrap(hits, draws=4000)[0]
    spread = math.sqrt(0.75 * 0.25 / 400)
    assert low == pytest.approx(0.75 - 1.96 * spread, abs=0.006)
    assert high == pytest.approx(0.75 + 1.96 * spread, abs=0.006)


def test_intervals_equal_drawing_by_hand() -> None:
    values = np.random.default_rng(1).random((30, 2))
    generator = np.random.default_rng(2)
    means = [values[generator.integers(0, 30, 30)].mean(axis=0) for _ in range(20000)]
    np.testing.assert_allclose(bootstrap(values, draws=20000), np.quantile(means, (0.025, 0.975), axis=0).T, atol=0.01)


def test_sure_numbers_and_no_queries() -> None:
    assert bootstrap(np.ones((5, 1))).tolist() == [[1, 1]]
    assert np.isnan(bootstrap(np.ones((0, 3)))).all()
    assert bootstrap(np.ones((0, 3))).shape == (3, 2)


def test_memory_is_bounded_and_draws_are_as_many_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uncertainty, "BLOCK", 100)
    assert bootstrap(np.eye(30)[:, :1], draws=7).shape == (1, 2)


def slow_mcnemar(gained: int, lost: int) -> float:
    many = gained + lost
    least = min(gained, lost)
    tail = sum(math.comb(many, i) for i in range(least + 1)) / 2**many
    return min(1.0, 2 * tail)


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (1, 0), (6, 0), (5, 5), (16, 4), (3, 17)])
def test_significance_is_mcnemars_exact_test(gained: int, lost: int) -> None:
    first = np.array([False] * gained + [True] * lost + [True] * 9 + [False] * 4)
    second = np.array([True] * gained + [False] * lost + [True] * 9 + [False] * 4)
    found = compare_answers(first, second)
    assert (found.gained, found.lost) == (gained, lost)
    assert found.p == pytest.approx(slow_mcnemar(gained, lost))
    assert found.difference == pytest.approx((gained - lost) / len(first))
    assert found.interval[0] <= found.difference <= found.interval[1]


@pytest.mark.parametrize(("queries", "share"), [(30, 0.5), (30, 0.95), (100, 0.99), (111, 0.84)])
def test_wilsons_interval_covers_what_it_says(queries: int, share: float) -> None:
    ends = np.array([wilson(answered, queries) for answered in range(queries + 1)])
    chances = [math.comb(queries, n) * share**n * (1 - share) ** (queries - n) for n in range(queries + 1)]
    covered = sum(chance for chance, (low, high) in zip(chances, ends, strict=True) if low <= share <= high)
    assert 0.915 < covered < 0.99
    assert ends[queries][0] > 1 - 4 / queries and ends[queries][1] == pytest.approx(1)
    assert np.isnan(wilson(0, 0)).all()

"""Hard triplets against a slow loop."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from patchvlad.train.mining import Described, Sought, mine


def descriptors(count: int, seed: int) -> torch.Tensor:
    return F.normalize(torch.randn(count, 6, generator=torch.Generator().manual_seed(seed)), dim=1)


def slow_triplets(queries, of_query, database, of_database, positives, close, candidates, margin, most):
    """The definition, one distance at a time, in float64."""
    found = []
    row_of = {int(row): number for number, row in enumerate(database)}
    for number, query in enumerate(queries):
        distance = lambda row: float((of_query[number].double() - of_database[row_of[row]].double()).norm())  # noqa: B023, E731
        nearest = min(map(int, positives[number]), key=distance)
        hard = [
            row
            for row in map(int, candidates)
            if row not in close[number] and distance(row) < distance(nearest) + margin
        ]
        if hard:
            found.append((int(query), nearest, sorted(hard, key=distance)[:most]))
    return found


@pytest.mark.parametrize("margin", [0.0, 0.1**0.5])
@pytest.mark.parametrize("seed", range(5))
def test_triplets_equal_the_loop(seed: int, margin: float) -> None:
    generator = np.random.default_rng(seed)
    database = np.sort(generator.choice(1000, 40, replace=False))
    queries = generator.choice(1000, 25)
    positives = [np.sort(generator.choice(database, generator.integers(1, 4), replace=False)) for _ in queries]
    close = [np.union1d(p, generator.choice(database, 3)) for p in positives]
    candidates = np.sort(generator.choice(database, 30, replace=False))
    rows = np.union1d(queries, database)
    described = Described(rows, descriptors(len(rows), seed))
    found = mine(Sought(queries, positives, close), candidates, described, margin, 4, block=7)
    of_query, of_database = described.of(queries), described.of(database)
    expected = slow_triplets(queries, of_query, database, of_database, positives, close, candidates, margin, 4)
    assert len(found) == len(expected) > 5
    for number, (query, positive, negatives) in enumerate(expected):
        assert (found.queries[number], found.positives[number]) == (query, positive)
        assert found.negatives[number].tolist() == negatives + [-1] * (4 - len(negatives))


def test_active_is_the_share_of_violations() -> None:
    along = torch.eye(2)
    # The positive, a violating negative, two that are far, and the query.
    described = Described(np.array([0, 1, 2, 3, 9]), along[[0, 0, 1, 1, 0]])
    rows = np.arange(4)
    found = mine(Sought(np.array([9]), [rows[:1]], [rows[:1]]), rows, described, 0.3, 5)
    assert found.active == 0.25
    assert found.negatives.tolist() == [[1, -1, -1, -1, -1]]


def test_no_hard_negative_is_no_triplet() -> None:
    along = torch.eye(2)
    rows = np.arange(2)
    described = Described(np.array([0, 1, 9]), along[[0, 1, 0]])
    found = mine(Sought(np.array([9]), [rows[:1]], [rows[:1]]), rows, described, 0.3, 5)
    assert (len(found), found.active, found.negatives.shape) == (0, 0.0, (0, 5))

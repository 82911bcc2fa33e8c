"""Recall@k against a slow loop."""

from dataclasses import replace

import numpy as np
import pytest

from patchvlad.errors import GroundTruthError
from patchvlad.evaluate.ground_truth import GroundTruth
from patchvlad.evaluate.metrics import KS, recall
from patchvlad.search.retrieval import Ranking


def make_truth(positives: list[list[int]], database: int) -> GroundTruth:
    return GroundTruth(tuple(np.array(rows, dtype=np.int64) for rows in positives), database, "positives by hand")


def make_ranking(indices: np.ndarray, database: int) -> Ranking:
    scores = np.where(indices < 0, -np.inf, -np.arange(indices.shape[1])).astype(np.float32)
    queries = tuple(f"q{row}" for row in range(len(indices)))
    return Ranking(indices, scores, queries, tuple(f"d{row}" for row in range(database)))


def slow_recall(indices: np.ndarray, positives: list[list[int]], k: int) -> float:
    answered = 0
    for row in range(len(indices)):
        for place in range(min(k, indices.shape[1])):
            if indices[row, place] != -1 and indices[row, place] in positives[row]:
                answered += 1
                break
    return answered / len(indices)


@pytest.mark.parametrize("seed", range(10))
def test_recall_equals_the_loop(seed: int) -> None:
    generator = np.random.default_rng(seed)
    queries, database, k = 30, 17, 12
    indices = np.stack([generator.permutation(database)[:k] for _ in range(queries)])
    for row, kept in enumerate(generator.integers(0, k + 1, queries)):
        indices[row, kept:] = -1
    # No positive at all is frequent, and so is the last row, which -1 would index.
    positives = [
        sorted({*generator.integers(0, database, n), *([16] * (n % 2))}) for n in generator.integers(0, 4, queries)
    ]
    found = recall(make_ranking(indices, database), make_truth(positives, database), (1, 2, 5, 12, 100))
    assert found.values == {k: slow_recall(indices, positives, k) for k in (1, 2, 5, 12, 100)}
    assert found.without_positives == sum(not rows for rows in positives) > 0


def test_padding_never_hits() -> None:
    ranking = make_ranking(np.full((2, 3), -1), 4)
    assert recall(ranking, make_truth([[0, 1, 2, 3], []], 4), (1, 3)).values == {1: 0, 3: 0}


def test_first_place_counts_from_one() -> None:
    ranking = make_ranking(np.array([[2, 1, 0]]), 3)
    assert recall(ranking, make_truth([[1]], 3), (1, 2, 3)).values == {1: 0, 2: 1, 3: 1}


def test_queries_without_positives_count_as_missed_and_are_told() -> None:
    found = recall(make_ranking(np.array([[0], [0], [0]]), 1), make_truth([[0], [], [0]], 1), (1,))
    assert found[1] == pytest.approx(2 / 3)
    protocol = "3 queries, 1 without a positive counted as missed, 1 database images, positives by hand"
    assert found.describe() == protocol
    assert str(found) == f"R@1 66.7  ({protocol})"
    assert replace(found, without_positives=0).describe() == "3 queries, 1 database images, positives by hand"


def test_usual_ks_are_the_papers() -> None:
    found = recall(make_ranking(np.array([[0]]), 1), make_truth([[0]], 1))
    assert tuple(found.values) == KS == (1, 5, 10, 20, 50, 100)


def test_no_query_gives_zero() -> None:
    assert recall(make_ranking(np.zeros((0, 3), dtype=np.int64), 5), make_truth([], 5), (1,)).values == {1: 0}


@pytest.mark.parametrize(("queries", "database"), [(2, 5), (3, 4)])
def test_truth_of_other_images_is_refused(queries: int, database: int) -> None:
    ranking = make_ranking(np.zeros((3, 1), dtype=np.int64), 5)
    with pytest.raises(
        GroundTruthError, match=f"3 queries and 5 database images, the ground truth {queries} and {database}"
    ):
        recall(ranking, make_truth([[0]] * queries, database))

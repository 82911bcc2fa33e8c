"""Recall@k against a slow loop."""

from dataclasses import replace

import numpy as np
import pytest

from patchvlad.errors import GroundTruthError
from patchvlad.evaluate.metrics import (
    KS,
    average_precision_at,
    found_positives,
    localisation_errors,
    precision_recall,
    recall,
)
from patchvlad.places.ground_truth import GroundTruth
from patchvlad.search.ranking import Ranking


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
    protocol = "3 queries, 1 without a positive counted as missed, 1 database image, positives by hand"
    assert found.describe() == protocol
    assert str(found) == f"R@1 66.7  ({protocol})"
    assert replace(found, without_positives=0).describe() == "3 queries, 1 database image, positives by hand"


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


def test_only_answerable_queries_count_on_request() -> None:
    ranking = make_ranking(np.array([[0], [0], [0], [0]]), 2)
    found = recall(ranking, make_truth([[0], [], [1], [0]], 2), (1,), "answerable")
    assert found[1] == pytest.approx(2 / 3)
    assert found.describe() == "4 queries, 1 without a positive left out, 2 database images, positives by hand"
    with pytest.raises(GroundTruthError, match="unknown denominator 'some': choose from all, answerable"):
        recall(ranking, make_truth([[0], [], [1], [0]], 2), (1,), "some")


def random_case(seed: int) -> tuple[Ranking, GroundTruth, list[list[int]]]:
    """Rankings with padding and repeated images, scores with ties, queries without positives."""
    generator = np.random.default_rng(seed)
    queries, database, k = 40, 15, 8
    indices = generator.integers(0, database, (queries, k))
    for row, kept in enumerate(generator.integers(0, k + 1, queries)):
        indices[row, kept:] = -1
    positives = [sorted({*generator.integers(0, database, n).tolist()}) for n in generator.integers(0, 5, queries)]
    ranking = make_ranking(indices, database)
    scores = -np.sort(-generator.integers(0, 6, (queries, k)), axis=1).astype(np.float32)
    return replace(ranking, scores=np.where(indices < 0, -np.inf, scores)), make_truth(positives, database), positives


# --- mAP@k ----------------------------------------------------------------------------------------------------------


def slow_average_precision(ranked: list[int], positives: list[int], k: int) -> float:
    """Line by line what mapillary_sls describes; 0 where it would divide by zero."""
    total, hits, seen = 0.0, 0, []
    for place, image in enumerate(ranked[:k], 1):
        if image in positives and image not in seen:
            hits += 1
            total += hits / place
        seen.append(image)
    return total / min(len(positives), k) if positives else 0.0


@pytest.mark.parametrize("seed", range(10))
def test_average_precision_equals_the_loop(seed: int) -> None:
    ranking, truth, positives = random_case(seed)
    hits = found_positives(ranking, truth)
    for k in (1, 3, 8, 20):
        found = average_precision_at(hits, np.array([len(rows) for rows in positives]), k)
        slow = [
            slow_average_precision(row.tolist(), rows, k) for row, rows in zip(ranking.indices, positives, strict=True)
        ]
        np.testing.assert_allclose(found, slow, rtol=0, atol=1e-15)


def test_the_example_of_mapillary_sls() -> None:
    """Its eval.py ranks DB0, DB1, ... for Q1 (positives 4, 5), and DB0, DB5, DB4, DB1, ... for Q2 (positives 0, 1)."""
    ranking = make_ranking(np.array([[0, 1, 2, 3, 4], [0, 5, 4, 1, 3]]), 6)
    hits = found_positives(ranking, make_truth([[4, 5], [0, 1]], 6))
    assert average_precision_at(hits, np.array([2, 2]), 3).tolist() == [0, 0.5]
    assert average_precision_at(hits, np.array([2, 2]), 5).tolist() == [1 / 5 / 2, (1 + 2 / 4) / 2]


# --- precision and recall over scores -------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(10))
def test_precision_and_recall_are_scikit_learns(seed: int) -> None:
    from sklearn.metrics import average_precision_score, precision_recall_curve

    ranking, truth, positives = random_case(seed)
    best, scores = ranking.indices[:, 0], ranking.scores[:, 0]
    right = np.array([best[row] in rows for row, rows in enumerate(positives)])[best >= 0]
    precision, recalled, thresholds = precision_recall_curve(right, scores[best >= 0])
    found = precision_recall(ranking, truth, "retrieved")
    np.testing.assert_array_equal(found.thresholds, thresholds[::-1])
    np.testing.assert_allclose(found.precision, precision[-2::-1], rtol=1e-12)
    np.testing.assert_allclose(found.recall, recalled[-2::-1], rtol=1e-12)
    assert found.average_precision == pytest.approx(average_precision_score(right, scores[best >= 0]), rel=1e-12)
    # Of the answerable queries the curve is the same, but reaches only as far as they are answered.
    answerable = precision_recall(ranking, truth)
    np.testing.assert_allclose(answerable.recall * sum(map(bool, positives)), found.recall * right.sum(), rtol=1e-12)
    np.testing.assert_array_equal(answerable.precision, found.precision)


def test_recall_at_full_precision_is_the_most_that_can_be_accepted_without_a_mistake() -> None:
    ranking = make_ranking(np.array([[0], [0], [1], [0], [-1]]), 2)
    truth = make_truth([[0], [0], [0], [0], [0]], 2)
    scored = replace(ranking, scores=np.array([[9], [8], [5], [4], [-np.inf]], dtype=np.float32))
    assert precision_recall(scored, truth).recall_at_full_precision == 2 / 5
    assert precision_recall(scored, truth, "retrieved").recall_at_full_precision == 2 / 3
    tied = replace(ranking, scores=np.array([[9], [5], [5], [4], [-np.inf]], dtype=np.float32))
    assert precision_recall(tied, truth).recall_at_full_precision == 1 / 5  # a threshold of 5 takes the mistake too
    wrong_first = replace(ranking, scores=np.array([[1], [1], [5], [4], [-np.inf]], dtype=np.float32))
    assert precision_recall(wrong_first, truth).recall_at_full_precision == 0


def test_no_answer_and_infinite_scores_are_no_crash() -> None:
    nothing = precision_recall(make_ranking(np.full((2, 1), -1), 1), make_truth([[0], [0]], 1))
    assert (nothing.average_precision, nothing.recall_at_full_precision) == (0, 0)
    ranking = make_ranking(np.array([[0], [0]]), 1)
    unscored = precision_recall(replace(ranking, scores=np.full((2, 1), -np.inf)), make_truth([[0], []], 1))
    assert (unscored.precision.tolist(), unscored.recall.tolist()) == ([0.5], [1])
    with pytest.raises(GroundTruthError, match="is not a number"):
        precision_recall(replace(ranking, scores=np.full((2, 1), np.nan)), make_truth([[0], []], 1))


# --- localisation error, groups -------------------------------------------------------------------------------------


def test_errors_are_metres_to_the_best_match() -> None:
    truth = GroundTruth.from_positions(np.array([[0.0, 0], [0, 0], [1, 1]]), np.array([[3.0, 4], [0, 1]]), 2)
    ranking = make_ranking(np.array([[0, 1], [1, 0], [-1, -1]]), 2)
    assert localisation_errors(ranking, truth).tolist() == [5, 1, np.inf]
    for other in (make_truth([[], [], []], 2), GroundTruth.from_labels("abc", "ab")):
        with pytest.raises(GroundTruthError, match="holds no positions in metres"):
            localisation_errors(ranking, other)


@pytest.mark.parametrize("seed", range(5))
def test_one_a_group_equals_the_loop(seed: int) -> None:
    ranking, _, _ = random_case(seed)
    groups = np.arange(15) // 3
    found = ranking.best_per_group(groups)
    for row, indices in enumerate(ranking.indices):
        kept, seen = [], set()
        for place, image in enumerate(indices):
            if image >= 0 and groups[image] not in seen:
                seen.add(groups[image])
                kept.append((image, ranking.scores[row, place]))
        assert found.indices[row].tolist() == [image for image, _ in kept] + [-1] * (8 - len(kept))
        assert found.scores[row, : len(kept)].tolist() == [score for _, score in kept]
    with pytest.raises(GroundTruthError, match="groups of 3 images for a database of 15"):
        ranking.best_per_group(np.arange(3))

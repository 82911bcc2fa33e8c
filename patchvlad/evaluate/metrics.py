"""Numbers from rankings: recall@k, mAP@k, precision and recall over match scores, localisation error.

Every number comes with the protocol it was counted by.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import ConfigError, GroundTruthError, counted
from ..places.ground_truth import GroundTruth
from ..search.ranking import Ranking

KS = (1, 5, 10, 20, 50, 100)
DENOMINATORS = ("all", "answerable")


@dataclass(frozen=True)
class Recall:
    """Recall by k, in [0, 1], and what was counted.

    Attributes:
        queries: in all.
        without_positives: of these, queries that cannot be answered.
        denominator: "all" queries, or the "answerable" ones.
    """

    values: dict[int, float]
    queries: int
    without_positives: int
    database: int
    protocol: str
    denominator: str = "all"

    def __getitem__(self, k: int) -> float:
        return self.values[k]

    def __str__(self) -> str:
        numbers = "  ".join(f"R@{k} {100 * value:.1f}" for k, value in self.values.items())
        return f"{numbers}  ({self.describe()})"

    def describe(self) -> str:
        """The protocol in words."""
        treated = "counted as missed" if self.denominator == "all" else "left out"
        none = f", {self.without_positives} without a positive {treated}" if self.without_positives else ""
        sides = f"{counted(self.queries, 'query', 'queries')}{none}, {counted(self.database, 'database image')}"
        return f"{sides}, {self.protocol}"


@dataclass(frozen=True)
class PrecisionRecall:
    """Accepting each query's best match when its score reaches a threshold: precision and recall, thresholds falling.

    Attributes:
        thresholds, precision, recall: (T,) one for each score that occurs.
        average_precision: the sum of precision times the gain in recall.
        recall_at_full_precision: the most matches that can be accepted, of those that should, without a wrong one.
    """

    thresholds: np.ndarray
    precision: np.ndarray
    recall: np.ndarray

    @property
    def average_precision(self) -> float:
        return float(np.sum(np.diff(self.recall, prepend=0.0) * self.precision))

    @property
    def recall_at_full_precision(self) -> float:
        return float(self.recall[self.precision == 1].max(initial=0.0))


def recall(ranking: Ranking, truth: GroundTruth, ks: Sequence[int] = KS, denominator: str = "all") -> Recall:
    """Recall@k: the share of queries with a positive among the first k images.

    Args:
        ranking: of any method.
        truth: of the same images.
        ks: how far to look.
        denominator: "all" queries, those without positives included (as the reference counts), or the "answerable".

    Raises:
        GroundTruthError: truth and ranking are of different numbers of images.
        ConfigError: no ranking and truth, or a k that is no whole number from 1.
    """
    if not isinstance(ranking, Ranking) or not isinstance(truth, GroundTruth):
        raise ConfigError(
            f"recall is of a Ranking and a GroundTruth, not of {type(ranking).__name__} and {type(truth).__name__}"
        )
    if not all(isinstance(k, int | np.integer) and k >= 1 for k in ks):
        raise ConfigError(f"recall at {tuple(ks)}: each k is a whole number from 1")
    return recall_of(found_positives(ranking, truth), truth, ks, denominator)


def recall_of(hits: np.ndarray, truth: GroundTruth, ks: Sequence[int], denominator: str) -> Recall:
    """The same of (Q, k) hits that `found_positives` gave."""
    counted = counted_queries(truth, denominator)
    first = np.where(hits.any(axis=1), hits.argmax(axis=1) if hits.size else 0, np.inf)[counted]
    values = {k: float(np.mean(first < k)) if len(first) else 0.0 for k in ks}
    return Recall(values, len(truth), truth.without_positives, truth.database, truth.protocol, denominator)


def counted_queries(truth: GroundTruth, denominator: str) -> np.ndarray:
    """(Q,) bool: which queries a denominator counts."""
    if denominator not in DENOMINATORS:
        raise GroundTruthError(f"unknown denominator {denominator!r}: choose from {', '.join(DENOMINATORS)}")
    return np.ones(len(truth), dtype=bool) if denominator == "all" else truth.answerable


def found_positives(ranking: Ranking, truth: GroundTruth) -> np.ndarray:
    """(Q, k) bool: is the image in this place a positive, and not one that was in an earlier place already.

    Raises:
        GroundTruthError: truth and ranking are of different numbers of images.
    """
    sizes = (len(ranking.query_names), len(ranking.database_names))
    if sizes != (len(truth), truth.database):
        raise GroundTruthError(
            f"the ranking has {sizes[0]} queries and {sizes[1]} database images, the ground truth {len(truth)} and "
            f"{truth.database}"
        )
    hits = np.zeros(ranking.indices.shape, dtype=bool)
    for row, positives in enumerate(truth.positives):
        indices = ranking.indices[row]
        new = np.zeros(len(indices), dtype=bool)
        new[np.unique(indices, return_index=True)[1]] = True
        hits[row] = new & np.isin(indices, positives)
    return hits


def average_precision_at(hits: np.ndarray, positives: np.ndarray, k: int) -> np.ndarray:
    """Average precision of each query's first k images, as mapillary_sls counts it; 0 without positives.

    Args:
        hits: (Q, any) bool, from `found_positives`.
        positives: (Q,) how many each query has.

    Returns:
        (Q,): the sum over hits of the precision up to there, over min(positives, k); its mean is mAP@k.
    """
    some = hits[:, :k]
    precision = np.cumsum(some, axis=1) / np.arange(1, some.shape[1] + 1)
    return (precision * some).sum(axis=1) / np.maximum(np.minimum(positives, k), 1)


def precision_recall(ranking: Ranking, truth: GroundTruth, of: str = "answerable") -> PrecisionRecall:
    """Precision and recall over the confidence of each query's best match, or its score where there is none.

    Args:
        ranking: with confidences or scores that can be compared across queries.
        truth: of the same images.
        of: what recall is a share of: "answerable" queries, so that 1 means that every query which can be answered is;
            or "retrieved" ones, whose best match is right, as VPR-Bench and scikit-learn count.
    """
    return precision_recall_of(found_positives(ranking, truth), ranking, truth, of)


def precision_recall_of(hits: np.ndarray, ranking: Ranking, truth: GroundTruth, of: str) -> PrecisionRecall:
    """The same of (Q, k) hits that `found_positives` gave."""
    if of not in ("answerable", "retrieved"):
        raise GroundTruthError(f"unknown share {of!r}: choose from answerable, retrieved")
    right = np.asarray(hits[:, :1].any(axis=1))
    compared = ranking.scores if ranking.confidences is None else ranking.confidences
    scores = compared[:, 0].astype(np.float64) if compared.shape[1] else np.zeros(0)
    answered = np.flatnonzero((ranking.indices[:, :1] >= 0).any(axis=1))
    if np.isnan(scores[answered]).any():
        raise GroundTruthError(f"the score of {ranking.query_names[answered[0]]} or another query is not a number")
    order = answered[np.argsort(-scores[answered], kind="stable")]
    scores, right = scores[order], right[order]
    last = np.flatnonzero(np.append(scores[1:] != scores[:-1], True)[: len(scores)])  # equal scores: all or none
    true = np.cumsum(right)[last]
    wanted = int(truth.answerable.sum()) if of == "answerable" else int(right.sum())
    return PrecisionRecall(scores[last], true / (last + 1), true / max(wanted, 1))


def localisation_errors(ranking: Ranking, truth: GroundTruth) -> np.ndarray:
    """(Q,) metres from each query to its best match; infinite where there is none, or where it is not known.

    Raises:
        GroundTruthError: the truth holds no positions in metres.
    """
    if truth.points is None or truth.unit != "m":
        raise GroundTruthError("the ground truth holds no positions in metres: localisation errors cannot be measured")
    errors = np.full(len(truth), np.inf)
    if ranking.indices.shape[1]:
        best = ranking.indices[:, 0]
        known = (best >= 0) & (best < len(truth.points[1]))
        errors[known] = np.linalg.norm(truth.points[0][known] - truth.points[1][best[known]], axis=1)
    return errors

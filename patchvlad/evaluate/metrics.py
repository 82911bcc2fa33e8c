"""Recall@k: the share of queries with a positive among the first k images, and the protocol it was counted by."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import GroundTruthError
from ..search.retrieval import Ranking
from .ground_truth import GroundTruth

KS = (1, 5, 10, 20, 50, 100)


@dataclass(frozen=True)
class Recall:
    """Recall by k, in [0, 1], over all queries, and what was counted."""

    values: dict[int, float]
    queries: int
    without_positives: int
    database: int
    protocol: str

    def __getitem__(self, k: int) -> float:
        return self.values[k]

    def __str__(self) -> str:
        numbers = "  ".join(f"R@{k} {100 * value:.1f}" for k, value in self.values.items())
        return f"{numbers}  ({self.describe()})"

    def describe(self) -> str:
        """The protocol in words."""
        none = f", {self.without_positives} without a positive counted as missed" if self.without_positives else ""
        return f"{self.queries} queries{none}, {self.database} database images, {self.protocol}"


def recall(ranking: Ranking, truth: GroundTruth, ks: Sequence[int] = KS) -> Recall:
    """Recall@k over all queries, those without positives included (as the reference counts).

    Raises:
        GroundTruthError: truth and ranking are of different numbers of images.
    """
    sizes = (len(ranking.query_names), len(ranking.database_names))
    if sizes != (len(truth), truth.database):
        raise GroundTruthError(
            f"the ranking has {sizes[0]} queries and {sizes[1]} database images, the ground truth {len(truth)} and "
            f"{truth.database}"
        )
    first_hit = np.full(len(truth), np.inf)
    for row, positives in enumerate(truth.positives):
        hits = np.flatnonzero(np.isin(ranking.indices[row], positives))
        if len(hits):
            first_hit[row] = hits[0]
    values = {k: float(np.mean(first_hit < k)) if len(truth) else 0.0 for k in ks}
    return Recall(values, len(truth), truth.without_positives, truth.database, truth.protocol)

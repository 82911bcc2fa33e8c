"""Hard triplets of cached descriptors (Arandjelovic et al. 2016, section 4).

The positive of a query is the nearest photo of its place, and a negative is hard where it violates the margin:

    |q - n| < |q - p| + margin

Distances are of unit vectors, |a - b|^2 = 2 - 2 a . b.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Triplets:
    """T queries with their mined photos, as rows of the image list.

    Attributes:
        queries, positives: (T,) int64.
        negatives: (T, n) int64, hardest first; -1 where a query has fewer hard ones.
        active: share of all query-negative pairs seen that violate the margin.
    """

    queries: np.ndarray
    positives: np.ndarray
    negatives: np.ndarray
    active: float

    def __len__(self) -> int:
        return len(self.queries)


@dataclass(frozen=True)
class Described:
    """Descriptors of some photos.

    Attributes:
        rows: (n,) ascending rows of the image list.
        descriptors: (n, D), L2-normalised.
    """

    rows: np.ndarray
    descriptors: Tensor

    def of(self, rows: np.ndarray) -> Tensor:
        """(m, D) of photos that are all among them."""
        return self.descriptors[torch.from_numpy(np.searchsorted(self.rows, rows))]


@dataclass(frozen=True)
class Sought:
    """Queries whose triplets are wanted, and what is known of them.

    Attributes:
        queries: (Q,) rows of the image list; one may stand there twice.
        positives: for each query rows of its positives.
        close: for each query rows that are no safe negatives.
    """

    queries: np.ndarray
    positives: list[np.ndarray]
    close: list[np.ndarray]


def mine(
    sought: Sought, candidates: np.ndarray, described: Described, margin: float, most: int, block: int = 1024
) -> Triplets:
    """Hard triplets of queries.

    Args:
        sought: the queries.
        candidates: rows that negatives are sought among.
        described: all queries, positives and candidates.
        margin: of the triplet loss.
        most: negatives per query.
        block: queries compared at a time.

    Returns:
        The triplets of all queries with at least one hard negative, in the queries' order.
    """
    queries, positives, close = sought.queries, sought.positives, sought.close
    database = np.unique(np.concatenate([candidates, *positives]))
    query_descriptors, database_descriptors = described.of(queries), described.of(database)
    columns = np.searchsorted(database, candidates)
    found: list[tuple[int, int, np.ndarray]] = []
    violations = seen = 0
    for start in range(0, len(queries), block):
        some = range(start, min(start + block, len(queries)))
        distances = _distances(query_descriptors[start : start + block], database_descriptors)
        for i, row in zip(some, distances, strict=True):
            own = np.searchsorted(database, positives[i])
            nearest = own[row[own].argmin()]
            violating = (row[columns] < row[nearest] + margin) & ~np.isin(candidates, close[i])
            violations += int(violating.sum())
            seen += len(candidates)
            if not violating.any():
                continue
            hard = columns[violating]
            hardest = hard[np.argsort(row[hard], kind="stable")[:most]]
            negatives = np.full(most, -1)
            negatives[: len(hardest)] = database[hardest]
            found.append((queries[i], database[nearest], negatives))
    active = violations / max(seen, 1)
    if not found:
        none = np.empty(0, dtype=np.int64)
        return Triplets(none, none, np.empty((0, most), dtype=np.int64), active)
    chosen, nearest_positives, negatives_of = zip(*found, strict=True)
    return Triplets(np.array(chosen), np.array(nearest_positives), np.stack(negatives_of), active)


def _distances(queries: Tensor, database: Tensor) -> np.ndarray:
    """(Q, D) and (B, D) of unit length -> (Q, B)."""
    return (2 - 2 * queries @ database.T).clamp_min_(0).sqrt_().cpu().numpy()

"""Candidates by global descriptor: for each query the database images of highest dot product.

The database stays in its memory map and is gone through in blocks, so that it may be larger than memory.
"""

import os
from dataclasses import dataclass

import numpy as np

from ..arrays import read_array
from ..errors import ConfigError, MismatchError
from ..features.global_descriptors import GlobalDescriptors
from ..features.store import FeatureStore

DATABASE_BLOCK = 32768  # images scored at once
QUERY_BLOCK = 512  # queries scored at once: 64 MB of scores; the database is read once for each block of queries
FEW = 4  # up to so many queries BLAS's matrix product is slower than one dot product after the other


@dataclass(frozen=True)
class Ranking:
    """Database images in falling order of score, for each query.

    Attributes:
        indices: (Q, k) int64 rows of the database, -1 where there are fewer than k.
        scores: (Q, k) float32, higher is better; of candidates the dot product of global descriptors, after re-ranking
            the fused score, which compares candidates of one query only; -inf where the index is -1.
        query_names, database_names: image names, as rows.
        confidences: (Q, k) float32 after re-ranking, else None: weighted sums of the patch sizes' match scores; they
            compare across queries, but need not fall; -inf for candidates that were not re-ranked.
    """

    indices: np.ndarray
    scores: np.ndarray
    query_names: tuple[str, ...]
    database_names: tuple[str, ...]
    confidences: np.ndarray | None = None


Described = FeatureStore | GlobalDescriptors


def retrieve(queries: Described, database: Described, k: int = 100, groups: np.ndarray | None = None) -> Ranking:
    """Finds the k most similar database images of every query by exact search.

    Images that could not be read are never candidates. Of equal scores the lower row of the database comes first and is
    the last to be cut off; scores are sums in float32, whose last digits depend on what is computed together. Memory is
    bounded however large the database: its memory map, read once for each block of queries, is the system's to drop.

    Args:
        queries, database: stores made in the same way, or global descriptors of any method.
        k: candidates a query.
        groups: (B,) whole numbers; of each group only the most similar image is kept (the cut-outs of one panorama, as
            in Tokyo 24/7: `np.arange(B) // 12`).

    Raises:
        MismatchError: the stores were made in different ways, or descriptors are of different lengths.
    """
    if k < 1:
        raise ConfigError(f"k = {k} candidates: ask for at least 1")
    if isinstance(queries, FeatureStore) and isinstance(database, FeatureStore):
        queries.check_matches(database)
    elif queries.global_.shape[1] != database.global_.shape[1] and len(queries) and len(database):
        lengths = f"{queries.global_.shape[1]} and {database.global_.shape[1]}"
        raise MismatchError(
            f"descriptors of queries and database have {lengths} components: they do not belong together"
        )
    if groups is not None and np.shape(groups) != (len(database),):
        raise ConfigError(f"groups has shape {np.shape(groups)}: give one number for each of {len(database)} images")
    depth = k
    if groups is not None:
        groups = np.asarray(groups)
        depth *= int(np.unique(groups, return_counts=True)[1].max(initial=1))
    unreadable = np.array(database.unreadable, dtype=np.int64)
    indices = np.full((len(queries), k), -1, dtype=np.int64)
    scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
    for first in range(0, len(queries), QUERY_BLOCK):
        some = slice(first, first + QUERY_BLOCK)
        asked = np.asarray(queries.global_[some])
        for start in range(0, len(database), DATABASE_BLOCK):
            block = np.asarray(database.global_[start : start + DATABASE_BLOCK])
            found = _products(asked, block)
            found[:, unreadable[(unreadable >= start) & (unreadable < start + len(block))] - start] = -np.inf
            for best, best_scores, new_scores in zip(indices[some], scores[some], found, strict=True):
                _merge(best, best_scores, new_scores, start, depth, groups)
    for row in queries.unreadable:
        indices[row], scores[row] = -1, -np.inf
    return Ranking(indices, scores, queries.names, database.names)


def _products(queries: np.ndarray, block: np.ndarray) -> np.ndarray:
    """(Q, D) and (B, D) to their dot products (Q, B)."""
    return queries @ block.T if len(queries) > FEW else np.vecdot(queries[:, None], block)


def _merge(
    best: np.ndarray, best_scores: np.ndarray, scores: np.ndarray, start: int, depth: int, groups: np.ndarray | None
) -> None:
    """Updates in place one query's best (k,) rows and scores by the scores (B,) of the rows from `start` on.

    Of the latter no more than the `depth` best can matter: k times the size of the largest group.
    """
    rows = np.flatnonzero(scores > best_scores[-1])  # not >=: of equal scores the lower row is there already
    if not len(rows):
        return
    if len(rows) > depth:  # leaves few to sort
        rows = rows[scores[rows] >= np.partition(scores[rows], -depth)[-depth]]
    filled = int(np.count_nonzero(best >= 0))
    values = np.concatenate([best_scores[:filled], scores[rows]])
    rows = np.concatenate([best[:filled], start + rows])
    order = np.argsort(-values, kind="stable")
    if groups is not None:
        order = order[np.sort(np.unique(groups[rows[order]], return_index=True)[1])]
    order = order[: len(best)]
    best[: len(order)], best_scores[: len(order)] = rows[order], values[order]


def read_candidates(path: str | os.PathLike, queries: FeatureStore, database: FeatureStore) -> Ranking:
    """Reads candidates chosen by other means: an .npy of (Q, k) rows of the database, -1 for none; scores fall by rank.

    Raises:
        MismatchError: the file is none, or does not fit the stores.
    """
    try:
        indices = read_array(path)
    except ValueError as error:
        raise MismatchError(f"{path} cannot be read as an .npy of candidates ({error})") from error
    if indices.ndim != 2 or len(indices) != len(queries) or indices.dtype.kind not in "iu":
        raise MismatchError(f"{path} must hold whole numbers, {len(queries)} rows, not {indices.dtype} {indices.shape}")
    if indices.size and not -1 <= indices.min() <= indices.max() < len(database):
        raise MismatchError(f"{path} names rows up to {indices.max()}, the database has {len(database)} images")
    ranks = np.broadcast_to(-np.arange(indices.shape[1], dtype=np.float32), indices.shape)
    scores = np.where(indices >= 0, ranks, -np.inf).astype(np.float32)
    return Ranking(indices.astype(np.int64), scores, queries.names, database.names)

"""Candidates by global descriptor: for each query the database images of highest dot product."""

import os
from dataclasses import dataclass

import faiss
import numpy as np

from ..errors import ConfigError, MismatchError
from ..features.store import FeatureStore


@dataclass(frozen=True)
class Ranking:
    """Database images in falling order of score, for each query.

    Attributes:
        indices: (Q, k) int64 rows of the database, -1 where there are fewer than k.
        scores: (Q, k) float32, higher is better; of candidates the dot product of global descriptors, after re-ranking
            the fused score, which compares candidates of one query only; -inf where the index is -1.
        query_names, database_names: image names, as rows.
    """

    indices: np.ndarray
    scores: np.ndarray
    query_names: tuple[str, ...]
    database_names: tuple[str, ...]


def retrieve(queries: FeatureStore, database: FeatureStore, k: int = 100, groups: np.ndarray | None = None) -> Ranking:
    """Finds the k most similar database images of every query by exact search.

    Images that could not be read are never candidates.

    Args:
        queries, database: stores made in the same way.
        k: candidates a query.
        groups: (B,) whole numbers; of each group only the most similar image is kept (the cut-outs of one panorama, as
            in Tokyo 24/7: `np.arange(B) // 12`).

    Raises:
        MismatchError: the stores were made in different ways.
    """
    if k < 1:
        raise ConfigError(f"k = {k} candidates: ask for at least 1")
    queries.check_matches(database)
    readable = np.setdiff1d(np.arange(len(database)), database.manifest.unreadable)
    index = faiss.IndexFlatIP(database.recipe.dim)
    for start in range(0, len(readable), 65536):
        index.add(np.ascontiguousarray(database.global_[readable[start : start + 65536]]))
    indices = np.full((len(queries), k), -1, dtype=np.int64)
    scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
    if groups is not None and np.shape(groups) != (len(database),):
        raise ConfigError(f"groups has shape {np.shape(groups)}: give one number for each of {len(database)} images")
    most = 1 if groups is None or not len(readable) else int(np.unique(groups[readable], return_counts=True)[1].max())
    depth = min(k * most, len(readable))
    if depth:
        found_scores, found_rows = index.search(np.ascontiguousarray(queries.global_), depth)
        for row, found in enumerate(readable[found_rows]):
            kept = np.arange(depth) if groups is None else np.sort(np.unique(groups[found], return_index=True)[1])
            kept = kept[:k]
            indices[row, : len(kept)], scores[row, : len(kept)] = found[kept], found_scores[row, kept]
    for row in queries.manifest.unreadable:
        indices[row], scores[row] = -1, -np.inf
    return Ranking(indices, scores, queries.names, database.names)


def read_candidates(path: str | os.PathLike, queries: FeatureStore, database: FeatureStore) -> Ranking:
    """Reads candidates chosen by other means: an .npy of (Q, k) rows of the database, -1 for none; scores fall by rank.

    Raises:
        MismatchError: the file is none, or does not fit the stores.
    """
    try:
        indices = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise MismatchError(f"{path} cannot be read as an .npy of candidates ({error})") from error
    if not isinstance(indices, np.ndarray):
        raise MismatchError(f"{path} must hold one array of candidates, not an archive: save it with numpy.save")
    if indices.ndim != 2 or len(indices) != len(queries) or indices.dtype.kind not in "iu":
        raise MismatchError(f"{path} must hold whole numbers, {len(queries)} rows, not {indices.dtype} {indices.shape}")
    if indices.size and not -1 <= indices.min() <= indices.max() < len(database):
        raise MismatchError(f"{path} names rows up to {indices.max()}, the database has {len(database)} images")
    ranks = np.broadcast_to(-np.arange(indices.shape[1], dtype=np.float32), indices.shape)
    scores = np.where(indices >= 0, ranks, -np.inf).astype(np.float32)
    return Ranking(indices.astype(np.int64), scores, queries.names, database.names)

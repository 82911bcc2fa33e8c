"""Candidates by global descriptor: for each query the database images of highest dot product."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..errors import ConfigError, MismatchError, counted
from ..features.global_descriptors import GlobalDescriptors
from ..features.store import FeatureStore
from ..files.arrays import read_array
from ..images.row_order import RowOrder
from ..images.sides import Names, Sides
from .ranking import Ranking
from .registry import INDEXES

Described = FeatureStore | GlobalDescriptors


def retrieve(
    queries: Described,
    database: Described,
    k: int = 100,
    groups: np.ndarray | None = None,
    index: str = "flat",
    excluded: Callable[[int], np.ndarray] | None = None,
) -> Ranking:
    """Finds the k most similar database images of every query.

    Images that could not be read are never candidates. Of equal scores the lower row of the database comes first and is
    the last to be cut off; scores are sums in float32, whose last digits depend on what is computed together. Memory is
    bounded however large the database: its memory map, read once for each block of queries, is the system's to drop.

    Args:
        queries, database: stores made in the same way, or global descriptors of any method.
        k: candidates per query.
        groups: (B,) whole numbers; of each group only the most similar image is kept (the cut-outs of one panorama, as
            in Tokyo 24/7: `np.arange(B) // 12`).
        index: how to search, see `search.registry.INDEXES`; `flat` is exact.
        excluded: (row of a query) -> (n,) rows of the database, ascending, that are no candidates of it, such as those
            of the same photo: `Exclusion.rows`.

    Raises:
        MismatchError: the stores were made in different ways, or descriptors are of different lengths.
        StoreError: a descriptor holds NaN or infinity.
        ConfigError: what is given is neither stores nor global descriptors, or a number cannot be.
    """
    for side, described in (("queries", queries), ("database", database)):
        if not isinstance(described, FeatureStore | GlobalDescriptors):
            raise ConfigError(
                f"the {side} are a {type(described).__name__}: give a FeatureStore, or GlobalDescriptors(names, array)"
            )
    if not isinstance(k, int | np.integer) or k < 1:
        raise ConfigError(f"k = {k} candidates: ask for a whole number from 1")
    if isinstance(queries, FeatureStore) and isinstance(database, FeatureStore):
        queries.check_matches(database)
    elif queries.global_.shape[1] != database.global_.shape[1] and len(queries) and len(database):
        lengths = f"{queries.global_.shape[1]} and {database.global_.shape[1]}"
        raise MismatchError(
            f"descriptors of queries and database have {lengths} components: they do not belong together"
        )
    if groups is not None and (
        np.shape(groups) != (len(database),) or (len(database) and np.asarray(groups).dtype.kind not in "iu")
    ):
        raise ConfigError(
            f"groups has shape {np.shape(groups)}: give one whole number for each of {counted(len(database), 'image')}"
        )
    never = np.array(database.unreadable, dtype=np.int64)
    depth = k if groups is None else k * int(np.unique(groups, return_counts=True)[1].max(initial=1))
    left_out = {} if excluded is None else {"excluded": excluded}  # which a simple index need not know
    indices, scores = INDEXES[index](database.global_, never).search(queries.global_, depth, **left_out)
    found = Ranking(indices, scores, queries.names, database.names)
    if groups is not None:
        found = found.best_per_group(np.asarray(groups)).first(k)
    for row in queries.unreadable:
        found.indices[row], found.scores[row] = -1, -np.inf
    return found


def read_candidates(
    path: str | os.PathLike, queries: FeatureStore, database: FeatureStore, order: RowOrder | None = None
) -> Ranking:
    """Reads candidates chosen by other means: an .npy of (Q, k) rows of the database, -1 for none; scores fall by rank.

    Args:
        path: the file.
        queries, database: stores.
        order: of the images that rows stand for; None is that of the stores.

    Raises:
        MismatchError: the file is none, or does not fit the stores.
    """
    try:
        indices = read_array(path)
    except ValueError as error:
        raise MismatchError(f"{path} cannot be read as an .npy of candidates ({error})") from error
    if indices.ndim != 2 or len(indices) != len(queries) or indices.dtype.kind not in "iu":
        raise MismatchError(
            f"{path} must hold whole numbers, {counted(len(queries), 'row')}, not {indices.dtype} {indices.shape}"
        )
    if indices.size and not -1 <= indices.min() <= indices.max() < len(database):
        raise MismatchError(
            f"{path} names rows up to {indices.max()}, the database has {counted(len(database), 'image')}"
        )
    ranks = np.broadcast_to(-np.arange(indices.shape[1], dtype=np.float32), indices.shape)
    scores = np.where(indices >= 0, ranks, -np.inf).astype(np.float32)
    names: Names = Sides(queries.names, database.names)
    said = names if order is None else order.names(Path(path), names).map(lambda side: tuple(side or ()))
    return Ranking(indices.astype(np.int64), scores, said.queries, said.database).of(*names)

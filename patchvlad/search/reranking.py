"""Candidates reordered by geometric verification, scores fused over the patch sizes."""

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from ..errors import ConfigError
from ..features.store import FeatureStore
from ..model.network import Descriptors
from .matching import Matcher, PatchMatcher, match_ransac
from .retrieval import Ranking

TOGETHER = 4  # candidates that a thread takes at a time

Reader = Callable[[FeatureStore, int], Descriptors]


def fuse(scores: np.ndarray, weights: Sequence[float], least_spread: float | Sequence[float] = 0.0) -> np.ndarray:
    """Fuses the scores of one query's candidates over patch sizes: weighted sum of z-scores.

    Args:
        scores: (k, S), higher is better.
        weights: S weights. A patch size whose scores are all equal says nothing and contributes 0.
        least_spread: standard deviation that is divided by at the least, one for all or one a patch size. Without any,
            0 as in the paper, chance-level scores count as much as telling ones.

    Returns:
        (k,) float64.
    """
    if scores.shape[1] != len(weights):
        raise ConfigError(f"{len(weights)} weights for {scores.shape[1]} patch sizes: give one weight a patch size")
    if len(scores) == 0:
        return np.zeros(0)
    deviations = scores - scores.mean(axis=0)
    spread = scores.std(axis=0)
    constant = np.ptp(scores, axis=0) == 0
    spread = np.where(constant, 1, np.maximum(spread, least_spread))
    return np.where(constant, 0, deviations / spread) @ np.asarray(weights, dtype=np.float64)


def rerank(
    candidates: Ranking,
    queries: FeatureStore,
    database: FeatureStore,
    matcher: Matcher = match_ransac,
    weights: Sequence[float] | None = None,
    global_weight: float = 0.0,
    least_spread: float = 0.0,
    depth: int | None = None,
    *,
    time_budget: float | None = None,
    read: Reader = FeatureStore.descriptors,
    device: str | torch.device = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> Ranking:
    """Reorders every query's candidates by the fused score of their patches, stable where scores tie.

    Args:
        candidates: from `retrieve`.
        queries, database: the stores that the candidates came from.
        matcher: `match_ransac`, `match_rapid`, `match_voting`, or any function of that form.
        weights: one a patch size; None weighs all alike.
        global_weight: of the candidates' own scores, fused as one more patch size would be; 0 in the paper.
        least_spread: of the scores of a patch size over a query's candidates, see `fuse`; 0 in the paper.
        depth: how many candidates to re-rank; the rest keep their order behind them, with score -inf.
        time_budget: seconds a query; of the candidates, best first, as many are re-ranked as fit. Then results depend
            on the machine and its load.
        read: how descriptors are read from a store, where not as they are stored.
        device: where descriptors are compared; verification is done on the CPU.
        progress: called after each query with (queries done, queries in all).

    Returns:
        Ranking of the same shape.

    Raises:
        MismatchError: the stores were made in different ways.
        ConfigError: there are no patches, the number of weights is wrong, or candidates of other stores.
    """
    queries.check_matches(database)
    if candidates.query_names != queries.names or candidates.database_names != database.names:
        raise ConfigError("these candidates are of other stores: retrieve them from the stores given")
    if not queries.grids:
        raise ConfigError(f"{queries.folder} holds global descriptors only: extract with patches to re-rank")
    weights = weights if weights is not None else [1 / len(queries.grids)] * len(queries.grids)
    if len(weights) != len(queries.grids):
        sizes = tuple(queries.grids)
        raise ConfigError(f"{len(weights)} weights for patch sizes {sizes}: give one weight a patch size")
    indices = candidates.indices.copy()
    scores = np.full(indices.shape, -np.inf, dtype=np.float32)
    confidences = scores.copy()
    # A matcher of the user's own need not bear threads.
    threads = torch.get_num_threads() if isinstance(matcher, PatchMatcher) else 1
    with _workers(threads) as pool:
        for row in range(len(indices)):
            query = read(queries, row).to(device)

            def score(images: np.ndarray, query: Descriptors = query) -> np.ndarray:
                return _scores(matcher, query, [read(database, image).to(device) for image in images])

            places = np.flatnonzero(indices[row, :depth] >= 0)
            columns = _in_time(pool, threads, score, indices[row, places], time_budget)
            places = places[: len(columns)]
            found, retrieved = indices[row, places], candidates.scores[row, places].astype(np.float64)
            columns = columns.reshape(len(found), len(weights))
            fused = fuse(
                np.column_stack([columns, retrieved]),
                [*weights, global_weight],
                [*([least_spread] * len(weights)), 0],
            )
            order = np.argsort(-fused, kind="stable")
            indices[row, places] = found[order]
            scores[row, places] = fused[order]
            confidences[row, places] = (columns @ np.asarray(weights, dtype=np.float64))[order]
            if progress:
                progress(row + 1, len(indices))
    return Ranking(indices, scores, candidates.query_names, candidates.database_names, confidences)


def _in_time(
    pool: ThreadPoolExecutor,
    threads: int,
    score: Callable[[np.ndarray], np.ndarray],
    images: np.ndarray,
    budget: float | None,
) -> np.ndarray:
    """Scores (k, S) of the first k images, all of them unless the budget in seconds runs out before."""
    started = time.perf_counter()
    parts = [images[start : start + TOGETHER] for start in range(0, len(images), TOGETHER)]
    at_once = len(parts) if budget is None else threads
    done: list[np.ndarray] = []
    for start in range(0, len(parts), max(at_once, 1)):
        if budget is not None:
            spent = time.perf_counter() - started
            if spent + (spent * at_once / start if start else 0) > budget:
                break
        done += pool.map(score, parts[start : start + at_once])
    return np.concatenate(done) if done else np.zeros((0, 0))


def _scores(matcher: Matcher, query: Descriptors, images: Sequence[Descriptors]) -> np.ndarray:
    """(k, S) scores of a query against k images, in batches where the matcher can."""
    if isinstance(matcher, PatchMatcher):
        return matcher.score_many(query, images)
    return np.array([list(matcher(query, image).scores.values()) for image in images], dtype=np.float64)


@contextlib.contextmanager
def _workers(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that each compute alone, if there are several: one candidate's numbers stay in one core's cache."""
    before = torch.get_num_threads()
    alone = functools.partial(torch.set_num_threads, 1) if threads > 1 else None
    with ThreadPoolExecutor(threads, initializer=alone) as pool:
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(before)

"""Candidates reordered by geometric verification, scores fused over the patch sizes."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
import torch

from ..errors import ConfigError
from ..features.store import FeatureStore
from ..model.network import Descriptors
from .matchers.base import Matcher, PatchMatcher
from .matchers.ransac import match_ransac
from .ranking import Ranking

TOGETHER = 4  # candidates that are scored at a time

Reader = Callable[[FeatureStore, int], Descriptors]


@dataclass(frozen=True)
class Workers:
    """Threads that score candidates, and how many they are.

    They are fastest if each computes alone (`torch.set_num_threads(1)` as their initialiser): one candidate's numbers
    then stay in one core's cache. That setting is the whole process's, so whoever owns the process makes them.
    """

    executor: Executor
    count: int


def fuse(scores: np.ndarray, weights: Sequence[float], least_spread: float | Sequence[float] = 0.0) -> np.ndarray:
    """Fuses the scores of one query's candidates over patch sizes: weighted sum of z-scores.

    Args:
        scores: (k, S), higher is better.
        weights: S weights. A patch size whose scores are all equal says nothing and contributes 0.
        least_spread: standard deviation that is divided by at the least, one for all or one per patch size. With 0, as
            in the paper, chance-level scores count as much as telling ones.

    Returns:
        (k,) float64.
    """
    if scores.shape[1] != len(weights):
        raise ConfigError(f"{len(weights)} weights for {scores.shape[1]} patch sizes: give one weight per patch size")
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
    workers: Workers | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Ranking:
    """Reorders every query's candidates by the fused score of their patches, stable where scores tie.

    Args:
        candidates: from `retrieve`.
        queries, database: the stores that the candidates came from.
        matcher: `match_ransac`, `match_rapid`, `match_voting`, or any function of that form.
        weights: one per patch size; None weighs all alike.
        global_weight: of the candidates' own scores, fused as one more patch size would be; 0 in the paper.
        least_spread: of the scores of a patch size over a query's candidates, see `fuse`; 0 in the paper.
        depth: how many candidates to re-rank; the rest keep their order behind them, with score -inf.
        time_budget: seconds per query; of the candidates, best first, as many are re-ranked as fit. Then results depend
            on the machine and its load.
        read: how descriptors are read from a store, where not as they are stored.
        device: where descriptors are compared; verification is done on the CPU.
        workers: threads that score candidates side by side; None for the caller's own.
        progress: called after each query with (queries done, queries in all).

    Returns:
        Ranking of the same shape.

    Raises:
        MismatchError: the stores were made in different ways.
        ConfigError: there are no patches, candidates are of other stores, or a number cannot be.
    """
    _check_given(candidates, queries, database, depth, time_budget)
    fusion = _Fusion(_weights(queries, weights), global_weight, least_spread)
    score = _Scorer(queries, database, matcher, read, device)
    if not isinstance(matcher, PatchMatcher):  # of the user's own, which need not bear threads
        workers = None
    indices = candidates.indices.copy()
    scores = np.full(indices.shape, -np.inf, dtype=np.float32)
    confidences = scores.copy()
    for row in range(len(indices)):
        places = np.flatnonzero(indices[row, :depth] >= 0)
        columns = _in_time(workers, score.of_query(row), indices[row, places], time_budget)
        places = places[: len(columns)]
        order, fused, plain = fusion.order(columns, candidates.scores[row, places].astype(np.float64))
        indices[row, places] = indices[row, places][order]
        scores[row, places], confidences[row, places] = fused, plain
        if progress:
            progress(row + 1, len(indices))
    return Ranking(indices, scores, candidates.query_names, candidates.database_names, confidences)


def _check_given(
    candidates: object, queries: object, database: object, depth: int | None, time_budget: float | None
) -> None:
    """Refuses what are no candidates of two stores that belong together, and scores and limits that cannot be."""
    for name, value in (("depth", depth), ("time_budget", time_budget)):
        if value is not None and not value >= 0:
            raise ConfigError(f"{name} = {value} must be at least 0")
    if not isinstance(candidates, Ranking):
        raise ConfigError(f"candidates are a Ranking, as retrieve gives, not {type(candidates).__name__}")
    if not isinstance(queries, FeatureStore) or not isinstance(database, FeatureStore):
        other = database if isinstance(queries, FeatureStore) else queries
        raise ConfigError(f"patches are read from a FeatureStore, not from {type(other).__name__}")
    queries.check_matches(database)
    if candidates.query_names != queries.names or candidates.database_names != database.names:
        raise ConfigError("these candidates are of other stores: retrieve them from the stores given")
    if not np.isfinite(candidates.scores[candidates.indices >= 0]).all():
        raise ConfigError("a candidate has a score that is NaN or infinite: retrieve again")


def _weights(queries: FeatureStore, weights: Sequence[float] | None) -> Sequence[float]:
    """One weight per patch size of a store."""
    sizes = tuple(queries.grids)
    if not sizes:
        raise ConfigError(f"{queries.folder} holds global descriptors only: extract with patches to re-rank")
    if weights is None:
        return [1 / len(sizes)] * len(sizes)
    if len(weights) != len(sizes):
        raise ConfigError(f"{len(weights)} weights for patch sizes {sizes}: give one weight per patch size")
    if not np.isfinite(np.asarray(weights, dtype=np.float64)).all():
        raise ConfigError(f"weights {tuple(weights)}: each must be a finite number")
    return weights


@dataclass(frozen=True)
class _Fusion:
    """How scores over patch sizes and the score that retrieved a candidate become one."""

    weights: Sequence[float]
    global_weight: float
    least_spread: float

    def order(self, columns: np.ndarray, retrieved: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Scores (k, S) and (k,) of one query's candidates -> their order, and in it fused and plain match scores."""
        columns = columns.reshape(len(retrieved), len(self.weights))
        spreads = [*([self.least_spread] * len(self.weights)), 0]
        fused = fuse(np.column_stack([columns, retrieved]), [*self.weights, self.global_weight], spreads)
        order = np.argsort(-fused, kind="stable")
        return order, fused[order], (columns @ np.asarray(self.weights, dtype=np.float64))[order]


@dataclass(frozen=True)
class _Scorer:
    """Reads descriptors of two stores and matches them."""

    queries: FeatureStore
    database: FeatureStore
    matcher: Matcher
    read: Reader
    device: str | torch.device

    def of_query(self, row: int) -> Callable[[np.ndarray], np.ndarray]:
        """A function from rows (k,) of the database to the scores (k, S) of a query against them."""
        query = self.read(self.queries, row).to(self.device)

        def score(rows: np.ndarray) -> np.ndarray:
            images = [self.read(self.database, image).to(self.device) for image in rows]
            if isinstance(self.matcher, PatchMatcher):
                return self.matcher.score_many(query, images)
            found = [list(self.matcher(query, image).scores.values()) for image in images]
            if not np.isfinite(found).all():
                raise ConfigError(f"the matcher gave {self.queries.names[row]} a score that is NaN or infinite")
            return np.array(found, dtype=np.float64)

        return score


def _in_time(
    workers: Workers | None, score: Callable[[np.ndarray], np.ndarray], images: np.ndarray, budget: float | None
) -> np.ndarray:
    """Scores (k, S) of the first k images, all of them unless the budget in seconds runs out before."""
    started = time.perf_counter()
    each = workers.executor.map if workers else map
    parts = [images[start : start + TOGETHER] for start in range(0, len(images), TOGETHER)]
    at_once = len(parts) if budget is None else workers.count if workers else 1
    done: list[np.ndarray] = []
    for start in range(0, len(parts), max(at_once, 1)):
        if budget is not None:
            spent = time.perf_counter() - started
            if spent + (spent * at_once / start if start else 0) > budget:
                break
        done += each(score, parts[start : start + at_once])
    return np.concatenate(done) if done else np.zeros((0, 0))

"""The whole search that a plan describes: candidates, then their re-ranking."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..errors import ConfigError, StoreError, counted
from ..features.global_descriptors import GlobalDescriptors
from ..features.store import FeatureStore
from ..images.row_order import RowOrder
from ..images.sides import Sides
from ..model.network import Descriptors
from .matchers.base import Matcher, PatchMatcher
from .plan import Plan
from .ranking import Ranking
from .registry import MATCHERS
from .reranking import Workers, rerank
from .retrieval import read_candidates, retrieve

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        retrieved: the candidates.
        reranked: the same in their final order; None where nothing was to be re-ranked.
        seconds: that each of the two took.
    """

    retrieved: Ranking
    reranked: Ranking | None
    seconds: tuple[float, float]

    @property
    def ranking(self) -> Ranking:
        """The last word."""
        return self.retrieved if self.reranked is None else self.reranked


def search(
    stores: Sides[FeatureStore],
    plan: Plan,
    *,
    descriptors: Sides[GlobalDescriptors] | None = None,
    device: str = "cpu",
    workers: Workers | None = None,
    progress: Callable[[int, int], None] | None = None,
    order: RowOrder | None = None,
    excluded: Callable[[int], np.ndarray] | None = None,
) -> Found:
    """Finds every query in the database.

    Args:
        stores: made in the same way.
        plan: how.
        descriptors: of another method, which retrieve in place of the stores' own.
        device: where patch descriptors are compared.
        workers: threads that score candidates, see `rerank`.
        progress: called after each query that is re-ranked.
        order: of the images that rows of a file of candidates stand for; None is that of the stores.
        excluded: (row of a query) -> (n,) rows of the database that are no candidates of it, see `retrieve`.

    Raises:
        StoreError: no photo of a side could be read.
        ConfigError: a plan that cannot be.
    """
    plan.check()
    _check_readable(stores)
    started = time.perf_counter()
    if plan.candidates_file:
        retrieved = read_candidates(plan.candidates_file, stores.queries, stores.database, order)
        retrieved = retrieved if excluded is None else retrieved.without(excluded)
    else:
        asked = stores if descriptors is None else descriptors
        k = min(plan.candidates, max(len(stores.database), 1))
        groups = groups_of(len(stores.database), plan.group)
        retrieved = retrieve(asked.queries, asked.database, k, groups, plan.index, excluded)
    between = time.perf_counter()
    if not stores.queries.grids or plan.depth == 0:
        return Found(retrieved, None, (between - started, 0.0))
    reranked = rerank(
        retrieved,
        stores.queries,
        stores.database,
        matcher_of(plan),
        plan.weights,
        plan.global_weight,
        plan.least_spread,
        depth=plan.depth,
        time_budget=plan.time_budget,
        read=reader(plan),
        device=device,
        workers=workers,
        progress=progress,
    )
    return Found(retrieved, reranked, (between - started, time.perf_counter() - between))


def _check_readable(stores: Sides[FeatureStore]) -> None:
    """Refuses a side without any described photo, and says of how many photos there is no answer."""
    for kind, store in stores.items():
        skipped = len(store.unreadable)
        if not skipped:
            continue
        if skipped == len(store):
            raise StoreError(
                f"{store.folder}: none of its {counted(skipped, 'photo')} could be read, so there are no {kind} to "
                "match: extract readable photos"
            )
        noun = ("query", "queries") if kind == "queries" else ("database image", "database images")
        log.warning(
            "%s of %d could not be read: %s",
            *(counted(skipped, *noun), len(store), "no answer, and counted so" if kind == "queries" else "never found"),
        )


def matcher_of(plan: Plan) -> Matcher:
    """The matcher that a plan names."""
    matcher = MATCHERS[plan.matcher]
    if isinstance(matcher, PatchMatcher):
        return replace(matcher, query_step=plan.query_step)
    if plan.query_step != 1:
        raise ConfigError(f"the matcher {plan.matcher} matches all patches: set querystep to 1")
    return matcher


def reader(plan: Plan) -> Callable[[FeatureStore, int], Descriptors]:
    """How a store's descriptors are read: as they are, or reduced to what the plan compares."""
    components = plan.compared
    if components is None:
        return FeatureStore.descriptors
    return lambda store, row: store.compact_descriptors(row, components)


def groups_of(images: int, size: int) -> np.ndarray | None:
    """(B,) number of the group of each of so many images, `size` in a row each; None where nothing is grouped."""
    return None if size <= 1 else np.arange(images) // size


def check_whole_groups(images: int, size: int) -> None:
    """Raises ConfigError if the last group of so many images is not whole."""
    if images % size:
        raise ConfigError(f"{images} database images do not make groups of {size}: use the whole, ordered list")

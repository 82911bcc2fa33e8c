"""What is learned from at each step: photos, and a loss of their descriptors."""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..places.training import Places
from .frozen import View
from .losses import multi_similarity_loss, triplet_loss
from .mining import Described, Sought, Triplets, mine
from .recipes import Recipe


@dataclass(frozen=True)
class Batch:
    """n views of photos, and the loss of their descriptors (n, D)."""

    views: list[View]
    loss: Callable[[Tensor], Tensor]


def parts_of_epoch(places: Places, recipe: Recipe, epoch: int) -> list[np.ndarray]:
    """Numbers of queries, drawn by their weights as many times as there are queries, in parts of about equal size.

    Only queries with positives are drawn.
    """
    numbers = places.trainable
    generator = np.random.default_rng((recipe.seed, 0, epoch))
    weights = places.weights[numbers]
    if (weights == weights[0]).all():
        drawn = generator.permutation(numbers)
    else:
        drawn = generator.choice(numbers, len(numbers), p=weights / weights.sum())
    return np.array_split(drawn, math.ceil(len(drawn) / recipe.part))


def triplet_batches(
    places: Places,
    numbers: np.ndarray,
    recipe: Recipe,
    describe: Callable[[np.ndarray], Tensor],
    generator: np.random.Generator,
) -> tuple[list[Batch], float]:
    """Batches of hard triplets of these queries, in random order, and the share of active pairs.

    Args:
        places: to train on.
        numbers: of the queries.
        recipe: how many negatives, from how many photos.
        describe: gives descriptors (n, D) of rows.
        generator: of the draws.
    """
    queries = places.queries[numbers]
    positives = [places.positives[number] for number in numbers]
    close = [places.close[number] for number in numbers]
    count = min(recipe.cached_negatives, len(places.database))
    candidates = np.sort(generator.choice(places.database, count, replace=False))
    rows = np.unique(np.concatenate([queries, candidates, *positives]))
    described = Described(rows, describe(rows))
    found = mine(Sought(queries, positives, close), candidates, described, recipe.margin, recipe.negatives)
    order = generator.permutation(len(found))
    chunks = [order[start : start + recipe.batch] for start in range(0, len(order), recipe.batch)]
    return [_triplet_batch(found, chunk, recipe.margin) for chunk in chunks], found.active


def _triplet_batch(found: Triplets, chosen: np.ndarray, margin: float) -> Batch:
    negatives = found.negatives[chosen]
    owner, column = np.nonzero(negatives >= 0)
    rows = np.concatenate([found.queries[chosen], found.positives[chosen], negatives[owner, column]])
    owners = torch.from_numpy(owner)

    def loss(descriptors: Tensor) -> Tensor:
        queries, positives, others = descriptors.split([len(chosen), len(chosen), len(owners)])
        return triplet_loss(queries, positives, others, owners.to(descriptors.device), margin)

    return Batch([(int(row), 0) for row in rows], loss)


def batches_of_places(
    places: Places, numbers: Sequence[int] | np.ndarray, recipe: Recipe, generator: np.random.Generator
) -> list[Batch]:
    """Batches of queries with photos of their places, each photo in a random variant.

    No two queries of a batch are close to each other; a query that is close to all waiting batches is left out.
    """
    wanted = math.ceil(len(numbers) / recipe.batch)
    filled: list[list[int]] = []
    open_: list[list[int]] = []
    for number in numbers:
        home = next((batch for batch in open_ if not _overlap(places, number, batch)), None)
        if home is None:
            if len(filled) + len(open_) >= wanted:
                continue
            home = []
            open_.append(home)
        home.append(int(number))
        if len(home) == recipe.batch:
            open_.remove(home)
            filled.append(home)
    batches = []
    for queries in [*filled, *(batch for batch in open_ if len(batch) > 1)]:
        rows: list[int] = []
        for number in queries:
            positives = places.positives[number]
            count = min(recipe.photos_a_place - 1, len(positives))
            rows += [int(places.queries[number]), *map(int, generator.choice(positives, count, replace=False))]
        unique = np.unique(rows)
        variants = generator.integers(0, 1 + recipe.variants, len(unique))
        relation = torch.from_numpy(places.relation(unique))
        batches.append(
            Batch(
                [(int(row), int(variant)) for row, variant in zip(unique, variants, strict=True)],
                functools.partial(multi_similarity_loss, relation=relation, base=recipe.base),
            )
        )
    return batches


def _overlap(places: Places, number: int, batch: list[int]) -> bool:
    row = places.queries[number]
    return any(row in places.close[other] or places.queries[other] in places.close[number] for other in batch)

"""Both losses against slow loops, and their gradients against differences."""

import math

import numpy as np
import pytest
import tiny
import torch
from torch import Tensor
from torch.nn import functional as F

from patchvlad.places.training import NEGATIVE, NEITHER, POSITIVE
from patchvlad.train.losses import EASE, hard_pairs, multi_similarity_loss, triplet_loss


def unit(count: int, seed: int, dim: int = 5) -> Tensor:
    return F.normalize(
        torch.randn(count, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=1
    )


def relation_of(labels: list[int], unsure: list[tuple[int, int]] = ()) -> Tensor:
    found = torch.tensor([[POSITIVE if a == b else NEGATIVE for b in labels] for a in labels], dtype=torch.int8)
    found.fill_diagonal_(NEITHER)
    for i, j in unsure:
        found[i, j] = found[j, i] = NEITHER
    return found


def slow_triplet_loss(queries, positives, negatives, owner, margin) -> float:
    terms = []
    for negative, number in zip(negatives, owner.tolist(), strict=True):
        nearer = math.dist(queries[number].tolist(), positives[number].tolist())
        terms.append(max(nearer - math.dist(queries[number].tolist(), negative.tolist()) + margin, 0.0))
    return sum(terms) / len(terms)


def slow_multi_similarity(descriptors: Tensor, relation: Tensor, alpha: float, beta: float, base: float) -> float:
    """The paper's equations, photo by photo."""
    s = (descriptors @ descriptors.T).tolist()
    total = 0.0
    for i, row in enumerate(relation.tolist()):
        positives = [j for j, kind in enumerate(row) if kind == POSITIVE]
        negatives = [j for j, kind in enumerate(row) if kind == NEGATIVE]
        hard_p = [j for j in positives if negatives and s[i][j] - EASE < max(s[i][n] for n in negatives)]
        hard_n = [j for j in negatives if positives and s[i][j] + EASE > min(s[i][p] for p in positives)]
        total += math.log(1 + sum(math.exp(-alpha * (s[i][j] - base)) for j in hard_p)) / alpha
        total += math.log(1 + sum(math.exp(beta * (s[i][j] - base)) for j in hard_n)) / beta
    return total / len(s)


@pytest.mark.parametrize("seed", range(3))
def test_triplet_loss_equals_the_loop(seed: int) -> None:
    owner = torch.tensor([0, 0, 1, 2, 2, 2])
    given = unit(3, seed), unit(3, seed + 10), unit(6, seed + 20), owner, 0.1**0.5
    assert float(triplet_loss(*given)) == pytest.approx(slow_triplet_loss(*given), abs=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_multi_similarity_equals_the_loop(seed: int) -> None:
    descriptors = unit(12, seed, dim=3)
    relation = relation_of([0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 3, 4], unsure=[(0, 3), (5, 8)])
    for numbers in ((1.0, 50.0, 0.5), (2.0, 10.0, 0.1)):
        found = multi_similarity_loss(descriptors, relation, *numbers)
        assert float(found) == pytest.approx(slow_multi_similarity(descriptors, relation, *numbers), rel=1e-6)


def test_pairs_that_are_neither_are_never_mined() -> None:
    descriptors = unit(6, 0)
    relation = relation_of([0, 0, 1, 1, 2, 2], unsure=[(0, 2), (1, 4)])
    positive, negative = hard_pairs(descriptors @ descriptors.T, relation)
    assert not ((positive | negative) & (relation == NEITHER)).any()
    assert not (positive & (relation != POSITIVE)).any()
    assert not (negative & (relation != NEGATIVE)).any()


def test_a_batch_of_one_place_has_nothing_to_learn() -> None:
    descriptors = unit(3, 0).requires_grad_(True)
    loss = multi_similarity_loss(descriptors, relation_of([0, 0, 0]))
    assert loss.item() == 0.0


def test_gradients_of_a_whole_model_equal_differences() -> None:
    """From the loss through whitening, VLAD and backbone to the weights."""
    model = tiny.make_model().double()
    images = torch.from_numpy(np.stack([tiny.photo(place, shift) for place in (1, 2) for shift in (0, 32)]))
    images = images.permute(0, 3, 1, 2).double()[:, :, :32, :48] / 255
    relation = relation_of([0, 0, 1, 1])

    class Global(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, images: Tensor) -> Tensor:
            return self.inner.describe_globally(self.inner.backbone(images))

    names = ("inner.backbone.layers.0.weight", "inner.vlad.centroids", "inner.whitening.weight")
    described = Global()
    state = {name: value.detach() for name, value in described.named_parameters()}

    def losses(*weights: Tensor) -> Tensor:
        found = torch.func.functional_call(described, state | dict(zip(names, weights, strict=True)), images)
        triplets = triplet_loss(found[[0, 2]], found[[1, 3]], found[[2, 0]], torch.tensor([0, 1]), 0.5)
        return triplets + multi_similarity_loss(found, relation, base=0.1)

    weights = [state[name].clone().requires_grad_(True) for name in names]
    assert torch.autograd.gradcheck(losses, weights, eps=1e-6, atol=1e-4, fast_mode=True)

"""Losses over the global descriptors of a batch, all L2-normalised.

Triplet (Arandjelovic et al. 2016; the paper):

    L = 1 / T sum_t max(|q - p| - |q - n| + margin, 0)        over all T triplets (query, positive, negative)

Multi-similarity (Wang et al. 2019), on pairs mined in the batch, with s the dot product of two photos:

    L = 1 / n sum_i [ log(1 + sum_p exp(-a (s_ip - l))) / a + log(1 + sum_n exp(b (s_in - l))) / b ]

over hard pairs alone: positives less similar than the most similar negative and a bit, negatives more similar than the
least similar positive less a bit.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import ConfigError
from ..places.training import NEGATIVE, POSITIVE

EASE = 0.1  # similarity by which a pair may be easier than the hardest of the other kind and still count as hard


def triplet_loss(queries: Tensor, positives: Tensor, negatives: Tensor, owner: Tensor, margin: float) -> Tensor:
    """Mean over triplets.

    Args:
        queries, positives: (Q, D).
        negatives: (T, D), of all queries.
        owner: (T,) int64, which query a negative belongs to.
        margin: added to the positive's distance.
    """
    return F.triplet_margin_loss(queries[owner], positives[owner], negatives, margin=margin)


def hard_pairs(similarity: Tensor, relation: Tensor) -> tuple[Tensor, Tensor]:
    """(n, n) bool: the hard positive and the hard negative pairs of a batch, row by row.

    Args:
        similarity: (n, n) dot products.
        relation: (n, n) int8, POSITIVE, NEGATIVE or NEITHER.
    """
    positive, negative = relation == POSITIVE, relation == NEGATIVE
    closest_negative = similarity.masked_fill(~negative, -torch.inf).amax(dim=1, keepdim=True)
    farthest_positive = similarity.masked_fill(~positive, torch.inf).amin(dim=1, keepdim=True)
    return positive & (similarity - EASE < closest_negative), negative & (similarity + EASE > farthest_positive)


def multi_similarity_loss(
    descriptors: Tensor, relation: Tensor, alpha: float = 1.0, beta: float = 50.0, base: float = 0.5
) -> Tensor:
    """Mean over photos, of mined pairs; pytorch-metric-learning's loss.

    Args:
        descriptors: (n, D).
        relation: (n, n) int8, POSITIVE, NEGATIVE or NEITHER.
        alpha, beta, base: a, b and l above.
    """
    try:
        from pytorch_metric_learning.losses import MultiSimilarityLoss
    except ImportError as error:
        raise ConfigError(
            "the multi-similarity loss needs pytorch-metric-learning: pip install 'patchvlad[train]'"
        ) from error
    with torch.no_grad():
        positive, negative = hard_pairs(descriptors @ descriptors.T, relation.to(descriptors.device))
    pairs = (*positive.nonzero(as_tuple=True), *negative.nonzero(as_tuple=True))
    return MultiSimilarityLoss(alpha=alpha, beta=beta, base=base)(descriptors, indices_tuple=pairs)

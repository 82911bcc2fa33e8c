"""NetVLAD over windows of a feature map (Arandjelovic et al. 2016, eq. 4; Hausler et al. 2021, eq. 1).

    V_k(S) = sum_{i in S} a_ik (x_i - c_k) = sum_{i in S} a_ik x_i - c_k sum_{i in S} a_ik

S is the whole image (global descriptor) or a p x p window (patch descriptor). Each V_k is L2-normalised (intra-
normalisation), all are concatenated and L2-normalised again. Window sums are exact sums, made by doubling (1, 2, 4, ...
cells), never differences of cumulative sums: where a cluster has next to no mass, a difference is rounding noise that
intra-normalisation blows up to unit length.

Letters: N batch, C channels, H x W cells, K clusters, P patches.
"""

import functools
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .registry import CLUSTER_WEIGHTS

EPSILON = 1e-12  # what torch.nn.functional.normalize divides by at the least
CACHE_NUMBERS = 1 << 20  # float32 numbers of weighted cells worked on at a time: 4 MiB


def keep_all(mass: Tensor) -> Tensor:
    """Every cluster weighs 1, as in the paper."""
    return torch.ones_like(mass)


def keep_above_floor(mass: Tensor) -> Tensor:
    """Clusters with a mean soft assignment below 0.001 weigh nothing."""
    return (mass >= 1e-3).to(mass.dtype)


class VLAD(nn.Module):
    """Soft assignment to K clusters and the sums of residuals, over the image or over windows.

    Cells enter as (N, H, W, C), L2-normalised by `cells`. Soft assignment is softmax_k(w_k . x [+ b_k]).
    """

    def __init__(self, clusters: int, dim: int, bias: bool = False, cluster_weight: str = "exact") -> None:
        super().__init__()
        CLUSTER_WEIGHTS.check(cluster_weight)
        self.centroids = nn.Parameter(torch.zeros(clusters, dim))
        self.assignment = nn.Linear(dim, clusters, bias=bias)
        self.cluster_weight = cluster_weight

    @property
    def dim(self) -> int:
        """Length of an unwhitened descriptor, K * C."""
        return self.centroids.numel()

    def soft_assignment(self, cells: Tensor) -> Tensor:
        """(N, H, W, C) -> (N, H, W, K), rows summing to one."""
        return self.assignment(cells).softmax(dim=-1)

    def image_blocks(self, cells: Tensor, assignment: Tensor) -> Iterator[Tensor]:
        """Yields once (N, 1, K * C): the weighted, normalised V_k of the whole image, side by side."""
        flat, mass = cells.flatten(1, 2), assignment.flatten(1, 2)
        means = (mass.transpose(1, 2) @ flat / flat.shape[1])[:, None]
        # The reference normalises the sum over an image but the mean of a window.
        yield self._block(means, mass.mean(dim=1)[:, None], self.centroids, EPSILON / flat.shape[1])

    def window_blocks(self, cells: Tensor, assignment: Tensor, size: int, step: int = 1) -> Iterator[Tensor]:
        """Yields for a few clusters at a time their V_k in every size x size window, as (N, P, clusters * C).

        As many clusters as stay in the cache, so that residuals are never held as (N, K, C, H, W).
        """
        mass = window_means(assignment, size, step).flatten(1, 2)
        together = max(1, CACHE_NUMBERS // cells.numel())
        for start in range(0, len(self.centroids), together):
            few = slice(start, start + together)
            weighted = (assignment[..., few, None] * cells[..., None, :]).flatten(3)
            means = window_means(weighted, size, step).flatten(1, 2).unflatten(-1, (-1, cells.shape[-1]))
            yield self._block(means, mass[..., few], self.centroids[few])

    def _block(self, means: Tensor, mass: Tensor, centroids: Tensor, epsilon: float = EPSILON) -> Tensor:
        """Means of a_k x (N, P, k, C), of a_k (N, P, k), centroids (k, C) -> f(mass) V_k / |V_k| as (N, P, k * C)."""
        residuals = torch.addcmul(means, mass[..., None], centroids, value=-1)
        weight = CLUSTER_WEIGHTS[self.cluster_weight](mass)
        return (residuals * (weight / residuals.norm(dim=-1).clamp_min(epsilon))[..., None]).flatten(2)


def normalised_cells(feature_map: Tensor) -> Tensor:
    """Feature map (N, C, H, W) -> cells (N, H, W, C), each of unit length."""
    return F.normalize(feature_map.permute(0, 2, 3, 1), dim=-1)


def window_means(values: Tensor, size: int, step: int = 1) -> Tensor:
    """Means over all size x size windows: (N, H, W, C) -> (N, (H - size) // step + 1, (W - size) // step + 1, C)."""
    rows = _sums_along(values, 1, size)[:, ::step]
    return _sums_along(rows, 2, size)[:, :, ::step] / size**2


def _sums_along(values: Tensor, axis: int, size: int) -> Tensor:
    """Sums of `size` neighbours along `axis` by doubling: log2(size) additions a cell instead of size - 1."""
    length = values.shape[axis] - size + 1
    doubled, width, done = values, 1, 0
    parts = []
    while True:
        if size & width:
            parts.append(doubled.narrow(axis, done, length))
            done += width
        if done == size:
            return functools.reduce(torch.add, parts)
        reach = doubled.shape[axis] - width
        doubled = doubled.narrow(axis, 0, reach) + doubled.narrow(axis, width, reach)
        width *= 2

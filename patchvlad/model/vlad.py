"""NetVLAD over windows of a feature map (Arandjelovic et al. 2016, eq. 4; Hausler et al. 2021, eq. 1).

    V_k(S) = sum_{i in S} a_ik (x_i - c_k) = sum_{i in S} a_ik x_i - c_k sum_{i in S} a_ik

S is the whole image (global descriptor) or a p x p window (patch descriptor). Each V_k is L2-normalised (intra-
normalisation), all are concatenated and L2-normalised again. Window sums are exact sums, made by doubling (1, 2, 4, ...
cells), never differences of cumulative sums: where a cluster has next to no mass, a difference is rounding noise that
intra-normalisation blows up to unit length.

Letters: N batch, C channels, H x W cells, K clusters, P patches.
"""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import ConfigError

EPSILON = 1e-12  # what torch.nn.functional.normalize divides by at the least
CACHE_NUMBERS = 1 << 20  # float32 numbers of weighted cells worked on at a time: 4 MiB


@dataclass(frozen=True)
class PatchGrid:
    """Where the p x p windows of a feature map lie, in raster order.

    `height` and `width` of the map in cells, `patch_size` and `patch_stride` in cells, `stride` in pixels a cell.
    """

    height: int
    width: int
    patch_size: int
    patch_stride: int = 1
    stride: int = 16

    def __post_init__(self) -> None:
        if self.patch_size < 1 or self.patch_stride < 1:
            raise ConfigError(
                f"patch size {self.patch_size} and patch stride {self.patch_stride} must be at least 1 cell"
            )
        if min(self.height, self.width) < self.patch_size:
            need = self.patch_size * self.stride
            raise ConfigError(
                f"patches of {self.patch_size} x {self.patch_size} cells do not fit a feature map of {self.height} x "
                f"{self.width} cells: images must be at least {need} pixels high and wide, or patch sizes smaller"
            )

    @property
    def rows(self) -> int:
        return (self.height - self.patch_size) // self.patch_stride + 1

    @property
    def columns(self) -> int:
        return (self.width - self.patch_size) // self.patch_stride + 1

    def __len__(self) -> int:
        return self.rows * self.columns

    @cached_property
    def indices(self) -> np.ndarray:
        """(P, 2) int64: column and row of each patch in the grid."""
        rows, columns = np.divmod(np.arange(len(self)), self.columns)
        return np.stack([columns, rows], axis=1)

    @cached_property
    def points(self) -> np.ndarray:
        """(P, 2) float32: centre (x, y) of each patch in pixels of the resized image, as the reference rounds it."""
        first = (self.stride * (self.patch_size - 1) + self.stride - 1) // 2
        return (self.indices * (self.stride * self.patch_stride) + first).astype(np.float32)

    @property
    def tolerance(self) -> float:
        """Reprojection error in pixels up to which a match is an inlier: one and a half patch strides."""
        return 1.5 * self.stride * self.patch_stride


# How much a cluster of a window weighs after intra-normalisation, by the window's mean soft assignment to it.
# `exact` is the paper's formula; the others keep clusters with next to no mass from speaking as loud as the rest.
CLUSTER_WEIGHTS: dict[str, Callable[[Tensor], Tensor]] = {
    "exact": torch.ones_like,
    "floor": lambda mass: (mass >= 1e-3).to(mass.dtype),
    "root": torch.sqrt,
}


class VLAD(nn.Module):
    """Soft assignment to K clusters and the sums of residuals, over the image or over windows.

    Cells enter as (N, H, W, C), L2-normalised by `cells`. Soft assignment is softmax_k(w_k . x [+ b_k]).
    """

    def __init__(self, clusters: int, dim: int, bias: bool = False, cluster_weight: str = "exact") -> None:
        super().__init__()
        if cluster_weight not in CLUSTER_WEIGHTS:
            raise ConfigError(f"unknown cluster weight {cluster_weight!r}: choose from {', '.join(CLUSTER_WEIGHTS)}")
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

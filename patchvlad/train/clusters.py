"""Clusters of a backbone's cells, and the VLAD layer that starts from them (Arandjelovic et al. 2016).

The soft assignment of a cell x to cluster k is softmax_k(w_k . x + b_k), with alpha such that the best cluster
outweighs the second best a hundredfold on average:

    NetVLAD     w_k = alpha c_k / |c_k|    b_k = 0                 alpha = ln 100 / mean(best - second best product)
    `vladv2`    w_k = 2 alpha c_k          b_k = -alpha |c_k|^2    alpha = ln 100 / mean(d_2^2 - d_1^2)

with dot products of x and c / |c|, and d_1 and d_2 the distances to the nearest and the second nearest centroid. (The
reference's own vladv2 takes the rows of these neighbours for their distances, and |c| for its square.)
"""

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import ModelError
from ..files.atomic import writing
from ..files.hdf5 import reading_hdf5
from ..images.lists import ImageList
from ..images.pixels import resize
from ..model.backbones.base import Backbone
from ..model.inputs import stack
from ..model.tensor_sums import check_finite
from ..model.vlad import VLAD, normalised_cells

SECOND = 0.01  # weight of the second best cluster, on average, where the best has 1


@dataclass(frozen=True)
class Clusters:
    """Centroids (K, C), and cells (S, C), L2-normalised, that the sharpness of the soft assignment is taken from."""

    centroids: Tensor
    cells: Tensor


def find_clusters(cells: Tensor, count: int, seed: int = 0) -> Clusters:
    """Centroids of cells (S, C) by k-means.

    Raises:
        ModelError: there are fewer cells than clusters.
    """
    if len(cells) < count:
        raise ModelError(f"{len(cells)} cells of the photos are too few for {count} clusters: give more photos")
    return Clusters(fit_centroids(cells, count, seed), cells)


def fit_centroids(cells: Tensor, clusters: int, seed: int = 0) -> Tensor:
    """k-means of cells (S, C), L2-normalised -> (K, C)."""
    kmeans = faiss.Kmeans(cells.shape[1], clusters, niter=100, seed=seed, min_points_per_centroid=1)
    kmeans.train(np.ascontiguousarray(cells.numpy()))
    return torch.from_numpy(np.array(kmeans.centroids))


def vlad_from(clusters: Clusters, cluster_weight: str = "exact", biased: bool = False) -> VLAD:
    """The VLAD layer that starts from clusters; `biased` is the reference's `vladv2`."""
    count, dim = clusters.centroids.shape
    vlad = VLAD(count, dim, bias=biased, cluster_weight=cluster_weight)
    vlad.centroids.data = clusters.centroids
    if biased:
        vlad.assignment.weight.data, vlad.assignment.bias.data = biased_assignment(clusters.cells, clusters.centroids)
    else:
        vlad.assignment.weight.data = assignment_weights(clusters.cells, clusters.centroids)
    return vlad


def assignment_weights(cells: Tensor, centroids: Tensor) -> Tensor:
    """Cells (S, C) and centroids (K, C) -> soft-assignment weights (K, C)."""
    directions = F.normalize(centroids, dim=1)
    if len(centroids) == 1:
        return directions
    best = (cells @ directions.T).topk(2, dim=1).values
    alpha = -math.log(SECOND) / max(float((best[:, 0] - best[:, 1]).mean()), 1e-6)
    return alpha * directions


def biased_assignment(cells: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Cells (S, C) and centroids (K, C) -> soft-assignment weights (K, C) and biases (K,) of `vladv2`."""
    alpha = 1.0
    if len(centroids) > 1:
        nearest = torch.cdist(cells, centroids).square().topk(2, dim=1, largest=False).values
        alpha = -math.log(SECOND) / max(float((nearest[:, 1] - nearest[:, 0]).mean()), 1e-6)
    return 2 * alpha * centroids, -alpha * centroids.square().sum(dim=1)


# --- cells of photos ------------------------------------------------------------------------------------------------


@torch.inference_mode()
def cells_of(
    backbone: Backbone, images: ImageList, size: tuple[int, int], progress: Callable[[int, int], None] | None
) -> Iterator[Tensor]:
    """Yields the cells (1, H, W, C) of each photo, resized to (height, width)."""
    for row in range(len(images)):
        yield normalised_cells(backbone(stack([resize(images.photo(row).pixels, size)])))
        if progress:
            progress(row + 1, len(images))


def sample_cells(
    backbone: Backbone,
    images: ImageList,
    size: tuple[int, int],
    count: int,
    generator: np.random.Generator,
    progress: Callable[[int, int], None] | None,
) -> Tensor:
    """(S, C) cells, about as many of each photo, `count` at most."""
    each = -(-count // len(images))
    found = (cells.flatten(0, 2) for cells in cells_of(backbone, images, size, progress))
    return torch.cat([cells[draw(generator, len(cells), each)] for cells in found])[:count]


def draw(generator: np.random.Generator, among: int, count: int) -> Tensor:
    """At most so many of the numbers below `among`, ascending."""
    return torch.from_numpy(np.sort(generator.permutation(among)[:count]))


# --- the reference's file -------------------------------------------------------------------------------------------


def read_clusters(path: str | os.PathLike) -> Clusters:
    """Reads an .hdf5 of the reference: `centroids` (K, C) and `descriptors` (S, C).

    Raises:
        ModelError: it is not such a file.
    """
    try:
        with reading_hdf5(path) as file:
            centroids, cells = (file.numbers(name) for name in ("centroids", "descriptors"))
    except ValueError as error:
        raise ModelError(f"{path} is not an HDF5 file of 'centroids' and 'descriptors' ({error})") from error
    if centroids is None or cells is None:
        absent = "centroids" if centroids is None else "descriptors"
        raise ModelError(f"{path} holds no dataset '{absent}': give an HDF5 file of 'centroids' and 'descriptors'")
    if centroids.ndim != 2 or cells.ndim != 2 or centroids.shape[1] != cells.shape[1] or not len(cells):
        shapes = f"{centroids.shape} and {cells.shape}"
        raise ModelError(f"{path} holds centroids and descriptors of shapes {shapes}: they do not belong together")
    with np.errstate(over="ignore"):  # what is too large becomes infinity, and is named
        found = {n: torch.from_numpy(v.astype(np.float32)) for n, v in (("centroids", centroids), ("cells", cells))}
    check_finite(path, found)
    return Clusters(**found)


def write_clusters(path: str | os.PathLike, clusters: Clusters) -> Path:
    """Writes an .hdf5 as the reference does."""
    import h5py

    with writing(path) as held, h5py.File(held, "w") as file:
        file.create_dataset("descriptors", data=clusters.cells.numpy().astype(np.float32))
        file.create_dataset("centroids", data=clusters.centroids.numpy().astype(np.float32))
    return Path(path)

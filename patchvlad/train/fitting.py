"""Fits centroids and whitening to a folder of photos: a place-recognition model without training.

Centroids are k-means of sampled cell descriptors; the soft assignment is NetVLAD's (Arandjelovic et al. 2016): weights
alpha c_k / |c_k| with alpha such that the best cluster outweighs the second best a hundredfold on average. Whitening is
fitted to sampled patch descriptors, of which one photo has thousands, so that a few hundred photos suffice; it serves
global descriptors as well.
"""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import faiss
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import ModelError
from ..images.lists import ImageList
from ..images.pixels import read_image, resize
from ..model.backbones.base import Backbone
from ..model.grid import PatchGrid
from ..model.network import PatchNetVLAD, stack
from ..model.vlad import VLAD, normalised_cells
from ..model.whitening import Whitening, concatenate, fit_whitening

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]  # (pass, images done, images in all)


def fit(
    backbone: Backbone,
    images: ImageList,
    clusters: int = 16,
    components: int = 512,
    *,
    size: tuple[int, int] = (480, 640),
    patch_sizes: Sequence[int] = (2, 5, 8),
    cluster_weight: str | None = None,
    cells: int = 50_000,
    samples: int = 10_000,
    memory: int = 2 << 30,
    most_images: int = 1000,
    centroids: Tensor | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> PatchNetVLAD:
    """Fits a model to photos.

    Args:
        backbone: with its weights.
        images: photos of the kind of places to be recognised; never those that it will be tested on.
        clusters, components: K and D; 0 components fits no whitening.
        size: (height, width) to resize to.
        patch_sizes: whose patch descriptors are sampled, in cells; also the model's own until told otherwise.
        cluster_weight: how clusters with little mass in a window weigh, see `model.registry.CLUSTER_WEIGHTS`; None
            takes the backbone's usual one.
        cells: cell descriptors for k-means.
        samples: patch descriptors for the whitening, as far as `memory` allows.
        memory: bytes that the sampled patch descriptors may take.
        most_images: of more photos than these, so many are drawn.
        centroids: (K, C) if they are known already.
        seed: of every draw; equal seeds give equal models.
        progress: called after each photo of each of the two passes.

    Raises:
        ModelError: too few photos for that many clusters or components.
    """
    if components > clusters * backbone.dim:
        raise ModelError(
            f"{components} components are more than the {clusters} x {backbone.dim} numbers of a descriptor: "
            "ask for fewer, or for more clusters"
        )
    generator = np.random.default_rng(seed)
    images = draw_images(images, most_images, generator)
    sampled = _sample_cells(backbone, images, size, cells, generator, _pass(progress, "cells"))
    weight = cluster_weight or backbone.cluster_weight
    vlad = _fit_vlad(backbone, sampled, clusters, weight, centroids, seed)
    if components == 0:
        return PatchNetVLAD(backbone, vlad, None, patch_sizes=patch_sizes).eval()
    sampling: dict[str, Any] = {"size": size, "patch_sizes": patch_sizes, "samples": samples, "memory": memory}
    watched = _pass(progress, "patches")
    whitening = fit_whitening_to(backbone, vlad, images, components, **sampling, seed=generator, progress=watched)
    return PatchNetVLAD(backbone, vlad, whitening, patch_sizes=patch_sizes).eval()


def _pass(progress: Progress | None, name: str) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, total: progress(name, done, total)


def _sample_cells(
    backbone: Backbone,
    images: ImageList,
    size: tuple[int, int],
    count: int,
    generator: np.random.Generator,
    progress: Callable[[int, int], None] | None,
) -> Tensor:
    """(n, C) cells, about as many of each photo, `count` at most."""
    each = -(-count // len(images))
    found = (cells.flatten(0, 2) for cells in _cells(backbone, images, size, progress))
    return torch.cat([cells[_draw(generator, len(cells), each)] for cells in found])[:count]


def _fit_vlad(
    backbone: Backbone, sampled: Tensor, clusters: int, cluster_weight: str, centroids: Tensor | None, seed: int
) -> VLAD:
    """The VLAD layer whose centroids are k-means of the sampled cells, or are known already."""
    if len(sampled) < clusters:
        raise ModelError(f"{len(sampled)} cells of the photos are too few for {clusters} clusters: give more photos")
    vlad = VLAD(clusters, sampled.shape[1], cluster_weight=cluster_weight)
    if centroids is None:
        centroids = fit_centroids(sampled, clusters, seed)
    elif centroids.shape != vlad.centroids.shape:
        raise ModelError(
            f"centroids of shape {tuple(centroids.shape)} do not fit {clusters} clusters of {backbone.name}'s "
            f"{backbone.dim} channels"
        )
    vlad.centroids.data, vlad.assignment.weight.data = centroids, assignment_weights(sampled, centroids)
    return vlad


def fit_whitening_to(
    backbone: Backbone,
    vlad: VLAD,
    images: ImageList,
    components: int,
    *,
    size: tuple[int, int] = (480, 640),
    patch_sizes: Sequence[int] = (2, 5, 8),
    samples: int = 10_000,
    memory: int = 2 << 30,
    seed: int | np.random.Generator = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Whitening:
    """Fits the whitening alone, to patch descriptors of all these photos; errors as of `fit`.

    Args:
        backbone, vlad: with their weights.
        images: the photos.
        components: D.
        size: (height, width) to resize to.
        patch_sizes: whose patch descriptors are sampled, in cells.
        samples: patch descriptors, as far as `memory` allows.
        memory: bytes that they may take.
        seed: of the draws, or what draws.
        progress: called after each photo.
    """
    generator = np.random.default_rng(seed)
    count = min(samples, memory // (4 * vlad.dim))
    if count < samples:
        log.info("sampling %d patch descriptors instead of %d to stay within %d MB", count, samples, memory >> 20)
    each = -(-count // (len(images) * len(patch_sizes)))
    total = torch.empty(len(images) * len(patch_sizes) * each, vlad.dim)
    filled = 0
    for image_cells in _cells(backbone, images, size, progress):
        for found in _sampled_patches(vlad, image_cells, patch_sizes, each, generator):
            total[filled : filled + len(found)] = found
            filled += len(found)
    whitening = Whitening(vlad.dim, components)
    whitening.weight.data, whitening.bias.data = fit_whitening(total[:filled], components)
    return whitening


def draw_images(images: ImageList, most: int, generator: np.random.Generator) -> ImageList:
    """At most so many of the images, drawn at random, in their order."""
    rows = np.sort(generator.permutation(len(images))[:most])
    return ImageList(images.root, tuple(images.names[row] for row in rows))


def fit_centroids(cells: Tensor, clusters: int, seed: int = 0) -> Tensor:
    """k-means of cells (S, C), L2-normalised -> (K, C)."""
    kmeans = faiss.Kmeans(cells.shape[1], clusters, niter=100, seed=seed, min_points_per_centroid=1)
    kmeans.train(np.ascontiguousarray(cells.numpy()))
    return torch.from_numpy(np.array(kmeans.centroids))


def assignment_weights(cells: Tensor, centroids: Tensor) -> Tensor:
    """Cells (S, C) and centroids (K, C) -> soft-assignment weights (K, C)."""
    directions = F.normalize(centroids, dim=1)
    if len(centroids) == 1:
        return directions
    best = (cells @ directions.T).topk(2, dim=1).values
    alpha = -math.log(0.01) / max(float((best[:, 0] - best[:, 1]).mean()), 1e-6)
    return alpha * directions


@torch.inference_mode()
def _cells(
    backbone: Backbone,
    images: ImageList,
    size: tuple[int, int],
    progress: Callable[[int, int], None] | None,
) -> Iterator[Tensor]:
    """Yields the cells (1, H, W, C) of each photo."""
    for row in range(len(images)):
        yield normalised_cells(backbone(stack([resize(read_image(images.path(row)), size)])))
        if progress:
            progress(row + 1, len(images))


@torch.inference_mode()
def _sampled_patches(
    vlad: VLAD, cells: Tensor, patch_sizes: Sequence[int], each: int, generator: np.random.Generator
) -> Iterator[Tensor]:
    """Yields `each` random unwhitened patch descriptors (n, K * C) of every patch size."""
    assignment = vlad.soft_assignment(cells)
    for patch_size in patch_sizes:
        rows = _draw(generator, len(PatchGrid(cells.shape[1], cells.shape[2], patch_size)), each)
        yield concatenate(block[:, rows] for block in vlad.window_blocks(cells, assignment, patch_size))[0]


def _draw(generator: np.random.Generator, among: int, count: int) -> Tensor:
    return torch.from_numpy(np.sort(generator.permutation(among)[:count]))

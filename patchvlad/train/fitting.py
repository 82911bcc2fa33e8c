"""Fits centroids and whitening to a folder of photos: a place-recognition model without training.

Centroids are k-means of sampled cells, see `clusters`. Whitening is fitted to sampled patch descriptors, of which one
photo has thousands, so that a few hundred photos suffice; it serves global descriptors as well.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ConfigError, ModelError
from ..images.lists import ImageList, check_is_list
from ..model.backbones.base import Backbone
from ..model.grid import PatchGrid
from ..model.inputs import checked_size
from ..model.network import PatchNetVLAD
from ..model.vlad import VLAD
from ..model.whitening import Whitening, concatenate, fit_whitening
from .clusters import Clusters, cells_of, draw, find_clusters, sample_cells, vlad_from

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
        ConfigError: images are no ImageList, or a number cannot be.
    """
    _check_numbers(images, clusters, components, most_images)
    size = checked_size(size)
    if components > clusters * backbone.dim:
        raise ModelError(
            f"{components} components are more than the {clusters} x {backbone.dim} numbers of a descriptor: "
            "ask for fewer, or for more clusters"
        )
    generator = np.random.default_rng(seed)
    images = draw_images(images, most_images, generator)
    sampled = sample_cells(backbone, images, size, cells, generator, _pass(progress, "cells"))
    found = find_clusters(sampled, clusters, seed) if centroids is None else Clusters(centroids, sampled)
    check_clusters(found, clusters, backbone)
    vlad = vlad_from(found, cluster_weight or backbone.cluster_weight)
    if components == 0:
        return PatchNetVLAD(backbone, vlad, None, patch_sizes=patch_sizes).eval()
    sampling: dict[str, Any] = {"size": size, "patch_sizes": patch_sizes, "samples": samples, "memory": memory}
    watched = _pass(progress, "patches")
    whitening = fit_whitening_to(backbone, vlad, images, components, **sampling, seed=generator, progress=watched)
    return PatchNetVLAD(backbone, vlad, whitening, patch_sizes=patch_sizes).eval()


def _check_numbers(images: ImageList, clusters: int, components: int, most_images: int) -> None:
    check_is_list(images)
    for name, number, least in (("clusters", clusters, 1), ("components", components, 0), ("images", most_images, 1)):
        if not isinstance(number, int | np.integer) or number < least:
            raise ConfigError(f"{number} {name}: give a whole number from {least}")


def _pass(progress: Progress | None, name: str) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, total: progress(name, done, total)


def check_clusters(clusters: Clusters, count: int, backbone: Backbone) -> None:
    """Raises ModelError unless there are so many clusters, of this backbone."""
    if clusters.centroids.shape != (count, backbone.dim):
        raise ModelError(
            f"centroids of shape {tuple(clusters.centroids.shape)} do not fit {count} clusters of {backbone.name}'s "
            f"{backbone.dim} channels"
        )


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
    for image_cells in cells_of(backbone, images, size, progress):
        for found in _sampled_patches(vlad, image_cells, patch_sizes, each, generator):
            total[filled : filled + len(found)] = found
            filled += len(found)
    whitening = Whitening(vlad.dim, components)
    whitening.weight.data, whitening.bias.data = fit_whitening(total[:filled], components)
    return whitening


def draw_images(images: ImageList, most: int, generator: np.random.Generator) -> ImageList:
    """At most so many of the images, drawn at random, in their order."""
    rows = np.sort(generator.permutation(len(images))[:most])
    return images.some(rows)


@torch.inference_mode()
def _sampled_patches(
    vlad: VLAD, cells: Tensor, patch_sizes: Sequence[int], each: int, generator: np.random.Generator
) -> Iterator[Tensor]:
    """Yields `each` random unwhitened patch descriptors (n, K * C) of every patch size."""
    assignment = vlad.soft_assignment(cells)
    for patch_size in patch_sizes:
        rows = draw(generator, len(PatchGrid(cells.shape[1], cells.shape[2], patch_size)), each)
        yield concatenate(block[:, rows] for block in vlad.window_blocks(cells, assignment, patch_size))[0]

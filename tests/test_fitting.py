"""Fitting: centroids against k-means by hand, whitening, seeds and bounds."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from patchvlad.errors import ModelError
from patchvlad.images.lists import ImageList
from patchvlad.model.backbones.base import Backbone
from patchvlad.train.clusters import assignment_weights, fit_centroids
from patchvlad.train.fitting import fit


class Tiny(Backbone):
    """One convolution, 6 channels, stride 16."""

    name, dim, stride = "tiny", 6, 16

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Conv2d(3, 6, 16, 16).requires_grad_(False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layer(images)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> ImageList:
    folder = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(0)
    for i in range(12):
        Image.fromarray(generator.integers(0, 255, (96, 128, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    return ImageList.read(folder)


def clusters_of(cells: torch.Tensor, clusters: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    centroids = fit_centroids(cells, clusters, seed)
    return centroids, assignment_weights(cells, centroids)


def test_centroids_are_means_of_their_cells_and_the_best_cluster_outweighs_a_hundredfold() -> None:
    generator = torch.Generator().manual_seed(0)
    centres = F.normalize(torch.randn(3, 8, generator=generator), dim=1)
    cells = F.normalize(centres.repeat(100, 1) + 0.05 * torch.randn(300, 8, generator=generator), dim=1)
    centroids, weight = clusters_of(cells, 3, 1)
    nearest = torch.cdist(cells, centroids).argmin(dim=1)
    for k in range(3):
        torch.testing.assert_close(centroids[k], cells[nearest == k].mean(dim=0), atol=1e-3, rtol=0)
    best = (cells @ F.normalize(centroids, dim=1).T).topk(2, dim=1).values
    alpha = weight.norm(dim=1)
    torch.testing.assert_close(alpha, alpha[:1].expand(3))
    assert float(alpha[0]) * float((best[:, 0] - best[:, 1]).mean()) == pytest.approx(math.log(100), rel=1e-4)


def test_one_cluster_takes_all() -> None:
    centroids, weight = clusters_of(F.normalize(torch.randn(50, 4), dim=1), 1)
    assert centroids.shape == weight.shape == (1, 4)


def test_fitted_patch_descriptors_are_nearly_white(images: ImageList) -> None:
    model = fit(Tiny(), images, clusters=2, components=4, size=(96, 128), patch_sizes=(1, 2), samples=2000)
    described = [model.describe([np.asarray(Image.open(images.path(row)))])[0] for row in range(len(images))]
    patches = torch.cat([image.patches[size] for image in described for size in (1, 2)])
    second = patches.T @ patches / len(patches) * 4
    assert (second.diagonal() - 1).abs().max() < 0.5
    assert (second - second.diagonal().diag()).abs().max() < 0.3


def test_equal_seeds_give_equal_models_and_others_do_not(images: ImageList) -> None:
    options = {"clusters": 2, "components": 3, "size": (96, 128), "patch_sizes": (2,), "samples": 200, "cells": 200}
    one, same, other = (fit(Tiny(), images, seed=seed, **options) for seed in (0, 0, 1))
    for name, value in one.state_dict().items():
        assert torch.equal(value, same.state_dict()[name]), name
    assert not torch.equal(one.whitening.weight, other.whitening.weight)


def test_memory_bounds_the_samples(images: ImageList, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    import patchvlad.train.fitting as module

    original = module.fit_whitening
    monkeypatch.setattr(module, "fit_whitening", lambda s, d: seen.append(s.shape) or original(s, d))
    fit(Tiny(), images, 2, 3, size=(96, 128), patch_sizes=(2,), samples=10_000, memory=4 * 12 * 60)
    assert seen == [(60, 12)]


def test_whitening_is_left_out_for_no_components_and_few_photos_say_so(images: ImageList) -> None:
    plain = fit(Tiny(), images, 2, 0, size=(96, 128), patch_sizes=(2,))
    assert plain.whitening is None
    assert plain.dim == 12
    with pytest.raises(ModelError, match="too few for 100 clusters"):
        fit(Tiny(), images, 100, 4, size=(96, 128), cells=50, patch_sizes=(2,))
    with pytest.raises(ModelError, match="13 components are more than"):
        fit(Tiny(), images, 2, 13, size=(96, 128), patch_sizes=(2,))


def test_progress_counts_both_passes(images: ImageList) -> None:
    seen: list[tuple[str, int, int]] = []
    options = {"size": (96, 128), "patch_sizes": (2,), "most_images": 5}
    fit(Tiny(), images, 2, 3, progress=lambda *step: seen.append(step), **options)
    assert seen == [("cells", i, 5) for i in range(1, 6)] + [("patches", i, 5) for i in range(1, 6)]

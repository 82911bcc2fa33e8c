"""VLAD over images and windows against slow loops in float64."""

import numpy as np
import oracle
import pytest
import torch

from patchvlad.errors import ConfigError
from patchvlad.model.grid import PatchGrid
from patchvlad.model.registry import CLUSTER_WEIGHTS
from patchvlad.model.vlad import VLAD, normalised_cells, window_means
from patchvlad.model.whitening import concatenate


def make_vlad(clusters: int, dim: int, generator: torch.Generator, bias: bool = False, kind: str = "exact") -> VLAD:
    layer = VLAD(clusters, dim, bias, kind).double().requires_grad_(False)
    layer.centroids.copy_(torch.randn(clusters, dim, generator=generator) * 0.3)
    layer.assignment.weight.copy_(torch.randn(clusters, dim, generator=generator) * 6)
    if bias:
        layer.assignment.bias.copy_(torch.randn(clusters, generator=generator))
    return layer


# K, C, H, W, patch size, patch stride: the smallest legal ones first
SIZES = [
    (1, 1, 1, 1, 1, 1),
    (2, 1, 1, 2, 1, 1),
    (1, 3, 2, 2, 2, 1),
    (3, 2, 3, 5, 3, 2),
    (4, 7, 6, 5, 2, 1),
    (5, 4, 9, 8, 5, 3),
    (2, 6, 7, 9, 7, 1),
    (3, 5, 8, 8, 6, 2),
]


@pytest.mark.parametrize("kind", CLUSTER_WEIGHTS)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("sizes", SIZES)
def test_image_and_windows_equal_the_loops(sizes: tuple[int, ...], bias: bool, kind: str) -> None:
    clusters, dim, height, width, size, step = sizes
    generator = torch.Generator().manual_seed(sum(sizes))
    layer = make_vlad(clusters, dim, generator, bias, kind)
    feature_map = torch.randn(2, dim, height, width, generator=generator, dtype=torch.float64)
    cells = normalised_cells(feature_map)
    assignment = layer.soft_assignment(cells)
    image = concatenate(layer.image_blocks(cells, assignment))
    windows = concatenate(layer.window_blocks(cells, assignment, size, step))
    weight, centroids = layer.assignment.weight.numpy(), layer.centroids.numpy()
    offset = layer.assignment.bias.numpy() if bias else None
    for n in range(2):
        every_cell = list(feature_map[n].numpy().reshape(dim, -1).T)
        expected = oracle.vlad(every_cell, weight, centroids, offset, kind)
        np.testing.assert_allclose(image[n, 0].numpy(), expected, atol=1e-12)
        expected = oracle.patch_vlads(feature_map[n].numpy(), size, step, weight, centroids, offset, kind)
        np.testing.assert_allclose(windows[n].numpy(), expected, atol=1e-12)


def test_float32_windows_stay_within_1e_5_of_the_oracle_where_clusters_have_next_to_no_mass() -> None:
    generator = torch.Generator().manual_seed(0)
    layer = make_vlad(6, 16, generator)
    layer.assignment.weight.mul_(12)  # sharp: most clusters have a mass below 1e-6 in most windows
    feature_map = torch.randn(1, 16, 9, 11, generator=generator, dtype=torch.float64)
    cells = normalised_cells(feature_map)
    assert (layer.soft_assignment(cells) < 1e-6).double().mean() > 0.5
    expected = oracle.patch_vlads(
        feature_map[0].numpy(), 5, 1, layer.assignment.weight.numpy(), layer.centroids.numpy()
    )
    layer, cells = layer.float(), normalised_cells(feature_map.float())
    found = concatenate(layer.window_blocks(cells, layer.soft_assignment(cells), 5))
    np.testing.assert_allclose(found[0].numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("numbers", [1, 100, 200, 10_000])
def test_clusters_together_equal_clusters_alone(numbers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = make_vlad(5, 4, torch.Generator().manual_seed(3))
    cells = normalised_cells(torch.randn(1, 4, 5, 5, generator=torch.Generator().manual_seed(4), dtype=torch.float64))
    assignment = layer.soft_assignment(cells)
    expected = concatenate(layer.window_blocks(cells, assignment, 2))
    monkeypatch.setattr("patchvlad.model.vlad.CACHE_NUMBERS", numbers)
    blocks = list(layer.window_blocks(cells, assignment, 2))
    assert len(blocks) == {1: 5, 100: 5, 200: 3, 10_000: 1}[numbers]
    torch.testing.assert_close(concatenate(blocks), expected)


@pytest.mark.parametrize("size", range(1, 10))
@pytest.mark.parametrize("step", [1, 2, 3])
def test_window_means_equal_slices(size: int, step: int) -> None:
    values = torch.randn(2, 9, 12, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(size))
    found = window_means(values, size, step)
    rows, columns = range(0, 9 - size + 1, step), range(0, 12 - size + 1, step)
    assert found.shape == (2, len(rows), len(columns), 3)
    for i, top in enumerate(rows):
        for j, left in enumerate(columns):
            expected = values[:, top : top + size, left : left + size].mean(dim=(1, 2))
            torch.testing.assert_close(found[:, i, j], expected)


def test_an_empty_cluster_is_zero_not_noise() -> None:
    layer = VLAD(2, 3).requires_grad_(False)
    layer.centroids.copy_(torch.tensor([[1.0, 0, 0], [0, 1, 0]]))
    layer.assignment.weight.copy_(torch.tensor([[1e4, 0, 0], [-1e4, 0, 0]]))
    cells = normalised_cells(torch.tensor([1.0, 0.2, 0.1]).view(1, 3, 1, 1).expand(1, 3, 4, 4))
    found = concatenate(layer.window_blocks(cells, layer.soft_assignment(cells), 2))
    assert torch.equal(found[..., 3:], torch.zeros(1, 9, 3))
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(1, 9))


def test_a_blank_image_gives_finite_descriptors() -> None:
    layer = make_vlad(2, 3, torch.Generator().manual_seed(2)).float()
    cells = normalised_cells(torch.zeros(1, 3, 4, 4))
    blocks = concatenate(layer.image_blocks(cells, layer.soft_assignment(cells)))
    assert torch.isfinite(blocks).all()


def test_grid_centres_are_the_papers_at_patch_stride_one() -> None:
    for size in (1, 2, 5, 8):
        grid = PatchGrid(30, 40, size)
        assert len(grid) == (31 - size) * (41 - size)
        for number in (0, 1, grid.columns, len(grid) - 1):
            row, column = divmod(number, grid.columns)
            assert grid.indices[number].tolist() == [column, row]
            assert grid.points[number].tolist() == [16 * column + 8 * (size - 1) + 7, 16 * row + 8 * (size - 1) + 7]
        assert grid.tolerance == 24


def test_grid_centres_at_other_strides_are_the_middle_of_the_window() -> None:
    for stride in (8, 16, 32):
        grid = PatchGrid(13, 17, patch_size=4, patch_stride=3, stride=stride)
        assert (grid.rows, grid.columns) == (4, 5)
        left, top = 3 * 2 * stride, 3 * 1 * stride  # column 2, row 1
        middle = (left + 2 * stride - 0.5, top + 2 * stride - 0.5)  # of pixels left .. left + 4 * stride - 1
        assert np.abs(grid.points[grid.columns + 2] - middle).max() <= 0.5
        assert grid.tolerance == 1.5 * stride * 3


@pytest.mark.parametrize(("height", "width", "size", "step"), [(4, 9, 5, 1), (9, 4, 5, 1), (5, 5, 0, 1), (5, 5, 2, 0)])
def test_impossible_grids_are_refused(height: int, width: int, size: int, step: int) -> None:
    with pytest.raises(ConfigError, match=r"pixels high and wide|at least 1"):
        PatchGrid(height, width, size, step)


def test_an_unknown_cluster_weight_is_refused_with_the_valid_ones() -> None:
    with pytest.raises(ConfigError, match="exact, floor, root"):
        VLAD(2, 2, cluster_weight="heavy")

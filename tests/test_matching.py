"""Mutual nearest neighbours and both scores against slow loops."""

import cv2
import numpy as np
import oracle
import pytest
import torch

from patchvlad.errors import ConfigError, MismatchError
from patchvlad.model.network import Descriptors
from patchvlad.model.vlad import PatchGrid
from patchvlad.search.matching import consensus, match_ransac, match_rapid, match_voting, mutual_nearest_neighbours


def random_patches(count: int, dim: int, seed: int) -> torch.Tensor:
    values = torch.randn(count, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(values, dim=1)


def describe(patches: dict[int, torch.Tensor], height: int, width: int) -> Descriptors:
    return Descriptors(torch.ones(1), patches, {size: PatchGrid(height, width, size) for size in patches})


@pytest.mark.parametrize(("count0", "count1", "dim"), [(1, 1, 1), (1, 9, 2), (8, 1, 3), (30, 20, 4), (25, 40, 16)])
def test_mutual_nearest_neighbours_equal_the_loop(count0: int, count1: int, dim: int) -> None:
    for seed in range(5):
        patches0, patches1 = random_patches(count0, dim, seed), random_patches(count1, dim, 100 + seed)
        rows0, rows1 = mutual_nearest_neighbours(patches0, patches1)
        expected = oracle.mutual_nearest_neighbours(patches0.numpy(), patches1.numpy())
        assert list(zip(rows0.tolist(), rows1.tolist(), strict=True)) == expected
        assert len(expected) >= 1


def test_ties_go_to_the_lower_index() -> None:
    patches = torch.tensor([[1.0, 0], [1.0, 0], [0, 1.0], [0, 1.0]])
    rows0, rows1 = mutual_nearest_neighbours(patches, patches)
    assert rows0.tolist() == [0, 2]
    assert rows1.tolist() == [0, 2]
    assert oracle.mutual_nearest_neighbours(patches.numpy(), patches.numpy()) == [(0, 0), (2, 2)]


@pytest.mark.parametrize(("height", "width", "size"), [(1, 1, 1), (2, 3, 2), (5, 7, 2), (6, 6, 3)])
def test_rapid_score_equals_the_loop(height: int, width: int, size: int) -> None:
    grid = PatchGrid(height, width, size)
    for seed in range(5):
        patches0, patches1 = random_patches(len(grid), 6, seed), random_patches(len(grid), 6, seed + 50)
        patches1[::2] = patches0[::2]
        match = match_rapid(describe({size: patches0}, height, width), describe({size: patches1}, height, width))
        pairs = oracle.mutual_nearest_neighbours(patches0.numpy(), patches1.numpy())
        assert match.scores[size] == pytest.approx(oracle.rapid_score(pairs, grid.rows, grid.columns), rel=1e-12)
        assert [tuple(p) for p in match.points0[size]] == [tuple(grid.points[r0]) for r0, _ in pairs]
        assert [tuple(p) for p in match.points1[size]] == [tuple(grid.points[r1]) for _, r1 in pairs]


def test_ransac_score_is_the_share_of_inliers_of_a_shifted_image() -> None:
    grid = PatchGrid(8, 10, 2)
    patches = random_patches(len(grid), 32, 0)
    shifted = random_patches(len(grid), 32, 1)
    kept = []
    for row, (column, line) in enumerate(grid.indices):
        if column + 2 < grid.columns and line + 1 < grid.rows:
            target = (line + 1) * grid.columns + column + 2
            shifted[target] = patches[row]
            kept.append((row, target))
    match = match_ransac(describe({2: patches}, 8, 10), describe({2: shifted}, 8, 10))
    moved = match.points1[2] - match.points0[2]
    assert match.scores[2] == len(match.points0[2]) / len(grid)
    assert len(match.points0[2]) >= len(kept)
    assert np.median(moved, axis=0).tolist() == [32, 16]


def test_ransac_inliers_are_those_of_the_homography_from_image_1_to_image_0() -> None:
    grid = PatchGrid(9, 9, 2)
    patches0, patches1 = random_patches(len(grid), 8, 3), random_patches(len(grid), 8, 4)
    patches1[:40] = patches0[:40]
    match = match_ransac(describe({2: patches0}, 9, 9), describe({2: patches1}, 9, 9))
    pairs = oracle.mutual_nearest_neighbours(patches0.numpy(), patches1.numpy())
    points0 = grid.points[[r0 for r0, _ in pairs]]
    points1 = grid.points[[r1 for _, r1 in pairs]]
    _, mask = cv2.findHomography(points1, points0, cv2.RANSAC, 24.0)
    # OpenCV refines the model on its inliers after marking them: count with a model fitted to these alone
    refined, _ = cv2.findHomography(points1[mask.ravel() == 1], points0[mask.ravel() == 1], 0)
    assert match.scores[2] * len(grid) == pytest.approx(mask.sum())
    assert oracle.inlier_count(refined, match.points1[2], match.points0[2], 24.0) == mask.sum()


@pytest.mark.parametrize("seed", range(12))
def test_consensus_equals_the_loop(seed: int) -> None:
    generator = np.random.default_rng(seed)
    count = int(generator.integers(0, 60))
    points1 = (generator.integers(0, 40, (count, 2)) * 16 + 7).astype(np.float32)
    turn = np.eye(2) + generator.normal(scale=0.05, size=(2, 2))
    points0 = (points1 @ turn.T + generator.integers(-90, 90, 2)).astype(np.float32)
    wild = generator.random(count) < 0.5
    points0[wild] = generator.integers(0, 640, (int(wild.sum()), 2))
    assert consensus(points1, points0, 24).tolist() == oracle.consensus(points1, points0, 24)


def test_consensus_finds_what_moves_alike_among_outliers_and_follows_a_change_of_scale() -> None:
    generator = np.random.default_rng(0)
    points1 = generator.uniform(0, 600, (80, 2)).astype(np.float32)
    points0 = points1 * 1.15 + (40, -20)
    points0[50:] = generator.uniform(0, 600, (30, 2))
    found = consensus(points1, points0.astype(np.float32), 24)
    assert found[:50].all()
    assert found[50:].sum() <= 3
    shift_only = consensus(points1, points0.astype(np.float32), 24, refits=0)
    assert shift_only.sum() < 30
    assert consensus(points1[:3], points1[:3], 24).tolist() == [False] * 3


def test_voting_scores_the_share_of_patches_in_the_consensus() -> None:
    grid = PatchGrid(8, 9, 2)
    patches0, patches1 = random_patches(len(grid), 16, 0), random_patches(len(grid), 16, 1)
    patches1[:30] = patches0[:30]
    match = match_voting(describe({2: patches0}, 8, 9), describe({2: patches1}, 8, 9))
    assert match.scores[2] == len(match.points0[2]) / len(grid)
    assert len(match.points0[2]) >= 30
    alone = describe({2: patches0}, 8, 9)
    assert match_voting(alone, alone).score == 1


def test_fewer_than_four_matches_or_no_model_score_zero() -> None:
    three = describe({2: random_patches(3, 4, 0)}, 2, 4)
    assert match_ransac(three, three).scores == {2: 0.0}
    assert match_ransac(three, three).points0[2].shape == (0, 2)
    line = describe({1: random_patches(6, 16, 0)}, 1, 6)  # six points on one line determine no homography
    assert match_ransac(line, line).scores[1] in (0.0, 1.0)
    assert np.isfinite(match_ransac(line, line).score)


def test_an_image_matches_itself_fully() -> None:
    image = describe({2: random_patches(56, 16, 0), 3: random_patches(42, 16, 1)}, 8, 9)
    match = match_ransac(image, image)
    assert match.scores == {2: 1.0, 3: 1.0}
    assert match.score == 1.0
    assert match.weighted([0.25, 0.5]) == 0.75
    with pytest.raises(ConfigError, match="1 weights for 2 patch sizes"):
        match.weighted([1])


def test_images_with_other_patches_do_not_match() -> None:
    one, other = describe({2: random_patches(9, 4, 0)}, 4, 4), describe({3: random_patches(4, 4, 0)}, 4, 4)
    with pytest.raises(MismatchError, match=r"\(2,\) and \(3,\)"):
        match_rapid(one, other)
    with pytest.raises(MismatchError):
        match_rapid(Descriptors(torch.ones(1), {}, {}), Descriptors(torch.ones(1), {}, {}))


def test_images_of_different_sizes_match_by_the_first_ones_patches() -> None:
    small, large = describe({1: random_patches(6, 8, 0)}, 2, 3), describe({1: random_patches(20, 8, 1)}, 4, 5)
    large.patches[1][7:10] = small.patches[1][:3]
    match = match_rapid(small, large)
    assert len(match.points0[1]) >= 3
    assert match.scores[1] > 0

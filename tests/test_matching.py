"""Mutual nearest neighbours and both scores against slow loops."""

import cv2
import numpy as np
import oracle
import pytest
import torch

from patchvlad.errors import ConfigError, MismatchError
from patchvlad.model.grid import PatchGrid
from patchvlad.model.network import Descriptors
from patchvlad.search.matchers.base import PatchMatcher
from patchvlad.search.matchers.ransac import match_ransac
from patchvlad.search.matchers.rapid import match_rapid, verify_rapid
from patchvlad.search.matchers.voting import consensus, match_voting
from patchvlad.search.registry import MATCHERS


def random_patches(count: int, dim: int, seed: int) -> torch.Tensor:
    values = torch.randn(count, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(values, dim=1)


def describe(patches: dict[int, torch.Tensor], height: int, width: int) -> Descriptors:
    return Descriptors(torch.ones(1), patches, {size: PatchGrid(height, width, size) for size in patches})


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


STIFFNESS = 1e4 / 16**2  # square cells of 16 pixels


def moving_cells(generator: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Matching cells (count, 2) of two images, half of them of one affine motion."""
    cells1 = generator.integers(0, 40, (count, 2))
    turn = np.eye(2) + generator.normal(scale=0.05, size=(2, 2))
    cells0 = np.rint(cells1 @ turn.T + generator.integers(-6, 6, 2)).astype(np.int64)
    wild = generator.random(count) < 0.5
    cells0[wild] = generator.integers(0, 40, (int(wild.sum()), 2))
    return cells1, cells0


@pytest.mark.parametrize("seed", range(12))
def test_consensus_of_many_pairs_equals_the_loop_over_each(seed: int) -> None:
    generator = np.random.default_rng(seed)
    counts = [0, *generator.integers(0, 60, 6), 3, 4, 0]
    pairs = [moving_cells(generator, int(count)) for count in counts]
    starts = np.cumsum([0, *counts])
    found = consensus(*(np.concatenate(cells) for cells in zip(*pairs, strict=True)), starts, STIFFNESS)
    for i, (cells1, cells0) in enumerate(pairs):
        expected = oracle.consensus(cells1 * 16.0, cells0 * 16.0, 24)
        assert found[starts[i] : starts[i + 1]].tolist() == expected


def test_consensus_finds_what_moves_alike_among_outliers_and_follows_a_change_of_scale() -> None:
    generator = np.random.default_rng(0)
    cells1 = generator.integers(0, 38, (80, 2))
    cells0 = np.rint(cells1 * 1.15 + (2.5, -1.25)).astype(np.int64)
    cells0[50:] = generator.integers(0, 38, (30, 2))
    starts = np.array([0, 80])
    found = consensus(cells1, cells0, starts, STIFFNESS)
    assert found[:50].all()
    assert found[50:].sum() <= 5
    assert consensus(cells1, cells0, starts, STIFFNESS, refits=0).sum() < 35
    assert consensus(cells1[:3], cells1[:3], np.array([0, 3]), STIFFNESS).tolist() == [False] * 3


@pytest.mark.parametrize("matcher", [MATCHERS[name] for name in MATCHERS], ids=list(MATCHERS))
def test_one_against_many_scores_as_one_at_a_time(matcher) -> None:
    grids = {1: PatchGrid(6, 7, 1), 2: PatchGrid(6, 7, 2)}
    images = []
    for seed in range(6):
        patches = {size: random_patches(len(grid), 8, 10 * seed + size) for size, grid in grids.items()}
        if seed in (2, 4):
            patches[1][: 10 * seed] = images[0].patches[1][: 10 * seed]
        images.append(Descriptors(torch.ones(1), patches, grids))
    scores = matcher.score_many(images[0], images)
    assert scores.tolist() == [list(matcher(images[0], image).scores.values()) for image in images]
    assert matcher.score_many(images[0], []).shape == (0, 2)


def test_every_second_patch_of_the_query_seeks_its_neighbour_among_all() -> None:
    grid = PatchGrid(7, 9, 2)
    image0, image1 = (describe({2: random_patches(len(grid), 8, seed)}, 7, 9) for seed in (0, 1))
    sparse = PatchMatcher(verify_rapid, query_step=2)
    rows = [row for row, (column, line) in enumerate(grid.indices) if column % 2 == 0 and line % 2 == 0]
    pairs = oracle.mutual_nearest_neighbours(image0.patches[2][rows].numpy(), image1.patches[2].numpy())
    pairs = [(rows[r0], r1) for r0, r1 in pairs]
    match = sparse(image0, image1)
    assert match.scores[2] == pytest.approx(oracle.rapid_score(pairs, grid.rows, grid.columns), rel=1e-12)
    assert [tuple(p) for p in match.points0[2]] == [tuple(grid.points[r0]) for r0, _ in pairs]
    assert sparse.score_many(image0, [image1, image0])[0].tolist() == [match.scores[2]]


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

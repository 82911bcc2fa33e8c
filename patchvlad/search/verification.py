"""Geometric verification: how well mutual nearest neighbours of one image with several agree with one motion each.

Matches of several pairs of images stand one behind the other: those of pair i are rows starts[i] to starts[i + 1].
Every score is higher for better, per patch of image 0, and 0 without matches. Three verifiers: RANSAC homography
inliers and rapid spatial scoring (Hausler et al. 2021, section 3.4), and displacement voting, which is ours: as cheap
as the latter and as discerning as the former.
"""

import itertools
from collections.abc import Callable

import cv2
import numpy as np

from ..model.vlad import PatchGrid

# (grid of image 0, of images 1, matching rows0 (T,), rows1 (T,), starts (n + 1,)) -> scores (n,), which count (T,) bool
Verifier = Callable[[PatchGrid, PatchGrid, np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def verify_ransac(
    grid0: PatchGrid, grid1: PatchGrid, rows0: np.ndarray, rows1: np.ndarray, starts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Share of image 0's patches that are inliers of a RANSAC homography, within 1.5 patch strides.

    0 with fewer than four matches or without a model. OpenCV seeds its own sampling: equal input gives equal output.
    """
    inliers = np.zeros(len(rows0), dtype=bool)
    for start, end in itertools.pairwise(starts):
        if end - start >= 4:
            points1, points0 = grid1.points[rows1[start:end]], grid0.points[rows0[start:end]]
            model, mask = cv2.findHomography(points1, points0, cv2.RANSAC, grid0.tolerance)
            if model is not None:
                inliers[start:end] = mask.ravel().astype(bool)
    return _sums(inliers, starts) / len(grid0), inliers


def verify_rapid(
    grid0: PatchGrid, grid1: PatchGrid, rows0: np.ndarray, rows1: np.ndarray, starts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Rapid spatial scoring: matches vote by how close their displacement is to the mean one.

    With displacements d in grid cells and residuals r = |d - mean(d)|, the score is the sum over mutual matches of
    (X - r_x)^2 + (Y - r_y)^2 over the number of image 0's patches; X, Y are the largest column and row.
    """
    pair = _pairs(starts)
    displacements = (grid1.indices[rows1] - grid0.indices[rows0]).astype(np.float64)
    means = _sums(displacements, starts) / np.maximum(np.diff(starts), 1)[:, None]
    residuals = np.abs(displacements - means[pair])
    largest = np.array([grid0.columns - 1, grid0.rows - 1])
    scores = _sums(((largest - residuals) ** 2).sum(axis=1), starts) / len(grid0)
    return scores, np.ones(len(rows0), dtype=bool)


def verify_voting(
    grid0: PatchGrid, grid1: PatchGrid, rows0: np.ndarray, rows1: np.ndarray, starts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Displacement voting: share of image 0's patches that `consensus` finds inliers, within 1.5 patch strides."""
    stiffness = STIFFNESS / (grid0.stride * grid0.patch_stride) ** 2
    inliers = consensus(grid1.indices[rows1], grid0.indices[rows0], starts, stiffness)
    return _sums(inliers, starts) / len(grid0), inliers


STIFFNESS = 1e4  # square pixels: as if one more match, 100 pixels off the centre, said that there is only a shift
TOLERANCE = 1.5  # grid cells


def consensus(
    cells1: np.ndarray, cells0: np.ndarray, starts: np.ndarray, stiffness: float, refits: int = 3
) -> np.ndarray:
    """Finds for each pair of images the largest set of matches that move alike.

    Every match votes for its own displacement; the one with most others within 1.5 cells wins. An affine map is then
    fitted to its inliers, by least squares held towards a mere shift, and inliers are counted anew, as long as these
    do not become fewer. There is no sampling, so equal input gives equal output.

    Args:
        cells1, cells0: (T, 2) int64 columns and rows of matching patches in their grids.
        starts: (n + 1,) where the matches of each pair start.
        stiffness: square cells; how much the fit is held towards a shift.
        refits: how often to refit at most.

    Returns:
        (T,) bool, none in pairs with fewer than four matches.
    """
    inliers = np.zeros(len(cells1), dtype=bool)
    enough = np.diff(starts) >= 4
    if not enough.any():
        return inliers
    chosen = enough[_pairs(starts)]
    cells1, moves = cells1[chosen], cells0[chosen] - cells1[chosen]
    counts = np.diff(starts)[enough]
    starts = np.concatenate([[0], np.cumsum(counts)])
    pair = _pairs(starts)
    votes = _votes(moves, pair)
    winning = votes == np.maximum.reduceat(votes, starts[:-1])[pair]
    first = np.minimum.reduceat(np.where(winning, np.arange(len(votes)), len(votes)), starts[:-1])
    found = np.abs(moves - moves[first][pair]).max(axis=1) <= 1  # 1.5 cells, between whole numbers
    going = np.ones(len(counts), dtype=bool)
    for _ in range(refits):
        kept = _sums(found, starts)
        going &= kept >= 4
        if not going.any():
            break
        refitted = _refit(cells1.astype(np.float64), moves, found, starts, pair, stiffness)
        going &= _sums(refitted, starts) >= kept
        found = np.where(going[pair], refitted, found)
    inliers[chosen] = found
    return inliers


def _votes(moves: np.ndarray, pair: np.ndarray) -> np.ndarray:
    """For each match (T,) how many of its pair's moves (T, 2), in whole cells, are within 1.5 cells of its own."""
    shifted = moves - moves.min(axis=0) + 1
    width, height = shifted.max(axis=0) + 2
    places = (pair * height + shifted[:, 1]) * width + shifted[:, 0]
    histogram = np.bincount(places, minlength=(pair[-1] + 1) * height * width)
    around = [row * width + column for row in (-1, 0, 1) for column in (-1, 0, 1)]
    return sum(histogram[places + step] for step in around)


def _refit(
    cells: np.ndarray, moves: np.ndarray, inliers: np.ndarray, starts: np.ndarray, pair: np.ndarray, stiffness: float
) -> np.ndarray:
    """Fits moves = A (cell - centre) + b to each pair's inliers; returns (T,) bool, who is within 1.5 cells of it."""
    weight = inliers[:, None].astype(np.float64)
    count = np.maximum(_sums(inliers, starts), 1)[:, None]
    centred = cells - (_sums(weight * cells, starts) / count)[pair]
    shift = _sums(weight * moves, starts) / count
    x, y = centred.T
    # The normal equations fall apart into a shift and a 2 x 2 system, since the inliers' cells are centred.
    products = _sums(weight * np.column_stack([x * x, x * y, y * y, x[:, None] * moves, y[:, None] * moves]), starts)
    xx, xy, yy = products[:, 0] + stiffness, products[:, 1], products[:, 2] + stiffness
    of_x, of_y = products[:, 3:5], products[:, 5:7]
    determinant = (xx * yy - xy**2)[:, None]
    along_x = (yy[:, None] * of_x - xy[:, None] * of_y) / determinant
    along_y = (xx[:, None] * of_y - xy[:, None] * of_x) / determinant
    fitted = shift[pair] + x[:, None] * along_x[pair] + y[:, None] * along_y[pair]
    return ((moves - fitted) ** 2).sum(axis=1) <= TOLERANCE**2


def _pairs(starts: np.ndarray) -> np.ndarray:
    """(T,) the pair that each match belongs to."""
    return np.repeat(np.arange(len(starts) - 1), np.diff(starts))


def _sums(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Sums of values (T, ...) over each pair: (n, ...) float64, 0 for pairs without matches."""
    sums = np.zeros((len(starts) - 1, *values.shape[1:]))
    filled = np.diff(starts) > 0
    if filled.any():
        sums[filled] = np.add.reduceat(values.astype(np.float64), starts[:-1][filled], axis=0)
    return sums

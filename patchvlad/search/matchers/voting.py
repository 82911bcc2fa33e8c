"""Our own matcher: displacement voting, as cheap as rapid spatial scoring and as discerning as RANSAC."""

import numpy as np

from ...model.grid import PatchGrid
from .base import PatchMatcher
from .verification import pair_of_each, sums_per_pair


def verify_voting(
    grid0: PatchGrid, grid1: PatchGrid, rows0: np.ndarray, rows1: np.ndarray, starts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Displacement voting: share of image 0's patches that `consensus` finds inliers, within 1.5 patch strides."""
    stiffness = STIFFNESS / (grid0.stride * grid0.patch_stride) ** 2
    inliers = consensus(grid1.indices[rows1], grid0.indices[rows0], starts, stiffness)
    return sums_per_pair(inliers, starts) / len(grid0), inliers


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
    chosen = enough[pair_of_each(starts)]
    cells1, moves = cells1[chosen], cells0[chosen] - cells1[chosen]
    counts = np.diff(starts)[enough]
    starts = np.concatenate([[0], np.cumsum(counts)])
    pair = pair_of_each(starts)
    votes = _votes(moves, pair)
    winning = votes == np.maximum.reduceat(votes, starts[:-1])[pair]
    first = np.minimum.reduceat(np.where(winning, np.arange(len(votes)), len(votes)), starts[:-1])
    found = np.abs(moves - moves[first][pair]).max(axis=1) <= 1  # 1.5 cells, between whole numbers
    going = np.ones(len(counts), dtype=bool)
    for _ in range(refits):
        kept = sums_per_pair(found, starts)
        going &= kept >= 4
        if not going.any():
            break
        refitted = _refit(cells1.astype(np.float64), moves, found, starts, pair, stiffness)
        going &= sums_per_pair(refitted, starts) >= kept
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
    count = np.maximum(sums_per_pair(inliers, starts), 1)[:, None]
    centred = cells - (sums_per_pair(weight * cells, starts) / count)[pair]
    shift = sums_per_pair(weight * moves, starts) / count
    x, y = centred.T
    # The normal equations fall apart into a shift and a 2 x 2 system, since the inliers' cells are centred.
    products = sums_per_pair(
        weight * np.column_stack([x * x, x * y, y * y, x[:, None] * moves, y[:, None] * moves]), starts
    )
    xx, xy, yy = products[:, 0] + stiffness, products[:, 1], products[:, 2] + stiffness
    of_x, of_y = products[:, 3:5], products[:, 5:7]
    determinant = (xx * yy - xy**2)[:, None]
    along_x = (yy[:, None] * of_x - xy[:, None] * of_y) / determinant
    along_y = (xx[:, None] * of_y - xy[:, None] * of_x) / determinant
    fitted = shift[pair] + x[:, None] * along_x[pair] + y[:, None] * along_y[pair]
    return ((moves - fitted) ** 2).sum(axis=1) <= TOLERANCE**2


match_voting = PatchMatcher(verify_voting)

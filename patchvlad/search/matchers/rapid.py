"""The paper's fast matcher: rapid spatial scoring (Hausler et al. 2021, section 3.4)."""

import numpy as np

from ...model.grid import PatchGrid
from .base import PatchMatcher
from .verification import pair_of_each, sums_per_pair


def verify_rapid(
    grid0: PatchGrid, grid1: PatchGrid, rows0: np.ndarray, rows1: np.ndarray, starts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Rapid spatial scoring: matches vote by how close their displacement is to the mean one.

    With displacements d in grid cells and residuals r = |d - mean(d)|, the score is the sum over mutual matches of
    (X - r_x)^2 + (Y - r_y)^2 over the number of image 0's patches; X, Y are the largest column and row.
    """
    pair = pair_of_each(starts)
    displacements = (grid1.indices[rows1] - grid0.indices[rows0]).astype(np.float64)
    means = sums_per_pair(displacements, starts) / np.maximum(np.diff(starts), 1)[:, None]
    residuals = np.abs(displacements - means[pair])
    largest = np.array([grid0.columns - 1, grid0.rows - 1])
    scores = sums_per_pair(((largest - residuals) ** 2).sum(axis=1), starts) / len(grid0)
    return scores, np.ones(len(rows0), dtype=bool)


match_rapid = PatchMatcher(verify_rapid)

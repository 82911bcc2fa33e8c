"""Geometric verification: how well mutual nearest neighbours of one image with several agree with one motion each.

Matches of several pairs of images stand one behind the other: those of pair i are rows starts[i] to starts[i + 1].
Every score is higher for better, per patch of image 0, and 0 without matches.
"""

from collections.abc import Callable

import numpy as np

from ...model.grid import PatchGrid

# (grid of image 0, of images 1, matching rows0 (T,), rows1 (T,), starts (n + 1,)) -> scores (n,), which count (T,) bool
Verifier = Callable[[PatchGrid, PatchGrid, np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def pair_of_each(starts: np.ndarray) -> np.ndarray:
    """(T,) the pair that each match belongs to."""
    return np.repeat(np.arange(len(starts) - 1), np.diff(starts))


def sums_per_pair(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Sums of values (T, ...) over each pair: (n, ...) float64, 0 for pairs without matches."""
    sums = np.zeros((len(starts) - 1, *values.shape[1:]))
    filled = np.diff(starts) > 0
    if filled.any():
        sums[filled] = np.add.reduceat(values.astype(np.float64), starts[:-1][filled], axis=0)
    return sums

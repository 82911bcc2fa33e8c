"""The paper's matcher: inliers of a RANSAC homography (Hausler et al. 2021, section 3.4)."""

import itertools

import cv2
import numpy as np

from ...model.grid import PatchGrid
from .base import PatchMatcher
from .verification import sums_per_pair


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
    return sums_per_pair(inliers, starts) / len(grid0), inliers


match_ransac = PatchMatcher(verify_ransac)

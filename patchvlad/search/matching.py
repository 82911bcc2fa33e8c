"""Geometric verification of two images by their patch descriptors.

Mutual nearest neighbours on the dot product are scored, for each patch size, by RANSAC homography inliers or by rapid
spatial scoring (Hausler et al. 2021, section 3.4), or by displacement voting, which is ours: as cheap as the latter
and as discerning as the former. Every score is higher for better and per patch of the query.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from torch import Tensor

from ..errors import ConfigError, MismatchError
from ..model.network import Descriptors


@dataclass(frozen=True)
class Match:
    """How two images match, for each patch size.

    Attributes:
        scores: higher is better, 0 where there is no match.
        points0, points1: (M, 2) matching points (x, y) in pixels of the resized images.
    """

    scores: dict[int, float]
    points0: dict[int, np.ndarray]
    points1: dict[int, np.ndarray]

    @property
    def score(self) -> float:
        """Mean of the scores over patch sizes; `weighted` fuses them by a preset's weights."""
        return self.weighted([1 / len(self.scores)] * len(self.scores))

    def weighted(self, weights: Sequence[float]) -> float:
        """Weighted sum of the scores over patch sizes, in their order."""
        if len(weights) != len(self.scores):
            raise ConfigError(f"{len(weights)} weights for {len(self.scores)} patch sizes {tuple(self.scores)}")
        return float(sum(weight * score for weight, score in zip(weights, self.scores.values(), strict=True)))


Matcher = Callable[[Descriptors, Descriptors], Match]


def mutual_nearest_neighbours(patches0: Tensor, patches1: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Rows of (P0, D) and (P1, D) that are each other's nearest, ties to the lower index.

    Returns:
        rows0, rows1: (M,) int64, rows1 ascending.
    """
    similarity = patches0 @ patches1.T
    nearest0 = similarity.max(dim=0).indices.cpu().numpy()
    nearest1 = similarity.max(dim=1).indices.cpu().numpy()
    rows1 = np.flatnonzero(nearest1[nearest0] == np.arange(len(nearest0)))
    return nearest0[rows1], rows1


def match_ransac(image0: Descriptors, image1: Descriptors) -> Match:
    """Scores two images by the inliers of a homography from image 1 (database) to image 0 (query).

    The score of a patch size is the share of image 0's patches that are inliers within 1.5 patch strides; 0 with fewer
    than four mutual matches or without a model. OpenCV seeds its own sampling: equal input gives equal output.
    """

    def score(size: int, rows0: np.ndarray, rows1: np.ndarray) -> tuple[float, np.ndarray]:
        grid0, grid1 = image0.grids[size], image1.grids[size]
        inliers = np.zeros(len(rows0), dtype=bool)
        if len(rows0) >= 4:
            model, mask = cv2.findHomography(grid1.points[rows1], grid0.points[rows0], cv2.RANSAC, grid0.tolerance)
            if model is not None:
                inliers = mask.ravel().astype(bool)
        return inliers.sum() / len(grid0), inliers

    return _match(image0, image1, score)


def match_rapid(image0: Descriptors, image1: Descriptors) -> Match:
    """Scores two images by rapid spatial scoring: matches vote by how close their displacement is to the mean one.

    With displacements d in grid cells and residuals r = |d - mean(d)|, the score of a patch size is the sum over mutual
    matches of (X - r_x)^2 + (Y - r_y)^2 over the number of image 0's patches; X, Y are the largest column and row.
    """

    def score(size: int, rows0: np.ndarray, rows1: np.ndarray) -> tuple[float, np.ndarray]:
        grid0, grid1 = image0.grids[size], image1.grids[size]
        kept = np.ones(len(rows0), dtype=bool)
        if len(rows0) == 0:
            return 0.0, kept
        displacements = grid1.indices[rows1] - grid0.indices[rows0]
        residuals = np.abs(displacements - displacements.mean(axis=0))
        largest = np.array([grid0.columns - 1, grid0.rows - 1])
        return float(((largest - residuals) ** 2).sum() / len(grid0)), kept

    return _match(image0, image1, score)


def match_voting(image0: Descriptors, image1: Descriptors) -> Match:
    """Scores two images by displacement voting: the share of image 0's patches that `consensus` finds inliers."""

    def score(size: int, rows0: np.ndarray, rows1: np.ndarray) -> tuple[float, np.ndarray]:
        grid0, grid1 = image0.grids[size], image1.grids[size]
        inliers = consensus(grid1.points[rows1], grid0.points[rows0], grid0.tolerance)
        return inliers.sum() / len(grid0), inliers

    return _match(image0, image1, score)


def consensus(points1: np.ndarray, points0: np.ndarray, tolerance: float, refits: int = 3) -> np.ndarray:
    """Finds the largest set of matches that move alike.

    Every match votes for its own displacement; the one with most others within `tolerance` wins. An affine map is then
    fitted to its inliers, by least squares held towards a mere shift, and inliers are counted anew, as long as these
    do not become fewer. There is no sampling, so equal input gives equal output.

    Args:
        points1, points0: (M, 2) matching points in pixels.
        tolerance: in pixels.
        refits: how often to refit at most.

    Returns:
        (M,) bool, none with fewer than four matches.
    """
    if len(points1) < 4:
        return np.zeros(len(points1), dtype=bool)
    moves = (points0 - points1).astype(np.float64)
    near = ((moves[:, None] - moves) ** 2).sum(axis=-1) <= tolerance**2
    inliers = near[near.sum(axis=1).argmax()]
    for _ in range(refits):
        if inliers.sum() < 4:
            break
        centred = points1 - points1[inliers].mean(axis=0, dtype=np.float64)
        terms = np.column_stack([centred, np.ones(len(centred))])
        normal = terms[inliers].T @ terms[inliers] + np.diag([_STIFFNESS, _STIFFNESS, 0])
        affine = np.linalg.solve(normal, terms[inliers].T @ moves[inliers])
        refitted = ((moves - terms @ affine) ** 2).sum(axis=1) <= tolerance**2
        if refitted.sum() < inliers.sum():
            break
        inliers = refitted
    return inliers


_STIFFNESS = 1e4  # square pixels: as if one more match, 100 pixels off the centre, said that there is only a shift

MATCHERS: dict[str, Matcher] = {"ransac": match_ransac, "rapid": match_rapid, "voting": match_voting}


def _match(
    image0: Descriptors,
    image1: Descriptors,
    score: Callable[[int, np.ndarray, np.ndarray], tuple[float, np.ndarray]],
) -> Match:
    """Runs `score(patch size, rows0, rows1) -> score, kept (M,) bool` over the patch sizes of both images."""
    if image0.grids.keys() != image1.grids.keys() or not image0.grids:
        sizes0, sizes1 = tuple(image0.grids), tuple(image1.grids)
        raise MismatchError(f"images described with patch sizes {sizes0} and {sizes1} cannot be matched")
    scores, points0, points1 = {}, {}, {}
    for size in image0.grids:
        rows0, rows1 = mutual_nearest_neighbours(image0.patches[size], image1.patches[size])
        scores[size], kept = score(size, rows0, rows1)
        points0[size] = image0.grids[size].points[rows0[kept]]
        points1[size] = image1.grids[size].points[rows1[kept]]
    return Match(scores, points0, points1)

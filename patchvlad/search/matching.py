"""Geometric verification of two images by their patch descriptors.

Mutual nearest neighbours on the dot product are scored, for each patch size, by RANSAC homography inliers or by rapid
spatial scoring (Hausler et al. 2021, section 3.4), or by displacement voting, which is ours: as cheap as the latter
and as discerning as the former. Every score is higher for better and per patch of the query.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import cv2
import numpy as np
from torch import Tensor

from ..errors import ConfigError, MismatchError
from ..model.network import Descriptors
from ..model.vlad import PatchGrid


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


# (patch grid of image 0, of image 1, matching rows0 (M,), rows1 (M,)) -> score, which matches count (M,) bool
Verifier = Callable[[PatchGrid, PatchGrid, np.ndarray, np.ndarray], tuple[float, np.ndarray]]


@dataclass(frozen=True)
class PatchMatcher:
    """Mutual nearest neighbours scored by a verifier: two images at a time, or one against many in batches."""

    verify: Verifier

    def __call__(self, image0: Descriptors, image1: Descriptors) -> Match:
        """Matches image 1 (database) with image 0 (query)."""
        if image0.grids.keys() != image1.grids.keys() or not image0.grids:
            sizes0, sizes1 = tuple(image0.grids), tuple(image1.grids)
            raise MismatchError(f"images described with patch sizes {sizes0} and {sizes1} cannot be matched")
        scores, points0, points1 = {}, {}, {}
        for size, grid0 in image0.grids.items():
            grid1 = image1.grids[size]
            rows0, rows1 = mutual_nearest_neighbours(image0.patches[size], image1.patches[size])
            scores[size], kept = self.verify(grid0, grid1, rows0, rows1)
            points0[size], points1[size] = grid0.points[rows0[kept]], grid1.points[rows1[kept]]
        return Match(scores, points0, points1)

    def score_many(self, image0: Descriptors, images1: Iterable[Descriptors], pool: Executor) -> np.ndarray:
        """Scores one image against many, as one at a time would; `pool` verifies while the next matches are sought.

        Returns:
            (k, S) float64: a row for each of the k images, a column a patch size.
        """
        jobs = [
            pool.submit(self.verify, grid0, image1.grids[size], *mutual_nearest_neighbours(patches0, patches1))
            for image1 in images1
            for (size, grid0), patches0, patches1 in zip(
                image0.grids.items(), image0.patches.values(), image1.patches.values(), strict=True
            )
        ]
        return np.array([job.result()[0] for job in jobs], dtype=np.float64).reshape(-1, len(image0.grids))


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


def verify_ransac(grid0: PatchGrid, grid1: PatchGrid, rows0: np.ndarray, rows1: np.ndarray) -> tuple[float, np.ndarray]:
    """Share of image 0's patches that are inliers of a RANSAC homography, within 1.5 patch strides.

    0 with fewer than four matches or without a model. OpenCV seeds its own sampling: equal input gives equal output.
    """
    inliers = np.zeros(len(rows0), dtype=bool)
    if len(rows0) >= 4:
        model, mask = cv2.findHomography(grid1.points[rows1], grid0.points[rows0], cv2.RANSAC, grid0.tolerance)
        if model is not None:
            inliers = mask.ravel().astype(bool)
    return inliers.sum() / len(grid0), inliers


def verify_rapid(grid0: PatchGrid, grid1: PatchGrid, rows0: np.ndarray, rows1: np.ndarray) -> tuple[float, np.ndarray]:
    """Rapid spatial scoring: matches vote by how close their displacement is to the mean one.

    With displacements d in grid cells and residuals r = |d - mean(d)|, the score is the sum over mutual matches of
    (X - r_x)^2 + (Y - r_y)^2 over the number of image 0's patches; X, Y are the largest column and row.
    """
    kept = np.ones(len(rows0), dtype=bool)
    if len(rows0) == 0:
        return 0.0, kept
    displacements = grid1.indices[rows1] - grid0.indices[rows0]
    residuals = np.abs(displacements - displacements.mean(axis=0))
    largest = np.array([grid0.columns - 1, grid0.rows - 1])
    return float(((largest - residuals) ** 2).sum() / len(grid0)), kept


def verify_voting(grid0: PatchGrid, grid1: PatchGrid, rows0: np.ndarray, rows1: np.ndarray) -> tuple[float, np.ndarray]:
    """Displacement voting: share of image 0's patches that `consensus` finds inliers, within 1.5 patch strides."""
    inliers = consensus(grid1.points[rows1], grid0.points[rows0], grid0.tolerance)
    return inliers.sum() / len(grid0), inliers


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
    across, down = moves.T
    near = (across[:, None] - across) ** 2 + (down[:, None] - down) ** 2 <= tolerance**2
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

match_ransac = PatchMatcher(verify_ransac)
match_rapid = PatchMatcher(verify_rapid)
match_voting = PatchMatcher(verify_voting)
MATCHERS: dict[str, PatchMatcher] = {"ransac": match_ransac, "rapid": match_rapid, "voting": match_voting}

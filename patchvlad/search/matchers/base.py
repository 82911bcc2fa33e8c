"""Two images, or one and many, matched by their patches: mutual nearest neighbours, then geometric verification.

A matcher is any function of two images' descriptors that returns a `Match`; a new one is one file, and one line in
`search/registry.py`. A `PatchMatcher` scores many images at a time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...errors import ConfigError, MismatchError
from ...model.grid import PatchGrid
from ...model.network import Descriptors
from ..neighbours import mutual_nearest_neighbours, neighbours_of_many
from .verification import Verifier


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

    def some(self, size: int, most: int) -> tuple[np.ndarray, np.ndarray]:
        """Points of `size` in images 0 and 1, each (m, 2): at most `most` matches, evenly chosen."""
        points0, points1 = self.points0[size], self.points1[size]
        chosen = np.unique(np.linspace(0, len(points0) - 1, min(len(points0), most)).astype(int))
        return points0[chosen], points1[chosen]

    def weighted(self, weights: Sequence[float]) -> float:
        """Weighted sum of the scores over patch sizes, in their order."""
        if len(weights) != len(self.scores):
            raise ConfigError(f"{len(weights)} weights for {len(self.scores)} patch sizes {tuple(self.scores)}")
        return float(sum(weight * score for weight, score in zip(weights, self.scores.values(), strict=True)))


@dataclass(frozen=True)
class PatchMatcher:
    """Mutual nearest neighbours scored by a verifier: two images at a time, or one against many.

    Attributes:
        verify: what scores the matches.
        query_step: only every n-th row and column of image 0's patches seeks a neighbour; 1 for all.
    """

    verify: Verifier
    query_step: int = 1

    def __call__(self, image0: Descriptors, image1: Descriptors) -> Match:
        """Matches image 1 (database) with image 0 (query).

        Raises:
            MismatchError: described with other patch sizes, or other lengths of descriptors.
            ConfigError: what is given are no Descriptors, or of other shapes than their grids, or NaN or infinite.
        """
        for what, image in (("image 0", image0), ("image 1", image1)):
            check_descriptors(image, what)
        if image0.grids.keys() != image1.grids.keys() or not image0.grids:
            sizes0, sizes1 = tuple(image0.grids), tuple(image1.grids)
            raise MismatchError(f"images described with patch sizes {sizes0} and {sizes1} cannot be matched")
        lengths = {patches.shape[1] for image in (image0, image1) for patches in image.patches.values()}
        if len(lengths) > 1:
            raise MismatchError(f"patch descriptors of {sorted(lengths)} components do not belong together")
        scores, points0, points1 = {}, {}, {}
        for size, grid0 in image0.grids.items():
            grid1 = image1.grids[size]
            asked = self._asked(grid0)
            rows0, rows1 = mutual_nearest_neighbours(image0.patches[size][asked], image1.patches[size])
            rows0 = np.arange(len(grid0))[asked][rows0]
            found, kept = self.verify(grid0, grid1, rows0, rows1, np.array([0, len(rows0)]))
            scores[size] = float(found[0])
            points0[size], points1[size] = grid0.points[rows0[kept]], grid1.points[rows1[kept]]
        return Match(scores, points0, points1)

    def score_many(self, image0: Descriptors, images1: Sequence[Descriptors]) -> np.ndarray:
        """Scores one image against many of one size, as one at a time would.

        Returns:
            (k, S) float64: a row for each of the k images, a column a patch size.
        """
        scores = np.zeros((len(images1), len(image0.grids)))
        for column, (size, grid0) in enumerate(image0.grids.items() if images1 else ()):
            asked = self._asked(grid0)
            found = neighbours_of_many(image0.patches[size][asked], [image1.patches[size] for image1 in images1])
            starts = np.cumsum([0, *(len(rows0) for rows0, _ in found)])
            rows0, rows1 = (np.concatenate(rows) for rows in zip(*found, strict=True))
            rows0 = np.arange(len(grid0))[asked][rows0]
            scores[:, column] = self.verify(grid0, images1[0].grids[size], rows0, rows1, starts)[0]
        return scores

    def _asked(self, grid0: PatchGrid) -> np.ndarray | slice:
        """Which rows of image 0's patches seek a neighbour."""
        if self.query_step == 1:
            return slice(None)
        return np.flatnonzero((grid0.indices % self.query_step == 0).all(axis=1))


def check_descriptors(image: object, what: str) -> None:
    """Raises ConfigError unless an image's patches are tensors (P, D) of finite numbers, P as their grids say."""
    if not isinstance(image, Descriptors):
        raise ConfigError(f"{what} is a {type(image).__name__}: give Descriptors, as model.describe or a store gives")
    for size, grid in image.grids.items():
        patches = image.patches.get(size)
        if not isinstance(patches, Tensor):
            raise ConfigError(f"{what}: its patches of size {size} are a {type(patches).__name__}, not a tensor (P, D)")
        if patches.ndim != 2 or len(patches) != len(grid) or not patches.shape[1]:
            found = tuple(patches.shape)
            raise ConfigError(f"{what}: its patches of size {size} are {found}, their grid has {len(grid)}")
        if patches.dtype != torch.int8 and not (patches.is_floating_point() and bool(patches.isfinite().all())):
            raise ConfigError(f"{what}: its patches of size {size} are not all finite numbers ({patches.dtype})")


Matcher = Callable[[Descriptors, Descriptors], Match]

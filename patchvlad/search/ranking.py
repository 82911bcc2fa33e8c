"""What a search finds: database images in falling order of score, for each query."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..errors import ConfigError, GroundTruthError, counted


@dataclass(frozen=True)
class Ranking:
    """Database images in falling order of score, for each query.

    Attributes:
        indices: (Q, k) int64 rows of the database, -1 where there are fewer than k.
        scores: (Q, k) float32, higher is better; of candidates the dot product of global descriptors, after re-ranking
            the fused score, which compares candidates of one query only; -inf where the index is -1.
        query_names, database_names: image names, as rows.
        confidences: (Q, k) float32 after re-ranking, else None: weighted sums of the patch sizes' match scores; they
            compare across queries, but need not fall; -inf for candidates that were not re-ranked.

    Raises:
        ConfigError: arrays of other shapes or kinds, or rows that no image has.
    """

    indices: np.ndarray
    scores: np.ndarray
    query_names: tuple[str, ...]
    database_names: tuple[str, ...]
    confidences: np.ndarray | None = None

    def __post_init__(self) -> None:
        shape, rows = np.shape(self.indices), len(self.query_names)
        if len(shape) != 2 or shape[0] != rows or np.asarray(self.indices).dtype.kind not in "iu":
            raise ConfigError(f"indices are whole numbers (Q, k) for {counted(rows, 'query', 'queries')}, not {shape}")
        for name, values in (("scores", self.scores), ("confidences", self.confidences)):
            if values is None:
                continue
            if np.shape(values) != shape or np.asarray(values).dtype.kind not in "fiu":
                raise ConfigError(f"{name} of shape {np.shape(values)} beside indices of shape {shape}: give one each")
        images = len(self.database_names)
        if np.size(self.indices) and not -1 <= np.min(self.indices) <= np.max(self.indices) < images:
            raise ConfigError(
                f"indices {np.min(self.indices)} to {np.max(self.indices)} are not all rows of "
                f"{counted(images, 'database image')}, or -1"
            )

    def first(self, k: int) -> "Ranking":
        """No more than the first k images of each query."""
        confidences = None if self.confidences is None else self.confidences[:, :k]
        return replace(self, indices=self.indices[:, :k], scores=self.scores[:, :k], confidences=confidences)

    def of(self, query_names: tuple[str, ...], database_names: tuple[str, ...]) -> "Ranking":
        """The same where the images of both sides, which are the same ones, stand in another order."""
        row_of = {name: row for row, name in enumerate(self.query_names)}
        queries = [row_of[name] for name in query_names]
        new_row = {name: row for row, name in enumerate(database_names)}
        rows = np.array([*(new_row[name] for name in self.database_names), -1], dtype=np.int64)  # -1 stays
        confidences = None if self.confidences is None else self.confidences[queries]
        return Ranking(rows[self.indices[queries]], self.scores[queries], query_names, database_names, confidences)

    def without(self, excluded: Callable[[int], np.ndarray]) -> "Ranking":
        """The same without some images per query, (row of a query) -> (n,) rows; those behind them move up."""
        return self._keeping(lambda row, found: (found >= 0) & ~np.isin(found, excluded(row)))

    def _keeping(self, chosen: Callable[[int, np.ndarray], np.ndarray]) -> "Ranking":
        indices, scores = np.full_like(self.indices, -1), np.full_like(self.scores, -np.inf)
        confidences = None if self.confidences is None else np.full_like(self.confidences, -np.inf)
        for row, found in enumerate(self.indices):
            places = np.flatnonzero(chosen(row, found))
            indices[row, : len(places)], scores[row, : len(places)] = found[places], self.scores[row, places]
            if confidences is not None and self.confidences is not None:
                confidences[row, : len(places)] = self.confidences[row, places]
        return replace(self, indices=indices, scores=scores, confidences=confidences)

    def best_per_group(self, groups: np.ndarray) -> "Ranking":
        """Keeps of each group of database images (the cut-outs of one panorama) the first in each query's ranking.

        Args:
            groups: (B,) whole numbers.

        Raises:
            GroundTruthError: groups of another number of images.
        """
        if len(groups) != len(self.database_names):
            raise GroundTruthError(f"groups of {len(groups)} images for a database of {len(self.database_names)}")

        def first_of_group(_: int, found: np.ndarray) -> np.ndarray:
            places = np.flatnonzero(found >= 0)
            kept = np.zeros(len(found), dtype=bool)
            kept[places[np.unique(groups[found[places]], return_index=True)[1]]] = True
            return kept

        return self._keeping(first_of_group)

"""Exact search: every query against every row, in blocks, so that the descriptors may be larger than memory."""

from collections.abc import Callable

import numpy as np

from ...errors import StoreError

DATABASE_BLOCK = 32768  # rows scored at once
QUERY_BLOCK = 512  # queries scored at once: 64 MB of scores; the database is read once for each block of queries
FEW = 4  # up to so many queries BLAS's matrix product is slower than one dot product after the other


class FlatIndex:
    """Compares by dot product. Of equal scores the lower row comes first and is the last to be cut off.

    Scores are sums in float32, whose last digits depend on what is computed together.
    """

    def __init__(self, descriptors: np.ndarray, never: np.ndarray) -> None:
        self.descriptors, self.never = descriptors, never

    def search(
        self, queries: np.ndarray, k: int, excluded: Callable[[int], np.ndarray] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `Index`. Memory is bounded: a memory map is read block by block, and is the system's to drop."""
        indices = np.full((len(queries), k), -1, dtype=np.int64)
        scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
        for first in range(0, len(queries), QUERY_BLOCK):
            some = slice(first, first + QUERY_BLOCK)
            asked = np.asarray(queries[some])
            left_out = [] if excluded is None else [excluded(first + place) for place in range(len(asked))]
            for start in range(0, len(self.descriptors), DATABASE_BLOCK):
                block = np.asarray(self.descriptors[start : start + DATABASE_BLOCK])
                with np.errstate(invalid="ignore", over="ignore"):
                    found = _products(asked, block)
                    whole = np.isfinite(found.sum())
                if not whole:  # damaged rows would rank first, or nowhere, without a word
                    _refuse(asked, first, block, start)
                found[:, self.never[(self.never >= start) & (self.never < start + len(block))] - start] = -np.inf
                for scored, rows in zip(found, left_out, strict=False):
                    here = rows[np.searchsorted(rows, start) : np.searchsorted(rows, start + len(block))]
                    scored[here - start] = -np.inf
                for best, best_scores, new_scores in zip(indices[some], scores[some], found, strict=True):
                    _merge(best, best_scores, new_scores, start)
        return indices, scores


def _refuse(queries: np.ndarray, first: int, block: np.ndarray, start: int) -> None:
    """Names a row that is no descriptor, unless only the sum was too large for float32."""
    for kind, rows, offset in (("queries", queries, first), ("database", block, start)):
        wrong = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        if len(wrong):
            raise StoreError(
                f"row {offset + wrong[0]} of the {kind} holds NaN or infinity: its descriptor is damaged, extract again"
            )


def _products(queries: np.ndarray, block: np.ndarray) -> np.ndarray:
    """(Q, D) and (B, D) to their dot products (Q, B)."""
    return queries @ block.T if len(queries) > FEW else np.vecdot(queries[:, None], block)


def _merge(best: np.ndarray, best_scores: np.ndarray, scores: np.ndarray, start: int) -> None:
    """Updates in place one query's best (k,) rows and scores by the scores (B,) of the rows from `start` on."""
    rows = np.flatnonzero(scores > best_scores[-1])  # not >=: of equal scores the lower row is there already
    if not len(rows):
        return
    if len(rows) > len(best):  # leaves few to sort
        rows = rows[scores[rows] >= np.partition(scores[rows], -len(best))[-len(best)]]
    filled = int(np.count_nonzero(best >= 0))
    values = np.concatenate([best_scores[:filled], scores[rows]])
    rows = np.concatenate([best[:filled], start + rows])
    order = np.argsort(-values, kind="stable")[: len(best)]
    best[: len(order)], best_scores[: len(order)] = rows[order], values[order]

"""What retrieval asks of an index; a new one is one file, and one line in `search/registry.py`."""

from collections.abc import Callable
from typing import Protocol

import numpy as np


class Index(Protocol):
    """Made of (B, D) descriptors, a memory map perhaps, and the rows of them that are never to be found."""

    def __init__(self, descriptors: np.ndarray, never: np.ndarray) -> None: ...

    def search(
        self, queries: np.ndarray, k: int, excluded: Callable[[int], np.ndarray] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k most similar rows of each query.

        Args:
            queries: (Q, D) descriptors.
            k: rows per query.
            excluded: (row of a query) -> (n,) rows, ascending, that are not found for it.

        Returns:
            rows (Q, k) int64, best first, -1 where there are fewer; scores (Q, k) float32, higher is better, else -inf.
        """
        ...

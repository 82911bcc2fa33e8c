"""How far to trust a number: intervals over queries, and whether two methods differ on the same queries.

Queries are drawn as if they were independent. Neighbouring frames of one drive are not, and then the true interval is
wider.
"""

from dataclasses import dataclass

import numpy as np

DRAWS = 2000
CONFIDENCE = 0.95
BLOCK = 1 << 22  # counts drawn at a time: 32 MB


def wilson(answered: int, queries: int) -> tuple[float, float]:
    """95 % interval of a share of queries (Wilson 1927): true to its name near 0 and 1 too, where drawing is not.

    NaN without queries.
    """
    from scipy.stats import binomtest

    if not queries:
        return np.nan, np.nan
    found = binomtest(answered, queries).proportion_ci(CONFIDENCE, method="wilson")
    return float(found.low), float(found.high)


def bootstrap(values: np.ndarray, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """95 % intervals of the means of several numbers per query, by drawing queries with replacement.

    Args:
        values: (Q, m) such as a hit or none within each of m ks.

    Returns:
        (m, 2) lower and upper ends; NaN without queries.
    """
    queries = len(values)
    if not queries:
        return np.full((values.shape[1], 2), np.nan)
    kinds, counts = np.unique(values.astype(np.float64), axis=0, return_counts=True)  # equal queries are drawn together
    generator = np.random.default_rng(seed)
    at_once = max(BLOCK // len(kinds), 1)
    means = []
    for start in range(0, draws, at_once):
        drawn = generator.multinomial(queries, counts / queries, size=min(at_once, draws - start))
        means.append(drawn @ kinds / queries)
    tail = (1 - CONFIDENCE) / 2
    return np.quantile(np.concatenate(means), (tail, 1 - tail), axis=0).T


@dataclass(frozen=True)
class Comparison:
    """Two methods on the same queries.

    Attributes:
        difference: of the shares of queries answered, second minus first.
        interval: 95 % interval of the difference, by drawing queries with replacement.
        gained, lost: queries that only the second answers, and that only the first does.
        p: probability of a difference at least as large if neither were better (McNemar's exact test, two-sided).
    """

    difference: float
    interval: tuple[float, float]
    gained: int
    lost: int
    p: float


def compare_answers(first: np.ndarray, second: np.ndarray) -> Comparison:
    """Compares (Q,) bool, was the query answered, of two methods."""
    from scipy.stats import binomtest

    gained, lost = int((second & ~first).sum()), int((first & ~second).sum())
    p = float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    differences = second.astype(np.float64) - first
    low, high = bootstrap(differences[:, None])[0].tolist()
    return Comparison(float(differences.mean()) if len(differences) else 0.0, (low, high), gained, lost, p)

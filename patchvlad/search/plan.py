"""How to search: the frozen record that presets fill."""

from dataclasses import dataclass

from ..errors import ConfigError


@dataclass(frozen=True)
class Plan:
    """All that decides a ranking but the descriptors.

    Attributes:
        matcher: a name of `search.registry.MATCHERS`.
        weights: of each patch size in the fused score; None weighs all alike.
        global_weight: the same for the score that retrieved the candidate; 0 in the paper.
        least_spread: standard deviation of a query's scores that fusion divides by at the least; 0 in the paper.
        query_step: only every n-th row and column of the query's patches is matched; 1, which is all, in the paper.
        compared: leading components of patch descriptors that are compared, as int8; None compares what is stored.
        index: a name of `search.registry.INDEXES`.
        candidates: retrieved per query.
        candidates_file: .npy of candidates that are re-ranked instead of retrieved ones.
        depth: candidates that are re-ranked; None for all, 0 for none.
        time_budget: seconds per query for re-ranking, see `rerank`; None for as long as it takes.
        group: database images per group (cut-outs of a panorama), of which the best alone is a candidate; 1 for none.
    """

    matcher: str = "ransac"
    weights: tuple[float, ...] | None = None
    global_weight: float = 0.0
    least_spread: float = 0.0
    query_step: int = 1
    compared: int | None = None
    index: str = "flat"
    candidates: int = 100
    candidates_file: str | None = None
    depth: int | None = None
    time_budget: float | None = None
    group: int = 1

    def check(self) -> None:
        """Raises ConfigError for numbers that cannot be."""
        if self.query_step < 1:
            raise ConfigError(f"querystep = {self.query_step} must be at least 1")
        if self.group < 1:
            raise ConfigError(f"groups of {self.group} images: there must be at least 1")

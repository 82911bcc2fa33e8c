"""Rankings and recalls as files that others read."""

import logging
import os

from ..atomic import write_text
from ..search.retrieval import Ranking
from .metrics import Recall

log = logging.getLogger(__name__)


def write_kapture_pairs(path: str | os.PathLike, ranking: Ranking) -> None:
    """Writes a kapture 1.1 pairsfile: query image, map image, score, one pair a line, best first.

    The format knows no quotes: names with a comma are written as they are, and a warning says what that means.
    """
    broken = [name for name in (*ranking.query_names, *ranking.database_names) if "," in name]
    if broken:
        log.warning("%s: kapture cannot read image names with a comma, such as %s", path, broken[0])
    lines = ["# kapture format: 1.1", "# query_image, map_image, score"]
    for query, rows, scores in zip(ranking.query_names, ranking.indices, ranking.scores, strict=True):
        lines += [
            f"{query}, {ranking.database_names[row]}, {score:.6f}"
            for row, score in zip(rows, scores, strict=True)
            if row >= 0
        ]
    write_text(path, "\n".join(lines) + "\n")


def write_recalls(path: str | os.PathLike, recalls: dict[str, Recall]) -> None:
    """Writes recalls.txt as the reference does ("Recall NetVLAD@1: 0.7950"), and the protocol in a comment."""
    lines = [
        f"Recall {stage}@{k}: {value:.4f}" for stage, found in recalls.items() for k, value in found.values.items()
    ]
    lines += [f"# {found.describe()}" for found in list(recalls.values())[:1]]
    write_text(path, "\n".join(lines) + "\n")

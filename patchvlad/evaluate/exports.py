"""Rankings and recalls as files that others read: kapture, hloc, COLMAP, MSLS, and the reference's recalls.txt."""

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

from ..atomic import write_text
from ..errors import GroundTruthError
from ..search.retrieval import Ranking
from .metrics import Recall
from .predictions import ONE_QUERY

log = logging.getLogger(__name__)

MSLS_K = 20  # its evaluation wants so many predictions of every query


def write_kapture_pairs(
    path: str | os.PathLike, ranking: Ranking, query_prefix: str = "", map_prefix: str = "", scored: bool = True
) -> None:
    """Writes a kapture 1.1 pairsfile: query image, map image, score, one pair a line, best first.

    `scored` says whether scores are written. They have as many digits as it takes to read the same float32 back.
    The format knows no quotes: names with a comma are written as they are, and a warning says what that means.
    """
    names = (*ranking.query_names, *ranking.database_names)
    broken = [name for name in names if "," in name or name.startswith("#")]
    if broken:
        log.warning("%s: kapture cannot read names with a comma in or # before them, such as %s", path, broken[0])
    lines = ["# kapture format: 1.1", f"# query_image, map_image{', score' if scored else ''}"]
    if ranking.confidences is not None:
        lines.append(ONE_QUERY)
    lines += [
        f"{query_prefix}{query}, {map_prefix}{image}" + (f", {score!s}" if scored else "")
        for query, image, score in _pairs(ranking)
    ]
    write_text(path, "\n".join(lines) + "\n")


def write_hloc_pairs(path: str | os.PathLike, ranking: Ranking, query_prefix: str = "", map_prefix: str = "") -> None:
    """Writes hloc's pairs.txt, which is COLMAP's match list too: query and map image, one pair a line, best first.

    Raises:
        GroundTruthError: a name with a space, which the format cannot hold.
    """
    _refuse_spaces(path, ranking)
    lines = [f"{query_prefix}{query} {map_prefix}{image}\n" for query, image, _ in _pairs(ranking)]
    write_text(path, "".join(lines))


def write_msls_predictions(
    path: str | os.PathLike, ranking: Ranking, query_prefix: str = "", map_prefix: str = ""
) -> None:
    """Writes what mapillary_sls evaluates: the query's key, then the keys of its images, best first; no prefixes.

    Its reader wants as many images of every query: rankings are cut to the shortest, which a warning tells if that is
    below the 20 of the benchmark. Queries without any image are left out, which its reader refuses.

    Raises:
        GroundTruthError: a name with a space, or two images of the same key.
    """
    _refuse_spaces(path, ranking)
    keys = []
    for kind, names in (("queries", ranking.query_names), ("database", ranking.database_names)):
        keys.append([PurePosixPath(name).stem for name in names])
        if len(set(keys[-1])) < len(names):
            raise GroundTruthError(f"{path}: two images of the {kind} have the same file name, which MSLS goes by")
    counts = (ranking.indices >= 0).sum(axis=1)
    shortest = int(counts[counts > 0].min(initial=ranking.indices.shape[1]))
    if shortest < MSLS_K or (counts == 0).any():
        log.warning(
            "%s: %d images a query, and %d queries without any: mapillary_sls wants %d of every query",
            *(path, shortest, int((counts == 0).sum()), MSLS_K),
        )
    lines = [
        " ".join([query, *(keys[1][row] for row in rows[rows >= 0][:shortest])]) + "\n"
        for query, rows in zip(keys[0], ranking.indices, strict=True)
        if (rows >= 0).any()
    ]
    write_text(path, "".join(lines))


FORMATS: dict[str, Callable[..., None]] = {
    "kapture": write_kapture_pairs,
    "hloc": write_hloc_pairs,
    "colmap": write_hloc_pairs,
    "msls": write_msls_predictions,
}


def write_recalls(path: str | os.PathLike, recalls: dict[str, Recall], made_by: str = "") -> None:
    """Writes recalls.txt as the reference does ("Recall NetVLAD@1: 0.7950"), and in comments the protocol."""
    lines = [
        f"Recall {stage}@{k}: {value:.4f}" for stage, found in recalls.items() for k, value in found.values.items()
    ]
    lines += [f"# {found.describe()}; recall over {found.denominator} queries" for found in list(recalls.values())[:1]]
    lines += [f"# {made_by}"] if made_by else []
    write_text(path, "\n".join(lines) + "\n")


def _pairs(ranking: Ranking) -> Iterator[tuple[str, str, float]]:
    for query, rows, scores in zip(ranking.query_names, ranking.indices, ranking.scores, strict=True):
        for row, score in zip(rows, scores, strict=True):
            if row >= 0:
                yield query, ranking.database_names[row], score


def _refuse_spaces(path: str | os.PathLike, ranking: Ranking) -> None:
    for name in (*ranking.query_names, *ranking.database_names):
        if len(name.split()) != 1:
            raise GroundTruthError(f"{path}: the format knows no spaces, as in {name!r}: rename the image")

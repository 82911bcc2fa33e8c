"""Rankings as files that others read: kapture's, hloc's and COLMAP's pairs, MSLS's predictions, LTVL's poses."""

import logging
import os
from collections.abc import Iterator
from pathlib import PurePosixPath

import numpy as np

from ..errors import GroundTruthError, counted
from ..files.atomic import write_text
from ..images.sides import Names
from ..places.poses import Poses
from ..search.ranking import Ranking

log = logging.getLogger(__name__)

ONE_QUERY = "# scores compare images of one query only"  # a comment in files of which that is true
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


def write_reference_pairs(path: str | os.PathLike, ranking: Ranking, root: str = "") -> None:
    """Writes predictions as the reference does: query and map image below the root, two fields, best first."""
    lines = ["# kapture format: 1.0", "# query_image, map_image"]
    lines += [f"{os.path.join(root, query)}, {os.path.join(root, image)}" for query, image, _ in _pairs(ranking)]
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
            "%s: %s per query, and %s without any: mapillary_sls wants %d of every query",
            *(path, counted(shortest, "image"), counted(int((counts == 0).sum()), "query", "queries"), MSLS_K),
        )
    lines = [
        " ".join([query, *(keys[1][row] for row in rows[rows >= 0][:shortest])]) + "\n"
        for query, rows in zip(keys[0], ranking.indices, strict=True)
        if (rows >= 0).any()
    ]
    write_text(path, "".join(lines))


def check_told_apart(path: str | os.PathLike, names: Names, prefixes: tuple[str, str], same: np.ndarray) -> None:
    """Checks that no query has the name of another photo of the database: pairs go by names below one root.

    Args:
        path: of the file, for messages.
        names: of both sides.
        prefixes: that are put before the names of queries, and of database images.
        same: (n, 2) pairs of rows that are known to be one photo.

    Raises:
        GroundTruthError: some have.
    """
    row_of = {f"{prefixes[1]}{name}": row for row, name in enumerate(names.database)}
    known = set(map(tuple, same.tolist()))
    equal = [
        name
        for row, name in enumerate(names.queries)
        if (other := row_of.get(f"{prefixes[0]}{name}")) is not None and (row, other) not in known
    ]
    if equal:
        raise GroundTruthError(
            f"{path}: {prefixes[0]}{equal[0]} is a query and also a database image "
            f"({counted(len(equal), 'such name')}): pairs go by names below one folder, so that they would be one "
            "photo. Tell them apart with "
            "--query-prefix query/ and --map-prefix database/, the folders that they lie in there; if they are the "
            "same photos, give these with --queries and --database"
        )


def transfer(ranking: Ranking, database: Poses) -> Poses:
    """Gives every query the pose of its best match; NaN where there is none."""
    rotations, translations = (
        np.full((len(ranking.query_names), 4), np.nan),
        np.full((len(ranking.query_names), 3), np.nan),
    )
    best = ranking.indices[:, 0] if ranking.indices.shape[1] else np.full(len(rotations), -1)
    known = (best >= 0) & (best < len(database.names))
    rotations[known], translations[known] = database.rotations[best[known]], database.translations[best[known]]
    return Poses(ranking.query_names, rotations, translations)


def write_ltvl(path: str | os.PathLike, poses: Poses, folders: int = 0) -> int:
    """Writes `name qw qx qy qz tx ty tz` a line, the file that visuallocalization.net takes.

    Args:
        path: the file.
        poses: images without one are left out.
        folders: how many of a name's last folders are written: 0 for CMU, 1 for RobotCar ("rear/1234.jpg").

    Returns:
        how many were written.

    Raises:
        GroundTruthError: two names become the same, or one has a space.
    """
    names = ["/".join(name.split("/")[-1 - folders :]) for name in poses.names]
    for name in names:
        if len(name.split()) != 1:
            raise GroundTruthError(f"{path}: the format knows no spaces, as in {name!r}: rename the image")
    if len(set(names)) < len(names):
        double = next(name for name in names if names.count(name) > 1)
        raise GroundTruthError(f"{path}: two images become {double}: keep more folders of their names")
    lines = [
        " ".join([name, *(repr(float(value)) for value in (*rotation, *translation))])
        for name, rotation, translation, known in zip(
            names, poses.rotations, poses.translations, poses.known, strict=True
        )
        if known
    ]
    write_text(path, "".join(f"{line}\n" for line in lines))
    return len(lines)


def _pairs(ranking: Ranking) -> Iterator[tuple[str, str, float]]:
    for query, rows, scores in zip(ranking.query_names, ranking.indices, ranking.scores, strict=True):
        for row, score in zip(rows, scores, strict=True):
            if row >= 0:
                yield query, ranking.database_names[row], score


def _refuse_spaces(path: str | os.PathLike, ranking: Ranking) -> None:
    for name in (*ranking.query_names, *ranking.database_names):
        if len(name.split()) != 1:
            raise GroundTruthError(f"{path}: the format knows no spaces, as in {name!r}: rename the image")

"""Rankings of any method, with rows for names: our results folders, pairs and predictions in files, .npy of rows.

Beside the formats of `prediction_files` there is .npy, (Q, k) whole numbers: rows of the database, best first, -1 where
there are fewer.
"""

import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from ..errors import GroundTruthError, counted
from ..files.arrays import read_array
from ..images.names import Finder, finder
from ..images.row_order import RowOrder
from ..images.sides import PerhapsNames, Sides
from ..places.ground_truth import GroundTruth
from ..search.ranking import Ranking
from .folder import RERANKED, Making, confidences_in, lists_in, read_making, stages_in
from .prediction_files import Listed, parse

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prediction:
    """What a method predicts.

    Attributes:
        name: of the method.
        ranking: rows of the images asked for, and behind them of images that only predictions name.
        comparable: whether the ranking's confidences, or else its scores, can be compared across queries; None where
            there are none.
        made_by: how it was made, where that is known, and which stage made it.
    """

    name: str
    ranking: Ranking
    comparable: bool | None = None
    made_by: Making | None = None
    stage: str = ""


@dataclass(frozen=True)
class Asked:
    """The images that predictions are about.

    Attributes:
        queries, database: their names; None where only their number is known.
        counts: of both.
        complete: whether the database is known to hold these images and no others.
    """

    queries: tuple[str, ...] | None
    database: tuple[str, ...] | None
    counts: tuple[int, int]
    complete: bool = True

    @classmethod
    def by(cls, truth: GroundTruth) -> "Asked":
        """The images of a ground truth."""
        return cls(truth.query_names, truth.database_names, (len(truth), truth.database), truth.complete)

    @classmethod
    def about(cls, source: Path, names: PerhapsNames) -> "Asked":
        """The images of lists, and where there is none those that predictions name.

        Raises:
            GroundTruthError: there is no list, and the predictions do not name their images.
        """
        queries, database = names
        complete = database is not None
        if queries is None or database is None:
            if source.is_dir() or source.suffix.lower() == ".npy":
                raise GroundTruthError(
                    f"{source} does not name its images: give their lists with --queries and --database"
                )
            listed = parse(source, in_order=True)
            queries = tuple(listed.images) if queries is None else queries
            database = tuple(listed.mentioned) if database is None else database
        return cls(tuple(queries), tuple(database), (len(queries), len(database)), complete)


def read_predictions(
    path: str | os.PathLike, asked: Asked, scores: str | None = None, order: RowOrder | None = None
) -> tuple[list[Prediction], Asked]:
    """Reads what one or, from a folder of results, several methods predict.

    Args:
        path: a file of one of the formats above, or the folder that `match` wrote.
        asked: the images that are meant.
        scores: what the scores of a file of pairs are, see `registry.SCORES`; None finds out.
        order: of the images that rows in an .npy stand for; None takes them as they are asked for.

    Returns:
        predictions, and what was asked for with the images that only the predictions name behind its own, if it does
        not list the whole database.

    Raises:
        GroundTruthError: another format, or names that do not meet.
    """
    path = Path(path)
    if path.is_dir():
        return _from_results(path, asked)
    if not path.exists():
        raise GroundTruthError(f"{path} does not exist: give predictions, or the folder that 'patchvlad match' wrote")
    if path.suffix.lower() == ".npy":
        return [_from_rows(path, asked, order or RowOrder(given=Sides(True, True)))], asked
    if asked.queries is None or asked.database is None:
        raise GroundTruthError(
            f"{path} names images, and the ground truth does not: give the image lists with --queries and --database"
        )
    listed = parse(path, Sides(asked.queries, asked.database), scores=scores)
    (ranking,), asked = _meet(path, {path: listed}, asked)
    return [Prediction(path.stem, ranking, listed.comparable)], asked


def _from_results(folder: Path, asked: Asked) -> tuple[list[Prediction], Asked]:
    """All stages of `match`; scores of re-ranked candidates are taken from the file of confidences."""
    making = read_making(folder)
    lists = lists_in(folder)
    if lists is not None and asked.queries is None and asked.database is None:
        if (len(lists.queries), len(lists.database)) != asked.counts:
            raise GroundTruthError(
                f"{folder} holds results of {counted(len(lists.queries), 'query', 'queries')} and "
                f"{counted(len(lists.database), 'database image')}, but the ground truth "
                f"is of {asked.counts[0]} and {asked.counts[1]}: use the one of these images"
            )
        asked = replace(asked, queries=lists.queries, database=lists.database)
    if asked.queries is None or asked.database is None:
        raise GroundTruthError(
            f"{folder} names images, and the ground truth does not: give the lists with --queries and --database"
        )
    files = stages_in(folder)
    names = Sides(asked.queries, asked.database)
    listed = {path: parse(path, names, scores="similarity") for path in files.values()}
    rankings, asked = _meet(folder, listed, asked)
    found = []
    for (stage, path), ranking in zip(files.items(), rankings, strict=True):
        prediction = Prediction(f"{folder.name} {stage}", ranking, listed[path].comparable, making, stage)
        found.append(_with_confidences(prediction, folder, asked) if stage == RERANKED else prediction)
    return found, asked


def _with_confidences(prediction: Prediction, folder: Path, asked: Asked) -> Prediction:
    """Scores of a re-ranking order one query's candidates; those of this file can be compared across queries."""
    path = confidences_in(folder)
    if path is None:
        return prediction
    listed = parse(path, Sides(asked.queries or (), asked.database or ()), in_order=True)
    (other,), _ = _meet(path, {path: listed}, asked)
    if not np.array_equal(other.indices, prediction.ranking.indices):
        raise GroundTruthError(f"{path} does not belong to the predictions beside it: run match again")
    return replace(prediction, ranking=replace(prediction.ranking, confidences=other.scores), comparable=True)


def _from_rows(path: Path, asked: Asked, order: RowOrder) -> Prediction:
    if not asked.complete:
        raise GroundTruthError(f"{path} gives rows of the whole database, which is not known: give it with --database")
    queries, database = asked.counts
    try:
        rows = read_array(path)
    except ValueError as error:
        raise GroundTruthError(f"{path} cannot be read as an array of rows ({error})") from error
    if rows.ndim != 2 or not np.issubdtype(rows.dtype, np.integer):
        raise GroundTruthError(f"{path} holds {rows.dtype} {rows.shape}: rows are whole numbers, one line per query")
    if len(rows) != queries or (rows.size and not -1 <= int(rows.min()) <= int(rows.max()) < database):
        raise GroundTruthError(
            f"{path} holds {counted(len(rows), 'query', 'queries')} and rows {rows.min(initial=0)} to "
            f"{rows.max(initial=0)}, but the ground truth {counted(queries, 'query', 'queries')} and "
            f"{counted(database, 'database image')}: they do not belong together"
        )
    rows = rows.astype(np.int64)
    names = Sides(asked.queries or tuple(map(str, range(queries))), asked.database or tuple(map(str, range(database))))
    said = order.names(path, Sides(asked.queries, asked.database))
    by_row = [tuple(own or name) for own, name in zip(said, names, strict=True)]
    ranking = Ranking(rows, _no_scores(rows), by_row[0], by_row[1])
    return Prediction(path.stem, ranking.of(*names))


# --- names to rows --------------------------------------------------------------------------------------------------


def _meet(source: Path, files: dict[Path, Listed], asked: Asked) -> tuple[list[Ranking], Asked]:
    """Names of several files of one maker to rows; what a name stands for is found out once, for all of them."""
    assert asked.queries is not None and asked.database is not None
    keys = any(listed.keys for listed in files.values())
    queries = list(dict.fromkeys(query for listed in files.values() for query in listed.images))
    mentioned = list(dict.fromkeys(image for listed in files.values() for image in listed.mentioned))
    query_row = _finder(source, "queries", asked.queries, queries, keys)
    database_row = _finder(source, "database", asked.database, mentioned, keys)
    known = {image: row for image in mentioned if (row := database_row(image)) is not None}
    unknown = {image: database_row.name(image) or image for image in mentioned if image not in known}
    more = dict(zip(dict.fromkeys(unknown.values()), range(len(asked.database), 2**62), strict=False))
    rows = known | {image: more[name] for image, name in unknown.items()}
    if unknown and asked.complete:
        log.warning(
            "%s: named, but not in the database, and so no positives: %s, such as %s",
            source,
            counted(len(unknown), "image"),
            next(iter(unknown)),
        )
    names = (*asked.database, *more)
    strange = [query for query in queries if query_row(query) is None]
    if strange:
        log.warning(
            "%s: ignored, as not asked for: %s, such as %s",
            source,
            counted(len(strange), "query", "queries"),
            strange[0],
        )
    rankings = []
    for path, listed in files.items():
        indices, scores = _rows(listed, len(asked.queries), query_row, rows)
        silent = [name for name, row in zip(asked.queries, indices, strict=True) if row[0] < 0]
        if silent:
            log.warning(
                "%s has no line for %s, such as %s: counted as missed",
                path,
                counted(len(silent), "query", "queries"),
                silent[0],
            )
        rankings.append(Ranking(indices, scores, asked.queries, names))
    return rankings, replace(asked, database=names, counts=(len(asked.queries), len(names)))


def _rows(listed: Listed, queries: int, query_row: Finder, row_of: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """Rows (Q, k) of the database and scores of one file."""
    longest = max(len(images) for images in listed.images.values())
    indices = np.full((queries, longest), -1, dtype=np.int64)
    scores = np.full(indices.shape, -np.inf, dtype=np.float32)
    for query, images in listed.images.items():
        row = query_row(query)
        if row is None:
            continue
        indices[row, : len(images)] = [row_of[image] for image in images]
        scores[row, : len(images)] = _no_scores(indices[row : row + 1])[0, : len(images)]
        if listed.scores is not None:
            scores[row, : len(images)] = listed.scores[query]
    return indices, scores


def _finder(source: Path, kind: str, names: Sequence[str], mentioned: Sequence[str], keys: bool) -> Finder:
    if not keys:
        return finder(source, kind, names, mentioned)
    stems = [PurePosixPath(name).stem for name in names]
    if len(set(stems)) < len(stems):
        double = next(stem for stem, count in Counter(stems).items() if count > 1)
        raise GroundTruthError(f"{source} goes by file names without suffix, and two images of the {kind} are {double}")
    return finder(source, kind, stems, mentioned)


def _no_scores(indices: np.ndarray) -> np.ndarray:
    """Scores that say no more than the order."""
    places = -np.arange(indices.shape[1], dtype=np.float32)
    return np.where(indices < 0, -np.inf, places).astype(np.float32)

"""Rankings of any method: what our `match` writes, kapture and hloc pairs, MSLS predictions, .npy of rows.

kapture     query, map image[, score]         one pair a line, comments behind #
hloc        query map_image                   one pair a line, best first; COLMAP's match lists are the same
MSLS        query_key key key key ...         one query a line, best first; keys are file names without suffix
.npy        (Q, k) whole numbers              rows of the database, best first, -1 where there are fewer
"""

import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np

from ..arrays import read_array
from ..errors import GroundTruthError
from ..search.retrieval import Ranking
from .ground_truth import GroundTruth
from .names import finder

log = logging.getLogger(__name__)

RESULTS = "results.json"
LISTS = ("queries.txt", "database.txt")
STAGES = RETRIEVED, RERANKED = "NetVLAD", "PatchNetVLAD"
SUFFIX = "_predictions.txt"
ONE_QUERY = "# scores compare images of one query only"
CONFIDENCES = f"{RERANKED}_confidences.txt"


@dataclass(frozen=True)
class Prediction:
    """What a method predicts.

    Attributes:
        name: of the method.
        ranking: rows of the ground truth's images; the database may go on behind them with images that it lacks.
        comparable: whether the ranking's confidences, or else its scores, can be compared across queries; None where
            there are none.
        made_by: what is known of how it was made.
    """

    name: str
    ranking: Ranking
    comparable: bool | None = None
    made_by: dict = field(default_factory=dict)


@dataclass(frozen=True)
class _Listed:
    """Names as a file lists them: for each query its images, best first."""

    images: dict[str, list[str]]
    scores: dict[str, list[float]] | None = None
    comparable: bool | None = None


def read_predictions(path: str | os.PathLike, truth: GroundTruth) -> tuple[list[Prediction], GroundTruth]:
    """Reads what one or, from a folder of results, several methods predict.

    Args:
        path: a file of one of the formats above, or the folder that `match` wrote.
        truth: whose images are meant.

    Returns:
        predictions, and the truth with the images that only the predictions name behind its own, if it does not list
        the whole database.

    Raises:
        GroundTruthError: another format, or names that do not meet.
    """
    path = Path(path)
    if path.is_dir():
        return _from_results(path, truth)
    if not path.is_file():
        raise GroundTruthError(f"{path} does not exist: give predictions, or the folder that 'patchvlad match' wrote")
    if path.suffix.lower() == ".npy":
        return [_from_rows(path, truth)], truth
    if truth.query_names is None or truth.database_names is None:
        raise GroundTruthError(
            f"{path} names images, and the ground truth does not: give the image lists with --queries and --database"
        )
    listed, keys = _parse(path, truth.query_names, truth.database_names)
    ranking, truth = _meet(path, listed, truth, keys)
    return [Prediction(path.stem, ranking, listed.comparable)], truth


def _from_results(folder: Path, truth: GroundTruth) -> tuple[list[Prediction], GroundTruth]:
    """Both stages of `match`; scores of re-ranked candidates are taken from the file of confidences."""
    made_by = {}
    try:
        if (folder / RESULTS).is_file():
            made_by = json.loads((folder / RESULTS).read_text(encoding="utf-8"))
            describe_making(made_by)
    except (ValueError, TypeError, AttributeError, OSError) as error:
        raise GroundTruthError(f"{folder / RESULTS} is damaged ({error}): run match again") from error
    names = lists_in(folder)
    if names and truth.query_names is None and truth.database_names is None:
        truth = truth.named(names[0], names[1])
    found = []
    for stage in STAGES:
        if (folder / f"{stage}{SUFFIX}").is_file():
            (prediction,), truth = read_predictions(folder / f"{stage}{SUFFIX}", truth)
            if stage == RERANKED:
                prediction = _with_confidences(prediction, folder / CONFIDENCES, truth)
            found.append(
                replace(prediction, name=f"{folder.name} {stage}", made_by=made_by and made_by | {"stage": stage})
            )
    if not found:
        raise GroundTruthError(f"{folder} holds no {RETRIEVED}{SUFFIX}: give the folder that 'patchvlad match' wrote")
    return found, truth


def describe_making(said: dict) -> str:
    """How predictions were made, in words, of what results.json says and the stage."""
    size = " x ".join(map(str, said.get("image_size", ())))
    parts = [
        f"preset {said.get('preset')}",
        f"model {said.get('model')} {str(said.get('fingerprint'))[:12]}",
        f"{size} px",
        f"{said.get('candidates')} candidates by {said.get('retrieved_by')}",
    ]
    if said.get("group", 1) > 1:
        parts.append(f"the best of {said['group']} images a group")
    if said.get("stage") == RERANKED:
        depth = said.get("reranked")
        parts.append(f"{'all' if depth is None else f'the first {depth}'} re-ranked by {said.get('matcher')}")
    return ", ".join([*parts, f"patchvlad {said.get('patchvlad')}"])


def lists_in(folder: Path) -> list[tuple[str, ...]]:
    """Names of queries and database as `match` leaves them beside its results; empty where it has not.

    Raises:
        GroundTruthError: they are there, but cannot be read.
    """
    if not all((folder / name).is_file() for name in LISTS):
        return []
    try:
        return [tuple((folder / name).read_text(encoding="utf-8").splitlines()) for name in LISTS]
    except (UnicodeDecodeError, OSError) as error:
        raise GroundTruthError(f"{folder} holds damaged image lists ({error}): run match again") from error


def _with_confidences(prediction: Prediction, path: Path, truth: GroundTruth) -> Prediction:
    """Scores of a re-ranking order one query's candidates; those of this file can be compared across queries."""
    if not path.is_file() or truth.query_names is None or truth.database_names is None:
        return prediction
    listed, _ = _parse(path, truth.query_names, truth.database_names, in_order=True)
    other, _ = _meet(path, listed, truth, False)
    if not np.array_equal(other.indices, prediction.ranking.indices):
        raise GroundTruthError(f"{path} does not belong to the predictions beside it: run match again")
    return replace(prediction, ranking=replace(prediction.ranking, confidences=other.scores), comparable=True)


def _from_rows(path: Path, truth: GroundTruth) -> Prediction:
    try:
        rows = read_array(path)
    except ValueError as error:
        raise GroundTruthError(f"{path} cannot be read as an array of rows ({error})") from error
    if rows.ndim != 2 or not np.issubdtype(rows.dtype, np.integer):
        raise GroundTruthError(f"{path} holds {rows.dtype} {rows.shape}: rows are whole numbers, one line a query")
    rows = rows.astype(np.int64)
    if len(rows) != len(truth) or rows.min(initial=-1) < -1 or rows.max(initial=-1) >= truth.database:
        raise GroundTruthError(
            f"{path} holds {len(rows)} queries and rows {rows.min(initial=0)} to {rows.max(initial=0)}, but the ground "
            f"truth {len(truth)} queries and {truth.database} database images: they do not belong together"
        )
    names = (
        truth.query_names or tuple(map(str, range(len(truth)))),
        truth.database_names or tuple(map(str, range(truth.database))),
    )
    return Prediction(path.stem, Ranking(rows, _no_scores(rows), *names))


def _parse(
    path: Path, queries: Sequence[str] = (), database: Sequence[str] = (), in_order: bool = False
) -> tuple[_Listed, bool]:
    """The contents of a text file, and whether its names are keys, file names without suffix.

    Args:
        path: the file.
        queries, database: names that the file may hold, for those with commas in them or # before them.
        in_order: whether images stand in their order whatever their scores are.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (UnicodeDecodeError, OSError) as error:
        raise GroundTruthError(f"{path} is no text file of predictions ({error})") from error
    hashed = tuple(name for name in queries if name.startswith("#"))
    numbered = [
        (number, line)
        for number, line in enumerate(lines, 1)
        if line.strip() and (not line.startswith("#") or (hashed and line.startswith(hashed)))
    ]
    if not numbered:
        raise GroundTruthError(f"{path} is empty: it holds no prediction")
    first = numbered[0][1]
    if lines[0].startswith("# kapture format") or ", " in first or ("," in first and len(first.split()) == 1):
        return _kapture(path, numbered, set(queries), set(database), in_order, ONE_QUERY in lines), False
    fields = [line.split() for _, line in numbered]
    if all(len(parts) == 2 for parts in fields):
        images: dict[str, list[str]] = {}
        for query, image in fields:
            images.setdefault(query, []).append(image)
        keys = not any(PurePosixPath(name).suffix for name in images)
        return _Listed(images), keys
    short = [number for (number, _), parts in zip(numbered, fields, strict=True) if len(parts) < 2]
    repeated = len({parts[0] for parts in fields}) < len(fields)
    if short or repeated:
        where = f", line {short[0]}" if short else ""
        raise GroundTruthError(f"{path}{where} is no known format: give kapture or hloc pairs, or MSLS predictions")
    return _Listed({parts[0]: parts[1:] for parts in fields}), True


def _kapture(
    path: Path, numbered: Sequence[tuple[int, str]], queries: Set[str], database: Set[str], in_order: bool, alone: bool
) -> _Listed:
    """Pairs by falling score, as kapture orders them; equal scores in the order of the file."""
    found: dict[str, list[tuple[str, float]]] = {}
    scored = len(numbered[0][1].split(",")) > 2
    for number, line in numbered:
        try:
            query, image, score = _pair(line, scored, queries, database)
        except ValueError as error:
            raise GroundTruthError(f"{path}, line {number}: {error}; it should read query, map image, score") from error
        found.setdefault(query, []).append((image, score))
    if not in_order:
        found = {query: sorted(pairs, key=lambda pair: -pair[1]) for query, pairs in found.items()}
    images = {query: [image for image, _ in pairs] for query, pairs in found.items()}
    if not scored:
        return _Listed(images)
    return _Listed(images, {query: [score for _, score in pairs] for query, pairs in found.items()}, not alone)


def _pair(line: str, scored: bool, queries: Set[str], database: Set[str]) -> tuple[str, str, float]:
    """Query, image and score of a line; names with commas are found among those known."""
    parts = [part.strip() for part in line.split(",")]
    if len(parts) != 2 + scored:
        names, _, last = line.rpartition(", ") if scored else (line, "", "0")
        cuts = [i for i in range(len(names)) if names.startswith(", ", i)]
        whole = [(names[:i], names[i + 2 :], last) for i in cuts if names[:i] in queries and names[i + 2 :] in database]
        if len(whole) != 1:
            raise ValueError(f"{len(parts)} fields")
        parts = list(whole[0])
    score = float(parts[2]) if scored else 0.0
    if np.isnan(score):
        raise ValueError("a score that is no number")
    return parts[0], parts[1], score


def _meet(path: Path, listed: _Listed, truth: GroundTruth, keys: bool) -> tuple[Ranking, GroundTruth]:
    """Names to rows."""
    assert truth.query_names is not None and truth.database_names is not None
    mentioned = list(dict.fromkeys(image for images in listed.images.values() for image in images))
    query_row = _rows(path, "queries", truth.query_names, list(listed.images), keys)
    database_row = _rows(path, "database", truth.database_names, mentioned, keys)
    known = {image: row for image in mentioned if (row := database_row(image)) is not None}
    unknown = [image for image in mentioned if image not in known]
    row_of = known | {image: truth.database + extra for extra, image in enumerate(unknown)}
    if unknown and truth.complete:
        log.warning("%s: %d images, such as %s, are not of the database: no positives", path, len(unknown), unknown[0])
    longest = max(len(images) for images in listed.images.values())
    indices = np.full((len(truth), longest), -1, dtype=np.int64)
    scores = np.full(indices.shape, -np.inf, dtype=np.float32)
    strange = []
    for query, images in listed.images.items():
        row = query_row(query)
        if row is None:
            strange.append(query)
            continue
        indices[row, : len(images)] = [row_of[image] for image in images]
        scores[row, : len(images)] = _no_scores(indices[row : row + 1])[0, : len(images)]
        if listed.scores is not None:
            scores[row, : len(images)] = listed.scores[query]
    if strange:
        log.warning("%s: %d queries, such as %s, are not asked for: ignored", path, len(strange), strange[0])
    silent = [name for name, row in zip(truth.query_names, indices, strict=True) if row[0] < 0]
    if silent:
        log.warning("%s says nothing of %d queries, such as %s: missed", path, len(silent), silent[0])
    if unknown:
        names = (*truth.database_names, *unknown)
        truth = replace(truth, database=len(names), database_names=names)
    return Ranking(indices, scores, truth.query_names or (), truth.database_names or ()), truth


def _rows(
    path: Path, kind: str, names: Sequence[str], mentioned: Sequence[str], keys: bool
) -> Callable[[str], int | None]:
    if not keys:
        return finder(path, kind, names, mentioned)
    stems = [PurePosixPath(name).stem for name in names]
    if len(set(stems)) < len(stems):
        double = next(stem for stem, count in Counter(stems).items() if count > 1)
        raise GroundTruthError(f"{path} goes by file names without suffix, and two images of the {kind} are {double}")
    return finder(path, kind, stems, mentioned)


def _no_scores(indices: np.ndarray) -> np.ndarray:
    """Scores that say no more than the order."""
    places = -np.arange(indices.shape[1], dtype=np.float32)
    return np.where(indices < 0, -np.inf, places).astype(np.float32)


def asking(source: Path, queries: Sequence[str] | None, database: Sequence[str] | None) -> GroundTruth:
    """A truth without positives of the images that predictions are about, where only their names matter.

    Args:
        source: predictions; what they name counts where no lists are given.
        queries, database: names of images, or None.
    """
    complete = database is not None
    if queries is None or database is None:
        if source.is_dir() or source.suffix.lower() == ".npy":
            raise GroundTruthError(f"{source} does not name its images: give their lists with --queries and --database")
        listed, _ = _parse(source)
        queries = tuple(listed.images) if queries is None else queries
        found = dict.fromkeys(image for images in listed.images.values() for image in images)
        database = tuple(found) if database is None else database
    truth = GroundTruth.from_rows([()] * len(queries), len(database), "nothing known").named(queries, database)
    return replace(truth, complete=complete)

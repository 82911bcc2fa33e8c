"""Ground truth in .npy, by row: VPR-Bench's (query row, positive rows), and those with lists of names beside them.

GSV-Cities and OpenVPRLab (Ali-bey et al.) keep three files: `X_gt.npy`, whose rows are the positives of each query, and
`X_dbImages.npy` and `X_qImages.npy`, which name the rows; of MSLS `X_pIdx.npy` with the queries of `X_qIdx.npy`; and
`X_ground_truth_25m.npy` beside `X_ref_image_names.npy` and `X_query_image_names.npy`. A row that is -1 has no positive.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import GroundTruthError, counted
from ..files.arrays import DAMAGE, read_object_array
from ..files.regular import check_file
from ..images.sides import Names, PerhapsNames, Sides
from .ground_truth import GroundTruth, TruthFile
from .rows_by_name import rows_of

MOST = 10**8  # positives in all
LISTS = (("qImages", "dbImages"), ("query_image_names", "ref_image_names"))


def read(path: Path, names: PerhapsNames, _: float | None) -> GroundTruth:
    """Reads positives by row."""
    beside = _lists_beside(path)
    if beside is not None:
        return _read_named(path, beside, names)
    query_names, database_names = names
    if query_names is None or database_names is None:
        raise GroundTruthError(f"{path} gives rows: reading it needs the image lists of queries and database")
    try:
        content = _content(path)
        said = [_pair(row) for row in content]
    except DAMAGE as error:
        raise GroundTruthError(
            f"{path} is not a ground truth of VPR-Bench, an array of (query row, positive rows), nor of GSV-Cities, "
            f"with the lists X_dbImages.npy and X_qImages.npy beside X_gt.npy ({error})"
        ) from error
    rows_said = Counter(query for query, _ in said)
    if len(said) != len(query_names) or sorted(rows_said) != list(range(len(query_names))):
        raise GroundTruthError(
            f"{path} has {counted(len(said), 'query', 'queries')}, "
            f"rows {min(rows_said, default=0)} to {max(rows_said, default=0)}, "
            f"but {len(query_names)} were given: use the image list that the ground truth was made for"
        )
    positives: list[Sequence[int]] = [[] for _ in query_names]
    for query, rows in said:
        positives[query] = rows
    return _truth(path, positives, len(database_names)).named(query_names, database_names)


def _content(path: Path) -> list:
    check_file(path)
    return read_object_array(path)


def _pair(row: object) -> tuple[int, Sequence[int]]:
    if not isinstance(row, list) or len(row) != 2 or (not isinstance(row[1], list | range) and row[1] != -1):
        raise ValueError("a row that is no pair of a query and its positives")
    return _whole(row[0]), _positives(row[1])


def _positives(said: object) -> Sequence[int]:
    """Rows of positives, none for -1."""
    if isinstance(said, range):
        return said
    rows = [_whole(row) for row in (said if isinstance(said, list) else [said])]
    return [] if rows == [-1] else rows


def _whole(number: object) -> int:
    """A whole number, which may be written as 3.0."""
    if isinstance(number, bool) or not isinstance(number, int | float) or not -1 <= number < 2**53 or number % 1:
        raise ValueError(f"a row that is not a number of an image ({type(number).__name__})")
    return int(number)


def _truth(path: Path, positives: Sequence[Sequence[int]], database: int) -> GroundTruth:
    if sum(map(len, positives)) > MOST:
        raise GroundTruthError(f"{path} lists more than {MOST:.0e} positives: it says nothing of where photos are")
    try:
        return GroundTruth.from_rows(positives, database, f"positives listed in {path.name}")
    except GroundTruthError as error:
        raise GroundTruthError(f"{path}: {error}") from error


# --- with lists of names ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Lists:
    """Files that name the rows of a truth; `chosen` lists rows of queries, those of the truth, or is None for all."""

    queries: Path
    database: Path
    chosen: Path | None


def _lists_beside(path: Path) -> _Lists | None:
    """The lists of names beside a truth, by their file names; None where they are not both there."""
    found = re.fullmatch(r"(?:(.+)_)?(gt|ground_truth|pIdx)(?:_\w+)?", path.stem)
    if found is None:
        return None
    file = lambda name: path.with_name("_".join(filter(None, (found[1], name))) + ".npy")  # noqa: E731
    chosen = file("qIdx") if found[2] == "pIdx" else None
    for queries, database in LISTS:
        if file(queries).is_file() and file(database).is_file() and (chosen is None or chosen.is_file()):
            return _Lists(file(queries), file(database), chosen)
    return None


def _read_named(path: Path, beside: _Lists, names: PerhapsNames) -> GroundTruth:
    own: Names = Sides(_names(beside.queries), _names(beside.database))
    try:
        content = [_positives(row) for row in _content(path)]
        chosen = list(range(len(own.queries)))
        if beside.chosen is not None:
            chosen = [_whole(row) for row in _content(beside.chosen)]
        if len(content) != len(chosen) or len(set(chosen)) < len(chosen):
            raise ValueError(f"{counted(len(content), 'row')} for {counted(len(set(chosen)), 'query', 'queries')}")
        positives: list[Sequence[int]] = [[] for _ in own.queries]
        for query, rows in zip(chosen, content, strict=True):
            positives[query] = rows
    except DAMAGE as error:
        raise GroundTruthError(
            f"{path} does not list the positives of each query of {beside.queries.name} ({error})"
        ) from error
    truth = _truth(path, positives, len(own.database))
    asked = rows_of(path, "queries", names.queries, own.queries)
    kept = {int(row): place for place, row in enumerate(rows_of(path, "database", names.database, own.database))}
    listed = [[kept[row] for row in truth.positives[query].tolist() if row in kept] for query in asked]
    queries, database = (mine if given is None else tuple(given) for given, mine in zip(names, own, strict=True))
    return GroundTruth.from_rows(listed, len(database), truth.protocol).named(queries, database)


def _names(path: Path) -> tuple[str, ...]:
    """Names of images, one per row, with forward slashes."""
    try:
        said = _content(path)
        if not said or not all(isinstance(name, str) and name for name in said):
            raise ValueError("it should be an array of texts")
    except DAMAGE as error:
        raise GroundTruthError(f"{path} is not a list of image names ({error})") from error
    names = tuple(str(name).replace("\\", "/").removeprefix("./").lstrip("/") for name in said)
    if len(set(names)) < len(names):
        raise GroundTruthError(f"{path} names {Counter(names).most_common(1)[0][0]} twice: every image counts once")
    return names


ROWS = TruthFile(read, lists_positives=True, by_row=lambda path: _lists_beside(path) is None)

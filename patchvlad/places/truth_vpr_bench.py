"""Ground truth in .npy as VPR-Bench has it: (query row, positive rows)."""

from collections import Counter
from pathlib import Path

from ..errors import GroundTruthError, counted
from ..files.arrays import read_object_array
from ..images.sides import PerhapsNames
from .ground_truth import GroundTruth, TruthFile


def read(path: Path, names: PerhapsNames, _: float | None) -> GroundTruth:
    """Reads positives by row."""
    query_names, database_names = names
    if query_names is None or database_names is None:
        raise GroundTruthError(f"{path} gives rows: reading it needs the image lists of queries and database")
    positives: list[list[int]] = [[] for _ in query_names]
    try:
        said = [(_whole(query), [_whole(row) for row in rows]) for query, rows in read_object_array(path)]
    except (ValueError, TypeError) as error:
        raise GroundTruthError(
            f"{path} is not a ground truth of VPR-Bench, an array of (query row, positive rows) ({error})"
        ) from error
    rows_said = Counter(query for query, _ in said)
    if len(said) != len(query_names) or sorted(rows_said) != list(range(len(query_names))):
        raise GroundTruthError(
            f"{path} has {counted(len(said), 'query', 'queries')}, "
            f"rows {min(rows_said, default=0)} to {max(rows_said, default=0)}, "
            f"but {len(query_names)} were given: use the image list that the ground truth was made for"
        )
    for query, rows in said:
        positives[query] = rows
    try:
        truth = GroundTruth.from_rows(positives, len(database_names), f"positives listed in {path.name}")
    except GroundTruthError as error:
        raise GroundTruthError(f"{path}: {error}") from error
    return truth.named(query_names, database_names)


def _whole(number: object) -> int:
    """A whole number, which may be written as 3.0."""
    if isinstance(number, bool) or not isinstance(number, int | float) or not -1 <= number < 2**53 or number % 1:
        raise ValueError(f"a row that is not a number of an image ({type(number).__name__})")
    return int(number)


VPR_BENCH = TruthFile(read, lists_positives=True)

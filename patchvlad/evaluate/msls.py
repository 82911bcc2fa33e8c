"""Mapillary Street-level Sequences on disk: <city>/{query,database}/ with postprocessed.csv, raw.csv and images/."""

from pathlib import Path

from ..errors import GroundTruthError
from .names import read_table


def used_rows(folder: Path, panoramas: bool, validating: bool) -> list[dict[str, str]]:
    """Rows of postprocessed.csv that are used: no panoramas unless wanted, and in validation those of the task `all`.

    Raises:
        GroundTruthError: a table is missing, or tables do not meet.
    """
    rows = read_table(folder / "postprocessed.csv", ("key", "easting", "northing", "night", "view_direction"))
    raw = {row["key"]: row for row in read_table(folder / "raw.csv", ("key", "pano"))}
    kept = []
    tasks = None
    if validating and (folder / "subtask_index.csv").is_file():
        tasks = [is_true(row["all"]) for row in read_table(folder / "subtask_index.csv", ("all",))]
        if len(tasks) != len(rows):
            raise GroundTruthError(
                f"{folder}: subtask_index.csv has {len(tasks)} rows, postprocessed.csv {len(rows)}: fetch them again"
            )
    for number, row in enumerate(rows):
        if row["key"] not in raw:
            raise GroundTruthError(f"{folder / 'raw.csv'} has no row for the key {row['key']}: fetch it again")
        if (panoramas or not is_true(raw[row["key"]]["pano"])) and (tasks is None or tasks[number]):
            kept.append(row)
    return kept


def is_true(text: str) -> bool:
    """Of a column of truth values, as pandas and others write them."""
    return text.lower() in ("true", "1", "1.0")

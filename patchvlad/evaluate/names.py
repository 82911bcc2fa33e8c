"""Names of images in other people's files, and tables: which row is meant although the folders above differ."""

import csv
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from ..errors import GroundTruthError

Finder = Callable[[str], int | None]
SAMPLE = 1000  # names that are looked at for what leads from one to the other
ALIKE = 50  # names of the same file name that one of them is compared with
TRIED = 20  # ways that are tried on all names


def finder(source: str | os.PathLike, kind: str, names: Sequence[str], mentioned: Sequence[str]) -> Finder:
    """Returns a function from a name in a file to a row of `names`, None for a name that stands for no image.

    Names may differ in their leading folders ("db/x/1.jpg" for "x/1.jpg", or the other way round): of all ways of
    leading from one to the other, the one by which most names meet is taken, of equals the shortest.

    Args:
        source: the file, for messages.
        kind: "queries" or "database", for messages.
        names: the images that rows stand for.
        mentioned: all names that the file mentions.

    Raises:
        GroundTruthError: the file mentions names, but none that stands for an image.
    """
    row_of = {name: row for row, name in enumerate(names)}
    said_too = set(mentioned)
    by_file: dict[str, list[str]] = {}
    for name in names:
        by_file.setdefault(PurePosixPath(name).name, []).append(name)
    ways: Counter[tuple[str, str]] = Counter({("", ""): 1})
    for said in mentioned[:SAMPLE]:
        found = {_way(said, name) for name in by_file.get(PurePosixPath(said).name, ())[:ALIKE]}
        ways.update(found | {(front, "") for front, rest in _cuts(said) if rest in row_of})
    for name in names[:SAMPLE]:
        ways.update({("", front) for front, rest in _cuts(name) if rest in said_too})
    tried = sorted(ways, key=lambda way: (-ways[way], way))[:TRIED]

    def row(said: str, way: tuple[str, str]) -> int | None:
        return row_of.get(way[1] + said[len(way[0]) :]) if said.startswith(way[0]) else None

    def missed(way: tuple[str, str]) -> int:
        return sum(row(said, way) is None for said in mentioned)

    best = min(tried, key=lambda way: (missed(way), len(way[0]) + len(way[1]), way))
    if mentioned and missed(best) == len(mentioned):
        raise GroundTruthError(
            f"{source} names no image of the {kind}: it has {mentioned[0]!r}, among the {kind} is "
            f"{names[0] if names else 'none'!r}. Names must be equal but for leading folders"
        )
    return lambda said: row(said, best)


def _cuts(name: str) -> Iterator[tuple[str, str]]:
    """Every way of cutting a name in two behind a folder."""
    parts = name.split("/")
    for i in range(1, len(parts)):
        yield "/".join(parts[:i]) + "/", "/".join(parts[i:])


def _way(said: str, name: str) -> tuple[str, str]:
    """What to take away from the front of `said`, and what to put there, to get `name`."""
    theirs, ours = said.split("/"), name.split("/")
    common = 0
    while common < min(len(theirs), len(ours)) and theirs[-1 - common] == ours[-1 - common]:
        common += 1
    more, instead = theirs[: len(theirs) - common], ours[: len(ours) - common]
    return "".join(f"{part}/" for part in more), "".join(f"{part}/" for part in instead)


def read_table(path: Path, needed: Sequence[str]) -> list[dict[str, str]]:
    """The lines of a csv as dictionaries of stripped text.

    Raises:
        GroundTruthError: it cannot be read, or lacks a column.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            absent = [name for name in needed if name not in (reader.fieldnames or ())]
            if absent:
                raise GroundTruthError(
                    f"{path} has no column {', '.join(absent)}; it has {', '.join(reader.fieldnames or ()) or 'none'}"
                )
            return [{k: (v or "").strip() for k, v in row.items() if isinstance(k, str)} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise GroundTruthError(f"{path} cannot be read as a csv ({error})") from error


def to_number(row: dict[str, str], column: str) -> float:
    """NaN where there is nothing, or no number: positions are checked with the photo's name at hand."""
    try:
        return float(row[column])
    except (KeyError, ValueError):
        return math.nan

"""Names of images in other people's files, and tables: which row is meant although the folders above differ."""

import csv
import logging
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from ..errors import GroundTruthError

log = logging.getLogger(__name__)

Finder = Callable[[str], int | None]
Way = tuple[str, str]  # what to take away from the front of a name, and what to put there instead
SAMPLE = 1000  # names that are looked at for what leads from one to the other
ALIKE = 50  # names of the same file name that one of them is compared with
TRIED = 20  # ways that are tried on all names
FOLDERS = {
    "queries": {"queries", "query"},
    "database": {"database", "db", "map", "mapping", "ref", "reference", "index", "gallery"},
}


def finder(
    source: str | os.PathLike,
    kind: str,
    names: Sequence[str],
    mentioned: Sequence[str],
    root: str | os.PathLike | None = None,
    exchanging: bool = True,
) -> Finder:
    """Returns a function from a name in a file to a row of `names`, None for a name that stands for no image.

    Where any name meets as it is, the others are no images. Else names may differ in their leading folders
    ("db/x/1.jpg" for "x/1.jpg", or the other way round). Of all ways of leading from one to the other one is taken for
    all names: one through the folders that the images lie in, if there is any; else the one by which most names meet,
    of equals the shortest. A file may hold names of queries and database, with equal file names: where it cannot be
    told which are meant, and where names lead through a folder of the other kind, that is an error.

    Args:
        source: the file, for messages.
        kind: "queries" or "database".
        names: the images that rows stand for.
        mentioned: all names that the file mentions.
        root: folder that the images lie in, if known.
        exchanging: whether folders may be exchanged ("db/1.jpg" for "map/1.jpg"), of which a warning tells.

    Raises:
        GroundTruthError: the file mentions names, but none that stands for an image, or several that may.
    """
    row_of = {name: row for row, name in enumerate(names)}

    def row(said: str, way: Way) -> int | None:
        return row_of.get(way[1] + said[len(way[0]) :]) if said.startswith(way[0]) else None

    if not mentioned or any(said in row_of for said in mentioned):
        return row_of.get
    met = {way: sum(row(said, way) is not None for said in mentioned) for way in _ways(names, mentioned)}
    usable = [way for way, count in met.items() if count and (exchanging or "" in way)]
    refused = (
        f"{source} names no image of the {kind}: it has {mentioned[0]!r}, among the {kind} is "
        f"{names[0] if names else 'none'!r}. Names must be equal but for leading folders"
    )
    if not usable:
        raise GroundTruthError(refused)
    vouched = sorted((way for way in usable if _vouched(way, root)), key=lambda way: -len(way[0]))[:1]  # the longest
    usable = vouched or [way for way in usable if not _leads_elsewhere(way, kind)]
    if not usable:
        raise GroundTruthError(f"{refused}, and not lie in a folder of the other kind")
    best = min(usable, key=lambda way: (-met[way], len(way[0]) + len(way[1]), way))
    if not _vouched(best, root):
        _refuse_ambiguity(source, kind, mentioned, names, best, usable, row)
    if all(best):
        said = next(said for said in mentioned if row(said, best) is not None)
        log.warning("%s: %s is taken for %s of the %s", source, said, names[row(said, best) or 0], kind)
    return lambda said: row(said, best)


def _ways(names: Sequence[str], mentioned: Sequence[str]) -> list[Way]:
    """Ways that lead from some of the mentioned names to some of the images, the frequent ones."""
    known, said_too = set(names), set(mentioned)
    ours, theirs = _by_file(names), _by_file(mentioned)
    ways: Counter[Way] = Counter()
    for said in _some(mentioned):
        ways.update({(front, "") for front, rest in _cuts(said) if rest in known})
        ways.update({_way(said, name) for name in ours.get(PurePosixPath(said).name, ())[:ALIKE]})
    for name in _some(names):
        ways.update({("", front) for front, rest in _cuts(name) if rest in said_too})
        ways.update({_way(said, name) for said in theirs.get(PurePosixPath(name).name, ())[:ALIKE]})
    frequent = sorted(ways, key=lambda way: (-ways[way], way))[:TRIED]
    return list(dict.fromkeys([("", ""), *frequent]))


def _vouched(way: Way, root: str | os.PathLike | None) -> bool:
    """Whether what a way takes away are the last folders of the images' root."""
    front = PurePosixPath(way[0]).parts
    return root is not None and bool(front) and not way[1] and Path(root).resolve().parts[-len(front) :] == front


def _leads_elsewhere(way: Way, kind: str) -> bool:
    """Whether of the last two folders that a way takes away one is named as the other kind's, and none as its own."""
    other, folders = FOLDERS["database" if kind == "queries" else "queries"], PurePosixPath(way[0].lower()).parts[-2:]
    return bool(other & set(folders)) and not FOLDERS[kind] & set(folders)


def _refuse_ambiguity(
    source: str | os.PathLike,
    kind: str,
    mentioned: Sequence[str],
    names: Sequence[str],
    best: Way,
    ways: Sequence[Way],
    row: Callable[[str, Way], int | None],
) -> None:
    """Raises if another way leads a name to another image, or another name to the same one."""
    said_of = {found: said for said in mentioned if (found := row(said, best)) is not None}
    for way in ways:
        further = way[0].startswith(best[0]) and way[1].startswith(best[1])  # into the same tree: other images of it
        for said in mentioned if not further else ():
            found, by_best = row(said, way), row(said, best)
            if found is not None and by_best is not None and found != by_best and way[0] == best[0]:
                raise GroundTruthError(
                    f"{source} names {said!r}, which may be {names[by_best]!r} or {names[found]!r} of the {kind}: name "
                    "images with the folders that tell them apart"
                )
            if found in said_of and by_best is None:
                raise GroundTruthError(
                    f"{source} names {said_of[found]!r} and {said!r}, and either may be the same image of the {kind}: "
                    "give image lists in which names begin with the same folders as there (and --root)"
                )


def _by_file(names: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(PurePosixPath(name).name, []).append(name)
    return found


def _some(names: Sequence[str]) -> Sequence[str]:
    return names[:: max(len(names) // SAMPLE, 1)]


def _cuts(name: str) -> Iterator[tuple[str, str]]:
    """Every way of cutting a name in two behind a folder."""
    parts = name.split("/")
    for i in range(1, len(parts)):
        yield "/".join(parts[:i]) + "/", "/".join(parts[i:])


def _way(said: str, name: str) -> Way:
    """The way from `said` to `name` that keeps most."""
    theirs, ours = said.split("/"), name.split("/")
    common = 0
    while common < min(len(theirs), len(ours)) and theirs[-1 - common] == ours[-1 - common]:
        common += 1
    more, instead = theirs[: len(theirs) - common], ours[: len(ours) - common]
    return "".join(f"{part}/" for part in more), "".join(f"{part}/" for part in instead)


def read_table(path: Path, needed: Sequence[str]) -> list[dict[str, str]]:
    """The lines of a csv as dictionaries of stripped text; names of columns in small letters.

    `latitude` and `longitude` (also `lng`) are called `lat` and `lon`.

    Raises:
        GroundTruthError: it cannot be read, lacks a column, or a line has more fields than there are columns.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            columns = [ALSO.get(name.strip().lower(), name.strip().lower()) for name in next(reader, [])]
            absent = [name for name in needed if name not in columns]
            if absent:
                hint = ": fields must be separated by commas" if len(columns) == 1 and ";" in columns[0] else ""
                raise GroundTruthError(
                    f"{path} has no column {', '.join(absent)}; it has {', '.join(columns) or 'none'}{hint}"
                )
            rows = []
            for fields in reader:
                if len(fields) > len(columns) and any(field.strip() for field in fields[len(columns) :]):
                    raise GroundTruthError(
                        f"{path}, line {reader.line_num}: {len(fields)} fields for {len(columns)} columns; a field "
                        "with a comma in it must be quoted"
                    )
                if fields:
                    padded = fields + [""] * (len(columns) - len(fields))
                    rows.append({name: field.strip() for name, field in zip(columns, padded, strict=False)})
            return rows
    except IsADirectoryError as error:
        raise GroundTruthError(f"{path} is a folder: give a csv") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise GroundTruthError(f"{path} cannot be read as a csv ({error})") from error


ALSO = {"latitude": "lat", "longitude": "lon", "lng": "lon"}


def to_number(row: dict[str, str], column: str) -> float:
    """NaN where there is nothing, or no number: positions are checked with the photo's name at hand."""
    try:
        return float(row[column])
    except (KeyError, ValueError):
        return math.nan

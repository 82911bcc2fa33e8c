"""Names of images in other people's files: which row is meant although the folders above differ."""

import logging
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..errors import GroundTruthError

log = logging.getLogger(__name__)

Way = tuple[str, str]  # what to take away from the front of a name, and what to put there instead
SAMPLE = 1000  # names that are looked at for what leads from one to the other
ALIKE = 50  # names of the same file name that one of them is compared with
TRIED = 20  # ways that are tried on all names
FOLDERS = {
    "queries": {"queries", "query"},
    "database": {"database", "db", "map", "mapping", "ref", "reference", "index", "gallery"},
}


@dataclass(frozen=True)
class Finder:
    """Leads from a name in a file to a row of the images that are meant, None for a name that stands for no image."""

    rows: Mapping[str, int]
    way: Way = ("", "")
    spelt: Callable[[str], str] = str

    def __call__(self, said: str) -> int | None:
        name = self.name(said)
        return None if name is None else self.rows.get(name)

    def name(self, said: str) -> str | None:
        """The name as ours are, also of an image that is not among ours; None where the way does not begin there."""
        said = self.spelt(said)
        return self.way[1] + said[len(self.way[0]) :] if said.startswith(self.way[0]) else None


def spelling(names: Sequence[str]) -> Callable[[str], str]:
    r"""How names are compared: accents in one form (NFC, which macOS's disks change), "/" for Windows's "\".

    As they are, where two of the names given would become one.
    """
    windows = not any("\\" in name for name in names)

    def spelt(name: str) -> str:
        if windows and "\\" in name:
            name = name.replace("\\", "/")
        return name if name.isascii() else unicodedata.normalize("NFC", name)

    return spelt if len(set(map(spelt, names))) == len(set(names)) else str


def finder(
    source: str | os.PathLike,
    kind: str,
    names: Sequence[str],
    mentioned: Sequence[str],
    root: str | os.PathLike | None = None,
    exchanging: bool = True,
) -> Finder:
    """Finds out how names in a file lead to rows of `names`.

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
    spelt = spelling(names)
    names, mentioned = [*map(spelt, names)], [*map(spelt, mentioned)]
    row_of = {name: row for row, name in enumerate(names)}
    row = lambda said, way: Finder(row_of, way)(said)  # noqa: E731
    if not mentioned or any(said in row_of for said in mentioned):
        return Finder(row_of, spelt=spelt)
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
        _refuse_ambiguity(f"{source} names", f"of the {kind}", mentioned, names, [best, *usable])
    if all(best):
        said = next(said for said in mentioned if row(said, best) is not None)
        log.warning("%s: %s is taken for %s of the %s", source, said, names[row(said, best) or 0], kind)
    return Finder(row_of, best, spelt)


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
    begin: str, among: str, mentioned: Sequence[str], names: Sequence[str], ways: Sequence[Way]
) -> None:
    """Raises if another way than the first leads a name to another image, or another name to the same one."""
    rows = {name: row for row, name in enumerate(names)}
    best = Finder(rows, ways[0])
    said_of = {found: said for said in mentioned if (found := best(said)) is not None}
    for way in ways[1:]:
        other = Finder(rows, way)
        further = way[0].startswith(best.way[0]) and way[1].startswith(best.way[1])  # other images of the same tree
        for said in mentioned if not further else ():
            found, by_best = other(said), best(said)
            if found is not None and by_best is not None and found != by_best and way[0] == best.way[0]:
                raise GroundTruthError(
                    f"{begin} {said!r}, which may be {names[by_best]!r} or {names[found]!r} {among}: name "
                    "images with the folders that tell them apart"
                )
            if found in said_of and by_best is None:
                raise GroundTruthError(
                    f"{begin} {said_of[found]!r} and {said!r}, and either may be the same image {among}: "
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

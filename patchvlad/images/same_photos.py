"""Which photos stand in both of two lists: the same file, or another of the same contents."""

import functools
import os
from collections.abc import Sequence

import numpy as np

from .lists import ImageList

Pairs = np.ndarray  # (n, 2) int64, rows of the first and of the second list, ascending


def same_photos(first: ImageList, second: ImageList, by_name: bool = False) -> Pairs:
    """Pairs of rows that are one photo, by the contents of their files.

    Contents are compared only of files of equal size, and read whole only where a piece of them is equal.

    Args:
        first, second: photos.
        by_name: whether photos that are not there are the same where both lists have one root and one name; the root
            must be the photos', not where a list happens to lie.
    """
    files = [[_file(images.path(row)) for row in range(len(images))] for images in (first, second)]
    groups: dict[int, _Group] = {}
    for row, found in enumerate(files[1]):
        if found is not None:
            groups.setdefault(found[0], _Group(second)).add(row, found)
    pairs = []
    for row, found in enumerate(files[0]):
        if found is not None and found[0] in groups:
            pairs += [(row, other) for other in groups[found[0]].same(first, row, found)]
    if by_name and not all(map(all, files)):
        return joined(_pairs(pairs), _of_one_root(first, second, files))
    return _pairs(pairs)


File = tuple[int, int, int]  # size in bytes, and what it is on its disk


class _Group:
    """Photos of a list whose files are equally large."""

    def __init__(self, images: ImageList) -> None:
        self.images, self.rows = images, list[int]()
        self.by_file: dict[File, list[int]] = {}
        self.contents: dict[int, int] = {}

    def add(self, row: int, file: File) -> None:
        self.rows.append(row)
        self.by_file.setdefault(file, []).append(row)

    @functools.cached_property
    def by_piece(self) -> dict[bytes, list[int]]:
        found: dict[bytes, list[int]] = {}
        for row in self.rows:
            found.setdefault(self.images.identity(row), []).append(row)
        return found

    def same(self, others: ImageList, row: int, file: File) -> list[int]:
        """Rows of the photos that are the one in a row of another list."""
        itself = self.by_file.get(file, [])
        if len(itself) == len(self.rows) or not file[0]:  # empty files are no photos, and all alike
            return itself
        alike = [other for other in self.by_piece.get(others.identity(row), ()) if other not in itself]
        if not alike:
            return itself
        content = others.content(row)
        for other in alike:
            if other not in self.contents:
                self.contents[other] = self.images.content(other)
        return sorted([*itself, *(other for other in alike if content and self.contents[other] == content)])


def _of_one_root(first: ImageList, second: ImageList, files: Sequence[Sequence]) -> Pairs:
    """Photos of one name that are not there, in lists of one root."""
    if os.path.realpath(first.root) != os.path.realpath(second.root):
        return _pairs([])
    return same_names(
        [name if there is None else f"\n{name}" for name, there in zip(first.names, files[0], strict=True)],
        second.names,
    )


def same_names(first: Sequence[str], second: Sequence[str]) -> Pairs:
    """Pairs of rows of equal names, each of which stands once on a side."""
    row_of = {name: row for row, name in enumerate(second)}
    return _pairs([(row, row_of[name]) for row, name in enumerate(first) if name in row_of])


def same_sums(first: np.ndarray, second: np.ndarray) -> Pairs:
    """Pairs of rows of equal checksums, (N,) uint64 each; 0 is not known, and equal to nothing."""
    common = np.intersect1d(first, second)
    if not common.any():
        return _pairs([])
    rows_of: dict[int, list[int]] = {}
    for row in np.flatnonzero(np.isin(second, common)).tolist():
        rows_of.setdefault(int(second[row]), []).append(row)
    some = np.flatnonzero(np.isin(first, common) & (first != 0)).tolist()
    return _pairs([(row, other) for row in some for other in rows_of[int(first[row])]])


def joined(*several: Pairs) -> Pairs:
    """Pairs that are in any of several, each once."""
    return np.unique(np.concatenate([_pairs([]), *several]), axis=0)


def _pairs(found: Sequence[tuple[int, int]]) -> Pairs:
    return np.array(found, dtype=np.int64).reshape(-1, 2)


def _file(path: str | os.PathLike) -> File | None:
    """Size in bytes of a file, and what it is on its disk; None where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_size, found.st_dev, found.st_ino

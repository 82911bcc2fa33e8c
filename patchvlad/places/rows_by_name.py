"""Truths that name their images: which of their rows are those of the images given."""

import logging
import os
from collections.abc import Sequence

import numpy as np

from ..errors import GroundTruthError
from ..images.formats import SUFFIXES
from ..images.names import finder

log = logging.getLogger(__name__)


def rows_of(source: str | os.PathLike, kind: str, given: Sequence[str] | None, own: Sequence[str]) -> np.ndarray:
    """(N,) int64 rows in a file of the N images given; all of its rows where none are given.

    Args:
        source: the file, for messages.
        kind: "queries" or "database".
        given: names of images; leading folders and suffixes may differ from the file's.
        own: names of the file's rows.

    Raises:
        GroundTruthError: the file does not name an image, or names one in two rows.
    """
    if given is None:
        return np.arange(len(own))
    theirs, ours = comparable(own, given)
    row_of = finder(source, kind, ours, theirs)
    rows = np.full(len(given), -1, dtype=np.int64)
    for row, name in enumerate(theirs):
        found = row_of(name)
        if found is not None and rows[found] >= 0:
            raise GroundTruthError(f"{source} names {own[row]} of the {kind} in two rows")
        if found is not None:
            rows[found] = row
    without = np.flatnonzero(rows < 0)
    if len(without):
        raise GroundTruthError(
            f"{source} does not know {len(without)} of {len(given)} images of the {kind}, such as "
            f"{given[without[0]]}: use the images that the ground truth was made for, or fewer of them"
        )
    return rows


def comparable(theirs: Sequence[str], ours: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names without the suffixes of images, unless these tell images apart."""
    found = tuple(tuple(map(_without_suffix, side)) for side in (theirs, ours))
    if len(set(found[0])) < len(set(theirs)) or len(set(found[1])) < len(set(ours)):
        return tuple(theirs), tuple(ours)
    return found[0], found[1]


def _without_suffix(name: str) -> str:
    front, suffix = os.path.splitext(name)
    return front if suffix.lower() in SUFFIXES else name

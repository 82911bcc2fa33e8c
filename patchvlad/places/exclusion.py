"""What is left out of a query's answers: the photo itself, its neighbours in a drive, photos of about the same time.

A set against itself (loop closure) finds each photo first, and then the frames before and after it, unless they are
left out: of candidates, and of positives.
"""

import os
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from natsort import natsort_keygen, natsorted

from ..errors import GroundTruthError, counted
from ..images.sides import Names, Sides

ARRAYS = ("same", "neighbours", "frameQ", "frameDb", "seconds", "timeQ", "timeDb")  # of an exclusion, in files
Sorted = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Exclusion:
    """Database rows that are no answers to a query.

    Attributes:
        same: (n, 2) int64 pairs of rows, of queries and database, that are one photo; empty where it may be an answer.
        neighbours: frames on either side of a query's own that are left out; 0 for none.
        frames: (Q,) and (B,) places in the drive, where neighbours are left out.
        seconds: between photos that are left out; None for any.
        times: (Q,) and (B,) seconds, where those are left out; NaN is not known, and near nothing.
    """

    same: np.ndarray
    neighbours: int = 0
    frames: Sides[np.ndarray] | None = None
    seconds: float | None = None
    times: Sides[np.ndarray] | None = None

    def __bool__(self) -> bool:
        return bool(len(self.same)) or self.frames is not None or self.times is not None

    @cached_property
    def _same_of(self) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        for query, row in self.same.tolist():
            found.setdefault(query, []).append(row)
        return found

    @cached_property
    def _near(self) -> list[tuple[np.ndarray, Sorted, float]]:
        """Of frames and times: places of queries, the database's sorted ones and their rows, and the reach."""
        every = ((self.frames, float(self.neighbours)), (self.times, self.seconds or 0.0))
        found = []
        for places, reach in every:
            if places is not None:
                order = np.argsort(places.database, kind="stable")
                found.append((places.queries, (places.database[order], order), reach))
        return found

    def rows(self, query: int) -> np.ndarray:
        """(n,) int64 rows of the database that are left out for a query, ascending."""
        parts = [np.array(self._same_of.get(query, ()), dtype=np.int64)]
        for places, (values, order), reach in self._near:
            if not np.isnan(places[query]):
                first = np.searchsorted(values, places[query] - reach, side="left")
                parts.append(order[first : np.searchsorted(values, places[query] + reach, side="right")])
        return np.unique(np.concatenate(parts))

    def of(self, own: Names, wanted: Names) -> "Exclusion":
        """The same for other lists, of these or some of these images: nothing is left out for strangers."""
        if own == wanted:
            return self
        rows = []
        for mine, theirs in zip(own, wanted, strict=True):
            row_of = {name: row for row, name in enumerate(mine)}
            rows.append(np.array([row_of.get(name, -1) for name in theirs], dtype=np.int64))

        def chosen(places: Sides[np.ndarray] | None) -> Sides[np.ndarray] | None:
            if places is None:
                return None
            sides = zip(places, rows, strict=True)
            return Sides(*(np.append(side, np.nan)[some] for side, some in sides))  # -1 is the NaN at the end

        new = [{old: row for row, old in enumerate(some.tolist()) if old >= 0} for some in rows]
        same = [(new[0][q], new[1][d]) for q, d in self.same.tolist() if q in new[0] and d in new[1]]
        pairs = np.array(same, dtype=np.int64).reshape(-1, 2)
        return replace(self, same=pairs, frames=chosen(self.frames), times=chosen(self.times))

    def describe(self) -> str:
        """In words, for protocols."""
        parts = []
        if len(self.same):
            parts.append(f"the same photo ({counted(len(np.unique(self.same[:, 0])), 'query', 'queries')})")
        if self.frames is not None:
            parts.append(f"{counted(self.neighbours, 'neighbouring frame')} on either side")
        if self.times is not None:
            parts.append(f"photos within {self.seconds:g} s")
        return f"left out: {', '.join(parts)}" if parts else ""

    # --- as arrays, for files ---------------------------------------------------------------------------------------

    def arrays(self) -> dict[str, np.ndarray]:
        """What `from_arrays` reads, under names for an .npz."""
        found = {"same": self.same}
        if self.frames is not None:
            found |= {"neighbours": np.array(self.neighbours), "frameQ": self.frames.queries}
            found["frameDb"] = self.frames.database
        if self.times is not None:
            found |= {"seconds": np.array(self.seconds), "timeQ": self.times.queries, "timeDb": self.times.database}
        return found

    @classmethod
    def from_arrays(cls, said: Mapping[str, np.ndarray], counts: Sides[int]) -> "Exclusion":
        """The same from arrays of a file.

        Raises:
            GroundTruthError: they do not fit so many queries and database images.
        """
        try:
            same = np.asarray(said["same"])
            if same.ndim != 2 or same.shape[1] != 2 or same.dtype.kind not in "iu":
                raise ValueError(f"pairs of {same.dtype} {same.shape}")
            if len(same) and (same.min() < 0 or (same.max(axis=0) >= list(counts)).any()):
                raise ValueError(f"rows up to {same.max(axis=0).tolist()} of {list(counts)} images")
            sides = []
            for names in (("frameQ", "frameDb"), ("timeQ", "timeDb")):
                pair = [np.asarray(said[name], dtype=np.float64) for name in names if name in said]
                if pair and [side.shape for side in pair] != [(count,) for count in counts]:
                    raise ValueError(f"{' and '.join(names)} of other images")
                sides.append(Sides(*pair) if pair else None)
            reach = [float(np.asarray(said.get(name, 0)).item()) for name in ("neighbours", "seconds")]
            if not all(0 <= number < np.inf for number in reach):
                raise ValueError(f"neighbours and seconds {reach}")
        except (KeyError, ValueError, TypeError) as error:
            raise GroundTruthError(f"what is left out of answers is damaged ({error}): make it again") from error
        return cls(same.astype(np.int64), int(reach[0]), sides[0], reach[1] if sides[1] else None, sides[1])


def frames_of(names: Names, same: np.ndarray, one_root: bool) -> Sides[np.ndarray]:
    """Where queries stand among the database's images, which are frames of one drive in its order.

    Args:
        names: of both sides.
        same: (n, 2) pairs of rows that are one photo.
        one_root: whether names of both sides are relative to one folder.

    Returns:
        (Q,) and (B,); a query that is not in the database lies half between two of its frames, by its name.

    Raises:
        GroundTruthError: a query is not in the database, and its name does not tell where it would be.
    """
    places = np.full(len(names.queries), np.nan)
    places[same[::-1, 0]] = same[::-1, 1]  # the first of several
    outside = np.flatnonzero(np.isnan(places))
    if len(outside):
        ordered = list(names.database)
        if not one_root or ordered != natsorted(ordered):
            where = "in natural order" if one_root else "below the same root"
            raise GroundTruthError(
                f"which frames are neighbours of {names.queries[outside[0]]} is not known: it is not among the "
                f"database's images, and these are not {where}, so that its name does not tell. Use "
                "--exclude-seconds, or lists of one drive below one --root"
            )
        key = natsort_keygen()
        keys = [key(name) for name in ordered]
        for row in outside:
            places[row] = bisect_left(keys, key(names.queries[row])) - 0.5
    return Sides(places, np.arange(len(names.database), dtype=np.float64))


def one_root(first: str | os.PathLike | None, second: str | os.PathLike | None) -> bool:
    """Whether two folders are one."""
    return first is not None and second is not None and os.path.realpath(first) == os.path.realpath(second)

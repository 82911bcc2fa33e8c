"""Training places as plain arrays: which photos there are, where they were taken, which show the same place.

Whatever tells places apart is a position in metres: easting and northing, or for a place label a point a thousand
kilometres from the next. Two photos are positives of each other within 10 m, and safe negatives beyond 25 m; between
these, or looking another way, they are neither (Warburg et al. 2020; Hausler et al. 2021).
"""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ..errors import GroundTruthError, counted
from ..images.lists import ImageList
from .nearby import apart, check_headings, looking_alike, pairs_within, split
from .radii import NEGATIVE_RADIUS, POSITIVE_RADIUS
from .telling import warn_of_negatives, warn_of_truth

POSITIVE, NEITHER, NEGATIVE = 1, 0, -1


@dataclass(frozen=True)
class Places:
    """N photos, some of them queries, some of them the database, the same ones perhaps.

    Attributes:
        images: all photos.
        positions: (N, 2) easting and northing, or (N, 3) from the Earth's centre, in metres.
        queries, database: (Q,) and (B,) int64, ascending rows of `images`.
        regions: (N,) int64; photos of different regions (cities, say) never show the same place and are searched apart.
        headings: (N,) degrees clockwise from north; NaN where unknown.
        times: (N,) seconds; NaN where unknown.
        weights: (Q,) how much more often than the others a query is drawn.
        positive_radius, negative_radius: metres; positives are within the first, negatives beyond the second.
        heading_limit: degrees by which the headings of positives differ at most; None for no limit.
        pause: seconds between positives at least: photos taken in passing are near-duplicates and teach nothing.
    """

    images: ImageList
    positions: np.ndarray
    queries: np.ndarray
    database: np.ndarray
    regions: np.ndarray
    headings: np.ndarray
    times: np.ndarray
    weights: np.ndarray
    positive_radius: float = POSITIVE_RADIUS
    negative_radius: float = NEGATIVE_RADIUS
    heading_limit: float | None = None
    pause: float = 0.0

    @classmethod
    def make(
        cls,
        images: ImageList,
        positions: np.ndarray,
        queries: np.ndarray | None = None,
        database: np.ndarray | None = None,
        *,
        regions: np.ndarray | None = None,
        headings: np.ndarray | None = None,
        times: np.ndarray | None = None,
        weights: np.ndarray | None = None,
        positive_radius: float = POSITIVE_RADIUS,
        negative_radius: float = NEGATIVE_RADIUS,
        heading_limit: float | None = None,
        pause: float = 0.0,
    ) -> "Places":
        """Fills in what is not given: every photo is query and database, nothing is known of heading and time.

        Args:
            images: all photos.
            positions: of all photos.
            queries, database: rows of `images`, see above, as are the others.
            regions: of each photo, one for all where not given.
            headings, times: of each photo, unknown where not given.
            weights: of each query, alike where not given.
            positive_radius, negative_radius: metres.
            heading_limit: degrees between positives at most.
            pause: seconds between positives at least.

        Raises:
            GroundTruthError: positions that are no numbers, radii that cannot be, or headings that are limited although
                some are unknown.
        """
        count = len(images)
        strange = np.flatnonzero(~np.isfinite(positions).all(axis=1))
        if len(strange):
            raise GroundTruthError(
                f"{len(strange)} of {count} photos have no finite position, the first is {images.names[strange[0]]}: "
                "complete its position or leave it out"
            )
        if not 0 <= positive_radius <= negative_radius:
            raise GroundTruthError(
                f"positives within {positive_radius:g} m and negatives beyond {negative_radius:g} m cannot be: "
                "the first radius must be the smaller one"
            )
        check_headings([] if headings is None else [headings], heading_limit)
        every, unknown = np.arange(count), np.full(count, np.nan)
        queries = every if queries is None else queries
        return cls(
            images,
            np.asarray(positions, dtype=np.float64),
            queries,
            every if database is None else database,
            np.zeros(count, dtype=np.int64) if regions is None else regions,
            unknown if headings is None else headings,
            unknown if times is None else times,
            np.ones(len(queries)) if weights is None else weights,
            *(positive_radius, negative_radius, heading_limit, pause),
        )

    @cached_property
    def positives(self) -> tuple[np.ndarray, ...]:
        """For each query the (n,) int64 rows of database photos that show its place, ascending."""
        found, counts = self._within(self.positive_radius)
        query = np.repeat(np.arange(len(counts)), counts)
        row = self.queries[query]
        kept = ~self.excluded(row, found) & self._alike(row, found)
        return tuple(split(found[kept], np.bincount(query[kept], minlength=len(counts))))

    @cached_property
    def close(self) -> tuple[np.ndarray, ...]:
        """For each query the (n,) int64 rows of database photos that are no safe negatives, ascending."""
        return tuple(split(*self._within(self.negative_radius)))

    @property
    def trainable(self) -> np.ndarray:
        """(n,) int64: which of the queries have a positive."""
        return np.flatnonzero([len(rows) > 0 for rows in self.positives])

    def relation(self, rows: np.ndarray) -> np.ndarray:
        """(n, n) int8 for n photos: POSITIVE, NEGATIVE, or NEITHER of each other."""
        where = self._located[rows]
        apart = np.sqrt(np.square(where[:, None] - where).sum(axis=-1))
        found = np.where(apart > self.negative_radius, NEGATIVE, NEITHER).astype(np.int8)
        for i, row in enumerate(rows):
            same = (apart[i] <= self.positive_radius) & self._alike(row, rows) & ~self.excluded(row, rows)
            found[i, same] = POSITIVE
        return found

    def excluded(self, row: int | np.ndarray, others: np.ndarray) -> np.ndarray:
        """(n,) bool: which photos are one, or (n,), or were taken in passing, so that finding them proves nothing."""
        taken_together = np.abs(self.times[others] - self.times[row]) < self.pause  # False where a time is unknown
        return (others == row) | taken_together

    def missing(self) -> list[str]:
        """Names of photos that are not there."""
        return self.images.missing()

    @property
    def identity(self) -> str:
        """A digest of all that training depends on but the pixels."""
        digest = hashlib.sha256("\n".join(self.images.names).encode())
        for values in (self.positions, self.queries, self.database, self.headings, self.times, self.weights):
            digest.update(np.ascontiguousarray(values).tobytes())
        digest.update(repr((self.positive_radius, self.negative_radius, self.heading_limit, self.pause)).encode())
        return digest.hexdigest()

    def subset(self, rows: np.ndarray) -> "Places":
        """Only these photos, in ascending order."""
        rows = np.unique(np.asarray(rows, dtype=np.int64))
        new = np.full(len(self.images), -1)
        new[rows] = np.arange(len(rows))
        kept = new[self.queries] >= 0
        database = new[self.database]
        return replace(
            self,
            images=self.images.some(rows),
            positions=self.positions[rows],
            queries=new[self.queries[kept]],
            database=database[database >= 0],
            regions=self.regions[rows],
            headings=self.headings[rows],
            times=self.times[rows],
            weights=self.weights[kept],
        )

    def check_telling(self, source: object) -> None:
        """Warns of places that teach nothing, as all are positives or none are negatives; `source` is their dataset."""
        if not len(self.queries) or not len(self.database):
            return
        labelled = self.positions.shape[1] == 1
        others = max(len(self.database) - int(np.isin(self.queries, self.database).any()), 1)
        protocol = "of the same label" if labelled else f"positives within {self.positive_radius:g} m"
        where = (self.positions[self.queries], self.positions[self.database])
        warn_of_truth(source, self.positives, others, where, protocol, "labels" if labelled else "m")
        if not labelled and np.linalg.norm(np.ptp(self._located, axis=0)) < 4 * self.negative_radius:
            warn_of_negatives(source, self.close, len(self.database), self.negative_radius)

    def describe(self) -> str:
        """Counts, in lines."""
        if not len(self.queries):
            return f"{counted(len(self.images), 'photo')}, no queries"
        counts = np.array([len(rows) for rows in self.positives])
        without = int((counts == 0).sum())
        heading = "" if self.heading_limit is None else f", headings within {self.heading_limit:g} degrees"
        lines = [
            f"{counted(len(self.images), 'photo')}: {counted(len(self.queries), 'query', 'queries')}, "
            f"{len(self.database)} database",
            f"positives within {self.positive_radius:g} m{heading}, negatives beyond {self.negative_radius:g} m",
            f"positives per query: median {np.median(counts):g}, most {counts.max()}; "
            f"without a positive, and so left out of training: {counted(without, 'query', 'queries')} "
            f"({100 * without / len(counts):.0f} %)",
        ]
        if len(set(self.weights)) > 1:
            lines.append(f"queries are drawn with weights from {self.weights.min():.2f} to {self.weights.max():.2f}")
        return "\n".join(lines)

    @property
    def _located(self) -> np.ndarray:
        """(N, d): regions are far apart, whatever their coordinates."""
        return apart(self.positions, self.regions)

    def _within(self, radius: float) -> tuple[np.ndarray, np.ndarray]:
        """Rows of `images` near each query behind one another, and how many each has."""
        where = self._located
        rows, counts = pairs_within(where[self.queries], where[self.database], radius)
        return self.database[rows], counts

    def _alike(self, row: int | np.ndarray, others: np.ndarray) -> np.ndarray:
        """(n,) bool: which photos look the same way as one, or as (n,), if that is asked."""
        return looking_alike(self.headings[row], self.headings[others], self.heading_limit)


def hold_out(places: Places, share: float, seed: int = 0) -> tuple[Places, Places]:
    """Splits off about that share of the photos for validation, so that no place is on both sides.

    Photos are grouped by chains of neighbours closer than the negative radius. Groups are drawn at random; where one
    holds most photos, a street map say, it is cut across its longer extent, and what lies on the cut is left out.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    where = places._located
    count = len(where)
    pairs = cKDTree(where).query_pairs(places.negative_radius, output_type="ndarray")
    links = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    groups = connected_components(links, directed=False)[1]
    sizes = np.bincount(groups)
    wanted = round(share * count)
    if sizes.max() > count / 2:
        spread = where - where.mean(axis=0)
        along = spread @ np.linalg.eigh(spread.T @ spread)[1][:, -1]
        cut = np.sort(along)[count - wanted] if wanted else np.inf
        held = along >= cut
        near = np.unique(pairs[held[pairs[:, 0]] != held[pairs[:, 1]]])
        held_out = held.copy()
        held_out[near] = False
    else:
        order = np.random.default_rng(seed).permutation(len(sizes))
        taken = order[: np.searchsorted(np.cumsum(sizes[order]), wanted) + 1] if wanted else order[:0]
        held_out = held = np.isin(groups, taken)
    return places.subset(np.flatnonzero(~held)), places.subset(np.flatnonzero(held_out))


def in_halves(places: Places) -> Places:
    """Of each place the first half of its photos becomes the database, the second the queries.

    Neighbours in a listing are often near-duplicates; kept on one side they make no query easy.
    """
    group = np.unique(places._located, axis=0, return_inverse=True)[1].reshape(-1)
    order = np.argsort(group, kind="stable")
    sizes = np.bincount(group)
    place_in_group = np.empty(len(group), dtype=np.int64)
    place_in_group[order] = np.arange(len(group)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    first_half = place_in_group < (sizes[group] + 1) // 2
    queries = np.flatnonzero(~first_half)
    return replace(places, queries=queries, database=np.flatnonzero(first_half), weights=np.ones(len(queries)))

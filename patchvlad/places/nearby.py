"""Which photos show the same place: within a radius, looking the same way, of one label, of one region."""

from collections.abc import Sequence
from itertools import chain

import numpy as np
from natsort import natsorted

from ..errors import GroundTruthError

LABEL_SPACING = 1e6  # metres between the points that stand for two labels
MOST_PAIRS = 2 * 10**8  # of query and positive, 1.6 GB: a truth with more tells nothing, and cannot be held
REGION_SPACING = 1e7  # metres by which regions are moved apart


def within(queries: np.ndarray, database: np.ndarray, radius: float) -> list[np.ndarray]:
    """(Q, d) and (B, d) points -> for each query the (n,) rows within `radius`, the border included, ascending.

    Raises:
        GroundTruthError: there are more of them than can be held.
    """
    return split(*pairs_within(queries, database, radius))


def pairs_within(queries: np.ndarray, database: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """The same as the rows of all queries behind one another, and (Q,) how many each has, see `split`."""
    from scipy.spatial import cKDTree  # which takes a fifth of a second, also of commands that need no positions

    tree = cKDTree(database)
    if len(queries) * len(database) > MOST_PAIRS:
        pairs = int(tree.count_neighbors(cKDTree(queries), radius))
        if pairs > MOST_PAIRS:
            raise GroundTruthError(
                f"{pairs:.2g} positives of {len(queries)} queries within {radius:g} m, "
                f"{100 * pairs / len(queries) / len(database):.0f} % of the database: check the positions, or take a "
                "smaller radius"
            )
    found = tree.query_ball_point(queries, radius, return_sorted=True)
    counts = np.fromiter(map(len, found), dtype=np.int64, count=len(found))
    return np.fromiter(chain.from_iterable(found), dtype=np.int64, count=int(counts.sum())), counts


def split(rows: np.ndarray, counts: np.ndarray) -> list[np.ndarray]:
    """Rows of all queries behind one another -> those of each."""
    ends = np.cumsum(counts).tolist()
    return [rows[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def looking_alike(heading: np.ndarray, others: np.ndarray, limit: float | None) -> np.ndarray:
    """(n,) bool: which headings (n,) differ from one, or from (n,), by at most `limit` degrees; all without a limit."""
    if limit is None:
        return np.ones(len(others), dtype=bool)
    return np.abs((others - heading + 180) % 360 - 180) <= limit


def check_headings(headings: Sequence[np.ndarray], limit: float | None) -> None:
    """Raises GroundTruthError if headings are limited, but not by an angle, or not all of them are known."""
    if limit is None:
        return
    if not 0 <= limit <= 180:
        raise GroundTruthError(f"headings differ by 0 to 180 degrees, not by {limit:g}")
    unknown = sum(int((~np.isfinite(side)).sum()) for side in headings)
    if unknown or not headings:
        some = "1 photo has" if unknown == 1 else f"{unknown or 'the'} photos have"
        raise GroundTruthError(
            f"headings cannot be limited to {limit:g} degrees: {some} none. Give headings, or no limit"
        )


def label_points(*sides: Sequence[str]) -> list[np.ndarray]:
    """Points (N, 1) that stand for the place labels of each side: the same for the same label, far apart for others."""
    number = {label: row for row, label in enumerate(natsorted({label for side in sides for label in side}))}
    return [np.array([LABEL_SPACING * number[label] for label in side]).reshape(-1, 1) for side in sides]


def apart(points: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """Points (N, d) with those of different regions, whole numbers (N,), moved far apart: they never meet."""
    moved = np.array(points, dtype=np.float64)
    moved[:, 0] += REGION_SPACING * regions
    return moved

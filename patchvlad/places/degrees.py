"""Degrees that stand where metres should: told by their range and spread."""

import numpy as np

TOWN = 1.0  # degrees that the photos of one town span at most; of photos within one metre there is nothing to tell
NEIGHBOURS = 0.02  # degrees (2 km) from a photo of a larger area to the next; in metres no two photos lie so close


def order_of_degrees(points: np.ndarray) -> tuple[int, int] | None:
    """Columns of latitude and longitude, if two columns can hardly be anything but degrees; None if they are metres.

    They are degrees where all are in the range of degrees, not all whole numbers, and lie further from the origin than
    from each other, which metres of a frame of its own do not; and where all photos lie within a degree, or their
    neighbours within a fiftieth of one. The first column is the longitude, as an easting is, unless it cannot be.

    Args:
        points: (N, 2); rows that are not finite tell nothing.
    """
    known = points[np.isfinite(points).all(axis=1)] if points.ndim == 2 and points.shape[1] == 2 else points[:0]
    if not len(known):
        return None
    most = np.abs(known).max(axis=0)
    if not (most <= (180, 90)).all() and not (most <= (90, 180)).all():
        return None
    spread = float(np.ptp(known, axis=0).max())
    same_side = np.abs(np.sign(known).sum(axis=0)) == len(known)
    if not (known % 1).any() or np.where(same_side, np.abs(known).min(axis=0), 0).max() <= spread:
        return None
    if spread >= TOWN and _to_the_next(known) >= NEIGHBOURS:
        return None
    return (1, 0) if most[1] <= 90 else (0, 1)


def _to_the_next(points: np.ndarray) -> float:
    """The median distance from a point to the nearest other one."""
    from scipy.spatial import cKDTree

    distinct = np.unique(points, axis=0)
    return float(np.median(cKDTree(distinct).query(distinct, k=2)[0][:, 1]))

"""Slow, obvious versions of every equation, in float64 loops; the package's fast ones are compared against them."""

import math

import numpy as np

Array = np.ndarray


def normalise(vector: Array, least: float = 1e-12) -> Array:
    return vector / max(math.sqrt(float((vector**2).sum())), least)


def soft_assignment(cell: Array, weight: Array, bias: Array | None = None) -> Array:
    """cell (C,), weight (K, C) -> (K,)."""
    logits = np.array([float(w @ cell) for w in weight]) + (0 if bias is None else bias)
    powers = np.array([math.exp(value - logits.max()) for value in logits])
    return powers / powers.sum()


def vlad(cells: list[Array], weight: Array, centroids: Array, bias: Array | None = None, kind: str = "exact") -> Array:
    """Cells of one window, each (C,) and not yet normalised -> (K * C,)."""
    blocks = np.zeros_like(centroids, dtype=np.float64)
    mass = np.zeros(len(centroids))
    for cell in cells:
        unit = normalise(cell)
        assignment = soft_assignment(unit, weight, bias)
        for k, centroid in enumerate(centroids):
            blocks[k] += assignment[k] * (unit - centroid) / len(cells)
            mass[k] += assignment[k] / len(cells)
    factors = {"exact": np.ones_like(mass), "floor": (mass >= 1e-3) * 1.0, "root": np.sqrt(mass)}[kind]
    return normalise(np.concatenate([f * normalise(block) for f, block in zip(factors, blocks, strict=True)]))


def patch_vlads(
    feature_map: Array, size: int, step: int, weight: Array, centroids: Array, bias: Array | None = None, kind="exact"
) -> Array:
    """Feature map (C, H, W) -> (P, K * C), windows in raster order."""
    _, height, width = feature_map.shape
    found = []
    for top in range(0, height - size + 1, step):
        for left in range(0, width - size + 1, step):
            cells = [feature_map[:, y, x] for y in range(top, top + size) for x in range(left, left + size)]
            found.append(vlad(cells, weight, centroids, bias, kind))
    return np.array(found)


def whiten(descriptor: Array, weight: Array, bias: Array) -> Array:
    return normalise(np.array([float(row @ descriptor) for row in weight]) + bias)


def mutual_nearest_neighbours(patches0: Array, patches1: Array) -> list[tuple[int, int]]:
    """Pairs (row0, row1) in order of row1; ties to the lower index."""

    def nearest(vector: Array, others: Array) -> int:
        best = 0
        for i, other in enumerate(others):
            if float(vector @ other) > float(vector @ others[best]):
                best = i
        return best

    pairs = []
    for row1, vector in enumerate(patches1):
        row0 = nearest(vector, patches0)
        if nearest(patches0[row0], patches1) == row1:
            pairs.append((row0, row1))
    return pairs


def convolution(image: Array, weight: Array, bias: Array) -> Array:
    """(C, H, W), (O, C, 3, 3), (O,) -> (O, H, W), zeros around the image."""
    channels, height, width = image.shape
    out = np.zeros((len(weight), height, width))
    for o, y, x in np.ndindex(*out.shape):
        total = bias[o]
        for c, down, across in np.ndindex(channels, 3, 3):
            row, column = y + down - 1, x + across - 1
            if 0 <= row < height and 0 <= column < width:
                total += weight[o, c, down, across] * image[c, row, column]
        out[o, y, x] = total
    return out


def rapid_score(pairs: list[tuple[int, int]], rows: int, columns: int) -> float:
    """Rapid spatial score of mutual matches on a grid of that many rows and columns."""
    if not pairs:
        return 0.0
    moves = [(r1 % columns - r0 % columns, r1 // columns - r0 // columns) for r0, r1 in pairs]
    mean_x = sum(x for x, _ in moves) / len(moves)
    mean_y = sum(y for _, y in moves) / len(moves)
    total = sum((columns - 1 - abs(x - mean_x)) ** 2 + (rows - 1 - abs(y - mean_y)) ** 2 for x, y in moves)
    return total / (rows * columns)


def inlier_count(homography: Array, points1: Array, points0: Array, tolerance: float) -> int:
    """How many points1 the homography takes to within `tolerance` of points0."""
    count = 0
    for (x1, y1), (x0, y0) in zip(points1, points0, strict=True):
        x, y, w = homography @ np.array([x1, y1, 1.0])
        count += (x / w - x0) ** 2 + (y / w - y0) ** 2 <= tolerance**2
    return count


def consensus(points1: Array, points0: Array, tolerance: float, refits: int = 3) -> list[bool]:
    """Displacement voting: the largest set of matches that move alike, refitted by an affine map held to a shift."""
    count = len(points1)
    if count < 4:
        return [False] * count
    moves = [p0 - p1 for p0, p1 in zip(points0.astype(float), points1.astype(float), strict=True)]
    votes = [[math.dist(a, b) <= tolerance for b in moves] for a in moves]
    best = max(range(count), key=lambda i: (sum(votes[i]), -i))
    inliers = votes[best]
    for _ in range(refits):
        chosen = [i for i in range(count) if inliers[i]]
        if len(chosen) < 4:
            break
        centre = sum(points1[i].astype(float) for i in chosen) / len(chosen)
        rows = [[*(points1[i] - centre), 1.0] for i in chosen] + [[100.0, 0, 0], [0, 100.0, 0]]
        targets = [moves[i] for i in chosen] + [np.zeros(2), np.zeros(2)]
        affine = np.linalg.lstsq(np.array(rows), np.array(targets), rcond=None)[0]
        again = [
            math.dist(np.array([*(points1[i] - centre), 1.0]) @ affine, moves[i]) <= tolerance for i in range(count)
        ]
        if sum(again) < sum(inliers):
            break
        inliers = again
    return inliers


def fuse(scores: Array, weights: list[float], least_spread: float = 0.0) -> list[float]:
    """scores (k, S) -> weighted sums of z-scores; a constant column contributes 0."""
    totals = [0.0] * len(scores)
    for column, weight in zip(scores.T, weights, strict=True):
        mean = sum(column) / len(column)
        deviation = math.sqrt(sum((value - mean) ** 2 for value in column) / len(column))
        if len(set(column.tolist())) == 1:
            continue
        for row, value in enumerate(column):
            totals[row] += weight * (value - mean) / max(deviation, least_spread)
    return totals

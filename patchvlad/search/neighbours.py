"""Mutual nearest neighbours: patches of two images that are each other's largest dot product, ties to the lower index.

The dtype of the descriptors decides how. Two sets of floats are compared exactly. Where one is int8, both are, by an
integer product, which modern CPUs do four times as fast.

Exactly does not mean one float at a time. Where the CPU multiplies integers fast, floats are first rounded to eight
bits and screened: rounding changes a dot product by a random amount of known standard deviation, so whatever lies more
than `SIGMAS` of these below the largest of its row and column is no neighbour. Only the few pairs that are left are
multiplied in float32. The chance of missing one is below 1e-20 per pair.
"""

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from ..features.quantisation import quantise

SIGMAS = 10  # of the rounding error, on either side, that screening allows for
SCREENED_PRODUCTS = 1 << 27  # multiplications from which on screening is worth its passes
CROWDED = 16  # close pairs per patch beyond which screening is given up: blank images are alike everywhere

Neighbours = tuple[np.ndarray, np.ndarray]  # rows0 (M,), rows1 (M,) int64, rows1 ascending


def mutual_nearest_neighbours(patches0: Tensor, patches1: Tensor) -> Neighbours:
    """Rows of (P0, D) and (P1, D) that are each other's nearest.

    Returns:
        rows0, rows1: (M,) int64, rows1 ascending.
    """
    return neighbours_of_many(patches0, [patches1])[0]


def neighbours_of_many(patches0: Tensor, many: Sequence[Tensor]) -> list[Neighbours]:
    """Mutual nearest neighbours of (P0, D) and each of several (P1, D).

    On an accelerator in one batched product, in half precision for int8, and only what is found leaves it.
    """
    if patches0.device.type != "cpu":
        return batched_neighbours(patches0, torch.stack(list(many)))
    if patches0.dtype == torch.float16:
        patches0 = patches0.float()
    rounded0 = functools.cache(functools.partial(_rounded, patches0))  # at most once, for all of the many
    return [_neighbours_on_cpu(patches0, patches1, rounded0) for patches1 in many]


def _neighbours_on_cpu(patches0: Tensor, patches1: Tensor, rounded0: Callable[[], tuple[Tensor, float]]) -> Neighbours:
    if torch.int8 in (patches0.dtype, patches1.dtype):
        return _mutual(integer_products(quantise(patches0), quantise(patches1)))
    patches1 = patches1.to(patches0.dtype)
    products = len(patches0) * len(patches1) * patches0.shape[1]
    if patches0.dtype == torch.float32 and products >= SCREENED_PRODUCTS and has_integer_products():
        return _screened(patches0, patches1, rounded0())
    return _mutual((patches0 @ patches1.T).numpy())


def batched_neighbours(patches0: Tensor, patches1: Tensor) -> list[Neighbours]:
    """The same by tensor operations alone, of (P0, D) and (n, P1, D) on one device."""
    if torch.int8 in (patches0.dtype, patches1.dtype):
        half = torch.float16 if patches0.device.type != "cpu" else torch.float32
        patches0, patches1 = (quantise(patches).to(half) / 127 for patches in (patches0, patches1))
    elif patches0.dtype == torch.float16 or patches1.dtype == torch.float16:
        patches0, patches1 = patches0.float(), patches1.float()
    similarity = patches0 @ patches1.transpose(1, 2)  # (n, P0, P1)
    nearest0 = similarity.max(dim=1).indices  # (n, P1), rows of image 0
    nearest1 = similarity.max(dim=2).indices  # (n, P0), rows of image 1
    mutual = nearest1.gather(1, nearest0) == torch.arange(nearest0.shape[1], device=nearest0.device)
    both = torch.where(mutual, nearest0, -1).cpu().numpy()
    return [(row[row >= 0], np.flatnonzero(row >= 0)) for row in both]


def has_integer_products() -> bool:
    """Whether this CPU multiplies int8 exactly and fast (VNNI)."""
    supported = getattr(torch.cpu, "_is_vnni_supported", None)
    return supported is not None and supported() and torch.backends.mkldnn.is_available()


def integer_products(patches0: Tensor, patches1: Tensor) -> np.ndarray:
    """(P0, D) and (P1, D) int8 -> (P0, P1) of their products, int32; float32 where the CPU is no good at integers."""
    if has_integer_products():
        return torch._int_mm(patches0, patches1.T).numpy()
    return (patches0.float() @ patches1.float().T).numpy()


def _mutual(similarity: np.ndarray) -> Neighbours:
    """(P0, P1) -> mutual nearest neighbours. argmax along rows and max along columns are what NumPy does in SIMD."""
    nearest1 = similarity.argmax(axis=1)
    largest = similarity.max(axis=0)
    rows0 = np.flatnonzero(similarity[np.arange(len(nearest1)), nearest1] == largest[nearest1])
    rows1 = nearest1[rows0]
    first = _first_largest(similarity, rows0, rows1, largest)
    rows0, rows1 = rows0[first], rows1[first]
    order = np.argsort(rows1)
    return rows0[order], rows1[order]


def _first_largest(similarity: np.ndarray, rows0: np.ndarray, rows1: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """Which of the entries, all the largest of their columns, are the first there."""
    kept = similarity[rows0, rows1]
    similarity[rows0, rows1] = -np.inf if similarity.dtype.kind == "f" else np.iinfo(similarity.dtype).min
    tied = similarity.max(axis=0)[rows1] == largest[rows1]
    similarity[rows0, rows1] = kept
    tied |= np.bincount(rows1, minlength=similarity.shape[1])[rows1] > 1
    first = np.ones(len(rows0), dtype=bool)
    first[tied] = (similarity[:, rows1[tied]] == largest[rows1[tied]]).argmax(axis=0) == rows0[tied]
    return first


def _screened(patches0: Tensor, patches1: Tensor, rounded: tuple[Tensor, float] | None = None) -> Neighbours:
    """The same as `_mutual` of the float32 product (P0, D) @ (P1, D).T, for rows of unit length."""
    rounded0, step0 = rounded or _rounded(patches0)
    rounded1, step1 = _rounded(patches1)
    similarity = integer_products(rounded0, rounded1)
    deviation = math.sqrt((step0**2 + step1**2) / 12)  # of x' y - x y, rounding both, |x| = |y| = 1
    margin = similarity.dtype.type(math.ceil(2 * SIGMAS * deviation / (step0 * step1)))
    least0 = similarity.max(axis=1) - margin  # what a row's nearest has at least
    least1 = similarity.max(axis=0) - margin
    columns = similarity.shape[1]
    near0 = np.flatnonzero((similarity >= least0[:, None]).ravel())  # perhaps the nearest of their rows
    near1 = np.flatnonzero((similarity >= least1).ravel())  # perhaps the nearest of their columns
    if max(len(near0), len(near1)) > CROWDED * sum(similarity.shape):
        return _mutual((patches0 @ patches1.T).numpy())
    # Only rows and columns matter that have an entry which may be the nearest of both.
    both = np.intersect1d(near0, near1, assume_unique=True)
    near0 = near0[np.isin(near0 // columns, both // columns)]
    near1 = near1[np.isin(near1 % columns, both % columns)]
    # Of these, the ones with one near entry need no closer look, the others are multiplied exactly.
    asked = np.union1d(near0[_shared(near0 // columns)], near1[_shared(near1 % columns)])
    exact = np.zeros(len(asked) + 1, dtype=np.float32)  # the last is for those without company: no matter
    for start in range(0, len(asked), 1024):
        few = asked[start : start + 1024]
        products = torch.linalg.vecdot(patches0[few // columns], patches1[few % columns])
        exact[start : start + len(few)] = products.numpy()
    exact0, exact1 = exact[np.searchsorted(asked, near0)], exact[np.searchsorted(asked, near1)]
    nearest1 = _nearest(near0 // columns, near0 % columns, exact0, len(least0))
    nearest0 = _nearest(near1 % columns, near1 // columns, exact1, columns)
    rows1 = np.flatnonzero(nearest0 >= 0)
    rows1 = rows1[nearest1[nearest0[rows1]] == rows1]
    return nearest0[rows1], rows1


def _shared(keys: np.ndarray) -> np.ndarray:
    """Which of the keys occur more than once."""
    return np.bincount(keys, minlength=1)[keys] > 1


def _nearest(keys: np.ndarray, values: np.ndarray, products: np.ndarray, count: int) -> np.ndarray:
    """(count,) for each key the value of the largest product, the lowest of equal ones; -1 where no key is."""
    order = np.lexsort((values, -products, keys))
    found, first = np.unique(keys[order], return_index=True)
    nearest = np.full(count, -1)
    nearest[found] = values[order][first]
    return nearest


def _rounded(patches: Tensor) -> tuple[Tensor, float]:
    """(P, D) float32 -> (P, D) int8 of `patches / step`, unclipped, and the step."""
    step = max(float(patches.abs().max()), 1e-30) / 127
    rounded = torch.empty(patches.shape, dtype=torch.int8)
    block = max(1, (1 << 16) // patches.shape[1])  # rows that stay in the cache over the passes
    for start in range(0, len(patches), block):
        rounded[start : start + block] = (patches[start : start + block] / step).round_()
    return rounded, step

"""Some images of a store, in the order of a list, read as a store of their own: nothing is copied."""

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import GroundTruthError, MismatchError
from ..images.names import finder
from .rows import Rows
from .store import FeatureStore, names_digest


class StorePart(FeatureStore):
    """A store of some of another's images.

    Args:
        store: of more images.
        names: of those wanted; leading folders may differ from the store's. The part's names are the store's.
        source: the list, for messages.
        kind: "queries" or "database", for messages.

    Raises:
        MismatchError: the store does not hold an image, or one is named twice.
    """

    def __init__(self, store: FeatureStore, names: Sequence[str], source: str | os.PathLike, kind: str) -> None:
        try:
            row_of = finder(source, kind, store.names, names)
        except GroundTruthError as error:
            raise MismatchError(f"{error}. {store.folder} holds features of other images: extract this list") from error
        found = [row_of(name) for name in names]
        strange = [name for name, row in zip(names, found, strict=True) if row is None]
        if strange:
            raise MismatchError(
                f"{store.folder} has no features of {strange[0]} ({len(strange)} of {len(names)} images of {source}): "
                "extract this list, or leave them out of it"
            )
        if len(set(found)) < len(found):
            raise MismatchError(f"{source} names an image of {store.folder} twice: every image counts once")
        self.folder = store.folder
        self._store, self._rows = store, np.array(found, dtype=np.int64)
        self._names = tuple(store.names[row] for row in self._rows)
        unreadable = tuple(np.flatnonzero(np.isin(self._rows, store.unreadable)).tolist())
        self.manifest = replace(
            store.manifest,
            images=len(found),
            rows=len(found),
            images_sha256=names_digest(self._names),
            photos_sha256="",
            unreadable=unreadable,
        )

    @cached_property
    def global_(self) -> "_Part":  # type: ignore[override]
        """(B, D) float32, read by rows."""
        return _Part(self._store.global_, self._rows)

    @cached_property
    def patches(self) -> "dict[int, _Part]":  # type: ignore[override]
        """For each patch size (B, P, D'), read by rows."""
        return {size: _Part(array, self._rows) for size, array in self._store.patches.items()}

    @property
    def photo_sums(self) -> np.ndarray | None:
        """(B,) uint64, see `FeatureStore`."""
        sums = self._store.photo_sums
        return None if sums is None else sums[self._rows]


class _Part:
    """Some rows (N) of an array (B, ...), in any order."""

    def __init__(self, whole: Rows | np.ndarray, rows: np.ndarray) -> None:
        self.whole, self.rows = whole, rows
        self.shape, self.dtype, self.ndim = (len(rows), *whole.shape[1:]), whole.dtype, whole.ndim

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: Any) -> np.ndarray:
        rows = self.rows[key]
        if np.ndim(rows) == 0:
            return self.whole[int(rows)]
        order = np.argsort(rows, kind="stable")  # rows are read, and checked, in ascending order
        found = np.empty((len(rows), *self.shape[1:]), dtype=self.dtype)
        found[order] = self.whole[rows[order]]
        return found

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or self.dtype, copy=False)

"""HDF5 that others wrote: what a file says of itself is looked at before it is followed, walked or held in memory."""

import contextlib
import math
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from .arrays import DAMAGE
from .regular import check_file, size_of

if TYPE_CHECKING:
    import h5py

LARGEST = 1 << 32  # bytes of one dataset: 4 GiB
DEEPEST = 64  # groups in groups


class Hdf5:
    """A file opened for reading. Names lead to what lies in this file itself, and nowhere else."""

    def __init__(self, file: "h5py.File") -> None:
        self._chain: list[tuple[str, Any]] = [("", file)]  # groups that the last name led through

    def has(self, name: str) -> bool:
        """Whether there is anything of that name."""
        return self._find(name) is not None

    def numbers(self, name: str) -> np.ndarray | None:
        """The numbers of a dataset, of any shape; None where there is none of that name.

        Raises:
            ValueError: they lie in another file, are no numbers, or are too many.
        """
        import h5py

        node = self._find(name)
        if not isinstance(node, h5py.Dataset):
            return None
        if node.external or node.is_virtual:
            raise ValueError(f"{name} lies in another file")
        if node.shape is None or node.dtype.kind not in "fiu":
            raise ValueError(f"{name} holds {str(node.dtype)[:80]}, not numbers")
        size = math.prod(node.shape) * node.dtype.itemsize
        if size > LARGEST:
            raise ValueError(f"{name} says that it has {size_of(size)}")
        return np.asarray(node)

    def walk(self) -> Iterator[tuple[str, Any]]:
        """Yields names and datasets of the whole file, each once, in the order of the names in each group.

        Not by the library's own walk, whose time is quadratic in the depth: some files would keep it for hours.

        Raises:
            ValueError: there are more than 64 groups in groups.
        """
        import h5py

        waiting: list[tuple[str, Any]] = [("", self._chain[0][1])]
        seen = set()
        while waiting:
            name, node = waiting.pop()
            if isinstance(node, h5py.Dataset):
                yield name, node
                continue
            if name.count("/") > DEEPEST:
                raise ValueError("groups in groups without end")
            if not isinstance(node, h5py.Group) or (place := h5py.h5o.get_info(node.id).addr) in seen:
                continue
            seen.add(place)
            waiting += [
                (f"{name}/{part}" if name else part, node[part])
                for part in sorted(node, reverse=True)
                if _own(node, part)
            ]

    def _find(self, name: str) -> Any:
        parts = [part for part in name.split("/") if part]
        if len(parts) > DEEPEST:
            return None
        known = 1
        while known < len(self._chain) and known <= len(parts) and self._chain[known][0] == parts[known - 1]:
            known += 1
        del self._chain[known:]
        for part in parts[known - 1 :]:
            group = self._chain[-1][1]
            if not _own(group, part):
                return None
            self._chain.append((part, group[part]))
        return self._chain[-1][1]


def _own(group: Any, part: str) -> bool:
    """Whether a group holds something itself; links of other kinds lead to other files, or in circles."""
    import h5py

    return isinstance(group, h5py.Group) and isinstance(group.get(part, getlink=True), h5py.HardLink)


@contextlib.contextmanager
def reading_hdf5(path: str | os.PathLike) -> Iterator[Hdf5]:
    """A file opened for reading.

    Raises:
        ValueError: it is not HDF5, or is damaged where it is looked at.
    """
    import h5py

    try:
        check_file(path)
        with h5py.File(path, "r") as file:
            yield Hdf5(file)
    except DAMAGE as error:
        raise ValueError(" ".join(str(error).split())[:200] or type(error).__name__) from error

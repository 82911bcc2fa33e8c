"""Global descriptors in files of other tools: .npy in the order of an image list, and hloc's HDF5 by image name."""

import logging
import os
import unicodedata
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import ConfigError, StoreError, counted
from ..files.arrays import read_array
from ..files.atomic import writing
from ..files.hdf5 import Hdf5, reading_hdf5
from .rows import Rows

log = logging.getLogger(__name__)

KEY = "global_descriptor"  # hloc's name for them
ROW = "row"  # an attribute of our exports: HDF5 itself keeps names in alphabetical order
HDF5 = (".h5", ".hdf5")
BLOCK = 32768  # rows that are looked at at a time


@dataclass(frozen=True)
class GlobalDescriptors:
    """Global descriptors of N images, by any method.

    Attributes:
        names: (N) of the images, relative to their root.
        global_: (N, D) floating, rows of unit length; they are compared by dot product.
        unreadable: rows that are never found.

    Raises:
        ConfigError: another shape or dtype, another number of rows than names, or NaN or infinity in a row.
    """

    names: tuple[str, ...]
    global_: np.ndarray
    unreadable: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        values = self.global_
        found = f"{values.dtype} {values.shape}" if isinstance(values, np.ndarray) else type(values).__name__
        if not isinstance(values, np.ndarray) or values.ndim != 2 or values.dtype.kind != "f":
            raise ConfigError(f"global descriptors are an array (N, D) of floats, not {found}")
        if len(values) and not values.size:
            raise ConfigError(f"global descriptors have at least one number each, not {found}")
        if len(values) != len(self.names):
            named = counted(len(self.names), "name")
            raise ConfigError(f"{counted(len(values), 'descriptor')} for {named}: give one each")
        if not all(0 <= row < len(values) for row in self.unreadable):
            raise ConfigError(f"unreadable rows {self.unreadable} are not all rows of {len(values)}")
        for start in range(0, len(values), BLOCK):
            with np.errstate(over="ignore", invalid="ignore"):
                sums = values[start : start + BLOCK].sum(axis=1)
            for row in np.flatnonzero(~np.isfinite(sums))[:1]:
                raise ConfigError(f"the descriptor of {self.names[start + row]} holds NaN or infinity: make it again")

    def __len__(self) -> int:
        return len(self.names)

    def of(self, names: Sequence[str]) -> "GlobalDescriptors":
        """The same of these images, all or some of its own, in their order."""
        if tuple(names) == self.names:
            return self
        row_of = {name: row for row, name in enumerate(self.names)}
        rows = [row_of[name] for name in names]
        never = set(self.unreadable)
        unreadable = tuple(new for new, row in enumerate(rows) if row in never)
        return GlobalDescriptors(tuple(names), self.global_[rows], unreadable)


def read_global_descriptors(
    path: str | os.PathLike, names: Sequence[str], never: Set[str] = frozenset()
) -> GlobalDescriptors:
    """Reads the global descriptors of images.

    Args:
        path: .npy of (N, D) rows in the order of `names`, or HDF5 in which `<image name>/global_descriptor` is (D,).
        names: of the images, relative to the root; in HDF5 they may lie below further folders, the same for all.
        never: names of folders that these images do not lie in, such as "query" for those of the database.

    Returns:
        descriptors brought to unit length: they are compared by cosine.

    Raises:
        StoreError: the file cannot be read, lacks an image, or holds something else than finite numbers.
    """
    path = Path(path)
    if not path.exists():
        raise StoreError(f"{path} does not exist: give global descriptors as .npy or hloc's .h5")
    values = _read_hdf5(path, names, never) if path.suffix.lower() in HDF5 else _read_npy(path, names)
    lengths = np.linalg.norm(values, axis=1)
    for row in np.flatnonzero(~np.isfinite(lengths) | (lengths == 0))[:1]:
        said = "zero" if lengths[row] == 0 else "NaN or infinity, or numbers too large to compare"
        raise StoreError(f"{path}: the descriptor of {names[row]} is {said}: make it again")
    if np.abs(lengths - 1).max(initial=0) > 1e-2:
        log.warning("%s: descriptors are not of unit length: they are compared by cosine", path)
    return GlobalDescriptors(tuple(names), values / lengths[:, None])


def is_hdf5(path: str | os.PathLike) -> bool:
    """Whether a file of global descriptors names its images."""
    return Path(path).suffix.lower() in HDF5


def names_in_hdf5(path: str | os.PathLike) -> tuple[tuple[str, ...], bool]:
    """Names of the images that an HDF5 file describes, in its own order; and whether it says which that is.

    Raises:
        StoreError: the file cannot be read, or describes nothing.
    """
    found: list[tuple[int, str]] = []
    try:
        with reading_hdf5(path) as file:
            for name, node in file.walk():
                if name.endswith(f"/{KEY}"):
                    row = node.parent.attrs.get(ROW, -1)
                    found.append((int(row) if np.ndim(row) == 0 else -1, name.removesuffix(f"/{KEY}")))
    except ValueError as error:
        raise StoreError(f"{path} cannot be read as HDF5 ({error})") from error
    if not found:
        raise StoreError(f"{path} holds no {KEY} of any image: give hloc's global descriptors")
    ordered = sorted(row for row, _ in found) == list(range(len(found)))
    return tuple(name for _, name in (sorted(found) if ordered else found)), ordered


def write_global_descriptors(path: str | os.PathLike, names: Sequence[str], values: np.ndarray | Rows) -> None:
    """Writes (N, D) descriptors as hloc's global-feats.h5, or as .npy in the order of the names.

    Raises:
        StoreError: another suffix.
    """
    path = Path(path)
    if path.suffix.lower() == ".npy":
        with writing(path) as file:
            np.save(file, np.asarray(values, dtype=np.float32))
        return
    if path.suffix.lower() not in HDF5:
        raise StoreError(f"{path}: global descriptors are written as .h5 or .npy")
    import h5py

    with writing(path) as held, h5py.File(held, "w") as file:
        for number, (name, row) in enumerate(zip(names, np.asarray(values), strict=True)):
            file.create_dataset(f"{name}/{KEY}", data=np.asarray(row, dtype=np.float32))
            file[name].attrs[ROW] = number


def _read_npy(path: Path, names: Sequence[str]) -> np.ndarray:
    try:
        values = read_array(path)
    except ValueError as error:
        raise StoreError(f"{path} cannot be read as .npy ({error})") from error
    if values.ndim != 2 or values.dtype.kind not in "fiu":
        raise StoreError(f"{path} holds {values.dtype} {values.shape}: descriptors are numbers, one row per image")
    if len(values) != len(names):
        raise StoreError(
            f"{path} holds {counted(len(values), 'descriptor')} for {counted(len(names), 'image')}: "
            "use the list they are of"
        )
    return _float32(values)


def _float32(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # what is too large becomes infinity, and is named
        return values.astype(np.float32)


def _read_hdf5(path: Path, names: Sequence[str], never: Set[str]) -> np.ndarray:
    try:
        with reading_hdf5(path) as file:
            names, prefix = _as_in(path, file, names, never)
            rows = []
            for name in names:
                row = file.numbers(f"{prefix}{name}/{KEY}")
                if row is None:
                    raise StoreError(f"{path} has no {KEY} of {prefix}{name}: describe all images first")
                rows.append(_float32(row).ravel())
    except ValueError as error:
        raise StoreError(f"{path} cannot be read as HDF5 ({error})") from error
    if len({len(row) for row in rows}) > 1:
        raise StoreError(f"{path} holds descriptors of different lengths: they are of different methods")
    return np.stack(rows) if rows else np.zeros((0, 0), dtype=np.float32)


def _as_in(path: Path, file: Hdf5, names: Sequence[str], never: Set[str]) -> tuple[Sequence[str], str]:
    """Names as they are spelt there, with accents as letters of their own (NFD) or not; and the folders above all."""
    prefix = _prefix(path, file, names, never)
    for form in ("NFC", "NFD") if not all(name.isascii() for name in names) else ():
        if all(file.has(f"{prefix}{name}/{KEY}") for name in names):
            break
        other = [unicodedata.normalize(form, name) for name in names]
        above = _prefix(path, file, other, never)
        if all(file.has(f"{above}{name}/{KEY}") for name in other):
            return other, above
    return names, prefix


def _prefix(path: Path, file: Hdf5, names: Sequence[str], never: Set[str]) -> str:
    """Folders above all images, "" where they are there by their own names."""
    if not names or file.has(f"{names[0]}/{KEY}"):
        return ""
    first = f"{names[0]}/{KEY}"
    found = [name.removesuffix(first) for name, _ in file.walk() if name.endswith(f"/{first}")]
    found = [prefix for prefix in found if not never & set(prefix.lower().split("/"))]
    whole = [prefix for prefix in found if all(file.has(f"{prefix}{name}/{KEY}") for name in names)]
    if len(whole) > 1:
        raise StoreError(
            f"{path} describes {names[0]} in several folders, {', '.join(whole)}: give an image list whose "
            "names begin with the folder that is meant (and --root)"
        )
    return whole[0] if whole else ""

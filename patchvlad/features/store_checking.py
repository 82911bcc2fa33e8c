"""Whether a store is what was written: every file of it, every row by its checksums."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..errors import StoreError, counted
from ..files.arrays import DAMAGE
from ..files.checksums import BLOCK, Checked, row_sums
from ..files.regular import check_regular
from .layout import OWN, SUMS, Layout, layouts
from .manifest import Manifest
from .rows import Rows, check_header, finite, photos_said
from .store import finish_store, read_names

Progress = Callable[[int, int], None]  # (bytes done, bytes in all)


@dataclass(frozen=True)
class Inspected:
    """What was found in a store.

    Attributes:
        folder: of the store.
        manifest: what it says of itself.
        names: (B) of the photos; None where the list is damaged.
        rows: for each array file the rows that are there, (at most B, ...), wherever its header says they are.
        wrong: for each array file which rows are not what was written, (B) bool; B rows, as far as they are counted.
        faults: what is damaged besides rows, a sentence per file.
        size: bytes that were looked at.
    """

    folder: Path
    manifest: Manifest
    names: tuple[str, ...] | None
    rows: dict[str, np.ndarray]
    wrong: dict[str, np.ndarray]
    faults: dict[str, str] = field(default_factory=dict)
    size: int = 0

    @property
    def layouts(self) -> dict[str, Layout]:
        return layouts(self.manifest)

    @property
    def intact(self) -> bool:
        return not self.faults and not any(wrong.any() for wrong in self.wrong.values())

    def damage(self) -> tuple[str, ...]:
        """In sentences."""
        names = self.names or tuple(f"row {row}" for row in range(self.manifest.images))
        said = list(self.faults.values())
        for name, wrong in self.wrong.items():
            rows = np.flatnonzero(wrong)
            if len(rows):
                photos = counted(len(rows), "photo")
                said.append(f"{self.folder / name} is damaged for {photos}: {photos_said(rows, names)}")
        return tuple(said)


def check_store(folder: str | os.PathLike, progress: Progress | None = None) -> Checked:
    """Compares all of a store with its checksums; of stores of 0.1.0, which have none, what can be told without."""
    try:
        found = inspect_store(Path(folder), progress)
    except StoreError as error:
        return Checked(damage=(str(error),))
    manifest, unproven = found.manifest, ""
    if not manifest.summed:
        unproven = (
            f"{folder} has no checksums: it is of patchvlad 0.1.0. Its shape, its names and NaN were looked for; "
            f"'patchvlad verify {folder} --repair' adds checksums of what is there"
        )
    if manifest.rows < manifest.images:
        unproven = f"{folder} is incomplete ({manifest.rows} of {manifest.images} images). {unproven}".strip()
    return Checked(found.size if manifest.summed else 0, found.damage(), unproven)


def inspect_store(folder: Path, progress: Progress | None = None) -> Inspected:
    """Looks at all of a store.

    Raises:
        StoreError: there is none, or its manifest is damaged.
    """
    finish_store(folder)
    manifest = Manifest.read(folder)
    parts = layouts(manifest)
    faults: dict[str, str] = {}
    names = None
    try:
        names = read_names(folder, manifest)
    except StoreError as error:
        faults["images.txt"] = str(error).split(": extract again")[0]
    rows = {name: _rows_there(folder / name, layout, manifest.rows, faults) for name, layout in parts.items()}
    sums = rows.get(SUMS)
    known = None if sums is None else (row_sums(sums[:, :OWN]) == sums[:, OWN:]).all(axis=1)
    total = sum(parts[name].row_size * len(array) for name, array in rows.items())
    wrong, done = {}, 0
    for name, array in rows.items():
        wrong[name] = np.ones(manifest.images, dtype=bool)
        wrong[name][manifest.rows :] = False
        if name == SUMS:
            wrong[name][: len(array)] = False if known is None else ~known
            continue
        compared = array if known is None or sums is None else array[: len(sums)]
        checker = Rows(folder / name, compared, None if sums is None else sums[:, parts[name].sums], names or ())
        step = max(1, 16 * BLOCK // max(parts[name].row_size, 1))
        for start in range(0, len(compared), step):
            some = np.arange(start, min(start + step, len(compared)))
            right = checker.intact(some)
            right &= np.array([finite(compared[row]) for row in some]) if array.dtype.kind == "f" else True
            wrong[name][some] = ~right
            done += parts[name].row_size * len(some)
            if progress:
                progress(done, total)
    return Inspected(folder, manifest, names, rows, wrong, faults, total)


def _rows_there(path: Path, layout: Layout, counted_rows: int, faults: dict[str, str]) -> np.ndarray:
    """Maps the rows of an array file that are there, at most those that the manifest counts; notes what is wrong."""
    start, whole = len(layout.header), layout.size(counted_rows)
    try:
        size = check_regular(path)
        if size < whole or (counted_rows == layout.shape[0] and size > whole):
            faults[layout.name] = f"{path} has {size} bytes instead of {whole}"
        with open(path, "rb") as file:
            there = min(max(size - start, 0) // max(layout.row_size, 1), counted_rows)
            try:
                check_header(file, layout)
            except DAMAGE as error:
                faults[layout.name] = f"{path} has a damaged header ({' '.join(str(error).split())[:200]})"
            if there:
                return np.memmap(file, layout.dtype, "r", start, (there, *layout.shape[1:]))
    except OSError as error:
        faults[layout.name] = f"{path} cannot be read ({error.strerror or error})"
    return np.zeros((0, *layout.shape[1:]), layout.dtype)

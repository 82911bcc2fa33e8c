"""Checksums of a results folder: written with its files, compared when one of them is read."""

import json
from pathlib import Path

from ..errors import GroundTruthError
from ..files.atomic import write_text
from ..files.checksums import Checked, file_digest
from ..files.json_files import read_json

CHECKSUMS = "checksums.json"


def write_sums(folder: Path) -> None:
    """Writes the checksums of all files in and below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sums = {path.relative_to(folder).as_posix(): file_digest(path) for path in files}
    write_text(folder / CHECKSUMS, json.dumps(sums, indent=1) + "\n")


def is_there(path: Path) -> bool:
    """Whether a results folder holds a file of its own, as it was written.

    Raises:
        GroundTruthError: it was changed, removed or added after the folder was written.
    """
    sums = _sums_beside(path)
    if sums is None or (path.name not in sums and not path.is_file()):
        return path.is_file()
    if path.name not in sums or not path.is_file() or file_digest(path) != sums[path.name]:
        raise GroundTruthError(f"{path} {_CHANGED.format(path.with_name(CHECKSUMS))}")
    return True


def check_sum(path: Path) -> None:
    """Compares a file with its checksum, if it lies in a results folder that has one of it.

    Raises:
        GroundTruthError: it was changed after it was written.
    """
    if path.name in (_sums_beside(path) or {}):
        is_there(path)


_CHANGED = "is not what was written: run match again, or if it was changed on purpose delete {}"


def _sums_beside(path: Path) -> dict[str, str] | None:
    return read_sums(path.parent) if path.with_name(CHECKSUMS).is_file() else None


def read_sums(folder: Path) -> dict[str, str]:
    """Checksums by the file's path in the folder.

    Raises:
        GroundTruthError: they are damaged.
    """
    path = folder / CHECKSUMS
    try:
        sums = read_json(path)
        if not isinstance(sums, dict) or not all(isinstance(said, str) for said in sums.values()):
            raise ValueError("it must name a checksum per file")
        return sums
    except (OSError, ValueError) as error:
        raise GroundTruthError(f"{path} is damaged ({error}): run match again") from error


def check_all(folder: Path) -> Checked:
    """Compares all files of a results folder with their checksums."""
    if not (folder / CHECKSUMS).is_file():
        return Checked(unproven=f"{folder} has no checksums: its results are of patchvlad 0.1.0")
    try:
        sums = read_sums(folder)
    except GroundTruthError as error:
        return Checked(damage=(str(error),))
    size, damage = 0, []
    for name, said in sums.items():
        path = folder / name
        if not path.is_file():
            damage.append(f"{path} is missing: run match again")
        elif file_digest(path) != said:
            damage.append(f"{path} {_CHANGED.format(folder / CHECKSUMS)}")
        else:
            size += path.stat().st_size
    return Checked(size, tuple(damage))

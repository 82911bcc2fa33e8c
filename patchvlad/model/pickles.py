"""Files of torch.save: nothing is executed, their own checksums are compared, and equal contents make equal files.

Most are zip archives, whose CRC-32 of every part PyTorch does not look at when it reads them. Those of PyTorch before
1.6 are pickles one behind the other, without any checksum.
"""

import os
import pickle
import pickletools
import zipfile
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from ..errors import ModelError
from ..files.arrays import ALLOWED, DAMAGE, plain
from ..files.atomic import writing
from ..files.regular import UnfitFileError, check_file, check_memory

BLOCK = 1 << 20  # bytes that are checked at a time
LARGEST_PICKLE = 1 << 26  # bytes of names and shapes: 64 MiB
BEFORE_OBJECT = 3  # pickles before that of the object, in files without zip


def read_pickle(path: Path) -> Any:
    """Reads tensors, plain containers, NumPy's numbers and arrays of a torch.save file; executes nothing.

    Numbers come as Python's. What is NumPy's is never built by NumPy itself, see `arrays.py`.

    Raises:
        ModelError: it cannot be read, is damaged, or holds anything else.
    """
    try:
        size = check_file(path)
        check_memory(size, path)
        check_archive(path)
        _check_names(path)
        with torch.serialization.safe_globals(ALLOWED):
            content = plain(torch.load(path, map_location="cpu", weights_only=True))
        _check_tensors(content, size)
        return content
    except ModelError:
        raise
    except UnfitFileError as error:
        raise ModelError(f"{path} cannot be read as a checkpoint: {error}") from error
    except pickle.UnpicklingError as error:
        reason = next((line for line in str(error).splitlines() if "GLOBAL" in line or "Unsupported" in line), "")
        raise ModelError(
            f"{path} is not a checkpoint that can be loaded safely: it is damaged, or holds objects besides tensors "
            f"and numbers. {reason.strip()}"
        ) from error
    except Exception as error:  # what a damaged pickle asks for fails in any way
        reason = next(iter(str(error).splitlines()), type(error).__name__)[:200]
        raise ModelError(f"{path} cannot be read as a checkpoint ({reason}): is it complete?") from error


def write_pickle(path: str | os.PathLike, content: dict[str, Any]) -> Path:
    """Writes what `read_pickle` reads, whole or not at all; equal contents make equal files."""
    with writing(path) as file:
        torch.save(_unshared(content, {}), file)
    return Path(path)


def _unshared(content: Any, texts: dict[str, str]) -> Any:
    """The same with each container once and each text one object: pickles say which things are the same object."""
    if isinstance(content, str):
        return texts.setdefault(content, content)
    if isinstance(content, dict):
        return {_unshared(name, texts): _unshared(value, texts) for name, value in content.items()}
    if type(content) in (list, tuple):
        return type(content)(_unshared(value, texts) for value in content)
    return content


def check_archive(path: Path) -> int:
    """Compares every part of a zip archive with its CRC-32; returns how many bytes were, 0 where there is none.

    Raises:
        ModelError: a part is damaged, or the archive is none that torch.save writes.
    """
    if not is_archive(path):
        return 0
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
            _check_parts(path, parts)
            if not any(part.CRC for part in parts):  # torch.serialization.set_crc32_options(False)
                return 0
            for part in parts:
                with archive.open(part) as file:
                    while file.read(BLOCK):
                        pass
            return sum(part.file_size for part in parts)
    except zipfile.BadZipFile as error:
        raise ModelError(f"{path} is damaged ({error}): copy or fetch it again") from error
    except UnfitFileError as error:
        raise ModelError(f"{path} cannot be read as a checkpoint: {error}") from error
    except DAMAGE as error:
        raise ModelError(f"{path} cannot be read as a checkpoint ({error}): is it complete?") from error


def is_archive(path: Path) -> bool:
    """Whether PyTorch would take the file for a zip archive."""
    with open(path, "rb") as file:
        return file.read(4) == b"PK\x03\x04"


def _check_parts(path: Path, parts: list[zipfile.ZipInfo]) -> None:
    names = [part.filename for part in parts]
    if len(set(names)) < len(names):
        raise ModelError(f"{path} holds {next(n for n in names if names.count(n) > 1)} twice: fetch it again")
    for part in parts:
        if part.compress_type != zipfile.ZIP_STORED or part.file_size != part.compress_size:
            raise ModelError(f"{path}: {part.filename} in it is compressed, as torch.save never does: fetch it again")
    if sum(part.file_size for part in parts) > path.stat().st_size:
        raise ModelError(f"{path} is damaged: its parts have more bytes than the file. Copy or fetch it again")


def _check_names(path: Path) -> None:
    """Refuses pickles that make room themselves, instead of filling it from the file."""
    with open(path, "rb") as file:
        if not is_archive(path):
            for _ in range(BEFORE_OBJECT):
                _names_in(path, file)
            _names_in(path, file)
            return
    with zipfile.ZipFile(path) as archive:
        for part in archive.infolist():
            if part.filename.endswith("data.pkl"):
                if part.file_size > LARGEST_PICKLE:
                    raise ModelError(f"{path} holds a pickle of {part.file_size} bytes: it is not a checkpoint")
                with archive.open(part) as inside:
                    _names_in(path, inside)


def _names_in(path: Path, file: IO[bytes]) -> None:
    try:
        for code, argument, _ in pickletools.genops(file):
            if code.name in ("GLOBAL", "INST") and str(argument).endswith(" bytearray"):  # of any length, at once
                raise ModelError(f"{path} is not a checkpoint that can be loaded safely: it asks for {argument}")
    except DAMAGE:  # is told by whoever reads it
        return


def _check_tensors(content: Any, size: int) -> None:
    """Refuses what would fill the memory once it is copied: tensors that repeat the file's bytes, or hold none."""
    total, waiting, seen = 0, [content], set()
    while waiting:
        found = waiting.pop()
        if isinstance(found, Tensor):
            if found.layout is not torch.strided or found.is_quantized or found.is_nested or found.device.type != "cpu":
                raise ValueError("a tensor that is sparse, quantised, nested or without numbers")
            total += found.numel() * found.element_size()
        elif isinstance(found, dict | list | tuple) and id(found) not in seen:
            seen.add(id(found))
            waiting.extend(found.values() if isinstance(found, dict) else found)
    if total > 2 * size + BLOCK:
        raise ValueError(f"tensors of {total} bytes in a file of {size}")

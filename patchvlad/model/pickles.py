"""Files of torch.save: read without executing anything, written so that equal contents make equal files."""

import os
import pickle
from pathlib import Path
from typing import Any

import torch

from ..errors import ModelError
from ..files.arrays import ALLOWED, plain
from ..files.atomic import writing


def read_pickle(path: Path) -> Any:
    """Reads tensors, plain containers, NumPy's numbers and arrays of a torch.save file; executes nothing.

    Numbers come as Python's. What is NumPy's is never built by NumPy itself, see `arrays.py`.
    """
    try:
        with torch.serialization.safe_globals(ALLOWED):
            return plain(torch.load(path, map_location="cpu", weights_only=True))
    except pickle.UnpicklingError as error:
        reason = next((line for line in str(error).splitlines() if "GLOBAL" in line or "Unsupported" in line), "")
        raise ModelError(
            f"{path} is not a checkpoint that can be loaded safely: it is damaged, or holds objects besides tensors "
            f"and numbers. {reason.strip()}"
        ) from error
    except Exception as error:  # what a damaged pickle asks for fails in any way
        reason = next(iter(str(error).splitlines()), type(error).__name__)
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

"""Named tensors in .safetensors files, with a checksum of every tensor and of the settings beside them.

Metadata are texts by name. `checksums` among them is a record of "dtype shape XXH3" for each tensor, and of the XXH3 of
the settings; the settings say that there are such, so that nothing gets lost without being missed.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor, uint8

from ..errors import ModelError, counted
from ..files.checksums import digest
from ..files.json_files import parse_json
from ..files.regular import UnfitFileError, check_file, check_memory
from ..files.tensors import write_tensors

SETTINGS, SUMS = "settings", "checksums"
KIND = "XXH3"


def write_summed(path: str | os.PathLike, tensors: dict[str, Tensor], format: str, settings: dict) -> None:
    """Writes a .safetensors file, whole or not at all; equal contents make equal bytes.

    Args:
        path: the file.
        tensors: on the CPU, contiguous.
        format: kept as `format`.
        settings: kept as `settings`, JSON.

    Raises:
        ModelError: a tensor holds NaN or infinity.
    """
    check_finite(path, tensors)
    said = json.dumps({**settings, SUMS: KIND})
    sums = {SETTINGS: digest(said.encode()), "tensors": {name: _sum(tensor) for name, tensor in tensors.items()}}
    metadata = {"format": format, SETTINGS: said, SUMS: json.dumps(sums, sort_keys=True)}
    write_tensors(path, {name: tensor.numpy() for name, tensor in tensors.items()}, metadata)


def read_summed(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of a .safetensors file, which are what was written where it has checksums.

    Raises:
        ModelError: it cannot be read, or is damaged.
    """
    try:
        check_memory(check_file(path), path)
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except UnfitFileError as error:
        raise ModelError(f"{path} cannot be read as a .safetensors checkpoint: {error}") from error
    except (SafetensorError, OSError, ValueError, TypeError, MemoryError) as error:
        raise ModelError(f"{path} cannot be read as a .safetensors checkpoint ({error}): is it complete?") from error
    damaged = _differing(metadata, tensors)
    if damaged:
        raise ModelError(
            f"{path} is damaged: the {counted(len(damaged), 'checksum')} of {', '.join(damaged[:3])} "
            f"{'is' if len(damaged) == 1 else 'are'} wrong or missing. Copy or fetch it again"
        )
    return metadata, tensors


def has_sums(metadata: dict[str, str]) -> bool:
    """Whether the file of these metadata has checksums."""
    return SUMS in metadata


def check_finite(path: str | os.PathLike, named: Mapping[Any, Any]) -> None:
    """Raises ModelError where a tensor holds NaN or infinity; values that are no tensors are passed by."""
    for name, tensor in named.items():
        if isinstance(tensor, Tensor) and tensor.is_floating_point() and tensor.numel():
            low, high = tensor.aminmax()  # both are NaN where a single number is
            if not (low.isfinite() and high.isfinite()):
                raise ModelError(f"{path}: {name} holds NaN or infinity: no descriptor can be computed with it")


def _differing(metadata: dict[str, str], tensors: dict[str, Tensor]) -> list[str]:
    """What is not as its checksum says, by name; nothing where a file of older versions or other tools has none."""
    said = metadata.get(SETTINGS, "")
    if SUMS not in metadata:
        return ["the settings"] if f'"{SUMS}": "{KIND}"' in said else []
    try:
        sums = parse_json(metadata[SUMS])
        settings, kept = sums[SETTINGS], dict(sums["tensors"])
    except (ValueError, TypeError, KeyError):
        return ["all tensors"]
    wrong = [] if settings == digest(said.encode()) else ["the settings"]
    wrong += [name for name, tensor in tensors.items() if kept.pop(name, None) != _sum(tensor)]
    return wrong + list(kept)


def _sum(tensor: Tensor) -> str:
    kind, shape = str(tensor.dtype).removeprefix("torch."), "x".join(map(str, tensor.shape))
    return f"{kind} {shape} {digest(tensor.detach().contiguous().reshape(-1).view(uint8).numpy().data)}"

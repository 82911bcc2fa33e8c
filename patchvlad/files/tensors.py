"""Tensors in .safetensors, written so that equal tensors make equal files.

    8 bytes    length of the header, little-endian
    header     JSON: {"__metadata__": {name: text}, tensor: {"dtype", "shape", "data_offsets"}}, filled up with spaces
    data       of one tensor after the other, wide numbers first

The library's own writer puts metadata in another order in every run, and holds a second copy of the whole in memory.
"""

import json
import os
from collections.abc import Mapping

import numpy as np

from .atomic import writing

DTYPES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "int64": "I64",
    "int32": "I32",
    "int8": "I8",
    "uint8": "U8",
}


def write_tensors(path: str | os.PathLike, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Writes arrays and texts, whole or not at all.

    Args:
        path: the file.
        tensors: arrays of any shape by name.
        metadata: texts by name.

    Raises:
        OutputError: the disk is full, or the file may not be written.
    """
    names = sorted(tensors, key=lambda name: (-tensors[name].itemsize, name))
    header: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))}
    end = 0
    for name in names:
        array, start = tensors[name], end
        end = start + array.nbytes
        header[name] = {"dtype": DTYPES[array.dtype.name], "shape": array.shape, "data_offsets": (start, end)}
    said = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    said += b" " * (-len(said) % 8)
    with writing(path) as file:
        file.write(len(said).to_bytes(8, "little") + said)
        for name in names:
            array = tensors[name]
            if array.size:
                file.write(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).data)

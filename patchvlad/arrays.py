"""Reading arrays that others wrote: nothing is executed, and whatever is wrong with a file is one kind of error."""

import os
import pickle
import tokenize
import zipfile
import zlib

import numpy as np

# What NumPy, zipfile and pickle raise over files that are damaged, or something else.
DAMAGE = (
    *(OSError, EOFError, ValueError, TypeError, AttributeError, LookupError, RuntimeError, OverflowError, MemoryError),
    *(SyntaxError, tokenize.TokenError, zipfile.BadZipFile, zlib.error, pickle.UnpicklingError),
)


def read_array(path: str | os.PathLike, mapped: bool = False) -> np.ndarray:
    """Reads an .npy.

    Args:
        path: the file.
        mapped: whether to leave it on disk until it is looked at.

    Raises:
        ValueError: it cannot be read, or is no single array.
    """
    try:
        array = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except DAMAGE as error:
        raise ValueError(str(error) or type(error).__name__) from error
    if not isinstance(array, np.ndarray):
        raise ValueError("an archive of several arrays: save one with numpy.save")
    return array


def read_object_array(path: str | os.PathLike) -> np.ndarray:
    """Reads an .npy of Python objects, of which only arrays, lists and numbers are accepted.

    Raises:
        ValueError: it cannot be read, or asks for anything else.
    """
    try:
        with open(path, "rb") as file:
            version = np.lib.format.read_magic(file)
            readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            if version not in readers:
                raise ValueError(f"version {version} of the format")
            shape, _, dtype = readers[version](file)
            if not dtype.hasobject:
                return read_array(path)
            found = _ArraysOnly(file).load()
    except DAMAGE as error:
        raise ValueError(str(error) or type(error).__name__) from error
    if not isinstance(found, np.ndarray) or found.shape != shape:
        raise ValueError("its contents are not what its header says")
    return found


class _ArraysOnly(pickle.Unpickler):
    """Finds nothing but what NumPy's own arrays and numbers are made of."""

    def find_class(self, module: str, name: str) -> object:
        parts = {
            "_reconstruct": np.empty(0).__reduce__()[0],
            "scalar": np.int64(0).__reduce__()[0],
            "ndarray": np.ndarray,
            "dtype": np.dtype,
        }
        if module in ("numpy", "numpy.core.multiarray", "numpy._core.multiarray") and name in parts:
            return parts[name]
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no array of numbers needs")

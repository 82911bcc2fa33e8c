"""Reading arrays that others wrote: nothing is executed, and whatever is wrong with a file is one kind of error."""

import math
import os
import pickle
import struct
import tokenize
import zipfile
import zlib
from typing import Any, ClassVar

import numpy as np

from .npy import check_header
from .regular import check_file, check_memory

# What NumPy, zipfile and pickle raise over files that are damaged, or something else.
DAMAGE = (
    *(OSError, EOFError, ValueError, TypeError, AttributeError, LookupError, RuntimeError, OverflowError, MemoryError),
    *(SyntaxError, tokenize.TokenError, zipfile.BadZipFile, zlib.error, pickle.UnpicklingError, struct.error),
    AssertionError,
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
        size = check_file(path)
        if _is_archive(path):
            raise ValueError("it is an archive of several arrays: save one with numpy.save")
        header = check_header(path, size)
        if not mapped:
            check_memory(header.size, path)
        return np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except DAMAGE as error:
        raise ValueError(" ".join(str(error).split())[:200] or type(error).__name__) from error


def _is_archive(path: str | os.PathLike) -> bool:
    with open(path, "rb") as file:
        return file.read(2) == b"PK"


def read_object_array(path: str | os.PathLike) -> list:
    """Reads an .npy of Python objects: nested lists of numbers, in whatever mixture of lists, arrays and ranges.

    Such a file is a pickle. It calls nothing of NumPy: arrays and numbers become records of shape, dtype and bytes, and
    these are read only where they fit each other.

    Raises:
        ValueError: it cannot be read, or asks for anything else.
    """
    try:
        check_file(path, LARGEST_PICKLE)
        with open(path, "rb") as file:
            version = np.lib.format.read_magic(file)
            readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            if version not in readers:
                raise ValueError(f"version {version} of the format")
            shape, _, dtype = readers[version](file)
            if not dtype.hasobject:
                return np.atleast_1d(read_array(path)).tolist()
            found = _Records(file, encoding="latin1").load()
        if not isinstance(found, _Array) or found.shape() != shape:
            raise ValueError("its contents are not what its header says")
        return _Lists(SHARED * os.path.getsize(path)).of(found)
    except DAMAGE as error:
        raise ValueError(" ".join(str(error).split())[:200] or type(error).__name__) from error


LARGEST_PICKLE = 1 << 28  # bytes of a file of objects
SHARED = 64  # times that the parts of a file may stand in several places, on average
DEPTH = 4  # of lists in lists: queries, positives, and an axis more each


class _Records(pickle._Unpickler):  # type: ignore[name-defined,misc]
    """Finds records for what NumPy's arrays and numbers are made of, and nothing else.

    Python's own unpickler, because that in C makes room for whatever number a file gives to a part; and no buffers, for
    which room is made before they are read.
    """

    dispatch: ClassVar[dict] = {
        code: load
        for code, load in pickle._Unpickler.dispatch.items()  # type: ignore[attr-defined]
        if code not in (*pickle.BYTEARRAY8, *pickle.NEXT_BUFFER, *pickle.READONLY_BUFFER)
    }

    def find_class(self, module: str, name: str) -> object:
        if (module, name) in _PARTS:
            return _Part(name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no array of numbers needs")


_PARTS = {
    *(("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")),
    *(("builtins", "bytes"), ("__builtin__", "bytes"), ("builtins", "range"), ("__builtin__", "xrange")),
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
}


class _Lists:
    """Makes nested lists of records, up to so many values."""

    def __init__(self, most: int) -> None:
        self.left = most

    def of(self, value: Any, depth: int = 0) -> Any:
        self.left -= 1
        if self.left < 0 or depth > DEPTH:
            raise ValueError("lists in lists without end")
        if isinstance(value, _Array):
            return self.of(value.values(), depth)
        if isinstance(value, list | tuple):
            return [self.of(part, depth + 1) for part in value]
        return value


class _Part:
    """Stands for a function or class of that name; all it can do is to make a record."""

    __slots__ = ("name",)
    name: str

    def __init__(self, name: str) -> None:
        object.__setattr__(self, "name", name)

    def __setattr__(self, name: str, value: object) -> None:
        raise pickle.UnpicklingError("it changes what it asks for")

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("it changes what it asks for")

    def __call__(self, *arguments: object) -> object:
        if self.name == "dtype" and arguments and isinstance(arguments[0], str):
            return _Dtype(arguments[0])
        if self.name == "bytes" and not arguments:
            return b""
        if self.name in ("range", "xrange") and 1 <= len(arguments) <= 3:
            limits = [value for value in arguments if type(value) is int and abs(value) < 2**53]
            if len(limits) == len(arguments):
                return range(*limits)  # its numbers are made by who reads them
        if self.name == "_reconstruct":
            return _Array()
        if self.name == "scalar" and len(arguments) == 2 and isinstance(arguments[0], _Dtype):
            return _numbers(arguments[0], arguments[1], 1)[0]
        if self.name == "encode" and len(arguments) == 2 and isinstance(arguments[0], str) and arguments[1] == "latin1":
            return arguments[0].encode("latin1")
        raise pickle.UnpicklingError(f"it calls {self.name} in a way that no array of numbers does")


class _Dtype:
    """What a dtype says: its letter and size, and then its order of bytes."""

    def __init__(self, code: str) -> None:
        self.code, self.order = code, "="

    def __setstate__(self, state: tuple) -> None:
        _, self.order, *structure = state[:5]
        if any(structure):
            raise pickle.UnpicklingError("a dtype of several fields")

    @property
    def objects(self) -> bool:
        return self.code in ("O", "O4", "O8")


class _Array:
    """What an array says: its shape, dtype and contents."""

    def __init__(self) -> None:
        self.state: tuple = ()

    def __setstate__(self, state: tuple) -> None:
        self.state = state

    def shape(self) -> tuple[int, ...]:
        shape = self.state[1]
        if not isinstance(shape, tuple) or not all(type(size) is int and size >= 0 for size in shape):
            raise ValueError("a shape with something else than whole numbers")
        return shape

    def values(self) -> list:
        """Nested lists, one level per axis; parts that are records still."""
        _, _, dtype, fortran, contents = self.state
        count = math.prod(self.shape())
        if not isinstance(dtype, _Dtype):
            raise ValueError("an array without a dtype")
        if not count:
            return []
        if not dtype.objects:
            flat = np.array(_numbers(dtype, contents, count))
            return flat.reshape(self.shape(), order="F" if fortran else "C").tolist()
        if not isinstance(contents, list) or len(contents) != count or len(self.shape()) > 2:
            raise ValueError("an array of another length than its shape says")
        if len(self.shape()) < 2:
            return contents
        rows, columns = self.shape()
        return [contents[row * columns : (row + 1) * columns] for row in range(rows)]  # in C's order always


# For torch.load(weights_only=True): what a pickle may name, and what stands for it; then what it may set the state of,
# by names that no pickle can say.
ALLOWED: list = [
    *((_Part(name), f"{module}.{name}") for module, name in sorted(_PARTS)),
    *((kind, f"\n{kind.__name__}") for kind in (_Dtype, _Array)),
]


def plain(content: Any, done: dict[int, Any] | None = None) -> Any:
    """The same with records of arrays made arrays of numbers, in whatever dictionaries and lists they stand."""
    done = {} if done is None else done
    if id(content) in done:
        return done[id(content)]
    made = content
    if isinstance(content, _Array):
        made = np.array(_Lists(DEPTH * (math.prod(content.shape()) + 1)).of(content))
    elif isinstance(content, dict):
        done[id(content)] = content
        content.update({key: plain(value, done) for key, value in content.items()})
    elif type(content) in (list, tuple):
        made = type(content)(plain(value, done) for value in content)
    done[id(content)] = made
    return made


def _numbers(dtype: _Dtype, contents: object, count: int) -> list:
    """So many numbers of plain bytes."""
    if isinstance(contents, str):  # of Python 2
        contents = contents.encode("latin1")
    if dtype.code not in PLAIN or dtype.order not in ("<", ">", "=", "|") or not isinstance(contents, bytes):
        raise ValueError(f"numbers of dtype {dtype.code!r}")
    kind = np.dtype(("=" if dtype.order == "|" else dtype.order) + dtype.code)
    if len(contents) != count * kind.itemsize:
        raise ValueError("numbers of another length than their shape says")
    return np.frombuffer(contents, dtype=kind).tolist()


PLAIN = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")

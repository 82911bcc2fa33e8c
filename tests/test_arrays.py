"""Arrays that strangers wrote: read for what they are, or refused; nothing is executed, and nothing crashes."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from patchvlad.files.arrays import read_array, read_object_array


def objects(*rows: tuple) -> np.ndarray:
    array = np.empty((len(rows), len(rows[0])), dtype=object)
    for row, values in enumerate(rows):
        for column, value in enumerate(values):
            array[row, column] = value
    return array


def write(path: Path, content: bytes, shape: tuple = (2, 2)) -> Path:
    """A pickle behind the head of an .npy of objects."""
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": shape})
        file.write(content)
    return path


ROWS = objects((0, [3, 4]), (np.int64(1), np.array([[5], [6]], dtype=np.uint8)))


@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize("core", ["core", "_core"])
def test_arrays_of_every_protocol_and_age(protocol: int, core: str, tmp_path: Path) -> None:
    content = pickle.dumps(ROWS, protocol=protocol)
    if protocol < 4:  # names there have no length before them
        content = content.replace(b"numpy._core", b"numpy." + core.encode())
    assert read_object_array(write(tmp_path / "a.npy", content)) == [[0, [3, 4]], [1, [[5], [6]]]]


def test_orders_of_rows_columns_and_bytes(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.asfortranarray(objects((0, [1]), (2, np.array([3.0, 4.5], dtype=">f4")))))
    assert read_object_array(tmp_path / "a.npy") == [[0, [1]], [2, [3, 4.5]]]
    np.save(tmp_path / "b.npy", np.arange(4).reshape(2, 2))
    assert [list(row) for row in read_object_array(tmp_path / "b.npy")] == [[0, 1], [2, 3]]


class Runs:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_nothing_is_executed(tmp_path: Path) -> None:
    trap = Runs(tmp_path / "sprung")
    for content in (pickle.dumps(trap), pickle.dumps([trap]), pickle.dumps(objects((0, trap), (1, 2)))):
        with pytest.raises(ValueError, match="mkdir, which no array of numbers needs"):
            read_object_array(write(tmp_path / "a.npy", content))
    assert not trap.folder.exists()


def build(function: str, arguments: bytes, state: bytes) -> bytes:
    """Calls a function of NumPy with arguments, then sets a state, in pickle's own words."""
    module, name = function.rsplit(".", 1)
    return b"c" + module.encode() + b"\n" + name.encode() + b"\n" + arguments + b"R" + state + b"b."


DTYPE = "numpy.dtype"
ARRAY = b"cnumpy\nndarray\n(I0\ntS'b'\n"


@pytest.mark.parametrize(
    "content",
    [
        # An object dtype whose flag is cleared, so that bytes would be taken for pointers.
        build(DTYPE, b"(S'O8'\nI0\nI1\nt", b"(I3\nS'|'\nNNNI-1\nI-1\nI0\nt"),
        # Fields beyond the item, subarrays, void and text.
        build(DTYPE, b"(S'V16'\nI0\nI1\nt", b"(I3\nS'|'\nN(S'a'\nt(dI16\nI1\nI0\nt"),
        build(DTYPE, b"(S'V8'\nt", b"(I3\nS'|'\nNNNI8\nI1\nI0\nt"),
        # ndarray called by itself.
        b"cnumpy\nndarray\n((I1\ntS'O'\nS'AAAAAAAA'\ntR.",
        b"cnumpy\nndarray\n(I1000000000000\ntR.",
        # Arrays that say another shape than they have.
        *(
            b"cnumpy._core.multiarray\n_reconstruct\n(" + ARRAY + b"tR(I1\n(I2\nI2\nt" + rest
            for rest in (
                b"cnumpy\ndtype\n(S'O8'\ntRI00\n(lI1\natb.",
                b"cnumpy\ndtype\n(S'i8'\ntRI00\nS'AAAA'\ntb.",
                b"cnumpy\ndtype\n(S'O8'\ntRI00\nS'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'\ntb.",
                b"NI00\n(ltb.",
            )
        ),
        b"cnumpy._core.multiarray\n_reconstruct\n(" + ARRAY + b"tR.",
        b"cnumpy._core.multiarray\n_reconstruct\n(" + ARRAY + b"tR(I1\n(I-1\nI-4\nt" + b"NI00\n(ltb.",
        # The stand-ins cannot be changed, nor reached into.
        b"cnumpy\ndtype\n}S'name'\nS'encode'\nsb.",
        b"cnumpy\ndtype\nN}S'name'\nS'encode'\ns\x86b.",
        b"\x80\x04\x8c\x05numpy\x8c\x0edtype.__init__\x93.",
        b"c_codecs\nencode\n(S'a'\nS'rot13'\ntR.",
        b"I1\n.",
        b"",
        b"\x80\x05garbage",
    ],
)
def test_hostile_files_are_refused(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        read_object_array(write(tmp_path / "a.npy", content))


def test_any_mixture_of_lists_tuples_and_arrays(tmp_path: Path) -> None:
    lists = np.empty(2, dtype=object)
    lists[0], lists[1] = [0, np.array([3, 4])], (np.int64(1), [np.uint8(5), np.array(6)])
    np.save(tmp_path / "a.npy", lists)
    assert read_object_array(tmp_path / "a.npy") == [[0, [3, 4]], [1, [5, 6]]]
    np.save(tmp_path / "b.npy", objects((0, np.zeros((3, 0))), (1, [])))
    assert read_object_array(tmp_path / "b.npy") == [[0, []], [1, []]]


def test_small_files_take_little_time_and_memory(tmp_path: Path) -> None:
    shared: list = [1]
    for _ in range(40):
        shared = [shared, shared]
    nested: list = []
    for _ in range(5000):
        nested = [nested]
    cyclic: list = []
    cyclic.append(cyclic)
    for value in (shared, nested, cyclic, np.zeros((10**9, 0))):
        try:
            path = write(tmp_path / "a.npy", pickle.dumps(objects((0, value), (1, [2])), protocol=4))
        except RecursionError:
            continue
        if isinstance(value, np.ndarray):
            assert read_object_array(path) == [[0, []], [1, [2]]]
        else:
            with pytest.raises(ValueError, match="lists in lists without end"):
                read_object_array(path)
    for content in (
        b"I1\nr" + (1 << 31).to_bytes(4, "little") + b".",
        b"\x96" + (1 << 40).to_bytes(8, "little") + b".",
    ):
        with pytest.raises(ValueError):
            read_object_array(write(tmp_path / "a.npy", content))


def test_other_damage(tmp_path: Path) -> None:
    for content in (b"", b"\x93NUMPY\x09\x00", b"\x93NUMPY\x01\x00\x10\x00{'descr': '|O', "):
        (tmp_path / "a.npy").write_bytes(content)
        for read in (read_array, read_object_array):
            with pytest.raises(ValueError):
                read(tmp_path / "a.npy")
    np.savez(tmp_path / "a.npz", x=np.zeros(2))
    with pytest.raises(ValueError, match="an archive of several arrays"):
        read_array(tmp_path / "a.npz")
    with pytest.raises(ValueError):
        read_array(tmp_path / "nowhere.npy")

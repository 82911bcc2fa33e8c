"""Hostile and damaged files by the hundred: each with its outcome in one table, told at once and in little memory."""

import json
import pickle
import re
import struct
import time
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import toy
from fuzz_targets import (
    CONFIG,
    KAPTURE,
    MAKING,
    NAMES,
    SETTINGS,
    STATE,
    TARGETS,
    TRAIN,
    data_pkl,
    feed,
    hdf5,
    in_hdf5,
    manifests,
    mat,
    model_file,
    npy,
    npz,
    torch_file,
    toy_backbone,
    vpr_bench,
    zipped,
)
from safetensors.torch import save

from patchvlad.model import checkpoints
from patchvlad.model.registry import BACKBONES

READ = ""  # the outcome of a file that is odd, and read all the same
Case = tuple[str, str, bytes, str]  # reader, what is wrong, the file, and what its error says
DEEP = "[" * 200_000
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
PAGE = b"<!DOCTYPE html><html><body>404</body></html>"


# --- .npy and .npz --------------------------------------------------------------------------------------------------


def header(said: str, data: bytes = bytes(48), version: bytes = b"\x01\x00", length: int | None = None) -> bytes:
    text = said.encode() + b"\n"
    size = len(text) if length is None else length
    return b"\x93NUMPY" + version + struct.pack("<H" if version == b"\x01\x00" else "<I", size) + text + data


def said(descr: str = "'<f4'", order: str = "False", shape: str = "(3, 4)") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"


def arrays() -> Iterator[tuple[str, bytes, str]]:
    """Headers of .npy that cannot be read, or say what is not so."""
    whole = npy(np.ones((3, 4), "f4"))
    for shape in ("(3, 5)", "(3, 3)", "(12000000000, 4)", "(6, 4)", "()", "(3, 4, 2)", "(3,)", "(1, 1)", "(10**9, 4)"):
        yield f"shape {shape}", header(said(shape=shape)), "says .* of numbers, and|header cannot be read"
    for shape in ("(-3, -4)", "(-1,)", "(3, -4)", "(281474976710656, 0)"):
        yield f"shape {shape}", header(said(shape=shape)), "its header says|cannot be read"
    for shape in ("3", "[3, 4]", "(3.0, 4.0)", "None", "'3'", "(3, '4')", "{3: 4}", "(1e30,)", f"({'9' * 5000},)"):
        yield f"shape {shape[:20]}", header(said(shape=shape)), "its header cannot be read|its header says"
    for descr in ("'<f8'", "'<f2'", "'<i8'", "'<u2'", "'<c16'", "'|b1'"):
        yield f"dtype {descr}", header(said(descr)), "says .* of numbers, and"
    for descr in ("'|O'", "'O'", "object", "'<x4'", "'junk'", "None", "5", "[('a', '<f4')]", "'V4'", "('<f4', (2,))"):
        yield f"dtype {descr}", header(said(descr)), "Python objects instead|its header (says|cannot be read)"
    for descr in ("'|S0'", "'<U0'", "'|V0'"):
        yield f"dtype {descr}", header(said(descr, shape="(10, 10)"), b""), "its header (says|cannot be read)"
    for order in ("None", "0", "'C'", "[True]"):
        yield f"order {order}", header(said(order=order)), "its header cannot be read"
    for text in ("", "{}", "{'descr': '<f4'}", "[]", "None", "{", "\x00" * 60, "__import__('os').abort()", "1+1"):
        yield f"header {text[:12]!r}", header(text), "its header cannot be read"
    yield "a key too many", header(said()[:-1] + "'more': 1}"), "its header cannot be read"
    yield "brackets", header("(" * 9000), "its header cannot be read"
    yield "200,000 brackets", header(DEEP, version=b"\x02\x00"), "its header cannot be read"
    yield "a header of 4 GB", header(said(), version=b"\x02\x00", length=2**32 - 1), "its header cannot be read"
    yield "a header beyond the file", header(said(), length=60_000), "its header cannot be read"
    for version in (b"\x00\x00", b"\x03\x00", b"\x09\x09", b"\xff\xff"):
        yield f"version {version!r}", header(said(), version=version), "its header cannot be read: (version|we only)"
    yield "truncated", whole[:-1], "says 48 bytes of numbers, and 47 bytes are there"
    yield "a byte too many", whole + b"\0", "says 48 bytes of numbers, and 49 bytes are there"
    yield "a header alone", whole[:128], "says 48 bytes of numbers, and 0 bytes are there"
    for cut in (0, 3, 6, 8, 10, 40):
        yield f"{cut} bytes", whole[:cut], "its header cannot be read"
    yield "an archive", npz(a=np.ones(3)), "an archive of several arrays"
    yield "a pickle", pickle.dumps([1, 2]), "its header cannot be read"
    yield "a pointer", POINTER, "a Git LFS pointer"
    yield "a page", PAGE, "a web page"
    yield "text", b"1 2 3\n", "its header cannot be read"
    yield "the other order of bytes", npy(np.ones((3, 4), ">f4")), READ
    yield "the other order of axes", npy(np.asfortranarray(np.ones((3, 4)))), READ
    yield "nothing in it", npy(np.ones((0, 4))), READ


def descriptors() -> Iterator[tuple[str, bytes, str]]:
    for value in (np.nan, np.inf, -np.inf, 1e300):
        yield f"{value}", npy(np.array([[1, 2], [3, value], [5, 6]])), r"the descriptor of db/2\.jpg is NaN or infinity"
    yield "zeros", npy(np.zeros((3, 4))), r"the descriptor of db/1\.jpg is zero"
    yield "texts", npy(np.array([["a"], ["b"], ["c"]])), "holds <U1"
    yield "complex", npy(np.ones((3, 4), "c8")), "holds complex64"
    yield "true and false", npy(np.ones((3, 4), "?")), "holds bool"
    yield "one axis", npy(np.ones(3)), r"holds float64 \(3,\)"
    yield "other images", npy(np.ones((4, 4))), "holds 4 descriptors for 3 images"
    yield "objects", npy(np.array([[None]] * 3)), "holds Python objects instead of numbers"


def rows() -> Iterator[tuple[str, bytes, str]]:
    for label, array in {
        "beyond the database": np.array([[0], [3]]),
        "below -1": np.array([[0], [-2]]),
        "huge": np.array([[0], [2**62]]),
        "unsigned": np.array([[0], [2**64 - 1]], np.uint64),
        "fractions": np.array([[0.5], [1]]),
        "one axis": np.array([0, 1]),
        "three axes": np.zeros((2, 1, 1), int),
        "other queries": np.zeros((3, 1), int),
    }.items():
        yield label, npy(array), "holds"
    yield "twice", npy(np.array([[0, 0], [1, 1]])), "twice|"


def damaged(data: bytes) -> bytes:
    return data[:60] + bytes([data[60] ^ 1]) + data[61:]


def truths() -> Iterator[tuple[str, bytes, str]]:
    good = {"utmQ": np.zeros((2, 2)), "utmDb": np.ones((3, 2)), "posDistThr": np.array(25.0)}
    for name in good:
        yield f"without {name}", npz(**{key: value for key, value in good.items() if key != name}), name
    for name, value in (
        *(("utmQ", value) for value in (np.zeros(()), np.zeros((2, 3, 4)), np.array(["a", "b"]), np.zeros((9, 2)))),
        *(("utmQ", np.array([[0, value], [0, 0]])) for value in (np.nan, np.inf)),
        *(("posDistThr", value) for value in (np.array([1, 2]), np.array("x"), np.array(np.nan), np.array(-1.0))),
        ("utmDb", np.zeros((3, 3))),
        ("utmDb", np.array([[None, 1]] * 3)),
    ):
        yield f"{name} {value.shape} {value.ravel()[:2]!s}", npz(**{**good, name: value}), "file.npz"
    bomb = header(said("'<f8'", shape="(12500000, 2)"), bytes(200_000_000))
    yield "a bomb", zipped(("utmQ.npy", bomb), compression=zipfile.ZIP_DEFLATED), "file.npz"
    wide = header(said("'<f8'", shape="(10000000000000, 2)"))
    for label, data in {
        "a header of 160 TB": zipped(("utmQ.npy", wide), compression=zipfile.ZIP_DEFLATED),
        "a member of text": zipped(("utmQ.npy", b"text")),
        "an empty archive": zipped(),
        "a damaged member": damaged(npz(**good)),
        "half": npz(**good)[:300],
        "no archive": b"PK\x03\x04" + bytes(60),
        "an array": npy(np.ones((2, 2))),
        "a pointer": POINTER,
        "a page": PAGE,
        "nothing": b"",
    }.items():
        yield label, data, "file.npz"


def objects() -> Iterator[tuple[str, bytes, str]]:
    (whole,) = vpr_bench()
    head = header("{'descr': '|O', 'fortran_order': False, 'shape': (2, 2), }", b"")
    many: object = [1]
    for _ in range(60):
        many = [many, many]
    for label, content in {
        "a command": b"cos\nsystem\n(S'true'\ntR.",
        "eval": b"cbuiltins\neval\n(S'1'\ntR.",
        "numpy's own": b"cnumpy\nfromfile\n(S'/etc/passwd'\ntR.",
        "a bytearray": b"cbuiltins\nbytearray\n(I1000000000000\ntR.",
        "lists in lists": b"]" * 200_000 + b"a" * 199_999 + b".",
        "lists shared for ever": pickle.dumps(many),
        "a range for ever": b"cbuiltins\nrange\n(I9000000000000000\ntR.",
        "nothing": b"",
        "a number": b"I1\n.",
        "a huge number": b"L" + b"9" * 100_000 + b"L\n.",
        "an endless text": b"X\xff\xff\xff\xff",
    }.items():
        yield label, head + content, "file.npy"
    yield "half", whole[:-20], "file.npy"
    yield "a pointer", POINTER, "file.npy"


def element(kind: int, data: bytes) -> bytes:
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


def matrix(kind: int, shape: tuple[int, ...], body: bytes = b"", name: bytes = b"dbStruct") -> bytes:
    """A variable of MATLAB's format 5, of that class of arrays."""
    shaped = element(5, struct.pack(f"<{len(shape)}i", *shape))
    return element(14, element(6, struct.pack("<II", kind, 0)) + shaped + element(1, name) + body)


def matlab() -> Iterator[tuple[str, bytes, str]]:
    head = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    nested = matrix(6, (1, 1), element(9, bytes(8)))
    for _ in range(3000):
        nested = matrix(1, (1, 1), nested)
    fields = element(5, struct.pack("<i", 32)) + element(1, b"utmDb".ljust(32, b"\0"))
    for label, data, decided in (
        ("10 ** 10 cells", matrix(1, (100_000, 100_000)), "10000000000 cells in"),
        ("10 ** 10 structures", matrix(2, (100_000, 100_000), fields), "10000000000 cells in"),
        ("cells, packed", element(15, zlib.compress(matrix(1, (100_000, 100_000)))), "10000000000 cells in"),
        ("fewer than no cells", matrix(1, (-1, 5)), "a matrix without a class or dimensions"),
        ("cells in cells", nested, "cells in cells without end"),
        ("more numbers than there are", matrix(6, (2_000_000_000, 2), element(9, bytes(16))), "file.mat"),
        ("a sparse matrix", matrix(5, (2_000_000_000, 2_000_000_000)), "file.mat"),
        ("a text of 10 GB", matrix(4, (100_000, 100_000), element(16, b"aa")), "file.mat"),
        ("an object", matrix(3, (1, 1), element(1, b"x") + fields), "file.mat"),
        ("a function", matrix(16, (1, 1)), "file.mat"),
        ("a bomb", element(15, zlib.compress(bytes(1 << 20)) * 1)[:200], "file.mat"),
        ("another variable", matrix(6, (1, 1), element(9, bytes(8)), b"x"), "it has no dbStruct, but x"),
    ):
        yield label, head + data, decided
    yield "format 4", struct.pack("<iiiii", 0, 2 * 10**9, 2 * 10**9, 0, 9) + b"dbStruct\0" + bytes(8), "file.mat"
    for name in ("dbImageFns", "utmDb", "qImageFns", "utmQ"):
        for value in (np.array([np.nan, 1.0]), "x", np.zeros((0, 0))):
            yield f"{name} {value}", mat(**{name: value}), "file.mat"
    for cut in (0, 10, 128, 200):
        yield f"{cut} bytes", mat()[:cut], "file.mat"
    yield "a pointer", POINTER, "file.mat"
    yield "a page", PAGE, "file.mat"


# --- models ---------------------------------------------------------------------------------------------------------


def checkpoint_files() -> Iterator[tuple[str, bytes, str]]:
    state = toy.released(toy.model())
    whole = torch_file(STATE)
    for label, changed in {
        "NaN": state | {"WPCA.0.bias": torch.full((7,), torch.nan)},
        "infinity": state | {"pool.centroids": torch.full((3, 4), torch.inf)},
        "no axis": state | {"pool.centroids": torch.tensor(1.0)},
        "no numbers": state | {"WPCA.0.weight": torch.zeros(7, 0, 1, 1)},
        "another length": state | {"pool.centroids": torch.ones(3, 5)},
        "complex": state | {"pool.centroids": torch.ones(3, 4, dtype=torch.complex64)},
        "numbers for names": state | {1: torch.ones(2)},
        "texts for tensors": state | {"pool.centroids": "x"},
        "nothing": {},
        "more": state | {"more": torch.ones(1)},
    }.items():
        yield label, torch_file({"state_dict": changed}), "file.pth.tar"
        yield f"{label}, before 1.6", torch_file({"state_dict": changed}, False), "file.pth.tar"
    for label, content in {
        "a list": [1],
        "a number": 5,
        "a text": "x",
        "a tensor": torch.ones(3),
        "none": None,
    }.items():
        yield label, torch_file(content), "holds no 'state_dict'"
    for label, data in {
        "empty": b"",
        "zeros": bytes(1000),
        "text": b"hello\n" * 99,
        "an archive of others": zipped(("a.txt", b"x")),
        "an empty archive": zipped(),
        "compressed": zipped(("a/data.pkl", data_pkl({})), ("a/version", b"3"), compression=zipfile.ZIP_DEFLATED),
        "half": whole[: len(whole) // 2],
        "without its end": whole[:-22],
        "an .npz": npz(a=np.ones(3)),
        "a safetensors": model_file(),
    }.items():
        yield label, data, r"file\.pth\.tar (cannot be read|is not a checkpoint|is damaged|holds)|is compressed"
    yield "a pointer", POINTER, "a Git LFS pointer"
    yield "a page", PAGE, "a web page"
    for place in range(60, len(whole) - 100, len(whole) // 12):
        yield f"byte {place}", whole[:place] + bytes([whole[place] ^ 64]) + whole[place + 1 :], r"damaged|cannot|^$"


def stored(name: bytes) -> bytes:
    """2147483647 numbers of that part of the archive."""
    said = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX" + struct.pack("<I", len(name)) + name
    return b"\x80\x02" + said + b"X\x03\x00\x00\x00cpuJ\xff\xff\xff\x7ftQ."


def pickles() -> Iterator[tuple[str, bytes, str]]:
    for label, content in {
        "a command": b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.",
        "a bytearray": b"\x80\x02cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R.",
        "eval": b"\x80\x02cbuiltins\neval\nX\x01\x00\x00\x001\x85R.",
        "numpy's own": b"\x80\x02cnumpy\nfromfile\nX\x01\x00\x00\x00x\x85R.",
        "lists in lists": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
        "another protocol": b"\x80\x09}.",
        "without its end": b"\x80\x02}",
        "nothing": b"",
        "numbers that are not there": stored(b"99"),
        "more numbers than there are": stored(b"0"),
    }.items():
        yield label, content, "file.pth.tar"


def safetensors_files() -> Iterator[tuple[str, bytes, str]]:
    whole = model_file()
    (length,) = struct.unpack("<Q", whole[:8])
    head, data = json.loads(whole[8 : 8 + length]), whole[8 + length :]

    def made(changed: object) -> bytes:
        text = (changed if isinstance(changed, str) else json.dumps(changed)).encode()
        return struct.pack("<Q", len(text)) + text + data

    name = "vlad.centroids"
    for label, change in {
        "shape": {"shape": [3, 5]},
        "negative shape": {"shape": [-3, -4]},
        "huge shape": {"shape": [2**40, 2**40]},
        "shape 1e30": {"shape": [1e30]},
        "no shape": {"shape": None},
        "offsets": {"data_offsets": [0, 10**12]},
        "offsets back": {"data_offsets": [48, 0]},
        "negative offsets": {"data_offsets": [-1, 47]},
        "dtype": {"dtype": "F99"},
        "whole numbers": {"dtype": "I8"},
        "wider numbers": {"dtype": "F64"},
        "no dtype": {"dtype": None},
    }.items():
        yield label, made({**head, name: {**head[name], **change}}), "file.safetensors"
    for label, changed in {
        "brackets": DEEP,
        "records": '{"a":' * 100_000,
        "a list": "[]",
        "null": "null",
        "nothing": "",
        "no metadata": {key: value for key, value in head.items() if key != "__metadata__"},
        "metadata of numbers": {**head, "__metadata__": {"format": 1}},
        "a tensor less": {key: value for key, value in head.items() if key != name},
    }.items():
        yield label, made(changed), "file.safetensors"
    for size in (0, 1, 10**9, 2**63 - 1, 2**64 - 1):
        yield f"a header of {size}", struct.pack("<Q", size) + whole[8:], "file.safetensors"
    for cut in (0, 4, 8, 100, len(whole) - 1):
        yield f"{cut} bytes", whole[:cut], "file.safetensors"
    yield "a byte too many", whole + b"\0", "file.safetensors"
    bare = {name: tensor for name, tensor in toy.model().state_dict().items() if not name.startswith("backbone.")}
    wanting = {"format": checkpoints.FORMAT, "settings": json.dumps({**SETTINGS, "backbone_sha256": ""})}
    yield "weights that are not here", save(bare, wanting), "the toy has no published weights"
    yield "of others", save({"x": torch.ones(1)}), "not of patchvlad"
    yield "NaN", save({"x": torch.tensor(torch.nan)}, {"format": checkpoints.FORMAT}), "file.safetensors"
    yield "a pointer", POINTER, "a Git LFS pointer"
    yield "a page", PAGE, "a web page"


def settings() -> Iterator[tuple[str, bytes, str]]:
    deep = '{"a":' * 100_000
    for text in ("", "{", "null", "[]", "5", '"x"', "NaN", DEEP, deep, "9" * 5000, "1e999", "{}", "\x00"):
        yield f"settings {text[:10]}", text.encode(), "in its settings|cannot be read|is damaged"
    for name, values in {
        "backbone": (None, 5, "resnet", [], {}, "x" * 10_000),
        "pooling": (None, 5, "sum", [], {}),
        "patch_sizes": (None, 5, "2", [], [0], [-1], [1.5], [1e30], [10**30], [True], [[1]], [1, 1], {}),
        "patch_strides": (None, [1], [0, 0], [10**30, 1], {}),
        "cluster_weight": (5, [], {}, "heavy"),
    }.items():
        for value in values:
            text = json.dumps({**SETTINGS, "backbone_sha256": "", name: value})
            yield f"{name} {str(value)[:20]}", text.encode(), "file.safetensors"


# --- texts ----------------------------------------------------------------------------------------------------------


def texts() -> Iterator[Case]:
    for key, values in {
        "imageresizew": ("x", "1.5", "9" * 5000, "1e3", "640,480", str(2**31), str(-(2**40)), "٣"),
        "n_values_all": ("0", "-1", "x", "1,,5", "1;5", ",", str(10**30)),
        "patchweights2use": ("x", "nan,1", "inf,1", "1", "1,2,3", "1e999,1"),
        "patch_sizes": ("0,1", "-2,5", "2", "x", "1e30,1", str(10**30) + ",1"),
        "strides": ("0,1", "1", "1,2,3"),
        "matcher": ("", "ransack", "x" * 10_000),
    }.items():
        for value in values:
            lines = [f"{key} = {value}" if line.startswith(key) else line for line in CONFIG.splitlines()]
            decided = READ if (key, value) in (("imageresizew", "٣"),) else key
            yield "preset", f"{key} = {value[:12]}", "\n".join(lines).encode(), decided
    for label, data in {
        "empty": b"",
        "no sections": b"a = 1\n",
        "a section twice": CONFIG.encode() + b"[global_params]\n",
        "a key twice": CONFIG.encode() + b"num_pcs = 1\n",
        "zeros": bytes(100),
        "UTF-16": CONFIG.encode("utf-16"),
        "latin 1": b"[\xff\xfe]\n",
        "brackets": DEEP.encode(),
        "a page": PAGE,
        "a pointer": POINTER,
        "2 MB": b"# x\n" * 500_000,
        "json": b'{"a": 1}',
    }.items():
        yield "preset", label, data, r"file\.ini"
        yield "train-ini", label, data, r"file\.ini"
    yield "train-ini", "a rate of NaN", TRAIN.replace("0.0001", "nan").encode(), "lr = nan"
    for label, text in {
        "empty": "",
        "brackets": DEEP,
        "records": '{"a":' * 200_000,
        "NaN": '{"a": NaN}',
        "infinity": "[-Infinity]",
        "too large": "1e999",
        "digits": "9" * 5000,
        "twice": '{"a": 1, "a": 2}',
        "half": '{"a": [1, 2',
        "two": "{} {}",
        "a byte": "\x00",
    }.items():
        for name in ("json", "manifest", "results"):
            yield name, label, text.encode(), "Error: "
    for name in ("json", "manifest", "results"):
        yield name, "latin 1", b'"\xff\xfe"', "Error: "
        yield name, "a pointer", POINTER, "Git LFS pointer"
        yield name, "a page", PAGE, "web page"
    record = json.loads(manifests()[0])
    for key, values in {
        "rows": (None, -1, 4, 1e30, 10**30, "3", [3], True, 2.0),
        "images": (None, -1, 2, 1e30, "3", [], {}),
        "format": (None, 99, "1", [], -1),
        "dtype": (None, "float99", 5, []),
        "unreadable": (None, 5, [-1], [3], ["0"], [1e30], {}),
        "recipe": (None, [], "x", {}),
    }.items():
        for value in values:
            yield (
                "manifest",
                f"{key} {value}",
                json.dumps({**record, key: value}).encode(),
                "StoreError: .*manifest.json",
            )
    for key, values in {
        "size": (None, [96], [0, 0], [-96, 128], ["96", 128], [1e30, 1], 5),
        "grids": (None, 5, [[1]], [[0, 1]], [[-1, 1]], [["1", 1]], [[10**30, 1]]),
        "dim": (None, 0, -1, 1e30, 10**30, "12"),
        "stride": (None, 0, -16, "16"),
    }.items():
        for value in values:
            changed = {**record, "recipe": {**record["recipe"], key: value}}
            yield "manifest", f"recipe {key} {value}", json.dumps(changed).encode(), "StoreError: .*manifest.json"
    for key, values in {
        "image_size": (5, ["a", "b"], [1, 2, 3], "480"),
        "patch_sizes": (5, ["2"], [1.5], {}),
        "weights": (5, ["x"], {}),
        "group": (None, "1", 1.5, [], 0, -1),
        "candidates": ("100", [], 1.5),
        "queries": (5, [], "x"),
        "preset": (5, [], {}),
    }.items():
        for value in values:
            yield "results", f"{key} {value}", json.dumps({**MAKING, key: value}).encode(), "results.json is damaged"
    yield "results", "a list", b"[]", "results.json is damaged"
    yield "results", "more of a later version", json.dumps({**MAKING, "later": 1}).encode(), READ


def tables() -> Iterator[Case]:
    for label, data, decided in (
        ("empty", b"", "file.csv"),
        ("zeros", bytes(100), "file.csv"),
        ("latin 1", b"image,\xff\xfe\n", "file.csv"),
        ("a page", PAGE, "web page"),
        ("a pointer", POINTER, "Git LFS pointer"),
        ("no columns", b"a,b\n1,2\n", "file.csv"),
        ("a field too many", b"image,easting,northing\na,1,2,3\n", "line 2"),
        ("a huge field", b"image,easting,northing\n" + b"x" * 200_000 + b",1,2\n", "file.csv"),
        ("an open quote", b'image,easting,northing\n"a,1,2\n' * 3, "file.csv|^$"),
    ):
        yield "csv-positions", label, data, decided
    for label, data, decided in (
        ("empty", b"", "file.csv"),
        ("zeros", bytes(100), "file.csv"),
        ("a page", PAGE, "web page"),
        ("a pointer", POINTER, "Git LFS pointer"),
        ("another query", b"query,positives\nq/x.jpg,db/1.jpg\n", "file.csv"),
        ("no such image", b"query,positives\nq/a.jpg,db/9.jpg\nq/b.jpg,\n", "file.csv"),
        ("a query alone", b"query\nq/a.jpg\n", "file.csv"),
    ):
        yield "csv-truth", label, data, decided
    for label, data, decided in (
        ("zeros", bytes(100), "file.txt|^$"),
        ("latin 1", b"\xff\xfe\x00", "not a text file"),
        ("a page", PAGE, "web page"),
        ("a pointer", POINTER, "Git LFS pointer"),
        ("a name of 1,000 letters", b"K" * 1000 + b" # x\\y\n", "^$"),
        ("half of UTF-8", "a.jpg\nß".encode()[:-1], "not a text file"),
    ):
        yield "list", label, data, decided
    for label, data, decided in (
        ("empty", b"", "is empty"),
        ("comments", b"# a\n# b\n", "is empty"),
        ("zeros", bytes(100), "file.txt"),
        ("latin 1", b"\xff\xfe\x00", "not a text file"),
        ("a page", PAGE, "web page"),
        ("a pointer", POINTER, "Git LFS pointer"),
        ("NaN", KAPTURE.replace("0.5", "nan").encode(), "line 2"),
        ("no number", KAPTURE.replace("0.5", "x").encode(), "line 2"),
        ("infinity", KAPTURE.replace("0.5", "inf").encode(), READ),
        ("fields", KAPTURE.encode() + b"a, b, c, d, e\n", "line 4"),
        ("half", KAPTURE.encode()[:-12], "file.txt"),
    ):
        yield "predictions", label, data, decided
    for label, data, decided in (
        ("empty", b"", "is empty"),
        ("zeros", bytes(100), "file.txt"),
        ("latin 1", b"a \xff\xfe\n", "cannot be read as poses"),
        ("a page", PAGE, "web page"),
        ("a pointer", POINTER, "Git LFS pointer"),
        ("NaN", b"a.jpg nan 0 0 0 1 2 3\n", "line 1"),
        ("infinity", b"a.jpg 1 0 0 0 inf 2 3\n", "line 1"),
        ("too large", b"a.jpg 1e308 1e308 0 0 1 2 3\n", "line 1"),
        ("zeros for a turn", b"a.jpg 0 0 0 0 1 2 3\n", "line 1"),
        ("words", b"a.jpg a b c d e f g\n", "line 1"),
        ("few", b"a.jpg 1 0 0\n", "line 1"),
        ("a matrix of no pose", b"a.jpg " + b"1 " * 16 + b"\n", "line 1"),
    ):
        yield "poses", label, data, decided


# --- HDF5 -----------------------------------------------------------------------------------------------------------


def described(change: dict[str, np.ndarray]) -> bytes:
    return in_hdf5(**{f"{name}/global_descriptor": np.ones(4, "f4") for name in NAMES} | change)


def linked(link: object, name: str = "db") -> bytes:
    return hdf5(lambda file: file.__setitem__(name, link))


def deep(file: h5py.File) -> None:
    group: h5py.Group = file
    for _ in range(3000):
        group = group.create_group("a")


def circle(file: h5py.File) -> None:
    file["a"] = file.create_group("b")
    file["b/c"] = file["/"]
    file["b/d"] = file["/"]


def hdf5_files() -> Iterator[Case]:
    whole = described({})
    place = f"{NAMES[1]}/global_descriptor"
    for label, value, decided in (
        ("NaN", np.full(4, np.nan), "NaN or infinity"),
        ("infinity", np.full(4, np.inf), "NaN or infinity"),
        ("too large", np.full(4, 1e300), "NaN or infinity"),
        ("zeros", np.zeros(4), "is zero"),
        ("another length", np.ones(5), "different lengths"),
        ("texts", np.array([b"a"] * 4), "not numbers"),
        ("complex", np.ones(4, "c8"), "not numbers"),
        ("true and false", np.ones(4, "?"), "not numbers"),
        ("a number", np.float32(1), "different lengths"),
        ("nothing", np.ones(0), "different lengths"),
    ):
        yield "hdf5", label, described({place: value}), decided
    for label, data in {
        "empty": b"",
        "text": b"hello",
        "an HDF5 without contents": hdf5(lambda file: None),
        "half": whole[: len(whole) // 2],
        "its head alone": whole[:96],
        "deep": hdf5(deep),
        "circles": hdf5(circle),
        "a link to a file": linked(h5py.ExternalLink("/dev/zero", "/x")),
        "a link to itself": linked(h5py.SoftLink("/db")),
        "a link to nothing": linked(h5py.SoftLink("/none")),
        "a pickle": pickle.dumps([1]),
    }.items():
        yield "hdf5", label, data, r"file\.h5"
        yield "clusters", label, data, r"file\.hdf5"
    for name in ("hdf5", "clusters"):
        yield name, "a pointer", POINTER, "Git LFS pointer"
        yield name, "a page", PAGE, "web page"

    def huge(file: h5py.File) -> None:
        file.create_dataset("centroids", shape=(10**9, 512), dtype="f4", chunks=(1, 512))
        for name in NAMES:
            file.create_dataset(f"{name}/global_descriptor", shape=(10**12,), dtype="f4", chunks=(1024,))

    def elsewhere(file: h5py.File) -> None:
        file.create_dataset("descriptors", data=np.ones((4, 2)))
        for name in ("centroids", *(f"{name}/global_descriptor" for name in NAMES)):
            file.create_dataset(name, shape=(2, 2), dtype="u1", external=[("/etc/hostname", 0, 4)])

    for name in ("hdf5", "clusters"):
        yield name, "4 TB that are not there", hdf5(huge), "says that it has|holds no dataset"
        yield name, "numbers of another file", hdf5(elsewhere), "lies in another file"
    for label, first, second in (
        ("NaN", np.full((2, 4), np.nan), np.ones((5, 4))),
        ("one axis", np.ones(4), np.ones((5, 4))),
        ("other lengths", np.ones((2, 4)), np.ones((5, 3))),
        ("no cells", np.ones((2, 4)), np.ones((0, 4))),
        ("texts", np.array([[b"a"]]), np.ones((5, 1))),
    ):
        yield "clusters", label, in_hdf5(centroids=first, descriptors=second), r"file\.hdf5"


# --- all ------------------------------------------------------------------------------------------------------------


def cases() -> list[Case]:
    of = {
        **{"npy": arrays, "descriptors": descriptors, "rows": rows, "npz": truths, "vpr-bench": objects, "mat": matlab},
        **{"checkpoint": checkpoint_files, "pickle": pickles, "safetensors": safetensors_files, "settings": settings},
    }
    found = [(name, *case) for name, make in of.items() for case in make()]
    return [*found, *texts(), *tables(), *hdf5_files()]


CASES = cases()


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "VGG16", toy.backbone)
    monkeypatch.setattr(BACKBONES, "_things", dict(BACKBONES._things))
    toy_backbone()


def test_there_are_more_than_two_hundred() -> None:
    assert len({data for _, _, data, _ in CASES}) > 400
    assert {name for name, *_ in CASES} > {"npy", "npz", "checkpoint", "safetensors", "preset", "hdf5", "list"}


@pytest.mark.parametrize(
    ("name", "data", "decided"),
    [pytest.param(name, data, decided, id=f"{name}: {label}") for name, label, data, decided in CASES],
)
def test_every_hostile_file_ends_as_decided(name: str, data: bytes, decided: str, tmp_path: Path) -> None:
    began = time.monotonic()
    told = feed(TARGETS[name], data, tmp_path)
    assert time.monotonic() - began < 10
    if decided == READ:
        assert told == READ
    else:
        assert re.search(decided, told), told
    assert len(told) < 1000
    assert "\n" not in told
    assert "allow_pickle" not in told

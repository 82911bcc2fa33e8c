"""MATLAB 5 files: what scipy writes and reads is read alike, in either order of bytes; damage is a ValueError."""

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.io import loadmat, savemat

from patchvlad.files.matlab import read_variables

NUMBERS = st.tuples(
    st.sampled_from(["f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"]),
    st.lists(st.integers(0, 3), min_size=2, max_size=3),
    st.integers(0, 2**31),
).map(lambda given: np.random.default_rng(given[2]).integers(0, 100, given[1]).astype(given[0]))
TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=0x24F), min_size=1, max_size=12)


def cells(values: list[Any]) -> np.ndarray:
    made = np.empty((len(values), 1), dtype=object)
    for row, value in enumerate(values):
        made[row, 0] = value
    return made


VALUES = st.recursive(
    NUMBERS | TEXTS,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3).map(cells)
        | st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), inner, min_size=1, max_size=3)
    ),
    max_leaves=6,
)


def plain(value: Any) -> Any:
    """What scipy has read, as `read_variables` gives it."""
    if value.dtype.names:
        records = [{name: plain(record[name]) for name in value.dtype.names} for record in np.ravel(value, order="F")]
        return records[0] if len(records) == 1 else records
    if value.dtype == object:
        return [plain(cell) for cell in np.ravel(value, order="F")]
    if value.dtype.kind == "U":
        texts = [str(text) for text in np.ravel(value)]
        return texts[0] if len(texts) == 1 else texts or ""
    return value


def same(ours: Any, theirs: Any) -> bool:
    if isinstance(theirs, dict):
        return list(ours) == list(theirs) and all(same(ours[name], theirs[name]) for name in theirs)
    if isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    if isinstance(theirs, np.ndarray):
        return ours.shape == theirs.shape and bool((ours == theirs).all())
    return ours == theirs


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=VALUES, packed=st.booleans())
def test_what_scipy_reads_is_read_alike(value: Any, packed: bool, tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", {"x": value, "other": 1.5}, do_compression=packed)
    found = read_variables(tmp_path / "a.mat")
    assert list(found) == ["x", "other"]
    assert same(found["x"], plain(loadmat(tmp_path / "a.mat")["x"]))


def test_rows_of_text_and_several_structures(tmp_path: Path) -> None:
    records = np.array([(1.0, "a"), (2.0, "bc")], dtype=[("n", object), ("t", object)])
    savemat(tmp_path / "a.mat", {"rows": np.array(["one", "two"]), "records": records})
    found = read_variables(tmp_path / "a.mat")
    assert found["rows"] == ["one", "two"]
    assert [(record["n"].item(), record["t"]) for record in found["records"]] == [(1.0, "a"), (2.0, "bc")]


def test_big_endian_files_are_read(tmp_path: Path) -> None:
    def element(kind: int, body: bytes) -> bytes:
        return struct.pack(">II", kind, len(body)) + body + bytes(-len(body) % 8)

    small = struct.pack(">HH", 2, 1) + b"xy" + bytes(2)  # size, then kind
    matrix = element(6, struct.pack(">II", 6, 0)) + element(5, struct.pack(">ii", 1, 2)) + small
    content = element(14, matrix + element(9, struct.pack(">dd", 1.5, -2)))
    (tmp_path / "a.mat").write_bytes(b"MATLAB 5.0".ljust(124) + b"\x01\x00MI" + content)
    np.testing.assert_array_equal(read_variables(tmp_path / "a.mat")["xy"], [[1.5, -2.0]])


def test_sparse_complex_and_objects_are_passed_by(tmp_path: Path) -> None:
    from scipy.sparse import eye

    savemat(tmp_path / "a.mat", {"s": eye(3).tocsc(), "c": np.array([1j, 2]), "x": 1.0})
    found = read_variables(tmp_path / "a.mat")
    assert (found["s"], found["c"], found["x"].item()) == (None, None, 1.0)


@pytest.mark.parametrize("packed", [False, True])
def test_damage_is_a_value_error(packed: bool, tmp_path: Path) -> None:
    held = io.BytesIO()
    savemat(held, {"x": {"names": cells(["a", "bc"]), "utm": np.ones((2, 3))}}, do_compression=packed)
    whole = np.frombuffer(held.getvalue(), dtype=np.uint8)
    for seed in range(300):
        generator = np.random.default_rng(seed)
        content = whole.copy()
        content[generator.integers(128, len(content), 3)] = generator.integers(0, 256, 3)
        (tmp_path / "a.mat").write_bytes(content.tobytes()[: generator.integers(100, len(content) + 1)])
        try:
            read_variables(tmp_path / "a.mat")
        except (ValueError, struct.error):
            continue

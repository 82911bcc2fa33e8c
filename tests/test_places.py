"""Positives, negatives and splits, against brute force."""

import numpy as np
import pytest

from patchvlad.errors import GroundTruthError
from patchvlad.images.lists import ImageList
from patchvlad.places.nearby import label_points
from patchvlad.places.training import NEGATIVE, NEITHER, POSITIVE, Places, hold_out, in_halves


def make(positions, **given) -> Places:
    positions = np.asarray(positions, dtype=float)
    images = ImageList("somewhere", tuple(f"{row}.jpg" for row in range(len(positions))))
    return Places.make(images, positions, **given)


def random_places(seed: int, count: int = 60, **given) -> Places:
    generator = np.random.default_rng(seed)
    is_query = generator.random(count) < 0.4
    return make(
        generator.uniform(0, 80, (count, 2)),
        queries=np.flatnonzero(is_query),
        database=np.flatnonzero(~is_query),
        headings=generator.uniform(0, 360, count),
        times=generator.uniform(0, 1000, count),
        regions=generator.integers(0, 2, count),
        **given,
    )


def slow_relation(places: Places, i: int, j: int) -> int:
    """What two photos are of each other, by the definition."""
    distance = np.hypot(*(places.positions[i] - places.positions[j]))
    if places.regions[i] != places.regions[j] or distance > places.negative_radius:
        return NEGATIVE
    turned = (places.headings[i] - places.headings[j] + 180) % 360 - 180
    if i == j or distance > places.positive_radius:
        return NEITHER
    if places.heading_limit is not None and abs(turned) > places.heading_limit:
        return NEITHER
    if abs(places.times[i] - places.times[j]) < places.pause:
        return NEITHER
    return POSITIVE


@pytest.mark.parametrize("given", [{}, {"heading_limit": 60.0}, {"pause": 200.0}])
def test_relations_equal_brute_force(given: dict) -> None:
    places = random_places(0, **given)
    expected = [[slow_relation(places, i, j) for j in range(60)] for i in range(60)]
    assert {NEGATIVE, NEITHER, POSITIVE} == set(np.ravel(expected))
    assert places.relation(np.arange(60)).tolist() == expected
    for query, positives, close in zip(places.queries, places.positives, places.close, strict=True):
        assert positives.tolist() == [j for j in places.database if expected[query][j] == POSITIVE]
        assert close.tolist() == [j for j in places.database if expected[query][j] != NEGATIVE]


def test_both_borders_count_as_near() -> None:
    places = make([[0, 0], [10, 0], [25, 0], [25.001, 0]])
    assert places.relation(np.arange(4))[0].tolist() == [NEITHER, POSITIVE, NEITHER, NEGATIVE]
    assert [rows.tolist() for rows in places.positives] == [[1], [0], [3], [2]]


def test_unknown_times_exclude_nothing() -> None:
    places = make([[0, 0], [1, 0], [2, 0]], headings=np.array([0.0, 180, 20]), heading_limit=40.0, pause=60.0)
    assert [rows.tolist() for rows in places.positives] == [[2], [], [0]]


def test_unknown_headings_cannot_be_limited() -> None:
    for headings in (np.array([0, 180, np.nan]), None):
        with pytest.raises(GroundTruthError, match="headings cannot be limited to 40 degrees"):
            make([[0, 0], [1, 0], [2, 0]], headings=headings, heading_limit=40.0)


def test_positions_must_be_numbers() -> None:
    with pytest.raises(GroundTruthError, match=r"1 of 2 photos have no finite position, the first is 1\.jpg"):
        make([[0, 0], [np.nan, 1]])


def test_the_positive_radius_is_the_smaller_one() -> None:
    with pytest.raises(GroundTruthError, match="positives within 30 m and negatives beyond 25 m"):
        make([[0, 0]], positive_radius=30)


def test_a_subset_keeps_relations() -> None:
    places = random_places(1)
    rows = np.array([3, 50, 7, 20, 21, 22])
    small = places.subset(rows)
    assert small.images.names == tuple(f"{row}.jpg" for row in sorted(rows))
    assert (small.relation(np.arange(6)) == places.relation(np.sort(rows))).all()
    assert [int(name.split(".")[0]) in places.queries for name in small.images.names] == [
        row in small.queries for row in range(6)
    ]


def test_labels_are_held_out_whole() -> None:
    labels = [f"place {number // 4}" for number in range(80)]
    training, validation = hold_out(make(label_points(labels)[0]), 0.2, seed=3)
    sides = [{labels[int(name.split(".")[0])] for name in side.images.names} for side in (training, validation)]
    assert not sides[0] & sides[1]
    assert len(sides[0] | sides[1]) == 20
    assert 16 <= len(validation.images) <= 20
    assert [hold_out(make(label_points(labels)[0]), 0.2, seed)[1].images.names for seed in (3, 3)].count(
        validation.images.names
    ) == 2
    assert hold_out(make(label_points(labels)[0]), 0.2, seed=4)[1].images.names != validation.images.names


def test_a_street_is_cut_and_its_sides_do_not_meet() -> None:
    places = make([[5.0 * step, 0] for step in range(100)])
    training, validation = hold_out(places, 0.3)
    gap = np.abs(training.positions[:, :1] - validation.positions[:, 0]).min()
    assert gap > places.negative_radius
    assert len(training.images) == 70
    assert 20 <= len(validation.images) < 30


def test_nothing_is_held_out_of_a_share_of_nothing() -> None:
    for places in (make([[0, 0], [5, 0], [9, 0]]), make(label_points("aabbcc")[0])):
        training, validation = hold_out(places, 0.0)
        assert (len(training.images), len(validation.images)) == (len(places.images), 0)


def test_halves_keep_neighbours_together() -> None:
    places = in_halves(make(label_points("aabaabb")[0]))
    assert places.database.tolist() == [0, 1, 2, 5]
    assert places.queries.tolist() == [3, 4, 6]
    assert [rows.tolist() for rows in places.positives] == [[0, 1], [0, 1], [2, 5]]


def test_what_is_there_is_said() -> None:
    said = make([[0, 0], [5, 0], [100, 0]]).describe()
    assert "3 photos: 3 queries, 3 database" in said
    assert "without a positive, and so left out of training: 1 query (33 %)" in said

"""Readers of training places: layouts, and one clear line for what is wrong."""

from pathlib import Path

import generated_city
import numpy as np
import pytest
from PIL import Image

from patchvlad.errors import ConfigError, GroundTruthError
from patchvlad.places.msls import rare_weights
from patchvlad.places.radii import Reading
from patchvlad.places.training_sets import read_places


def write_photo(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", (8, 8)).save(path)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_msls_as_the_reference_reads_it(tmp_path: Path) -> None:
    training, validation = read_places(generated_city.write_msls(tmp_path))
    assert len(training.queries) == len(training.database) == 11  # places 100 to 111, 109 is a panorama
    assert training.images.names[training.queries[0]] == "train_val/trondheim/query/images/trondheim_q100.jpg"
    assert [training.images.names[rows[0]][-8:] for rows in training.positives][:2] == ["d100.jpg", "d101.jpg"]
    assert all(len(rows) == 1 for rows in training.positives)
    assert training.weights.tolist() == [1, 1 + 11, 1 + 11] + [1] * 8  # night, sideways: one in eleven each
    assert (training.positive_radius, validation.positive_radius) == (10, 25)
    assert not training.missing()
    with_panoramas, _ = read_places(tmp_path, Reading(panoramas=True))
    assert len(with_panoramas.queries) == 12


def test_queries_without_positives_do_not_count_in_the_weights() -> None:
    rare = np.array([[True, False], [False, True], [True, True], [False, False]])
    assert rare_weights(rare, np.array([1, 2, 3])).tolist() == [1 + 3, 1 + 1.5, 1 + 3 + 1.5, 1]


def test_cities_are_searched_apart_although_their_coordinates_meet(tmp_path: Path) -> None:
    for city in ("trondheim", "london"):
        generated_city.write_city(tmp_path, city, 100, 3)
    generated_city.write_city(tmp_path, "cph", 300, 3)
    training, _ = read_places(tmp_path)
    assert len(training.queries) == 6
    assert all(len(rows) == 1 for rows in training.positives)
    assert sorted(set(training.regions)) == [0, 1]


@pytest.mark.parametrize(
    ("reading", "error", "said"),
    [
        (Reading(cities=("atlantis",)), GroundTruthError, "none of the cities atlantis: choose from cph, trondheim"),
        (Reading(validation_cities=("trondheim",)), ConfigError, "trondheim: a city cannot be on both sides"),
        (Reading(validation=1.0), ConfigError, "a share of 1 cannot be held out"),
    ],
)
def test_cities_that_cannot_be(reading: Reading, error: type, said: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=said):
        read_places(generated_city.write_msls(tmp_path, 3), reading)


def test_msls_files_that_do_not_fit(tmp_path: Path) -> None:
    generated_city.write_msls(tmp_path, 3)
    folder = tmp_path / "train_val" / "trondheim" / "query"
    whole = (folder / "postprocessed.csv").read_text()
    (folder / "postprocessed.csv").write_text(whole.splitlines()[0] + "\n")
    with pytest.raises(GroundTruthError, match=r"trondheim.query has no usable photos"):
        read_places(tmp_path)
    (folder / "postprocessed.csv").write_text(whole.replace("10005.0", "nan"))
    with pytest.raises(GroundTruthError, match=r"1 of 6 photos have no finite position.*trondheim_q100\.jpg"):
        read_places(tmp_path)
    (folder / "postprocessed.csv").write_text(whole.replace("easting", "east"))
    with pytest.raises(GroundTruthError, match=r"postprocessed\.csv has no column easting; it has , key, east"):
        read_places(tmp_path)
    (folder / "postprocessed.csv").write_text(whole)
    (folder / "raw.csv").write_text("key,pano\n")
    with pytest.raises(GroundTruthError, match=r"raw\.csv has no row for the key trondheim_q100"):
        read_places(tmp_path)


def test_a_csv_of_labels(tmp_path: Path) -> None:
    lines = [f"{place}/{number}.jpg,{place}" for place in "abcdefghij" for number in range(6)]
    path = write(tmp_path / "labels.csv", "image,place\n" + "\n".join(lines))
    training, validation = read_places(path, Reading(validation=0.2))
    assert (len(training.images), len(validation.images)) == (48, 12)
    assert all(len(rows) == 5 for rows in training.positives)  # all but itself
    assert all(len(rows) == 3 for rows in validation.positives)
    names = [validation.images.names[row] for row in validation.queries]
    assert all(name.endswith(("3.jpg", "4.jpg", "5.jpg")) for name in names)


def test_a_csv_with_split_and_role(tmp_path: Path) -> None:
    text = "image,place,split,role\na,1,train,\nb,1,train,\nc,2,val,query\nd,2,validation,database\ne,2,test,\n"
    training, validation = read_places(write(tmp_path / "x.csv", text))
    assert training.images.names == ("a", "b")
    assert (validation.queries.tolist(), validation.database.tolist()) == ([0], [1])
    assert validation.images.names == ("c", "d")


def test_a_csv_of_positions_headings_and_times(tmp_path: Path) -> None:
    text = (
        "image,easting,northing,heading,time\n"
        "a,0,0,0,2020-01-01T00:00:00\nb,3,4,90,2020-01-02T00:00:00\nc,0,6,10,2020-01-01T00:00:30\n"
    )
    path = write(tmp_path / "x.csv", text)
    training, _ = read_places(path, Reading(validation=0))
    assert [rows.tolist() for rows in training.positives] == [[1], [0, 2], [1]]  # a and c were taken in passing
    training, _ = read_places(path, Reading(validation=0, heading_limit=45.0))
    assert [rows.tolist() for rows in training.positives] == [[], [], []]


def test_validation_has_a_radius_of_its_own(tmp_path: Path) -> None:
    lines = [f"{row},{20 * row},0,{'val' if row > 4 else ''}" for row in range(10)]
    path = write(tmp_path / "x.csv", "image,easting,northing,split\n" + "\n".join(lines))
    training, validation = read_places(path)
    assert not len(training.trainable)
    assert len(validation.trainable) == 5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "image,lat,lon\na,100,5\n",
            "a lies at 100, 5, which is no latitude and longitude in degrees. Latitude and longitude seem",
        ),
        ("image,colour\na,red\n", "has the columns image, colour, which say nothing of places: give a csv"),
        ("photo,place\na,red\n", "has no column image; it has photo, place"),
        ("image,place\n", "lists no photo"),
        ("image,easting,northing\na,,5\n", "a has no position"),
        ("image,place,split\na,1,trian\n", "line 2: split 'trian': choose from train, val, validation, test"),
        ("image,place,role\na,1,db\n", "line 2: role 'db': choose from query, database"),
    ],
)
def test_a_csv_that_cannot_be(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(GroundTruthError, match=said):
        read_places(write(tmp_path / "x.csv", text))


def test_headings_must_be_there_to_be_limited(tmp_path: Path) -> None:
    with pytest.raises(GroundTruthError, match="headings cannot be limited to 30 degrees"):
        read_places(write(tmp_path / "x.csv", "image,place\na,1\n"), Reading(heading_limit=30))


def test_gsv_cities_names_its_files(tmp_path: Path) -> None:
    header = "place_id,year,month,northdeg,city_id,lat,lon,panoid\n"
    rows = [f"{place},2015,{month},5,London,51.50,-0.1,pano_{place}{month}" for place in (7, 8) for month in (1, 11)]
    write(tmp_path / "Dataframes" / "London.csv", header + "\n".join(rows))
    (tmp_path / "Images").mkdir()
    training, validation = read_places(tmp_path, Reading(validation=0))
    assert training.images.names[1] == "Images/London/London_0000007_2015_11_005_51.5_-0.1_pano_711.jpg"
    assert [rows.tolist() for rows in training.positives] == [[1], [0], [3], [2]]
    assert not len(validation.images)
    with pytest.raises(GroundTruthError, match="no table of Rome: choose from London"):
        read_places(tmp_path, Reading(cities=("Rome",)))


def test_what_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(GroundTruthError, match="does not exist: give a csv with columns"):
        read_places(tmp_path / "nothing")
    with pytest.raises(GroundTruthError, match="has none of the known layouts: give a csv"):
        read_places(tmp_path)
    with pytest.raises(GroundTruthError, match=r"x\.txt is not a dataset: give a csv"):
        read_places(write(tmp_path / "x.txt", "hello"))


def test_photos_that_know_where_they_were_taken(tmp_path: Path) -> None:
    for place in range(6):
        for visit in range(2):
            photo = (
                tmp_path / f"day{visit}" / f"@{500000 + 100 * place + visit}@5000000@32@N@@@@@{90 * visit}@@@@@@.jpg"
            )
            write(photo, "")
    training, validation = read_places(tmp_path, Reading(validation=0.3))
    assert len(training.images) + len(validation.images) == 12
    assert len(training.images) > 6
    assert {len(rows) for rows in training.positives} == {1}  # the other visit's, not the photo itself
    limited, _ = read_places(tmp_path, Reading(validation=0, heading_limit=45))
    assert {len(rows) for rows in limited.positives} == {0}


# --- one truth about places: what ground truth refuses, training refuses too ---------------------------------------


def test_zones_of_utm_count_in_training_too(tmp_path: Path) -> None:
    text = "image,easting,northing,zone\na,500000,5000000,31N\nb,500003,5000000,32N\nc,500001,5000000,31N\n"
    training, _ = read_places(write(tmp_path / "x.csv", text), Reading(validation=0))
    assert [rows.tolist() for rows in training.positives] == [[2], [], [0]]  # 31N and 32N lie 470 km apart
    with pytest.raises(GroundTruthError, match="different UTM zones"):
        read_places(write(tmp_path / "x.csv", text.replace("32N", "32")), Reading(validation=0))
    with pytest.raises(GroundTruthError, match="'99N' is no UTM zone"):
        read_places(write(tmp_path / "x.csv", text.replace("32N", "99N")), Reading(validation=0))


def test_unlabelled_photos_are_no_place_together(tmp_path: Path) -> None:
    with pytest.raises(GroundTruthError, match=r"x.csv names no place for b: give it one, or leave it out"):
        read_places(write(tmp_path / "x.csv", "image,place\na,1\nb,\nc,\n"), Reading(validation=0))


def test_headings_that_are_unknown_cannot_be_limited(tmp_path: Path) -> None:
    text = "image,easting,northing,heading\na,0,0,10\nb,1,0,\n"
    with pytest.raises(GroundTruthError, match="headings cannot be limited to 30 degrees: 1 photo has none"):
        read_places(write(tmp_path / "x.csv", text), Reading(heading_limit=30))
    generated_city.write_city(tmp_path / "msls", "trondheim", 0, 4)
    generated_city.write_city(tmp_path / "msls", "cph", 0, 4)
    with pytest.raises(GroundTruthError, match="headings cannot be limited to 30 degrees: the photos have none"):
        read_places(tmp_path / "msls", Reading(heading_limit=30))


def test_headings_of_gsv_cities_are_read(tmp_path: Path) -> None:
    header = "place_id,year,month,northdeg,city_id,lat,lon,panoid\n"
    rows = [f"7,2015,{month},{turn},London,51.5,-0.1,p{month}" for month, turn in ((1, 350), (2, 10), (3, 180))]
    write(tmp_path / "Dataframes" / "London.csv", header + "\n".join(rows))
    training, _ = read_places(tmp_path, Reading(validation=0, heading_limit=40))
    assert [rows.tolist() for rows in training.positives] == [[1], [0], []]


def test_a_folder_per_place_is_read_as_labels_and_this_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    for place in ("gate", "tower", "barn"):
        for number in range(4):
            write_photo(tmp_path / place / f"{number}.jpg")
    training, validation = read_places(tmp_path, Reading(validation=0))
    assert [len(found) for found in training.positives] == [3] * 12
    assert "so each of the 3 folders is taken for a place, such as barn" in caplog.text
    assert not len(validation.images)
    write_photo(tmp_path / "loose.jpg")
    with pytest.raises(GroundTruthError, match=r"0\.jpg has no position \(13 of 13 have none\), as it has no EXIF"):
        read_places(tmp_path)


@pytest.mark.slow
def test_300_000_rows_take_seconds(tmp_path: Path) -> None:
    """In processor time: less than 10 s on any machine of these years, however busy it is."""
    import time

    generator = np.random.default_rng(0)
    where = generator.uniform(0, 30e3, (300_000, 2)) + (6.8e5, 5.33e6)
    lines = [f"city/{row % 100}/{row}.jpg,{x:.2f},{y:.2f},32N,{row % 360}" for row, (x, y) in enumerate(where)]
    write(tmp_path / "x.csv", "\n".join(["image,easting,northing,zone,heading", *lines]))
    before = time.process_time()
    training, validation = read_places(tmp_path / "x.csv")
    said = training.describe() + validation.describe()
    assert "270000 photos" in said
    assert time.process_time() - before < 10

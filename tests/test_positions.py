"""Where photos were taken: names, EXIF, tables, MSLS; distances in one frame against geodesics on the ellipsoid."""

import csv
import logging
import shutil
from pathlib import Path

import generated_city
import numpy as np
import pyproj
import pytest
from PIL import ExifTags, Image
from tiny import write_gps

from patchvlad.errors import GroundTruthError, ImageError
from patchvlad.images.lists import ImageList
from patchvlad.images.sides import Sides
from patchvlad.places import exif, geodesy, msls
from patchvlad.places import position_tables as tables
from patchvlad.places.degrees import order_of_degrees
from patchvlad.places.located import Located, in_one_frame
from patchvlad.places.utm_names import from_names

GEOD = pyproj.Geod(ellps="WGS84")


def located(degrees, source: str = "somewhere") -> Located:
    degrees = np.array(degrees, dtype=float).reshape(-1, 2)
    return Located(source, tuple(map(str, range(len(degrees)))), None, (), degrees, np.full(len(degrees), np.nan))


def in_utm(utm, zones) -> Located:
    utm = np.array(utm, dtype=float).reshape(-1, 2)
    return Located("names", tuple(map(str, range(len(utm)))), utm, tuple(zones), None, np.full(len(utm), np.nan))


def images(*names: str) -> ImageList:
    return ImageList(Path("root"), names)


def in_frame(queries: Located, database: Located) -> tuple[np.ndarray, np.ndarray, str]:
    points, said = in_one_frame(Sides(queries, database))
    return points.queries, points.database, said


def from_table(paths: list[Path], images: ImageList, kind: str) -> Located:
    rows, source = tables.read_tables(paths)
    return tables.located(tables.rows_of(rows, source, images, kind), source, images.names)


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.linalg.norm(a[:, None] - b[None], axis=2)


def geodesics(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.array([[GEOD.inv(p[1], p[0], q[1], q[0])[2] for q in b] for p in a])


# --- one frame ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("latitude", "longitude", "frame"),
    [
        (48.1, 11.6, "UTM zone 32N"),
        (-33.9, 151.2, "UTM zone 56S"),
        (10.0, 6.0001, "UTM zone 32N"),  # beside the border of zones 31 and 32
        (0.0001, 6.0, "UTM zone 31N"),  # where a zone is widest
        (60.0, 179.9999, "UTM zone 1N"),  # the date line
        (78.2, 15.6, "UTM zone 33N"),
    ],
)
def test_distances_are_the_geodesic_ones_across_borders_too(latitude: float, longitude: float, frame: str) -> None:
    generator = np.random.default_rng(0)
    wide = 0.005 / np.cos(np.radians(latitude))
    sides = [np.array([latitude, longitude]) + generator.uniform(-1, 1, (20, 2)) * (0.005, wide) for _ in range(2)]
    for side in sides:
        side[:, 1] = (side[:, 1] + 180) % 360 - 180
    queries, database, said = in_frame(*map(located, sides))
    found, true = distances(queries, database), geodesics(*sides)
    assert np.abs(found / true - 1).max() < 1e-3
    assert said.startswith("UTM zone")
    if abs(longitude) < 170 and longitude != 6.0:
        assert said == frame


def test_photos_far_apart_are_measured_from_the_earths_centre() -> None:
    north = np.array([[59.91, 10.75], [59.9101, 10.75]])  # Oslo
    both = np.concatenate([north, [[40.42, -3.7], [-33.92, 18.42]]])  # and Madrid and Cape Town
    queries, database, said = in_frame(located(both), located(both))
    assert said == "metres from the Earth's centre"
    assert queries.shape == (4, 3)
    assert distances(queries, database)[0, 1] == pytest.approx(geodesics(north, north)[0, 1], rel=1e-6)


def test_degrees_become_metres() -> None:
    """Against the length of a degree on the WGS84 ellipsoid (NGA's tables: 111,132 m and 78,847 m at 45 degrees)."""
    origin, north, east = geodesy.earth_centred(np.array([[44.9995, 7.0], [45.0005, 7.0], [44.9995, 7.001]]))
    assert np.linalg.norm(north - origin) == pytest.approx(111.132, rel=1e-4)
    assert np.linalg.norm(east - origin) == pytest.approx(78.847, rel=1e-4)
    across, date_line = geodesy.earth_centred(np.array([[10.0, 179.9999], [10.0, -179.9999]]))
    assert np.linalg.norm(across - date_line) == pytest.approx(2e-4 * 109_639, rel=1e-3)


def test_utm_of_one_zone_stays_as_it_is() -> None:
    queries, database, said = in_frame(in_utm([[5, 6]], ["32N"]), in_utm([[7, 8], [9, 1]], ["32N"] * 2))
    assert (queries.tolist(), database.tolist(), said) == ([[5, 6]], [[7, 8], [9, 1]], "UTM zone 32N")
    assert in_frame(in_utm([[5, 6]], [""]), in_utm([[7, 8]], [""]))[2] == "UTM"


def test_a_zone_without_its_letter_is_the_same_zone(caplog: pytest.LogCaptureFixture) -> None:
    assert in_frame(in_utm([[5, 6]], ["32"]), in_utm([[7, 8]], ["32N"]))[2] == "UTM zone 32N"
    in_frame(in_utm([[2.7e5, 5e6]], [""]), in_utm([[7.3e5, 5e6]], [""]))
    assert "eastings differ by more than a UTM zone is wide: name the zones" in caplog.text


def test_utm_of_two_zones_meets() -> None:
    degrees = np.array([[50.0, 5.9995], [50.0, 6.0005]])
    west, east = geodesy.to_utm(degrees[:1], "31N"), geodesy.to_utm(degrees[1:], "32N")
    queries, database, _ = in_frame(in_utm(west, ["31N"]), in_utm(east, ["32N"]))
    assert distances(queries, database)[0, 0] == pytest.approx(geodesics(degrees[:1], degrees[1:])[0, 0], rel=1e-3)


@pytest.mark.parametrize("zone", ["", "32", "3"])
def test_zones_must_be_known_where_they_differ(zone: str) -> None:
    with pytest.raises(GroundTruthError, match=r"different UTM zones, and 0 does not say in which.*name all zones"):
        in_frame(in_utm([[5e5, 5e6]], ["31N"]), in_utm([[5e5, 5e6]], [zone]))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([np.nan, 5.0], r"0 has no position \(1 of 2 have none\)"),
        ([100.0, 5.0], "0 lies at 100, 5, which is no .* Latitude and longitude seem to be swapped"),
        ([100.0, 500.0], "0 lies at 100, 500, which is no latitude and longitude in degrees.$"),
    ],
)
def test_positions_that_cannot_be(value: list, said: str) -> None:
    with pytest.raises(GroundTruthError, match="^somewhere: " + said):
        in_frame(located([value, [48.0, 11.0]]), located([[48.0, 11.0]]))


def test_swapped_columns_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    here = np.array([[48.1, 11.6], [48.2, 11.7]])
    with caplog.at_level(logging.WARNING):
        in_frame(located(here), located(here + 0.001))
        assert not caplog.messages
        in_frame(located(here[:, ::-1], "q.csv"), located(here))
    assert "q.csv: queries and database lie" in caplog.text
    assert "would meet if latitude and longitude were swapped" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        in_frame(in_utm([[5.3e6, 6.9e5]], ["32N"]), in_utm([[6.9e5, 5.3e6]], ["32N"]))
    assert "if easting and northing were swapped" in caplog.text


# --- degrees in the place of metres ---------------------------------------------------------------------------------


def town(middle: tuple[float, float], degrees: float = 0.05, count: int = 50, seed: int = 0) -> np.ndarray:
    """(count, 2) points of two decimal fractions around a middle."""
    return np.array(middle) + np.random.default_rng(seed).uniform(-degrees, degrees, (count, 2))


@pytest.mark.parametrize(
    ("points", "order"),
    [
        (town((121.4737, 31.2304)), (1, 0)),
        (town((31.2304, 121.4737)), (0, 1)),
        (town((11.6, 48.1)), (1, 0)),  # both columns may be either: as easting and northing, longitude comes first
        (town((0.05, 51.5)), (1, 0)),  # across Greenwich
        (town((151.2, -33.9)), (1, 0)),
        (town((179.98, -17.0), 0.01), (1, 0)),
        (np.concatenate([town((2.3, 48.9)), town((7.3, 43.7)), town((-1.6, 47.2))]), (1, 0)),  # towns of a country
        (np.array([[121.4737, 31.2304]]), (1, 0)),
        (np.array([[121.4737, 31.2304], [np.nan, 3.0]]), (1, 0)),
        (np.stack([np.zeros(80), np.arange(80) * 2.3], axis=1), None),  # frames along a line
        (np.stack([np.linspace(0, 22, 60), np.linspace(1, 4, 60)], axis=1), None),  # a corridor in metres
        (town((60.0, 40.0), 30.0), None),  # a hall in metres, away from the origin
        (town((0.0, 0.0), 0.4), None),
        (town((584_744.9, 4_476_709.9), 50.0), None),
        (np.array([[5, 6], [7, 8]]), None),
        (np.array([[121.4737, 531.2304]]), None),
        (np.full((3, 2), np.nan), None),
        (np.zeros((0, 2)), None),
        (np.array([[1.5], [2.5]]), None),
    ],
)
def test_degrees_are_told_from_metres_by_range_and_spread(points: np.ndarray, order: tuple | None) -> None:
    assert order_of_degrees(points) == order


def test_degrees_in_names_are_degrees_and_this_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """Longitude and latitude as aerial sets write them; as metres every photo would be a positive of every other."""
    caplog.set_level(logging.INFO)
    degrees = town((121.4737, 31.2304))
    names = [f"@{east:.7f}@{north:.7f}@.png" for east, north in degrees]
    queries, database, said = in_frame(from_names(images(*names[:10])), from_names(images(*names[10:])))
    assert said == "UTM zone 51N"
    true = geodesics(degrees[:10, ::-1], degrees[10:, ::-1])
    assert np.abs(distances(queries, database) / true - 1).max() < 1e-3
    (line,) = caplog.messages
    assert line.startswith("root: eastings and northings are degrees, by their range and spread: read as longitude, la")


@pytest.mark.parametrize(
    "name",
    ["@120.45@36.61@120.47@36.59@.png", "@map@120.45@36.59@120.47@36.61@.png", "@1678961681.25@120.46@36.6@.png"],
)
def test_tiles_count_by_their_middle_and_words_and_times_before_them_do_not(name: str) -> None:
    np.testing.assert_allclose(from_names(images(name)).utm, [[120.46, 36.6]])


def test_a_tile_in_metres_and_one_that_is_none() -> None:
    assert from_names(images("@500000@5000000@500200@5000100@.png")).utm.tolist() == [[500100, 5000050]]
    for second in ("20.4@36.6", "17@40.4", "61@5"):
        with pytest.raises(GroundTruthError, match="are neither a UTM zone and letter nor a corner of a tile"):
            from_names(images(f"@120.4@36.6@{second}@.png"))


@pytest.mark.parametrize("letter", ["5x", "NN", "none"])
def test_a_letter_in_a_name_that_is_none_is_refused(letter: str) -> None:
    with pytest.raises(GroundTruthError, match="is not the letter of a UTM zone"):
        from_names(images(f"@500000@5000000@32@{letter}@.jpg"))


def test_degrees_beside_utm_meet_where_zones_are_known(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    here = np.array([[50.0, 8.5]])
    there = geodesy.to_utm(here, "32N")
    queries, database, _ = in_frame(in_utm(here[:, ::-1], [""]), in_utm(there, ["32N"]))
    assert distances(queries, database)[0, 0] < 0.01
    assert "names: eastings and northings are degrees" in caplog.text
    with pytest.raises(GroundTruthError, match="name all zones, or give latitudes and longitudes"):
        in_frame(in_utm(here[:, ::-1], [""]), in_utm(there, [""]))


def test_degrees_in_a_table_of_eastings_and_metres_of_a_frame_of_its_own(tmp_path: Path) -> None:
    text = "image,{}\n1.jpg,11.5753,48.1374\n2.jpg,11.5763,48.1374\n"
    for columns, apart, frame in (("easting,northing", 74.4, "UTM zone 32N"), ("x,y", 0.001, "UTM zone of its own")):
        table = write(tmp_path / "p.csv", text.format(columns))
        sides = [from_table([table], images(name), "queries") for name in ("1.jpg", "2.jpg")]
        queries, database, said = in_frame(*sides)
        assert said == frame
        assert distances(queries, database)[0, 0] == pytest.approx(apart, rel=1e-2)


# --- names ----------------------------------------------------------------------------------------------------------


def test_utm_is_read_from_names() -> None:
    found = from_names(
        images(
            "a/@0584744.96@4476709.92@17@T@040.43692@-080.00100@pano@03@090@005@@@201901@note@.jpg",
            "@0@00002.3@@@@@1@@@@@@@@.jpg",
            "@-5.5@1e3@.jpg",
        )
    )
    assert found.utm.tolist() == [[584744.96, 4476709.92], [0, 2.3], [-5.5, 1000]]
    assert found.zones == ("17N", "", "")
    assert found.degrees is None
    np.testing.assert_array_equal(found.headings, [90, np.nan, np.nan])


def test_names_of_several_zones_meet_by_their_degrees() -> None:
    names = ("@714000@5540000@31@U@50.0@5.9995@.jpg", "@285000@5540000@32@U@50.0@6.0005@.jpg")
    queries, database, said = in_frame(from_names(images(*names[:1])), from_names(images(*names[1:])))
    assert said.startswith("UTM zone")
    assert distances(queries, database)[0, 0] == pytest.approx(71.7, rel=1e-2)


@pytest.mark.parametrize("name", ["a.jpg", "@1.jpg", "@1@2.jpg"])
def test_names_without_positions_are_refused(name: str) -> None:
    with pytest.raises(GroundTruthError, match="the name holds no position; it should read @easting@northing"):
        from_names(images(name))


def test_an_empty_field_is_no_position() -> None:
    with pytest.raises(GroundTruthError, match="has no position"):
        in_frame(*[from_names(images("@@5@.jpg"))] * 2)


@pytest.mark.parametrize(
    ("digits", "letter", "zone"),
    [
        ("32", "U", "32N"),
        ("05", "", "5"),
        ("56", "H", "56S"),
        ("1", "n", "1N"),
        ("", "", ""),
    ],
)
def test_zones_with_latitude_bands(digits: str, letter: str, zone: str) -> None:
    assert geodesy.zone_of_band(digits, letter) == zone


@pytest.mark.parametrize("digits", ["61", "0", "x", "32.5"])
def test_a_zone_in_a_name_that_is_none_is_refused(digits: str) -> None:
    with pytest.raises(ValueError, match=r"is no UTM zone: zones are 1 to 60"):
        geodesy.zone_of_band(digits, "N")
    with pytest.raises(GroundTruthError, match=r"@500000@5000000@.*@N@\.jpg: '.*' is no UTM zone"):
        from_names(images(f"@500000@5000000@{digits}@N@.jpg"))


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        *(
            ("32N", "32N"),
            ("32 n", "32N"),
            ("UTM 32N", "32N"),
            ("zone 5S", "5S"),
            ("32 South", "32S"),
            ("UTM32S", "32S"),
        ),
        *(("EPSG:32632", "32N"), ("32732", "32S"), ("32", "32"), ("32.0", "32"), ("05", "5"), ("", ""), (" ", "")),
        *(("32U", "32N"), ("56H", "56S"), ("WGS 84 / UTM zone 33N", "33N"), ("nan", "")),
    ],
)
def test_zones_as_they_are_written(text: str, zone: str) -> None:
    assert geodesy.zone_of_text(text) == zone


@pytest.mark.parametrize("text", ["61N", "0", "32.5", "north", "EPSG:32799", "32NN", "32A", "32I"])
def test_zones_that_are_none_are_refused_by_name(text: str, tmp_path: Path) -> None:
    table = write(tmp_path / "p.csv", f"image,easting,northing,zone\n1.jpg,5e5,5e6,{text}\n")
    with pytest.raises(GroundTruthError, match=r"p.csv: .* is no UTM zone: it should read 32N"):
        from_table([table], images("1.jpg"), "database")


def test_s_is_the_southern_hemisphere_and_told_where_it_may_be_a_band(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    degrees = np.array([[-20.0, 11.99995], [-20.0, 12.00005]])
    utm = np.concatenate([geodesy.to_utm(degrees[:1], "32S"), geodesy.to_utm(degrees[1:], "33S")])
    lines = [f"{i}.jpg,{east!r},{north!r},{32 + i}S" for i, (east, north) in enumerate(utm.tolist())]
    table = write(tmp_path / "p.csv", "\n".join(["image,easting,northing,zone", *lines]))
    sides = [from_table([table], images(f"{i}.jpg"), "database") for i in range(2)]
    assert distances(*in_frame(*sides)[:2])[0, 0] == pytest.approx(10.46, abs=0.05)
    assert not caplog.messages
    table = write(tmp_path / "p.csv", "image,easting,northing,zone\n1.jpg,5e5,4e6,32S\n")
    from_table([table], images("1.jpg"), "database")
    assert "zone 32S is taken for the southern hemisphere, not for MGRS's band S" in caplog.text


# --- EXIF -----------------------------------------------------------------------------------------------------------


def test_gps_in_exif_gives_geodesic_distances(shared_data: Path, tmp_path: Path) -> None:
    """The walk's photos come without their EXIF, so it is written into copies of them."""
    with open(shared_data / "gps_walk" / "gps.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    degrees = np.array([(float(row["lat"]), float(row["lon"])) for row in rows])
    for row, (latitude, longitude) in zip(rows, degrees, strict=True):
        write_gps(tmp_path / row["image"], latitude, longitude, 90.0)
    names = tuple(row["image"] for row in rows)
    found = exif.from_exif(ImageList(tmp_path, names))
    np.testing.assert_allclose(found.degrees, degrees, atol=1e-8)
    assert (found.headings == 90).all()
    tabled = from_table([shared_data / "gps_walk" / "gps.csv"], ImageList(shared_data / "gps_walk", names), "queries")
    for source in (found, tabled):
        queries, database, said = in_frame(source, source)
        assert said == "UTM zone 18N"
        true = geodesics(degrees, degrees)
        apart = true > 0.01
        assert np.abs(distances(queries, database)[apart] / true[apart] - 1).max() < 1e-3


def test_a_photo_without_gps_is_named(tmp_path: Path) -> None:
    write_gps(tmp_path / "a.jpg", -33.9, -70.5)
    Image.new("RGB", (8, 8)).save(tmp_path / "b.jpg")
    found = exif.from_exif(ImageList(tmp_path, ("a.jpg", "b.jpg")))
    np.testing.assert_allclose(found.degrees[0], [-33.9, -70.5], atol=1e-6)
    with pytest.raises(GroundTruthError, match=r"b.jpg has no position \(1 of 2 have none\)"):
        found.check()


def test_what_exif_lacks_is_named(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "none.jpg")
    camera = Image.Exif()
    camera[ExifTags.Base.Make] = "camera"
    Image.new("RGB", (8, 8)).save(tmp_path / "camera.jpg", exif=camera)
    for name, changed in (
        ("half.jpg", {ExifTags.GPS.GPSLongitudeRef: None, ExifTags.GPS.GPSLatitude: None}),
        ("odd.jpg", {ExifTags.GPS.GPSLatitudeRef: "X"}),
    ):
        write_gps(tmp_path / name, 48.0, 11.0)
        with Image.open(tmp_path / name) as photo:
            exif_of = photo.getexif()
            tags = exif_of.get_ifd(ExifTags.IFD.GPSInfo)
        for tag, value in changed.items():
            tags.pop(tag)
            if value is not None:
                tags[tag] = value
        Image.new("RGB", (8, 8)).save(tmp_path / name, exif=exif_of)
    write_gps(tmp_path / "zero.jpg", 0.0, 0.0)
    for name, said in (
        ("none.jpg", "it has no EXIF"),
        ("camera.jpg", "its EXIF has no GPS tags"),
        ("half.jpg", "its EXIF has no GPSLatitude, GPSLongitudeRef"),
        ("odd.jpg", "its GPS tags are not degrees, minutes and seconds"),
        ("zero.jpg", "its EXIF says latitude 0 and longitude 0"),
    ):
        with pytest.raises(GroundTruthError, match=rf"{name} has no position \(1 of 1 have none\), as {said}"):
            exif.from_exif(ImageList(tmp_path, (name,))).check()


@pytest.mark.parametrize("content", [None, b"", b"no photo"])
def test_photos_that_cannot_be_read_are_named(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(ImageError, match=r"a.jpg (does not exist|is empty|cannot be read as an image)"):
        exif.from_exif(ImageList(tmp_path, ("a.jpg",)))


@pytest.mark.parametrize("parts", ["here", None, (), (1, 2, 3, 4), (1, "x", 2), 7])
def test_strange_gps_is_none_and_no_crash(parts: object) -> None:
    assert np.isnan(exif._sexagesimal(parts, "N", "NS"))


def test_degrees_minutes_and_seconds() -> None:
    assert exif._sexagesimal((10, 30, 36), b"S\0", "NS") == pytest.approx(-10.51)
    assert exif._sexagesimal((10.5,), "West", "EW") == -10.5
    assert np.isnan(exif._sexagesimal((10.5,), None, "NS"))  # north or south?


def test_a_camera_without_a_fix_knows_no_position(tmp_path: Path) -> None:
    write_gps(tmp_path / "a.jpg", 0.0, 0.0)
    assert np.isnan(exif.from_exif(ImageList(tmp_path, ("a.jpg",))).degrees).all()


# --- tables ---------------------------------------------------------------------------------------------------------


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_tables_go_by_name(tmp_path: Path) -> None:
    table = write(tmp_path / "p.csv", "heading,image,easting,northing,zone\n7,db/2.jpg,3,4,32N\n,db/1.jpg,1,2,32N\n")
    found = from_table([table], images("1.jpg", "2.jpg"), "database")
    assert found.utm.tolist() == [[1, 2], [3, 4]]
    assert found.zones == ("32N", "32N")
    np.testing.assert_array_equal(found.headings, [np.nan, 7])
    two = [
        write(tmp_path / "q.csv", "image,lat,lon\n1.jpg,1,2\n"),
        write(tmp_path / "d.csv", "image,lat,lon\n2.jpg,3,4\n"),
    ]
    assert from_table(two, images("2.jpg"), "database").degrees.tolist() == [[3, 4]]


def test_queries_and_database_of_equal_file_names_in_one_table(tmp_path: Path) -> None:
    """As in corridor, gardens and VPR-Bench: queries/0.jpg is not database/0.jpg."""
    lines = [f"{kind}/{i}.jpg,{north + i},11" for kind, north in (("database", 40), ("queries", 50)) for i in range(3)]
    table = write(tmp_path / "p.csv", "\n".join(["image,lat,lon", *lines]))
    for kind, north in (("database", 40), ("queries", 50)):
        listed = ImageList(tmp_path / kind, ("0.jpg", "1.jpg", "2.jpg"))
        assert from_table([table], listed, kind).degrees[:, 0].tolist() == [north, north + 1, north + 2]


@pytest.mark.parametrize(
    "text",
    [
        "filename;latitude;longitude\n1.jpg;48,5;-11,25\n",
        "sep=;\nfilename;latitude;longitude\n1.jpg;48.5;-11.25\n",
        "name\tlat\tlng\n1.jpg\t48.5\t-11.25\n",
        "id,name,filename,gps_latitude,long\n7,x,1.jpg,48.5,-11.25\n",
        '"File_Name","Latitude","Longitude"\r\n"1.jpg","48.5","-11.25"\r\n',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_tables_as_spreadsheets_write_them(text: str, encoding: str, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_bytes(text.encode(encoding))
    assert from_table([tmp_path / "p.csv"], images("1.jpg"), "database").degrees.tolist() == [[48.5, -11.25]]


def test_a_comma_in_a_table_with_commas_is_no_decimal_one(tmp_path: Path) -> None:
    table = write(tmp_path / "p.csv", 'image,easting,northing\n1.jpg,"584,744","4,476"\n')
    assert np.isnan(from_table([table], images("1.jpg"), "database").utm).all()


def test_columns_go_by_several_names_and_lines_must_agree(tmp_path: Path) -> None:
    table = write(tmp_path / "p.csv", " Image , Latitude,LNG\n1.jpg,1,2\n1.jpg,1,2\n")
    assert from_table([table], images("1.jpg"), "database").degrees.tolist() == [[1, 2]]
    table = write(tmp_path / "p.csv", "image,lat,lon\n1.jpg,1,2\n1.jpg,1,3\n")
    with pytest.raises(GroundTruthError, match=r"has two lines for 1.jpg that differ"):
        from_table([table], images("1.jpg"), "database")
    for text, said in (
        ("image lat lon\n", "has no column image; it has image lat lon"),
        ("image,lat,Lat,lon\n", "has two columns lat: leave one out"),
        ("image,lat\n1,2,3\n", "line 2: 3 fields"),
    ):
        with pytest.raises(GroundTruthError, match=said):
            from_table([write(tmp_path / "p.csv", text)], images("1.jpg"), "database")
    with pytest.raises(GroundTruthError, match="is a folder: give a csv"):
        from_table([tmp_path], images("1.jpg"), "database")


def test_tables_of_two_kinds(tmp_path: Path) -> None:
    utm = write(tmp_path / "q.csv", "image,easting,northing,zone\nq/1.jpg,691608,5334760,32N\n")
    degrees = write(tmp_path / "d.csv", "image,lat,lon\nd/1.jpg,48.1374,11.5755\nd/2.jpg,49,11\n")
    sides = [
        from_table([utm, degrees], images(*names), kind)
        for names, kind in ((("q/1.jpg",), "queries"), (("d/1.jpg", "d/2.jpg"), "database"))
    ]
    queries, database, said = in_frame(*sides)
    assert said == "UTM zone 32N"
    assert distances(queries, database)[0, 0] < 200
    with pytest.raises(GroundTruthError, match="the same for all images of a list"):
        from_table([utm, degrees], images("q/1.jpg", "d/1.jpg"), "queries")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image,lat,lon\n", "lists no photo"),
        ("", "no column image; it has none"),
        ("thing,lat,lon\n1.jpg,1,2\n", "no column image; it has thing, lat, lon"),
        ("image,lat,lon\n1.jpg,1,2\n", "no line for 1 of 2 images of the database, such as 2.jpg"),
        ("image,lat,lon\n8.jpg,1,2\n", "names no image of the database: it has '8.jpg'"),
        ("image,lat\n1.jpg,1\n2.jpg,1\n", "columns image, lat: positions need lat and lon, easting and northing, or x"),
    ],
)
def test_tables_that_cannot_be(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(GroundTruthError, match=said) as caught:
        from_table([write(tmp_path / "p.csv", text)], images("1.jpg", "2.jpg"), "database")
    assert "p.csv" in str(caught.value)


# --- MSLS -----------------------------------------------------------------------------------------------------------


def test_msls_positions_lie_beside_the_photos_and_cities_apart(tmp_path: Path) -> None:
    generated_city.write_city(tmp_path, "cph", 0, 2)
    generated_city.write_city(tmp_path, "sf", 0, 2)
    sides = [
        ImageList.read(tmp_path / "train_val" / city / role) for city in ("cph", "sf") for role in ("query", "database")
    ]
    assert msls.locate(Sides(sides[0], sides[1])).queries.utm.tolist() == [[5, 5e6], [105, 5e6]]
    queries, database = msls.locate(Sides(ImageList.read(tmp_path / "train_val"), sides[3]))
    found = distances(queries.utm, database.utm)
    assert (found.min(axis=0) < 10).all()  # San Francisco's own
    assert (found[:4] > 1e6).all()  # and none of Copenhagen's
    shutil.rmtree(tmp_path / "train_val" / "sf" / "query" / "images")
    (tmp_path / "train_val" / "cph" / "query" / "postprocessed.csv").unlink()
    with pytest.raises(GroundTruthError, match=r"postprocessed.csv does not exist: for MSLS the queries must lie"):
        msls.locate(Sides(ImageList.read(tmp_path / "train_val" / "cph" / "query"), sides[1]))

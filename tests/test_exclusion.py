"""A set against itself: no photo is an answer to itself, nor, where that is asked, are its neighbours."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image
from test_images import PIXELS, save
from tiny import TinyBackbone, write_config, write_model, write_photos

from patchvlad.errors import GroundTruthError
from patchvlad.features.global_descriptors import GlobalDescriptors
from patchvlad.images import same_photos as module
from patchvlad.images.lists import ImageList
from patchvlad.images.same_photos import same_photos, same_sums
from patchvlad.images.sides import Sides
from patchvlad.model.registry import BACKBONES
from patchvlad.places.exclusion import Exclusion, frames_of
from patchvlad.places.ground_truth import GroundTruth
from patchvlad.places.times import times_of
from patchvlad.search.indexes import flat
from patchvlad.search.retrieval import retrieve

NAMES = tuple(f"{row}.jpg" for row in range(6))


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


# --- which photos are the same --------------------------------------------------------------------------------------


def test_photos_are_the_same_by_contents_and_only_equal_sizes_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "q/a.jpg", b"1" * 9000)
    write(tmp_path / "q/b.jpg", b"2" * 9000)
    write(tmp_path / "q/c.jpg", b"3" * 8000)
    write(tmp_path / "q/d.jpg", b"5" * 9000 + b"x")
    write(tmp_path / "db/x.jpg", b"1" * 9000)  # a copy under another name
    write(tmp_path / "db/b.jpg", b"2" * 8999 + b"0")  # of the same name and size, and with an equal middle
    write(tmp_path / "db/z.jpg", b"4" * 7000)
    (tmp_path / "db/link.jpg").symlink_to(tmp_path / "q/c.jpg")
    queries, database = ImageList.read(tmp_path / "q"), ImageList.read(tmp_path / "db")
    read: list[str] = []
    content = ImageList.content

    def noted(images: ImageList, row: int) -> int:
        read.append(images.names[row])
        return content(images, row)

    monkeypatch.setattr(ImageList, "content", noted)
    pairs = {(queries.names[q], database.names[d]) for q, d in same_photos(queries, database)}
    assert pairs == {("a.jpg", "x.jpg"), ("c.jpg", "link.jpg")}
    assert sorted(read) == ["a.jpg", "b.jpg", "b.jpg", "x.jpg"]  # each once
    read.clear()
    assert [tuple(pair) for pair in same_photos(queries, queries)] == [(row, row) for row in range(4)]
    assert not read  # one file is itself, whatever it holds


def test_photos_that_are_not_there_are_the_same_by_name_only_if_that_is_said(tmp_path: Path) -> None:
    first, second = ImageList(tmp_path, ("a.jpg", "b.jpg")), ImageList(tmp_path, ("c.jpg", "b.jpg"))
    assert same_photos(first, second, by_name=True).tolist() == [[1, 1]]
    assert same_photos(first, second).tolist() == []  # a list's own folder says nothing of its photos
    assert same_photos(first, ImageList(tmp_path / "other", second.names), by_name=True).tolist() == []


def test_sums_that_are_not_known_are_equal_to_nothing() -> None:
    first, second = np.array([0, 5, 7, 5], dtype=np.uint64), np.array([5, 0, 9, 5], dtype=np.uint64)
    assert same_sums(first, second).tolist() == [[1, 0], [1, 3], [3, 0], [3, 3]]
    assert same_sums(first, np.zeros(3, dtype=np.uint64)).shape == (0, 2)
    assert module.joined(same_sums(first, second), same_sums(first, second)).shape == (4, 2)


# --- what is left out -----------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 3), st.one_of(st.none(), st.floats(0, 20)))
def test_what_is_left_out_equals_the_loop_also_of_some_images_in_another_order(
    seed: int, neighbours: int, seconds: float | None
) -> None:
    generator = np.random.default_rng(seed)
    queries, database = 5, 8
    same = np.argwhere(generator.random((queries, database)) < 0.1)
    frames = Sides(generator.integers(0, 16, queries) / 2, np.arange(database, dtype=float))
    times = Sides(generator.uniform(0, 100, queries), generator.uniform(0, 100, database))
    times.queries[0] = times.database[0] = np.nan
    near_frames, near_times = frames if neighbours else None, times if seconds is not None else None
    left_out = Exclusion(same, neighbours, near_frames, seconds, near_times)

    def slow(query: int, row: int) -> bool:
        near = neighbours and abs(frames.queries[query] - frames.database[row]) <= neighbours
        soon = seconds is not None and abs(times.queries[query] - times.database[row]) <= seconds
        return bool([query, row] in same.tolist() or near or soon)

    for query in range(queries):
        assert left_out.rows(query).tolist() == [row for row in range(database) if slow(query, row)]
    arrays = {name: np.asarray(values) for name, values in left_out.arrays().items()}
    again = Exclusion.from_arrays(arrays, Sides(queries, database))
    assert [again.rows(q).tolist() for q in range(queries)] == [left_out.rows(q).tolist() for q in range(queries)]
    own = Sides(tuple(f"q{row}" for row in range(queries)), tuple(f"d{row}" for row in range(database)))
    some = Sides(("q3", "new", "q0"), ("d7", "d2", "more", "d5"))
    turned = left_out.of(own, some)
    for row, name in enumerate(some.queries):
        expected = [
            place
            for place, image in enumerate(some.database)
            if name in own.queries and image in own.database and slow(int(name[1:]), int(image[1:]))
        ]
        assert turned.rows(row).tolist() == expected


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"same": np.zeros((2, 3), dtype=int)},
        {"same": np.array([[0, 9]])},
        {"same": np.array([[-1, 0]])},
        {"same": np.zeros((0, 2), dtype=int), "neighbours": np.array(2), "frameQ": np.zeros(2), "frameDb": np.zeros(1)},
        {"same": np.zeros((0, 2), dtype=int), "seconds": np.array(np.nan), "timeQ": np.zeros(2), "timeDb": np.zeros(3)},
        {"same": np.zeros((0, 2), dtype=int), "seconds": np.array(1), "timeQ": np.zeros(2)},
    ],
)
def test_damaged_arrays_are_a_named_error(arrays: dict) -> None:
    with pytest.raises(GroundTruthError, match="what is left out of answers is damaged"):
        Exclusion.from_arrays(arrays, Sides(2, 3))


def test_frames_are_the_databases_rows_and_others_lie_between_them_by_name() -> None:
    names = Sides(("2.jpg", "7.jpg", "0.jpg"), ("1.jpg", "2.jpg", "10.jpg"))
    frames = frames_of(names, np.array([[0, 1]]), one_root=True)
    assert frames.queries.tolist() == [1, 1.5, -0.5]
    left_out = Exclusion(np.zeros((0, 2), dtype=np.int64), 1, frames)
    assert [left_out.rows(query).tolist() for query in range(3)] == [[0, 1, 2], [1, 2], [0]]
    with pytest.raises(GroundTruthError, match=r"neighbours of 7.jpg is not known: .* not below the same root"):
        frames_of(names, np.array([[0, 1], [2, 0]]), one_root=False)
    with pytest.raises(GroundTruthError, match="these are not in natural order"):
        frames_of(Sides(("7.jpg",), ("2.jpg", "1.jpg")), np.zeros((0, 2), dtype=np.int64), one_root=True)


# --- retrieval ------------------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.booleans())
def test_candidates_without_those_left_out_equal_the_loop(seed: int, k: int, grouped: bool) -> None:
    generator = np.random.default_rng(seed)
    queries, database = (
        GlobalDescriptors(tuple(map(str, range(rows))), generator.integers(-3, 4, (rows, 4)).astype(np.float32))
        for rows in (7, 12)
    )
    left_out = [np.flatnonzero(generator.random(12) < 0.3) for _ in range(7)]
    groups = np.arange(12) // 3 if grouped else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flat, "DATABASE_BLOCK", 5)
        patch.setattr(flat, "QUERY_BLOCK", 3)
        found = retrieve(queries, database, k, groups, excluded=lambda row: left_out[row])
    for row in range(7):
        scores = database.global_ @ queries.global_[row]
        order = [r for r in sorted(range(12), key=lambda r: -scores[r]) if r not in left_out[row]]
        if grouped:
            order = [r for place, r in enumerate(order) if r // 3 not in {other // 3 for other in order[:place]}]
        expected = (order + [-1] * k)[:k]
        assert found.indices[row].tolist() == expected
        assert (found.scores[row] == -np.inf).tolist() == [r < 0 for r in expected]


def test_a_truth_keeps_what_was_left_out_of_it(tmp_path: Path) -> None:
    points = np.arange(6.0)[:, None] * 10
    truth = GroundTruth.from_positions(points, points, 15).named(NAMES, NAMES)
    frames = Sides(np.arange(6.0), np.arange(6.0))
    less = truth.without(Exclusion(np.stack([np.arange(6)] * 2, axis=1)))
    assert [rows.tolist() for rows in less.positives[:3]] == [[1], [0, 2], [1, 3]]
    assert less.protocol == "positives within 15 m; left out: the same photo (6 queries)"
    less.write(tmp_path / "gt.npz")
    again = GroundTruth.read(tmp_path / "gt.npz", NAMES[::-1], NAMES, radius=25)
    assert [rows.tolist() for rows in again.positives[-2:]] == [[0, 2, 3], [1, 2]]
    wide = truth.without(Exclusion(np.zeros((0, 2), dtype=np.int64), 1, frames))
    assert not any(map(len, wide.positives))
    assert "1 neighbouring frame on either side" in wide.protocol


# --- times ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "gap"),
    [
        (("1403636579763555584.png", "1403636580763555584.png"), 1.0),
        (("cam0/1305031102175304.png", "cam0/1305031102675304.png"), 0.5),
        (("1305031102.175304.png", "1305031102.275304.png"), 0.1),
        (("IMG_20150821_235959.jpg", "IMG_20150822_000001.jpg"), 2.0),
        (("2015-08-21-12-34-56.jpg", "2015-08-21 12.34.57.5.jpg"), 1.5),
    ],
)
def test_times_in_names(names: tuple[str, str], gap: float, tmp_path: Path) -> None:
    times = times_of(Sides(ImageList(tmp_path, names[:1]), ImageList(tmp_path, names[1:])))
    assert times.database[0] - times.queries[0] == pytest.approx(gap, abs=1e-5)


def test_times_in_exif_and_in_tables(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, second in (("a.jpg", 1), ("b.jpg", 4)):
        exif = Image.Exif()
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = f"2020:01:01 10:00:0{second}"
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.SubsecTimeOriginal] = "5"
        Image.fromarray(PIXELS).save(tmp_path / name, exif=exif)
    sides = Sides(ImageList(tmp_path, ("a.jpg",)), ImageList(tmp_path, ("b.jpg",)))
    with caplog.at_level(logging.INFO):
        times = times_of(sides)
    assert times.database[0] - times.queries[0] == 3
    assert caplog.messages == ["times of photos are taken from EXIF"]
    write(tmp_path / "t.csv", b"image,timestamp\na.jpg,1403636579763555584\nb.jpg,1403636579863555584\n")
    times = times_of(sides, tmp_path / "t.csv")
    assert times.database[0] - times.queries[0] == pytest.approx(0.1, abs=1e-5)
    save(tmp_path / "c.jpg")
    lacking = Sides(sides.queries, ImageList(tmp_path, ("c.jpg",)))
    with pytest.raises(GroundTruthError, match=r"c.jpg has no time there \(1 of 1 have none\): give a csv"):
        times_of(lacking)
    write(tmp_path / "t.csv", b"image,when\na.jpg,1\n")
    with pytest.raises(GroundTruthError, match="has no column time or timestamp"):
        times_of(sides, tmp_path / "t.csv")


# --- the commands ---------------------------------------------------------------------------------------------------


@pytest.fixture
def drive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Photos of a drive, the same again as copies in another folder, and a truth by which all are one place."""
    monkeypatch.setitem(BACKBONES._things, "tiny", TinyBackbone)
    write_model(tmp_path / "tiny.safetensors")
    write_config(tmp_path / "tiny.ini", "model = tiny.safetensors")
    write_photos(tmp_path / "photos")
    shutil.copytree(tmp_path / "photos/database/street", tmp_path / "copies")
    points = np.arange(5)[:, None] * np.array([[10.0, 0]])
    names = ImageList.read(tmp_path / "photos/database/street").names
    GroundTruth.from_positions(points, points, 100).named(names, names).write(tmp_path / "gt.npz")
    return tmp_path


def best(folder: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in Path(folder, "NetVLAD_predictions.txt").read_text().splitlines():
        if not line.startswith("#"):
            query, image, _ = line.split(", ")
            found.setdefault(query, []).append(image)
    return found


@pytest.mark.parametrize("stores", [False, True])
@pytest.mark.parametrize("database", ["photos/database/street", "copies"])
def test_a_drive_matched_with_itself_finds_no_photo_itself(
    database: str, stores: bool, drive: Path, run: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    sides = ["photos/database/street", database]
    if stores:
        for name, photos in zip("qd", sides, strict=True):
            assert run("extract", photos, "--out", name, "--config", "tiny.ini")[0] == 0
        sides = ["q", "d"]
    words = ["match", "--queries", sides[0], "--database", sides[1], "--config", "tiny.ini", "--candidates", 5]
    words += ["--ground-truth", "gt.npz"]
    caplog.set_level(logging.INFO)
    code, out, err = run(*words, "--out", "r")
    assert code == 0, err
    said = "5 photos are on both sides, such as 1.png: no photo is an answer to itself (--no-exclude-self changes that)"
    assert caplog.messages.count(said) == 1
    names = ["1.png", "2.png", "3.png", "4.png", "10.png"]
    assert {query: sorted(images) for query, images in best("r").items()} == {
        query: sorted(set(names) - {query}) for query in names
    }
    assert "left out: the same photo (5 queries)" in out
    assert json.loads(Path("r/results.json").read_text())["excluded"] == "left out: the same photo (5 queries)"
    for predictions in ("r", "r/NetVLAD_predictions.txt"):  # the second with nothing but names
        more = [] if predictions == "r" else words[1:5]
        code, out, err = run("evaluate", predictions, "--ground-truth", "gt.npz", "--ks", "1,4", *more)
        assert code == 0, err
        assert "positives within 100 m; left out: the same photo (5 queries)" in out
    code, _, err = run(*words, "--out", "r", "--no-exclude-self", "--overwrite")
    assert code == 0, err
    assert all(images[0] == query for query, images in best("r").items())
    assert (
        "5 photos are on both sides, such as 1.png: each is its own best answer, and a positive of itself"
        in caplog.text
    )
    assert not Path("r/excluded.npz").exists()


def test_neighbours_and_photos_of_the_same_time_are_left_out(drive: Path, run: Callable) -> None:
    photos = ["--queries", "copies", "--database", "copies"]
    words = ["match", *photos, "--config", "tiny.ini", "--out", "r", "--overwrite", "--candidates", 5]
    assert run(*words, "--exclude-neighbours", 1)[0] == 0
    names = ["1.png", "2.png", "3.png", "4.png", "10.png"]
    for row, name in enumerate(names):
        assert set(best("r")[name]) == {other for place, other in enumerate(names) if abs(place - row) > 1}
    code, out, _ = run("evaluate", "r", "--ground-truth", "gt.npz", "--ks", "1")
    assert code == 0 and "left out: the same photo (5 queries), 1 neighbouring frame on either side" in out
    Path("t.csv").write_text("image,time\n" + "".join(f"{name},{10 * row}\n" for row, name in enumerate(names)))
    assert run(*words, "--exclude-seconds", 20, "--times", "t.csv")[0] == 0
    assert set(best("r")["1.png"]) == {"4.png", "10.png"}
    made = run(
        "ground-truth", *photos, "--from", "gt.npz", "--exclude-seconds", 20, "--times", "t.csv", "--out", "g.csv"
    )
    assert made[0] == 0
    assert Path("g.csv").read_text().splitlines()[1] == "1.png,4.png;10.png"
    code, _, err = run(*words, "--exclude-seconds", 20)
    assert code == 1 and "1.png has no time there" in err
    code, _, err = run(*words, "--exclude-neighbours", 1, "--no-exclude-self")
    assert code == 2 and "--no-exclude-self keeps a photo that" in err
    assert run(*words, "--times", "t.csv")[0] == 2
    code, _, err = run("evaluate", "r", "--ground-truth", "gt.npz", "--exclude-neighbours", 1)
    assert code == 2 and "give them with --queries and --database" in err


def test_sets_without_a_common_photo_are_matched_as_before(drive: Path, run: Callable) -> None:
    words = ["match", "--queries", "photos/queries", "--database", "photos/database", "--config", "tiny.ini"]
    assert run(*words, "--out", "r", "--candidates", 5)[0] == 0
    assert all(len(images) == 5 for images in best("r").values())
    assert json.loads(Path("r/results.json").read_text())["excluded"] == ""


def made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


# --- exports --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["hloc", "colmap", "kapture"])
def test_other_photos_of_equal_names_are_never_exported_as_one(form: str, drive: Path, run: Callable) -> None:
    for folder, shift in (("a", 1), ("b", 2)):
        for row in range(2):
            save(made(drive / folder) / f"image_{row}.png", np.roll(PIXELS, shift + 5 * row))
    Path("p.txt").write_text("image_0.png image_0.png\nimage_0.png image_1.png\nimage_1.png image_1.png\n")
    words = ["export", "p.txt", "--queries", "a", "--database", "b", "--format", form, "--out", "o.txt"]
    code, _, err = run(*words)
    assert code == 1 and not Path("o.txt").exists()
    assert "image_0.png is a query and also a database image (2 such names)" in err
    assert "--query-prefix query/ and --map-prefix database/" in err
    assert run(*words, "--query-prefix", "query/", "--map-prefix", "database/")[0] == 0
    separator = ", " if form == "kapture" else " "
    pairs = [line.split(separator)[:2] for line in Path("o.txt").read_text().splitlines() if line[0] != "#"]
    assert pairs[0] == ["query/image_0.png", "database/image_0.png"] and len(pairs) == 3
    words[words.index("b")] = "a"  # a drive with itself: equal names are one photo, and no pair with itself is left
    assert run(*words)[0] == 0
    pairs = [line.split(separator)[:2] for line in Path("o.txt").read_text().splitlines() if line[0] != "#"]
    assert pairs == [["image_0.png", "image_1.png"]]


def test_colmap_itself_reads_the_pairs(drive: Path, run: Callable) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    for folder, shift in (("query", 1), ("database", 2)):
        for row in range(2):
            save(made(drive / "all" / folder) / f"image_{row}.png", np.roll(PIXELS, shift + 5 * row))
    Path("p.txt").write_text("image_0.png image_0.png\nimage_1.png image_0.png\n")
    words = ["export", "p.txt", "--queries", "all/query", "--database", "all/database", "--format", "colmap"]
    assert run(*words, "--out", "o.txt", "--query-prefix", "query/", "--map-prefix", "database/")[0] == 0
    database = pycolmap.Database.open("d.db") if hasattr(pycolmap.Database, "open") else pycolmap.Database("d.db")
    camera = pycolmap.Camera.create_from_model_id(1, pycolmap.CameraModelId.SIMPLE_PINHOLE, 10, 9, 6)
    camera_id = database.write_camera(camera)
    ids = {}
    for name in ("query/image_0.png", "query/image_1.png", "database/image_0.png", "database/image_1.png"):
        ids[database.write_image(pycolmap.Image(name=name, camera_id=camera_id))] = name
    options = pycolmap.ImportedPairingOptions()
    options.match_list_path = "o.txt"
    found = [tuple(ids[one] for one in pair) for pair in pycolmap.ImportedPairGenerator(options, database).all_pairs()]
    assert found == [
        ("query/image_0.png", "database/image_0.png"),
        ("query/image_1.png", "database/image_0.png"),
    ]


def test_kapture_itself_reads_the_pairs(drive: Path, run: Callable) -> None:
    csv = pytest.importorskip("kapture.io.csv")
    Path("p.txt").write_text("a.png 1.png 0.5\na.png 2.png 0.25\n")
    assert run("export", "p.txt", "--format", "kapture", "--out", "o.txt")[0] == 0
    with open("o.txt") as file:
        assert [row[:2] for row in csv.table_from_file(file)] == [["a.png", "1.png"], ["a.png", "2.png"]]

"""Ground truth from whatever there is."""

from pathlib import Path

import numpy as np
import pytest
from tiny import write_gps

from patchvlad.errors import GroundTruthError
from patchvlad.images.lists import ImageList
from patchvlad.places.ground_truth import GroundTruth
from patchvlad.places.truth_making import make_ground_truth


def images(*names: str, root: str = "root") -> ImageList:
    return ImageList(Path(root), names)


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def rows(truth: GroundTruth) -> list[list[int]]:
    return [found.tolist() for found in truth.positives]


UTM_QUERIES = images("@0@0@32@N@@@@@000@@@@@@.jpg", "@100@0@32@N@@@@@350@@@@@@.jpg")
UTM_DATABASE = images("@0@25@32@N@@@@@090@@@@@@.jpg", "@0@25.1@32@N@@@@@000@@@@@@.jpg", "@99@0@32@N@@@@@005@@@@@@.jpg")


def test_names_are_taken_where_they_hold_positions() -> None:
    truth = make_ground_truth(UTM_QUERIES, UTM_DATABASE)
    assert rows(truth) == [[0], [2]]
    assert truth.protocol == "positives within 25 m (file names, UTM zone 32N)"
    assert rows(make_ground_truth(UTM_QUERIES, UTM_DATABASE, "names", radius=30)) == [[0, 1], [2]]
    limited = make_ground_truth(UTM_QUERIES, UTM_DATABASE, radius=30, heading_limit=20)
    assert rows(limited) == [[1], [2]]  # 350 and 5 degrees are 15 apart
    assert limited.protocol == "positives within 30 m and 20 degrees of heading (file names, UTM zone 32N)"


def test_else_exif(tmp_path: Path) -> None:
    write_gps(tmp_path / "q/a.jpg", 48.0, 11.0)
    write_gps(tmp_path / "d/1.jpg", 48.0001, 11.0)  # 11 m north
    write_gps(tmp_path / "d/2.jpg", 48.001, 11.0)
    seen = []
    truth = make_ground_truth(
        ImageList.read(tmp_path / "q"), ImageList.read(tmp_path / "d"), progress=lambda *done: seen.append(done)
    )
    assert rows(truth) == [[0]]
    assert truth.protocol == "positives within 25 m (EXIF GPS, UTM zone 32N)"
    assert (truth.query_names, truth.database_names) == (("a.jpg",), ("1.jpg", "2.jpg"))
    assert seen[-1] == (3, 3)
    with pytest.raises(GroundTruthError, match=r"3 photos have none. Give headings, or no limit"):
        make_ground_truth(ImageList.read(tmp_path / "q"), ImageList.read(tmp_path / "d"), heading_limit=30)


def test_tables_of_positions(tmp_path: Path) -> None:
    table = write(tmp_path / "p.csv", "image,easting,northing\nq/a,0,0\nd/1,3,4\nd/2,30,40\n")
    truth = make_ground_truth(images("q/a"), images("d/1", "d/2"), [table], radius=5)
    assert rows(truth) == [[0]]
    assert truth.protocol == "positives within 5 m (p.csv, UTM)"


def test_labels(tmp_path: Path) -> None:
    table = write(tmp_path / "l.csv", "image,place\nq/a,tower\nq/b,gate\nd/1,gate\nd/2,tower\nd/3,tower\nq/c,barn\n")
    truth = make_ground_truth(images("q/a", "q/b", "q/c"), images("d/1", "d/2", "d/3"), [table])
    assert rows(truth) == [[1, 2], [0], []]
    assert truth.protocol == "positives of the same label (l.csv)"
    truth.write(tmp_path / "g.npz")
    assert rows(GroundTruth.read(tmp_path / "g.npz")) == rows(truth)
    with pytest.raises(GroundTruthError, match=r"l.csv holds labels: neither a radius nor headings apply"):
        make_ground_truth(images("q/a"), images("d/1"), [table], radius=5)
    with pytest.raises(GroundTruthError, match="has no line for 1 of 2 images of the database, such as d/9"):
        make_ground_truth(images("q/a"), images("d/1", "d/9"), [table])


def test_frames_correspond_by_row() -> None:
    truth = make_ground_truth(images(*"abc"), images(*"vwxyz"), frames=1)
    assert rows(truth) == [[0, 1], [0, 1, 2], [1, 2, 3]]
    assert truth.protocol == "positives within 1 frame"
    stepped = make_ground_truth(images(*"abc"), images(*"vwxyz"), frames=0, frame_step=2)
    assert rows(stepped) == [[0], [2], [4]]
    assert stepped.protocol == "positives within 0 frames, every query 2 frames after the last"
    with pytest.raises(GroundTruthError, match="3 queries in steps of 3 reach frame 6, but the database has 5 images"):
        make_ground_truth(images(*"abc"), images(*"vwxyz"), frames=1, frame_step=3)
    with pytest.raises(GroundTruthError, match="needs no other source"):
        make_ground_truth(images("a"), images("b"), "names", frames=1)


def test_frames_come_back_from_an_npz_as_frames(tmp_path: Path) -> None:
    truth = make_ground_truth(images(*"abc"), images(*"vwxyz"), frames=1)
    truth.write(tmp_path / "g.npz")
    again = GroundTruth.read(tmp_path / "g.npz")
    assert (rows(again), again.protocol, again.unit) == (rows(truth), truth.protocol, "frames")
    assert (again.query_names, again.database_names) == (tuple("abc"), tuple("vwxyz"))


def test_headings_come_back_from_an_npz(tmp_path: Path) -> None:
    make_ground_truth(UTM_QUERIES, UTM_DATABASE, radius=30, heading_limit=20).write(tmp_path / "g.npz")
    assert rows(GroundTruth.read(tmp_path / "g.npz")) == [[1], [2]]
    assert rows(GroundTruth.read(tmp_path / "g.npz", radius=200)) == [[1, 2], [1, 2]]


def test_other_ground_truths_are_passed_on(tmp_path: Path) -> None:
    listed = write(tmp_path / "g.csv", "query,positives\na,1;2\nb,\n")
    truth = make_ground_truth(images("a", "b"), images("1", "2", "3"), [listed])
    assert rows(truth) == [[0, 1], []]
    truth.write(tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_text() == "query,positives\na,1;2\nb,\n"
    with pytest.raises(GroundTruthError, match=r"an .npz holds positions, and here positives are listed: write a .csv"):
        truth.write(tmp_path / "g.npz")
    np.savez(tmp_path / "r.npz", utmQ=[[0, 0]], utmDb=[[0, 3], [0, 9]], posDistThr=5)
    assert rows(make_ground_truth(images("a"), images("1", "2"), [tmp_path / "r.npz"])) == [[0]]
    assert rows(make_ground_truth(images("a"), images("1", "2"), [tmp_path / "r.npz"], radius=9)) == [[0, 1]]
    with pytest.raises(GroundTruthError, match="is a ground truth by itself: give no other file"):
        make_ground_truth(images("a"), images("1", "2"), [tmp_path / "r.npz", listed])
    with pytest.raises(GroundTruthError, match="says no headings"):
        make_ground_truth(images("a", "b"), images("1", "2", "3"), [listed], heading_limit=3)


def test_unknown_sources_are_refused() -> None:
    with pytest.raises(GroundTruthError, match="unknown source 'gps': choose from names, exif, msls"):
        make_ground_truth(images("a"), images("b"), "gps")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"frames": 1, "radius": 5}, "knows no radius and no headings"),
        ({"frames": 1, "heading_limit": 5}, "knows no radius and no headings"),
        ({"frame_step": 2}, "a step of frames means nothing without frames"),
        ({"radius": np.inf}, "the radius must be at least 0 m, not inf"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: dict, said: str) -> None:
    with pytest.raises(GroundTruthError, match=said):
        make_ground_truth(UTM_QUERIES, UTM_DATABASE, **options)


def test_labels_must_agree_and_stand_alone(tmp_path: Path) -> None:
    twice = write(tmp_path / "l.csv", "image,place\na,gate\nb,gate\na,tower\n")
    with pytest.raises(GroundTruthError, match=r"l.csv has two lines for a that differ: leave one out"):
        make_ground_truth(images("a"), images("b"), [twice])
    more = write(tmp_path / "p.csv", "image,lat,lon\na,1,2\nb,1,2\n")
    with pytest.raises(GroundTruthError, match=r"hold labels and positions: give tables of one kind"):
        make_ground_truth(images("a"), images("b"), [twice, more])


def test_labels_of_equal_file_names_are_told_apart_by_folder(tmp_path: Path) -> None:
    table = write(tmp_path / "l.csv", "image,place\nqueries/1,A\nqueries/2,B\ndatabase/1,C\ndatabase/2,A\n")
    queries, database = (images("1", "2", root=f"set/{folder}") for folder in ("queries", "database"))
    assert rows(make_ground_truth(queries, database, [table])) == [[1], []]


def test_a_folder_per_place_gives_labels(tmp_path: Path) -> None:
    queries, database = (
        images("tower/1.jpg", "gate/1.jpg", "new/1.jpg"),
        images("gate/2.jpg", "tower/2.jpg", "tower/3.jpg"),
    )
    truth = make_ground_truth(queries, database, "folders")
    assert rows(truth) == [[1, 2], [0], []]
    assert truth.protocol == "positives of the same label (folders)"
    above = images("q/tower/1.jpg", "q/gate/1.jpg"), images("d/x/gate/2.jpg", "d/x/tower/2.jpg")
    assert rows(make_ground_truth(*above, "folders")) == [[1], [0]]
    with pytest.raises(GroundTruthError, match=r"root: 1.jpg lies in no folder of a place, as PLACE/1.jpg would"):
        make_ground_truth(images("1.jpg"), database, "folders")
    with pytest.raises(GroundTruthError, match="have no folder in common, such as barn"):
        make_ground_truth(images("barn/1.jpg"), database, "folders")
    with pytest.raises(GroundTruthError, match="folders holds labels: neither a radius nor headings apply"):
        make_ground_truth(queries, database, "folders", radius=5)


def test_tables_may_have_other_suffixes_and_truths_too(tmp_path: Path) -> None:
    table = write(tmp_path / "p.txt", "filename;easting;northing\nq/a;0;0\nd/1;3;4\nd/2;30;40\n")
    assert rows(make_ground_truth(images("q/a"), images("d/1", "d/2"), [table], radius=5)) == [[0]]
    tabbed = write(tmp_path / "p.tsv", "name\tlat\tlng\nq/a\t48\t11\nd/1\t48.0001\t11\nd/2\t49\t11\n")
    assert rows(make_ground_truth(images("q/a"), images("d/1", "d/2"), [tabbed])) == [[0]]


@pytest.mark.parametrize("content", [b"\0\1\2", b"\x7fELF\0\0"])
def test_files_of_no_kind_are_refused_as_such(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(content)
    for read in (GroundTruth.read, lambda path: make_ground_truth(images("a"), images("b"), [path])):
        with pytest.raises(GroundTruthError, match=r"x.bin is not one of the ground-truth files, which are .npz, .csv"):
            read(tmp_path / "x.bin")


def test_poses_and_positions_are_no_truth_until_they_are_made_one(tmp_path: Path) -> None:
    path = write(tmp_path / "images.txt", "1 1 0 0 0 0 0 0 1 a.jpg\n\n")
    with pytest.raises(GroundTruthError, match=r"become one with 'patchvlad ground-truth --from .*images.txt'"):
        GroundTruth.read(path)
    table = write(tmp_path / "p.csv", "image,lat,lon\na,1,2\n")
    with pytest.raises(
        GroundTruthError, match=r"no column query, positives; it has image, lat, lon.*ground-truth --from"
    ):
        GroundTruth.read(table)

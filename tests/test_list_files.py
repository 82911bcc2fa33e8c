"""Image lists as other programs and computers write them."""

import logging
import unicodedata
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_images import touch

from patchvlad.errors import GroundTruthError, ImageError, PatchvladError
from patchvlad.images.list_files import CAMERAS
from patchvlad.images.lists import ImageList
from patchvlad.images.names import finder

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "café/été.jpg") for form in ("NFC", "NFD"))


def listed(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def test_folders_of_windows_are_folders_and_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, "q/a/1.jpg", "q/2.jpg")
    path = listed(tmp_path / "list.txt", "q\\a\\1.jpg\r\n.\\q\\2.jpg\r\n")
    with caplog.at_level(logging.INFO):
        images = ImageList.read(path)
    assert images.names == ("q/a/1.jpg", "q/2.jpg")
    assert images.missing() == []
    assert caplog.messages == [f"{path}: \\ is read as /"]
    for encoding in ("utf-16", "utf-8-sig"):
        assert ImageList.read(listed(path, "q\\2.jpg\r\n", encoding)).names == ("q/2.jpg",)


def test_a_backslash_in_a_name_stays_where_there_is_such_a_photo(tmp_path: Path) -> None:
    touch(tmp_path, "a\\1.jpg")
    assert ImageList.read(listed(tmp_path / "list.txt", "a\\1.jpg\n")).missing() == []


@pytest.mark.parametrize("line", ["C:\\data\\1.jpg", "d:/data\\1.jpg"])
def test_a_drive_of_windows_is_refused(line: str, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"list.txt, line 2: .* lies on a drive of Windows: write paths relative"):
        ImageList.read(listed(tmp_path / "list.txt", f"1.jpg\n{line}\n"))


def test_comments_are_left_out_and_photos_named_like_them_are_not(tmp_path: Path) -> None:
    touch(tmp_path, "#1.jpg", "b #2.jpg", "a.jpg")
    path = listed(tmp_path / "list.txt", "# photos of May\na.jpg  # the door\n#1.jpg\nb #2.jpg\n#nothing.jpg\n")
    assert ImageList.read(path).names == ("a.jpg", "#1.jpg", "b #2.jpg")
    with pytest.raises(ImageError, match="lists no image"):
        ImageList.read(listed(path, "# nothing\n"))


def test_intrinsics_of_hlocs_queries_are_not_part_of_the_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = listed(
        tmp_path / "queries_with_intrinsics.txt",
        "q/a b.jpg SIMPLE_RADIAL 1600 1200 1469.2 800 600 -0.0353\nq/2.jpg OPENCV 640 480 5e2 500 320 240 0 0 0 0\n"
        "q/PINHOLE 3.jpg\n",
    )
    with caplog.at_level(logging.INFO):
        assert ImageList.read(path).names == ("q/a b.jpg", "q/2.jpg", "q/PINHOLE 3.jpg")
    assert caplog.messages == [f"{path}: what follows the names of images, their cameras, is not used"]


def test_every_camera_model_of_colmap_is_known() -> None:
    pycolmap = pytest.importorskip("pycolmap")
    models = {name for name in pycolmap.CameraModelId.__members__ if name != "INVALID"}
    assert models <= set(CAMERAS)


def test_kaptures_records_list_the_photos_beside_them(tmp_path: Path) -> None:
    csv, core = pytest.importorskip("kapture.io.csv"), pytest.importorskip("kapture")
    records = core.RecordsCamera()
    records[20, "left"] = "drive/left/b.jpg"
    records[3, "left"] = "drive/left/a.jpg"
    sensors = tmp_path / "sensors"
    touch(sensors / "records_data", "drive/left/a.jpg", "drive/left/b.jpg")
    csv.records_camera_to_file(str(sensors / "records_camera.txt"), records)
    images = ImageList.read(sensors / "records_camera.txt")
    assert images.root == sensors / "records_data"
    assert images.missing() == []
    assert set(images.names) == {"drive/left/a.jpg", "drive/left/b.jpg"}
    assert ImageList.read(sensors / "records_camera.txt", sensors).root == sensors


def test_another_file_of_kapture_is_no_list(tmp_path: Path) -> None:
    path = listed(tmp_path / "pairs.txt", "# kapture format: 1.1\n# query, map, score\na.jpg, b.jpg, 0.5\n")
    with pytest.raises(ImageError, match=r"line 3: .* is not timestamp, device, image path: of kapture's files"):
        ImageList.read(path)


@pytest.mark.parametrize(
    "text", ["<!DOCTYPE html><html>", "version https://git-lfs.github.com/spec/v1\noid sha256:1\n"]
)
def test_what_is_no_list_is_called_by_its_name(text: str, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"list.txt is not an image list: it is"):
        ImageList.read(listed(tmp_path / "list.txt", text))


@pytest.mark.parametrize(("disk", "said"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)])
def test_accents_meet_whichever_way_they_are_written(disk: str, said: str, tmp_path: Path) -> None:
    touch(tmp_path, disk)
    images = ImageList.read(listed(tmp_path / "list.txt", f"{said}\n"))
    assert images.missing() == []
    assert images.names == ImageList.read(tmp_path).names == (disk,)
    assert finder("file", "database", [disk], [said])(said) == 0
    assert finder("file", "database", [disk], [f"db/{said}"])(f"db/{said}") == 0


def test_two_photos_that_differ_in_their_accents_alone_stay_two() -> None:
    row_of = finder("file", "database", [COMPOSED, DECOMPOSED], [DECOMPOSED])
    assert [row_of(name) for name in (COMPOSED, DECOMPOSED)] == [0, 1]


def test_names_with_backslashes_meet_those_with_slashes() -> None:
    row_of = finder("file", "queries", ["a/1.jpg", "b/1.jpg"], ["a\\1.jpg", "b\\1.jpg"])
    assert [row_of(name) for name in ("a\\1.jpg", "b\\1.jpg")] == [0, 1]
    row_of = finder("file", "queries", ["a/1.jpg", "b/1.jpg"], ["set\\a\\1.jpg", "set\\b\\1.jpg"])
    assert row_of("set\\b\\1.jpg") == 1


NAME = st.text(st.characters(exclude_categories=("C", "Z"), exclude_characters="/\\#"), min_size=1, max_size=8)
PATHS = st.lists(NAME, min_size=1, max_size=3).map(lambda parts: "/".join(parts) + ".jpg")


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(PATHS, min_size=1, max_size=6))
def test_any_names_are_read_as_they_were_written(tmp_path: Path, names: list[str]) -> None:
    names = list(dict.fromkeys(str(PurePosixPath(name)) for name in names))
    if any(part == ".." for name in names for part in name.split("/")):
        return
    path = listed(tmp_path / "list.txt", "".join(f"{name}\n" for name in names))
    assert ImageList.read(path).names == tuple(names)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=200), st.text(max_size=100).map(lambda text: text.encode(errors="replace"))))
def test_whatever_a_file_holds_it_is_a_list_or_a_named_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "list.txt"
    for head in (b"", b"# kapture format: 1.1\n"):
        path.write_bytes(head + content)
        try:
            images = ImageList.read(path)
        except PatchvladError as error:
            assert str(path) in str(error)
        else:
            assert images.names and len(set(images.names)) == len(images)


def composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(PATHS, min_size=1, max_size=6, unique_by=composed),
    st.sampled_from(["", "db/", "/data/set/"]),
    st.booleans(),
)
def test_names_below_another_folder_lead_to_their_rows(names: list[str], front: str, windows: bool) -> None:
    mentioned = [front + name for name in names]
    if windows:
        mentioned = [name.replace("/", "\\") for name in mentioned]
    try:
        row_of = finder("file", "images", names, mentioned)
    except GroundTruthError as error:  # which of two may be meant
        assert "file names" in str(error)
        return
    rows = [row for said in mentioned if (row := row_of(said)) is not None]
    assert rows and len(set(rows)) == len(rows)

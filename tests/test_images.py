"""Which photos there are, and how one is read."""

import io
import logging
import os
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from odd_images import UPRIGHT
from PIL import ExifTags, Image

from patchvlad.errors import ConfigError, ImageError
from patchvlad.images import formats
from patchvlad.images.formats import SUFFIXES
from patchvlad.images.lists import ImageList
from patchvlad.images.pixels import read_image
from patchvlad.images.scaling import is_faint

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def save(path: Path, pixels: np.ndarray = PIXELS, **options) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


def refusal(path: Path) -> str:
    """The message of the ImageError that reading the photo raises."""
    with pytest.raises(ImageError) as caught:
        read_image(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


# --- lists ----------------------------------------------------------------------------------------------------------


def test_links_across_folders_end(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg", "b/2.jpg", "c/3.jpg")
    for here in "abc":
        for there in "abc".replace(here, ""):
            (tmp_path / here / f"to_{there}").symlink_to(tmp_path / there, target_is_directory=True)
    names = ImageList.read(tmp_path).names
    assert {"a/1.jpg", "b/2.jpg", "c/3.jpg", "a/to_b/2.jpg", "a/to_b/to_c/3.jpg"} <= set(names)
    assert len(names) == 3 * (1 + 2 + 2)


def test_a_link_that_leads_back_is_not_followed_and_others_are(tmp_path: Path) -> None:
    touch(tmp_path / "photos", "a/1.jpg", "2.jpg")
    touch(tmp_path / "elsewhere", "3.jpg")
    (tmp_path / "photos" / "a" / "loop").symlink_to(tmp_path / "photos", target_is_directory=True)
    (tmp_path / "photos" / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert ImageList.read(tmp_path / "photos").names == ("2.jpg", "a/1.jpg", "linked/3.jpg")


def test_folders_are_listed_recursively_in_natural_order(tmp_path: Path) -> None:
    touch(tmp_path, "10.jpg", "2.jpg", "b/10.png", "b/9.PNG", "a/c/1.tif", "notes.txt", "1.jpg")
    images = ImageList.read(tmp_path)
    assert images.names == ("1.jpg", "2.jpg", "10.jpg", "a/c/1.tif", "b/9.PNG", "b/10.png")
    assert images.path(3) == tmp_path / "a" / "c" / "1.tif"
    assert len(images) == 6


def test_every_suffix_is_listed_in_either_case(tmp_path: Path) -> None:
    touch(tmp_path, *(f"a{suffix}" for suffix in SUFFIXES), *(f"b{suffix.upper()}" for suffix in SUFFIXES))
    assert len(ImageList.read(tmp_path)) == 2 * len(SUFFIXES)


def test_what_a_folder_holds_besides_is_counted_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "is_readable", lambda suffix: suffix != ".heic")
    touch(
        tmp_path, "a.jpg", "b/1.HEIC", "b/2.heic", "c.MOV", "d.mov", "e.cr2", "gt.csv", "Thumbs.db", ".f.mov", "notes"
    )
    with caplog.at_level(logging.INFO):
        assert ImageList.read(tmp_path).names == ("a.jpg",)
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path}: 5 files left out: 2 .heic (install patchvlad[heif]), 2 .mov, 1 .cr2"
    ]
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(ImageError, match=r"holds no image \(left out: 2 \.heic \(install patchvlad\[heif\]\)"):
        ImageList.read(tmp_path)


def test_nothing_is_said_of_what_is_plainly_no_photo(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, "a.jpg", "gt.csv", "list.txt", "Thumbs.db", ".DS_Store", "poses.json", "m.pth", "README", "x.npy")
    ImageList.read(tmp_path)
    assert not caplog.records


def test_heif_is_read_without_a_change_that_other_users_of_pillow_see(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    halves = np.full((64, 96, 3), 30, dtype=np.uint8)
    halves[:32] = 220
    heif.from_pillow(Image.fromarray(halves)).save(tmp_path / "a.HEIC", exif=exif.tobytes())
    (tmp_path / "b.jpg").write_bytes((tmp_path / "a.HEIC").read_bytes())  # as phones export them
    for name in ImageList.read(tmp_path).names:
        found = read_image(tmp_path / name)
        assert found.shape == (96, 64, 3)
        assert found[:, :28].mean() < 60 and found[:, 36:].mean() > 190
    assert "HEIF" not in Image.OPEN and ".heic" not in Image.registered_extensions()


def test_without_the_extra_a_heif_photo_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x1cftypheic\0\0\0\0mif1heic")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    assert "is a HEIF photo: pip install 'patchvlad[heif]'" in refusal(tmp_path / "a.heic")


def test_the_largest_file_of_a_photo_is_a_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.png")
    os.truncate(path, 3 * 10**6)
    np.testing.assert_array_equal(read_image(path), PIXELS)
    monkeypatch.setenv("PATCHVLAD_LARGEST_PHOTO", "2")
    assert "3 MB, and such files have 2 MB at most" in refusal(path)
    monkeypatch.setenv("PATCHVLAD_LARGEST_PHOTO", "many")
    with pytest.raises(ConfigError, match="whole number of MB"):
        read_image(path)


def test_lists_never_wait_for_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    os.mkfifo(tmp_path / "list.txt")
    (tmp_path / "b.jpg").mkdir()
    save(tmp_path / "c.png")
    images = ImageList.read(tmp_path)
    assert images.names == ("a.jpg", "c.png") and images.identity(0) == b"missing"
    assert "named pipe" in refusal(tmp_path / "a.jpg")
    with pytest.raises(ImageError, match=r"list.txt is not an image list: it is a named pipe"):
        ImageList.read(tmp_path / "list.txt")


def test_a_list_takes_texts_and_makes_a_path_of_its_root(tmp_path: Path) -> None:
    images = ImageList(str(tmp_path), ["a.jpg"])  # type: ignore[arg-type]
    assert images.path(0) == tmp_path / "a.jpg" and images.names == ("a.jpg",)
    for names in ("a.jpg", [1], [Path("a.jpg")]):
        with pytest.raises(ConfigError, match="one per image"):
            ImageList(tmp_path, names)  # type: ignore[arg-type]


def test_order_does_not_depend_on_the_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "1.jpg", "01.jpg", "001.jpg")
    listed = ImageList.read(tmp_path).names
    walk = os.walk
    monkeypatch.setattr(os, "walk", lambda *args, **kwargs: ((p, d, f[::-1]) for p, d, f in walk(*args, **kwargs)))
    assert ImageList.read(tmp_path).names == listed


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", ".b.jpg", "._a.jpg", ".thumbnails/a.jpg", "c/.cache/d.jpg", "c/d.jpg")
    assert ImageList.read(tmp_path).names == ("a.jpg", "c/d.jpg")


def test_links_to_folders_are_followed(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere", "a.jpg")
    photos = touch(tmp_path / "photos", "b.jpg")
    (photos / "linked").symlink_to(tmp_path / "elsewhere")
    assert ImageList.read(photos).names == ("b.jpg", "linked/a.jpg")


@pytest.mark.parametrize("name", ["two\nlines.jpg", "two\x85lines.jpg", os.fsdecode(b"latin-1 \xe9.jpg")])
def test_names_that_no_list_can_hold_are_refused(tmp_path: Path, name: str) -> None:
    touch(tmp_path, name)
    with pytest.raises(ImageError, match="rename it") as caught:
        ImageList.read(tmp_path)
    assert str(tmp_path) in str(caught.value) and repr(name) in str(caught.value)


def test_folder_without_photos_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "notes.txt")
    with pytest.raises(ImageError, match=r"holds no image.*\.jpg") as caught:
        ImageList.read(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_root_does_not_go_with_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="list file only"):
        ImageList.read(touch(tmp_path, "a.jpg"), root=tmp_path)


def test_missing_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"nowhere does not exist: give a folder"):
        ImageList.read(tmp_path / "nowhere")


def test_single_photo_is_a_list_of_one(tmp_path: Path) -> None:
    images = ImageList.read(touch(tmp_path, "set/a.JPG") / "set" / "a.JPG")
    assert (images.root, images.names) == (tmp_path / "set", ("a.JPG",))


@pytest.mark.parametrize(
    "text",
    [
        "./q/1.jpg\nq/2.jpg\n",
        "q/1.jpg\r\n\r\n  q//2.jpg  \r\n\n",
        "\ufeffq/1.jpg\nq/x/../2.jpg",
        "{root}/q/1.jpg\n{root}/./q/2.jpg\n",
    ],
    ids=["dot prefix", "Windows line ends and blanks", "byte order mark", "absolute"],
)
def test_list_files_name_images_relative_to_their_folder(tmp_path: Path, text: str) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text(text.format(root=tmp_path), encoding="utf-8", newline="")
    images = ImageList.read(listed)
    assert (images.root, images.names) == (tmp_path, ("q/1.jpg", "q/2.jpg"))


def test_list_file_keeps_its_order_and_takes_a_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "photos/b.jpg")
    listed = tmp_path / "list.txt"
    listed.write_text(f"b.jpg\n{tmp_path}/photos/a.jpg\n")
    images = ImageList.read(listed, root=tmp_path / "photos")
    assert images.names == ("b.jpg", "a.jpg")
    assert images.missing() == ["a.jpg"]
    monkeypatch.chdir(tmp_path)
    assert ImageList.read("list.txt", root="photos").names == images.names


def test_absolute_paths_find_their_own_root_and_say_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    listed = tmp_path / "lists" / "list.txt"
    listed.parent.mkdir()
    paths = [tmp_path / "data" / name for name in ("x/1.jpg", "x/2.jpg", "y/1.jpg")]
    listed.write_text("".join(f"{path}\n" for path in paths))
    with caplog.at_level(logging.INFO):
        images = ImageList.read(listed)
    assert (images.root, images.names) == (tmp_path / "data", ("x/1.jpg", "x/2.jpg", "y/1.jpg"))
    assert [images.path(row) for row in range(3)] == paths
    assert f"its images lie below {tmp_path / 'data'}, which their names are relative to" in caplog.text
    listed.write_text(f"{paths[0]}\n")
    assert ImageList.read(listed).names == ("1.jpg",)


def test_absolute_paths_mix_with_relative_ones_and_with_a_root(tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text(f"1.jpg\n{tmp_path / 'b' / '2.jpg'}\n")
    images = ImageList.read(listed, tmp_path / "a")
    assert (images.root, images.names) == (tmp_path, ("a/1.jpg", "b/2.jpg"))
    listed.write_text(f"1.jpg\n{tmp_path / 'a' / 'c' / '2.jpg'}\n")
    images = ImageList.read(listed, tmp_path / "a")
    assert (images.root, images.names) == (tmp_path / "a", ("1.jpg", "c/2.jpg"))


@pytest.mark.parametrize("line", ["../a.jpg", "q/../../a.jpg", ".."])
def test_lines_that_lead_out_of_the_root_are_refused(tmp_path: Path, line: str) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text(f"a.jpg\n{line}\n")
    with pytest.raises(ImageError, match=r"line 2: .*give (a|the) root") as caught:
        ImageList.read(listed)
    assert str(listed) in str(caught.value) and line in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"), [(b"\n  \n", "lists no image: write"), (b"\xff\xfe\x00", "is not a text file: give")]
)
def test_files_that_list_nothing_are_refused(tmp_path: Path, content: bytes, said: str) -> None:
    listed = tmp_path / "list.txt"
    listed.write_bytes(content)
    with pytest.raises(ImageError, match=said) as caught:
        ImageList.read(listed)
    assert str(listed) in str(caught.value)


def test_joined_lists_are_relative_to_what_they_share(tmp_path: Path) -> None:
    first, second = touch(tmp_path / "one", "a.jpg"), touch(tmp_path / "two" / "deep", "a.jpg", "b.jpg")
    joined = ImageList.join([ImageList.read(first), ImageList.read(second)])
    assert (joined.root, joined.names) == (tmp_path, ("one/a.jpg", "two/deep/a.jpg", "two/deep/b.jpg"))
    assert joined.missing() == []


# --- photos ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_photos_are_turned_upright(tmp_path: Path, orientation: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    found = read_image(save(tmp_path / f"a.{suffix}", exif=exif))
    np.testing.assert_array_equal(found, UPRIGHT[orientation](PIXELS))


def test_orientations_that_do_not_exist_are_ignored(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 9
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.png", exif=exif)), PIXELS)


def test_damaged_exif_does_not_cost_the_photo(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif.get_ifd(ExifTags.IFD.GPSInfo).update({ExifTags.GPS.GPSLatitudeRef: "N", ExifTags.GPS.GPSLatitude: (1, 2, 3)})
    path = save(tmp_path / "a.jpg", exif=exif)
    whole, content = read_image(path), path.read_bytes()
    entries = content.index(b"\0\2" + b"\0\1\0\2\0\0\0\2N\0")
    path.write_bytes(content[:entries] + b"\x29" + content[entries + 1 :])  # GPS claims to hold thousands
    np.testing.assert_array_equal(read_image(path), whole)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".ppm", ".bmp", ".tif", ".webp", ".gif", ".jp2", ".avif", ".tga"])
def test_every_format_gives_rgb(tmp_path: Path, suffix: str) -> None:
    halves = np.full((16, 32, 3), (200, 100, 50), dtype=np.uint8)
    halves[:, 16:] = 20, 60, 220
    found = read_image(save(tmp_path / f"a{suffix}", halves))
    assert found.dtype == np.uint8
    for away in (np.s_[:, :6], np.s_[:, 26:]):  # from the edge, which lossy formats smear
        np.testing.assert_allclose(found[away].astype(int), halves[away], atol=8)


@pytest.mark.parametrize("suffix", [".png", ".pgm", ".tif"])
def test_grey_becomes_three_equal_channels(tmp_path: Path, suffix: str) -> None:
    grey = PIXELS[..., 0]
    np.testing.assert_array_equal(read_image(save(tmp_path / f"a{suffix}", grey)), np.dstack([grey] * 3))


@pytest.mark.parametrize("suffix", [".png", ".pgm", ".tif", ".jp2"])
def test_deep_photos_keep_their_contrast_by_percentiles_or_by_a_range(tmp_path: Path, suffix: str) -> None:
    values = np.tile(np.linspace(7000, 7400, 400).astype(np.uint16), (50, 1))
    values[0, 0], values[1, 0] = 0, 65535  # dead pixels
    path = save(tmp_path / f"a{suffix}", values)
    own, given = read_image(path).astype(int), read_image(path, (6000, 8000))
    assert (own[..., 0] == own[..., 2]).all()
    assert np.ptp(own[2]) == 255 and own[2, 200, 0] == pytest.approx(127, abs=2)  # not 27 and 28 alone
    assert given[2, 0, 0] == round(255 * 1000 / 2000) and given[2, -1, 0] == round(255 * 1400 / 2000)
    assert given[0, 0, 0] == 0 and given[1, 0, 0] == 255


def test_a_range_is_in_the_units_of_the_file(tmp_path: Path) -> None:
    """Pillow stretches a PGM of 12 bits to 16."""
    path = tmp_path / "a.pgm"
    path.write_bytes(b"P5 3 1 4095\n" + np.array([0, 1000, 2000], dtype=">u2").tobytes())
    assert read_image(path, (0, 2000))[0, :, 0].tolist() == [0, 128, 255]
    colours = np.array([[[0, 500, 1000], [1000, 500, 0]]], dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "b.png"), colours[..., ::-1])
    assert read_image(tmp_path / "b.png", (0, 1000)).tolist() == [[[0, 128, 255], [255, 128, 0]]]


def test_eight_bits_do_not_change_by_one_whatever_the_range(tmp_path: Path) -> None:
    for suffix in (".png", ".bmp", ".tif"):
        path = save(tmp_path / f"a{suffix}", PIXELS // 4 + 90)
        np.testing.assert_array_equal(read_image(path, (0, 50)), PIXELS // 4 + 90)


@pytest.mark.parametrize("pixel_range", [(5, 5), (9, 1), (0, float("nan")), (float("-inf"), 0), (1,), "ab", 3])
def test_ranges_that_cannot_be_are_refused(tmp_path: Path, pixel_range) -> None:
    with pytest.raises(ConfigError, match="pixel range"):
        read_image(save(tmp_path / "a.png"), pixel_range)


def test_a_range_that_no_value_lies_in_is_named(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.arange(100, 154, dtype=np.uint16).reshape(6, 9))
    with pytest.raises(ImageError, match=r"no contrast between 500 and 900: its values are 100 to 153.*--pixel-range"):
        read_image(path, (500, 900))


def test_it_is_said_once_how_deep_photos_are_scaled(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("patchvlad.images.scaling._said", set())
    paths = [save(tmp_path / f"{i}.png", PIXELS[..., 0].astype(np.uint16) + 7000) for i in range(3)]
    with caplog.at_level(logging.INFO):
        for path in paths:
            read_image(path)
        assert len(caplog.records) == 1
        assert "0.png and others have more than 8 bits" in caplog.text and "percentiles 1 and 99" in caplog.text
        for path in paths:
            read_image(path, (7000, 7300))
    assert len(caplog.records) == 2 and "7000 to 7300 becomes black to white" in caplog.text


def test_photos_of_one_colour_are_refused_and_faint_ones_told(tmp_path: Path) -> None:
    black = np.zeros((60, 80, 3), dtype=np.uint8)
    assert "has no contrast: all its pixels are (0, 0, 0)" in refusal(save(tmp_path / "a.png", black))
    noise = np.random.default_rng(0).integers(0, 6, black.shape, dtype=np.uint8)
    assert is_faint(read_image(save(tmp_path / "a.png", noise)))
    lamp = black.copy()
    lamp[3, 3] = 255
    assert is_faint(read_image(save(tmp_path / "a.png", lamp)))
    assert not is_faint(read_image(save(tmp_path / "a.png", PIXELS)))


def test_transparency_is_dropped(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.dstack([PIXELS, np.zeros((6, 9), dtype=np.uint8)]))
    np.testing.assert_array_equal(read_image(path), PIXELS)
    grey = np.dstack([PIXELS[..., 0], PIXELS[..., 1]])
    np.testing.assert_array_equal(read_image(save(path, grey)), np.dstack([PIXELS[..., 0]] * 3))


@pytest.mark.parametrize("transparent", [None, 0])
def test_palettes_are_resolved(tmp_path: Path, transparent: int | None) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putdata([1, 0])
    image.save(tmp_path / "a.png", transparency=transparent)
    assert read_image(tmp_path / "a.png").tolist() == [[[40, 50, 60], [10, 20, 30]]]


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    red = Image.new("CMYK", (16, 32), (0, 255, 255, 0))
    red.paste((0, 0, 0, 0), (0, 16, 16, 32))
    red.save(tmp_path / "a.jpg")
    np.testing.assert_allclose(read_image(tmp_path / "a.jpg")[8, 8].astype(int), [255, 0, 0], atol=5)


def test_of_several_frames_the_first_is_read(tmp_path: Path) -> None:
    first, second = Image.fromarray(PIXELS), Image.fromarray(255 - PIXELS)
    first.save(tmp_path / "a.tif", save_all=True, append_images=[second])
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), PIXELS)


def test_two_pixels_are_a_photo_and_one_shows_nothing(tmp_path: Path) -> None:
    assert read_image(save(tmp_path / "a.png", PIXELS[:1, :2])).tolist() == [PIXELS[0, :2].tolist()]
    assert "has no contrast" in refusal(save(tmp_path / "a.png", PIXELS[:1, :1]))


def test_missing_photo_is_named(tmp_path: Path) -> None:
    assert "does not exist: check" in refusal(tmp_path / "a.jpg")


def test_folder_is_no_photo(tmp_path: Path) -> None:
    assert "is a folder, not a photo" in refusal(tmp_path)


@pytest.mark.parametrize("content", [b"not a photo", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"P6 3 3 255\n"])
def test_files_that_are_no_photo_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    assert refusal(path).endswith("repair it or leave it out")


def test_an_empty_file_is_called_empty(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    assert refusal(tmp_path / "a.jpg").endswith("a.jpg is empty, it has 0 bytes: restore it or leave it out")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_photos_cut_short_are_named(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"a{suffix}", np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:-1500])
    assert refusal(path).endswith("repair it or leave it out")


def test_bombs_are_refused_and_large_photos_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", PIXELS[..., 0].size - 1)
    np.testing.assert_array_equal(read_image(path), PIXELS)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", PIXELS[..., 0].size // 2 - 1)
    assert refusal(path).endswith("shrink it first")


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("checksums", [True, False])
def test_damage_anywhere_gives_a_photo_or_a_named_error(
    tmp_path: Path, suffix: str, checksums: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not checksums:  # so that damage reaches the decoder
        monkeypatch.setattr("PIL.PngImagePlugin.ChunkStream.crc", lambda stream, *_: stream.fp.read(4))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.ImageDescription] = "a house"
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, {"jpg": "jpeg"}.get(suffix, suffix), exif=exif)
    path = tmp_path / f"a.{suffix}"
    outcomes = set()
    for seed in range(100):
        generator = np.random.default_rng(seed)
        content = np.frombuffer(buffer.getvalue(), dtype=np.uint8).copy()
        content[generator.integers(0, min(len(content), 250), 3)] = generator.integers(0, 256, 3)
        path.write_bytes(content.tobytes()[: generator.integers(len(content) // 2, 2 * len(content))])
        try:
            image = read_image(path)
            assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
            outcomes.add("photo")
        except ImageError as error:
            assert str(path) in str(error)
            outcomes.add("error")
    assert "error" in outcomes


def test_a_list_names_every_image_once(tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_text("a.jpg\nb.jpg\n./a.jpg\n")
    with pytest.raises(ImageError, match=r"l.txt lists a.jpg twice: every image counts once"):
        ImageList.read(tmp_path / "l.txt")


def test_images_are_named_from_a_folder_above_through_links_too(tmp_path: Path) -> None:
    (tmp_path / "disk" / "photos").mkdir(parents=True)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "images").symlink_to(tmp_path / "disk")
    (tmp_path / "alias").symlink_to(tmp_path / "set")
    images = ImageList(tmp_path / "set" / "images" / "photos", ("1.jpg", "x/2.jpg"))
    assert images.below(tmp_path / "set").names == ("images/photos/1.jpg", "images/photos/x/2.jpg")
    assert images.below(images.root).names == images.names
    assert ImageList(tmp_path / "disk" / "photos", ("1.jpg",)).below(tmp_path / "set" / "images").names == (
        "photos/1.jpg",
    )
    with pytest.raises(ValueError):
        images.below(tmp_path / "nowhere")

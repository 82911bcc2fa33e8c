"""Which photos there are, and how one is read."""

import io
import logging
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from patchvlad.errors import ImageError
from patchvlad.images.lists import SUFFIXES, ImageList
from patchvlad.images.pixels import read_image

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

UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


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


@pytest.mark.parametrize("suffix", sorted(SUFFIXES - {".pgm"}))
def test_every_format_gives_rgb(tmp_path: Path, suffix: str) -> None:
    smooth = np.full((16, 24, 3), (200, 100, 50), dtype=np.uint8)
    found = read_image(save(tmp_path / f"a{suffix}", smooth))
    assert found.dtype == np.uint8
    np.testing.assert_allclose(found.astype(int), smooth, atol=3)


@pytest.mark.parametrize("suffix", [".png", ".pgm", ".tif"])
def test_grey_becomes_three_equal_channels(tmp_path: Path, suffix: str) -> None:
    grey = PIXELS[..., 0]
    np.testing.assert_array_equal(read_image(save(tmp_path / f"a{suffix}", grey)), np.dstack([grey] * 3))


@pytest.mark.parametrize("suffix", [".png", ".pgm", ".tif"])
def test_sixteen_bit_grey_keeps_its_upper_eight_bits(tmp_path: Path, suffix: str) -> None:
    values = np.array([[0, 255, 256], [513, 32768, 65535]], dtype=np.uint16)
    upper = np.array([[0, 0, 1], [2, 128, 255]], dtype=np.uint8)
    np.testing.assert_array_equal(read_image(save(tmp_path / f"a{suffix}", values)), np.dstack([upper] * 3))


def test_floating_grey_is_scaled_from_one_or_clipped_to_sixteen_bits(tmp_path: Path) -> None:
    for values, eight in (
        ([[0, 0.5, 1]], [0, 127, 255]),
        ([[-5, 512, 1e9]], [0, 2, 255]),
        ([[np.nan, 0, 70000]], [0, 0, 255]),
    ):
        found = read_image(save(tmp_path / "a.tif", np.array(values, dtype=np.float32)))
        assert found[0, :, 0].tolist() == eight


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
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.jpg")
    np.testing.assert_allclose(read_image(tmp_path / "a.jpg")[8, 8].astype(int), [255, 0, 0], atol=5)


def test_of_several_frames_the_first_is_read(tmp_path: Path) -> None:
    first, second = Image.fromarray(PIXELS), Image.fromarray(255 - PIXELS)
    first.save(tmp_path / "a.tif", save_all=True, append_images=[second])
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), PIXELS)


def test_one_pixel_is_a_photo(tmp_path: Path) -> None:
    assert read_image(save(tmp_path / "a.png", PIXELS[:1, :1])).tolist() == [[PIXELS[0, 0].tolist()]]


def test_missing_photo_is_named(tmp_path: Path) -> None:
    assert "does not exist: check" in refusal(tmp_path / "a.jpg")


def test_folder_is_no_photo(tmp_path: Path) -> None:
    assert "cannot be read as an image" in refusal(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a photo", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"P6 3 3 255\n"])
def test_files_that_are_no_photo_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    assert refusal(path).endswith("repair it or leave it out")


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

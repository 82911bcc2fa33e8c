"""FeatureStore: what is written comes back, and whatever moment a writer dies in, readers see whole images only."""

import dataclasses
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import FrameType

import numpy as np
import pytest
import torch

from patchvlad.errors import MismatchError, OutputError, StoreError
from patchvlad.features import store, store_writing
from patchvlad.features.manifest import FeatureRecipe
from patchvlad.features.quantisation import compacted, quantise
from patchvlad.features.store import FeatureStore, is_store
from patchvlad.features.store_writing import StoreWriter, open_writer
from patchvlad.files import atomic, leftovers

RECIPE = FeatureRecipe(
    fingerprint="a" * 64,
    model="tiny",
    size=(64, 80),
    pooling="patchnetvlad",
    grids=((2, 1), (3, 2)),
    map_size=(4, 5),
    stride=16,
    dim=6,
    patch_dim=6,
)
NAMES = ("a/1.jpg", "b/1.jpg", "c d.png", "\u00fc.jpg", "e.jpg")
GLOBAL = np.random.default_rng(0).standard_normal((5, 6), dtype=np.float32)
PATCHES = {p: np.random.default_rng(p).standard_normal((5, n, 6), dtype=np.float32) for p, n in ((2, 12), (3, 2))}


def append(writer: StoreWriter, count: int) -> None:
    """Appends the next `count` rows."""
    rows = slice(writer.manifest.rows, writer.manifest.rows + count)
    writer.append(GLOBAL[rows], {p: values[rows] for p, values in PATCHES.items()}, [3] if 3 in range(5)[rows] else [])


def write(folder: Path, **options) -> None:
    """Writes a whole store, or whatever is missing of it, two rows at a time."""
    with open_writer(folder, RECIPE, NAMES, **options) as writer:
        for row in range(writer.manifest.rows, len(NAMES), 2):
            append(writer, min(2, len(NAMES) - row))


def write_some(folder: Path, rows: int, **options) -> None:
    with open_writer(folder, RECIPE, NAMES, **options) as writer:
        if rows:
            append(writer, rows)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def everything(folder: Path) -> dict[str, bytes]:
    """The files below a folder, but for locks."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.endswith(".lock")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def moments(folder: Path, act: Callable[[], None]) -> list[dict[str, bytes]]:
    """Every state that `folder` goes through, as on disk at each line that the store runs."""
    seen: list[dict[str, bytes]] = []

    def look() -> None:
        if folder.is_dir() and (now := everything(folder)) not in seen:
            seen.append(now)

    def trace(frame: FrameType, event: str, argument: object) -> Callable | None:
        if frame.f_code.co_filename not in (store.__file__, store_writing.__file__, atomic.__file__):
            return None
        look()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        act()
    finally:
        sys.settrace(before)
    look()
    return seen


def restore(folder: Path, state: dict[str, bytes]) -> Path:
    folder.mkdir()
    for name, data in state.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stores") / "whole"
    write(folder)
    return folder


@pytest.fixture
def copy(tmp_path: Path, whole: Path) -> Path:
    """A whole store that a test may damage."""
    return restore(tmp_path / "copy", contents(whole))


def test_rows_come_back_as_they_were_written(whole: Path) -> None:
    read = FeatureStore(whole)
    assert len(read) == 5
    assert read.names == NAMES
    assert read.recipe == RECIPE
    assert read.manifest.unreadable == (3,)
    np.testing.assert_array_equal(read.global_, GLOBAL)
    assert (read.global_.dtype, read.global_.nbytes) == (np.float32, np.asarray(read.global_).nbytes)
    assert list(read.patches) == [2, 3]
    for p, values in PATCHES.items():
        np.testing.assert_array_equal(read.patches[p], values)
        assert len(read.grids[p]) == values.shape[1]
    one = read.descriptors(4)
    np.testing.assert_array_equal(one.global_, GLOBAL[4])
    np.testing.assert_array_equal(one.patches[3], PATCHES[3][4])
    assert one.grids == read.grids


def test_float16_halves_patches_and_leaves_global_descriptors(tmp_path: Path, whole: Path) -> None:
    write(tmp_path / "half", dtype="float16")
    read = FeatureStore(tmp_path / "half")
    assert (read.global_.dtype, read.patches[2].dtype) == (np.float32, np.float16)
    np.testing.assert_array_equal(read.patches[2], PATCHES[2].astype(np.float16))
    assert read.descriptors(0).patches[2].numpy().dtype == np.float16
    read.check_matches(FeatureStore(whole))


def test_an_empty_list_makes_an_empty_store(tmp_path: Path) -> None:
    with open_writer(tmp_path / "empty", RECIPE, []):
        pass
    read = FeatureStore(tmp_path / "empty")
    assert (len(read), read.names, read.global_.shape, read.patches[2].shape) == (0, (), (0, 6), (0, 12, 6))


def test_only_a_folder_with_a_manifest_is_a_store(tmp_path: Path, whole: Path) -> None:
    assert is_store(whole)
    assert not is_store(tmp_path)
    assert not is_store(whole / "images.txt")


# --- death and resumption -------------------------------------------------------------------------------------------


def test_a_writer_may_die_at_any_moment_and_the_next_ends_bytewise_equal(tmp_path: Path, whole: Path) -> None:
    states = moments(tmp_path / "dying", lambda: write(tmp_path / "dying"))
    assert states[0] == {}
    assert states[-1] == contents(whole)
    assert len(states) > 20
    assert any(name.startswith("manifest.partial-") for state in states for name in state)
    assert any("images.txt" not in state and "manifest.json" in state for state in states)
    for number, state in enumerate(states[:-1]):
        folder = restore(tmp_path / str(number), state)
        with pytest.raises(StoreError, match=r"is incomplete \([0-4] of 5 images\)|is not a feature store"):
            FeatureStore(folder)
        write(folder)
        assert contents(folder) == contents(whole)


def test_a_writer_may_die_at_any_moment_of_overwriting(tmp_path: Path, whole: Path) -> None:
    old = tmp_path / "old"
    with open_writer(old, replace(RECIPE, grids=((4, 1),), fingerprint="b" * 64), ["x.jpg"]) as writer:
        writer.append(GLOBAL[:1], {4: PATCHES[3][:1]})
    before = contents(old)
    states = moments(old, lambda: write(old, overwrite=True))
    kept = 0
    for number, state in enumerate(states[:-1]):
        folder = restore(tmp_path / str(number), state)
        read = FeatureStore(folder)
        if read.names == ("x.jpg",):
            kept += 1
            np.testing.assert_array_equal(read.patches[4], PATCHES[3][:1])
            with pytest.raises(MismatchError, match="--overwrite"):
                write(folder)
        else:
            assert everything(folder) == contents(whole)
        write(folder, overwrite=True)
        assert everything(folder) == everything(whole)
    assert kept > 20
    assert before != contents(whole)


@pytest.mark.parametrize("rows", [0, 2, 4])
@pytest.mark.parametrize("torn", ["global.npy", "patches_2.npy", "patches_3.npy"])
def test_a_row_torn_in_the_middle_is_written_again(tmp_path: Path, whole: Path, rows: int, torn: str) -> None:
    write_some(tmp_path / "torn", rows)
    with open(tmp_path / "torn" / torn, "ab") as file:
        file.write(b"\xff" * 13)
    write(tmp_path / "torn")
    assert contents(tmp_path / "torn") == contents(whole)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_exception_in_the_middle_keeps_what_is_whole(
    tmp_path: Path, whole: Path, error: type[BaseException]
) -> None:
    def interrupted() -> Iterator[None]:
        with open_writer(tmp_path / "s", RECIPE, NAMES) as writer:
            append(writer, 2)
            yield
            raise error

    with pytest.raises(error):
        list(interrupted())
    with pytest.raises(StoreError, match=r"is incomplete \(2 of 5 images\).*'patchvlad extract' again"):
        FeatureStore(tmp_path / "s")
    write(tmp_path / "s")
    assert contents(tmp_path / "s") == contents(whole)


def test_a_full_disk_in_the_middle_of_a_row_keeps_what_is_whole(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = iter(range(9))  # manifest, names, a batch of four arrays and its manifest, two arrays of the next batch

    def sync(number: int) -> None:
        if next(room, None) is None:
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", sync)
        said = r"s/patches_3\.npy cannot be written: the disk is full: it takes 1\.2 kB, and .* are free there"
        with pytest.raises(OutputError, match=said):
            write(tmp_path / "s")
    with pytest.raises(StoreError, match="2 of 5 images"):
        FeatureStore(tmp_path / "s")
    write(tmp_path / "s")
    assert contents(tmp_path / "s") == contents(whole)


def test_a_complete_store_is_opened_with_nothing_left_to_append(copy: Path) -> None:
    before = contents(copy)
    with open_writer(copy, RECIPE, NAMES) as writer:
        assert writer.manifest.rows == 5
    assert contents(copy) == before


def test_overwriting_starts_anew_and_leaves_nothing_old(tmp_path: Path, whole: Path) -> None:
    with open_writer(tmp_path / "s", replace(RECIPE, grids=((4, 1),)), ["x.jpg"], dtype="float16"):
        pass
    assert (tmp_path / "s" / "patches_4.npy").exists()
    write(tmp_path / "s", overwrite=True)
    assert contents(tmp_path / "s") == contents(whole)


def test_no_lock_and_nothing_unfinished_stays(tmp_path: Path, whole: Path) -> None:
    (tmp_path / "s").mkdir()
    dead = leftovers.mark().replace(str(os.getpid()), "999999999")
    for name in (".lock", ".set.lock", f"manifest{dead}.json", f"images{dead}.txt"):
        (tmp_path / "s" / name).write_bytes(b"of a writer that died")
    with open_writer(tmp_path / "s", RECIPE, NAMES) as writer:
        assert (tmp_path / "s" / ".lock").exists()
        append(writer, 2)
    write(tmp_path / "s", overwrite=True)
    assert {path.name for path in (tmp_path / "s").iterdir()} == {path.name for path in whole.iterdir()}
    assert not any(path.name.startswith(".") for path in whole.iterdir())


def test_a_store_that_is_deleted_under_its_writer_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(StoreError, match=r"s/global\.npy was deleted while it was written: extract again"),
        open_writer(tmp_path / "s", RECIPE, NAMES) as writer,
    ):
        append(writer, 2)
        shutil.rmtree(tmp_path / "s")
        append(writer, 2)
    assert not (tmp_path / "s").exists()


def test_two_writers_at_once_are_refused(tmp_path: Path) -> None:
    with open_writer(tmp_path / "s", RECIPE, NAMES) as writer:
        append(writer, 2)
        with (
            pytest.raises(StoreError, match=r"s is being written by another process: wait"),
            open_writer(tmp_path / "s", RECIPE, NAMES, overwrite=True),
        ):
            pytest.fail("a second writer was let in")
        append(writer, 3)
    assert len(FeatureStore(tmp_path / "s")) == 5


# --- what does not belong together ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"fingerprint": "b" * 64, "model": "other"}, "model tiny aaaaaaaaaaaa against other bbbbbbbbbbbb"),
        ({"size": (48, 80)}, "image size 64 x 80 against 48 x 80"),
        ({"pooling": "netvlad"}, "pooling patchnetvlad against netvlad"),
        ({"grids": ((2, 1), (3, 1))}, r"patch sizes and strides \(\(2, 1\), \(3, 2\)\) against \(\(2, 1\), \(3, 1\)\)"),
        ({"grids": ((2, 1),)}, r"patch sizes and strides \(\(2, 1\), \(3, 2\)\) against \(\(2, 1\),\)"),
    ],
)
@pytest.mark.parametrize("rows", [2, 5])
def test_another_recipe_is_refused_and_named(tmp_path: Path, rows: int, change: dict, said: str) -> None:
    write_some(tmp_path / "s", rows)
    before = contents(tmp_path / "s")
    with (
        pytest.raises(MismatchError, match=rf"s was made from other photos or by .*: {said}\. .*--overwrite"),
        open_writer(tmp_path / "s", replace(RECIPE, **change), NAMES),
    ):
        pytest.fail("another recipe was let in")
    assert contents(tmp_path / "s") == before
    other = tmp_path / "other"
    with open_writer(other, replace(RECIPE, **change), []):
        pass
    if rows == 5:
        with pytest.raises(MismatchError, match=rf"s and .*other do not belong together: {said}\."):
            FeatureStore(tmp_path / "s").check_matches(FeatureStore(other))


@pytest.mark.parametrize(
    ("names", "dtype", "said"),
    [
        (NAMES[:4], "float32", r"5 images against 4 \(e.jpg is missing\)"),
        ((*NAMES[:4], "f.jpg"), "float32", r"5 images against 5 \(f.jpg is new, e.jpg is missing\)"),
        (NAMES[::-1], "float32", "other names or another order"),
        (NAMES, "float16", "numbers kept as float32 against float16"),
        (NAMES[:1], "float16", r"5 images against 1 \(b/1.jpg is missing\); numbers kept as float32 against float16"),
    ],
)
def test_other_images_or_numbers_are_refused_and_named(
    tmp_path: Path, names: tuple[str, ...], dtype: str, said: str
) -> None:
    write_some(tmp_path / "s", 2)
    with pytest.raises(MismatchError, match=said), open_writer(tmp_path / "s", RECIPE, names, dtype):
        pytest.fail("other images were let in")


def test_int8_keeps_quantised_patches_and_float_global_descriptors(tmp_path: Path, whole: Path) -> None:
    write(tmp_path / "small", dtype="int8")
    read = FeatureStore(tmp_path / "small")
    assert (read.global_.dtype, read.patches[2].dtype) == (np.float32, np.int8)
    for size, values in PATCHES.items():
        assert torch.equal(read.descriptors(1).patches[size], quantise(torch.from_numpy(values[1])))
        assert read.compact_descriptors(1, 6).patches[size].equal(read.descriptors(1).patches[size])
    compact = FeatureStore(whole).compact_descriptors(1, 4)
    for size, values in PATCHES.items():
        assert torch.equal(compact.patches[size], compacted(torch.from_numpy(values[1]), 4))


def test_patches_may_be_shorter_than_global_descriptors_but_equally_so_in_both_stores(tmp_path: Path) -> None:
    short = dataclasses.replace(RECIPE, patch_dim=4)
    with open_writer(tmp_path / "short", short, NAMES) as writer:
        writer.append(GLOBAL, {p: values[..., :4] for p, values in PATCHES.items()})
    read = FeatureStore(tmp_path / "short")
    assert (read.global_.shape, read.patches[2].shape) == ((5, 6), (5, 12, 4))
    write(tmp_path / "whole")
    with pytest.raises(MismatchError, match="4 components per patch against 6"):
        read.check_matches(FeatureStore(tmp_path / "whole"))


def test_stores_of_before_patch_components_are_read(copy: Path) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    del manifest["recipe"]["patch_dim"], manifest["precision"], manifest["sum"]
    manifest["format"] = 1
    (copy / "manifest.json").write_text(json.dumps(manifest))
    assert FeatureStore(copy).recipe == RECIPE


def test_a_store_does_not_go_on_in_another_precision(tmp_path: Path) -> None:
    write_some(tmp_path / "s", 2, precision="bfloat16")
    with pytest.raises(MismatchError, match="computed in bfloat16 against float32"):
        write(tmp_path / "s")
    write(tmp_path / "s", precision="bfloat16")
    assert FeatureStore(tmp_path / "s").manifest.precision == "bfloat16"


def test_an_unknown_dtype_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with (
        pytest.raises(StoreError, match="'int4': choose from float32, float16, int8"),
        open_writer(tmp_path / "s", RECIPE, NAMES, "int4"),
    ):
        pytest.fail("an unknown dtype was let in")
    assert not (tmp_path / "s").exists()


def test_a_store_without_a_row_gives_way_to_other_photos(tmp_path: Path, whole: Path) -> None:
    with open_writer(tmp_path / "s", replace(RECIPE, grids=((4, 1),), fingerprint="b" * 64), ["gone.jpg", *NAMES]):
        pass
    write(tmp_path / "s")
    assert contents(tmp_path / "s") == contents(whole)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_other_things_is_left_alone(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"precious")
    for place in (tmp_path, tmp_path / "photo.jpg"):
        with (
            pytest.raises(StoreError, match="exists and is not a feature store: choose another folder"),
            open_writer(place, RECIPE, NAMES, overwrite=overwrite),
        ):
            pytest.fail("a foreign folder was let in")
    assert contents(tmp_path) == {"photo.jpg": b"precious"}


@pytest.mark.parametrize("name", ["a\nb.jpg", "a\rb.jpg", "a\u2028b.jpg", "a\udce9.jpg", ""])
def test_a_name_that_is_not_one_line_is_refused(tmp_path: Path, name: str) -> None:
    with (
        pytest.raises(StoreError, match="is not one line of UTF-8: rename") as caught,
        open_writer(tmp_path / "s", RECIPE, ["a.jpg", name]),
    ):
        pytest.fail("a name with a line break was let in")
    assert repr(name) in str(caught.value)
    assert str(caught.value).isprintable()
    assert not (tmp_path / "s").exists()


# --- damage ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null", '{"format": 1}', "\xff\xfe"])
def test_a_damaged_manifest_is_named(copy: Path, text: str) -> None:
    (copy / "manifest.json").write_bytes(text.encode("latin-1"))
    for read in (lambda: FeatureStore(copy), lambda: write(copy)):
        with pytest.raises(StoreError, match=r"manifest\.json is damaged .*delete the folder and extract again"):
            read()


def test_a_manifest_of_another_format_is_refused(copy: Path) -> None:
    values = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps({**values, "format": 99}))
    with pytest.raises(StoreError, match=r"manifest\.json has format 99, this patchvlad reads 1 and 2: extract again"):
        FeatureStore(copy)


@pytest.mark.parametrize("place", ["nowhere", "file", "."])
def test_what_is_no_store_is_refused_with_the_remedy(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("text")
    with pytest.raises(StoreError, match=r"is not a feature store .*make one with 'patchvlad extract PHOTOS --out"):
        FeatureStore(tmp_path / place)


@pytest.mark.parametrize("text", ["a/1.jpg\nb/1.jpg\n", "\u00fc.jpg\n" * 5, "\xff"])
def test_an_edited_image_list_is_named_and_mended_by_extracting_again(copy: Path, whole: Path, text: str) -> None:
    (copy / "images.txt").write_bytes(text.encode("latin-1"))
    with pytest.raises(StoreError, match=r"images\.txt .*: extract again"):
        FeatureStore(copy)
    write(copy)
    assert contents(copy) == contents(whole)


def test_a_missing_image_list_is_named(copy: Path) -> None:
    (copy / "images.txt").unlink()
    with pytest.raises(StoreError, match=r"images\.txt cannot be read"):
        FeatureStore(copy)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def garble(path: Path) -> None:
    path.write_bytes(b"\xff" * 8 + path.read_bytes()[8:])


def reshape(path: Path) -> None:
    array = np.load(path)[..., :-1]
    with path.open("wb") as file:
        np.lib.format.write_array(file, array, (2, 0))


@pytest.mark.parametrize("damage", [Path.unlink, cut, empty, garble, reshape])
@pytest.mark.parametrize("name", ["global.npy", "patches_3.npy"])
def test_a_damaged_array_is_named_to_readers_and_writers(
    copy: Path, whole: Path, name: str, damage: Callable[[Path], None]
) -> None:
    damage(copy / name)
    with pytest.raises(StoreError, match=rf"{name.replace('.', '[.]')} .*verify .* --repair.*extract again"):
        FeatureStore(copy)
    with pytest.raises(StoreError, match=rf"{name.replace('.', '[.]')} .*5 rows.*start anew with --overwrite"):
        write(copy)
    write(copy, overwrite=True)
    assert contents(copy) == contents(whole)

"""Extraction: right rows for right photos, and an interrupted run that goes on ends equal to a whole one."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import toy
from PIL import Image

from patchvlad.errors import ConfigError, ImageError, MismatchError, OutputError, StoreError
from patchvlad.features.extraction import Progress, extract
from patchvlad.features.store import FeatureStore
from patchvlad.images.lists import ImageList
from patchvlad.images.pixels import read_image
from patchvlad.search.retrieval import retrieve

SIZE = (32, 48)
NAMES = ("a/1.png", "a/2.png", "b/1.png", "b/2.png", "c.png", "d.png", "e.png")


def photo(path: Path, seed: int, size: tuple[int, int] = (40, 56)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(values).save(path)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def stop_after(count: int) -> Progress:
    def progress(done: int, total: int) -> None:
        if done >= count:
            raise KeyboardInterrupt

    return progress


@pytest.fixture
def photos(tmp_path: Path) -> ImageList:
    """Seven photos, two of each name in the folders a and b, all different."""
    for seed, name in enumerate(NAMES):
        photo(tmp_path / "photos" / name, seed)
    return ImageList.read(tmp_path / "photos")


@pytest.fixture
def whole(tmp_path: Path, photos: ImageList) -> FeatureStore:
    return extract(toy.model(), photos, tmp_path / "whole", SIZE, batch=2)


def test_each_row_is_the_photo_of_its_name(photos: ImageList, whole: FeatureStore) -> None:
    assert whole.names == NAMES
    for row, name in enumerate(NAMES):
        (expected,) = toy.model().describe([read_image(photos.root / name)], SIZE)
        found = whole.descriptors(row)
        torch.testing.assert_close(found.global_, expected.global_)
        assert found.grids == expected.grids
        assert list(found.patches) == [1, 2]
        for p, patches in expected.patches.items():
            torch.testing.assert_close(found.patches[p], patches)


def test_photos_of_one_name_in_two_folders_do_not_collide(whole: FeatureStore) -> None:
    assert len(np.unique(whole.global_, axis=0)) == len(NAMES)
    ranking = retrieve(whole, whole, k=1)
    np.testing.assert_array_equal(ranking.indices[:, 0], np.arange(len(NAMES)))


def test_progress_counts_from_what_is_done(tmp_path: Path, photos: ImageList) -> None:
    calls = []
    extract(toy.model(), photos, tmp_path / "s", SIZE, batch=3, progress=lambda *call: calls.append(call))
    extract(toy.model(), photos, tmp_path / "s", SIZE, batch=3, progress=lambda *call: calls.append(call))
    assert calls == [(0, 7), (3, 7), (6, 7), (7, 7), (7, 7)]


@pytest.mark.parametrize("count", [0, 2, 4, 6, 7])
def test_an_interrupted_run_that_goes_on_ends_bytewise_equal(
    tmp_path: Path, photos: ImageList, whole: FeatureStore, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "patchvlad")
    with pytest.raises(KeyboardInterrupt):
        extract(toy.model(), photos, tmp_path / "s", SIZE, batch=2, progress=stop_after(count))
    if count < 7:
        with pytest.raises(StoreError, match=rf"is incomplete \({count} of 7 images\)"):
            FeatureStore(tmp_path / "s")
    extract(toy.model(), photos, tmp_path / "s", SIZE, batch=2)
    assert contents(tmp_path / "s") == contents(whole.folder)
    assert [record.getMessage().partition(": ")[2] for record in caplog.records] == (
        [f"going on after {count} of 7 images"] if 0 < count < 7 else []
    )


KILLED = """
import os, signal, sys
import torch, toy
from patchvlad.features.extraction import extract
from patchvlad.images.lists import ImageList

torch.set_num_threads({threads})
syncs = iter(range({syncs}))
really_sync = os.fsync

def sync(number):
    if next(syncs, None) is None:
        os.kill(os.getpid(), signal.SIGKILL)
    really_sync(number)

os.fsync = sync
extract(toy.model(), ImageList.read({photos!r}), {folder!r}, {size}, batch=2)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="processes are killed otherwise here")
def test_a_killed_process_leaves_a_store_that_goes_on(tmp_path: Path, photos: ImageList, whole: FeatureStore) -> None:
    code = KILLED.format(
        threads=torch.get_num_threads(),
        syncs=3
        + 5
        + 1,  # manifest, names and root, a batch of four arrays and its manifest, one array of the next batch
        photos=str(photos.root),
        folder=str(tmp_path / "s"),
        size=SIZE,
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    with pytest.raises(StoreError, match=r"is incomplete \(2 of 7 images\)"):
        FeatureStore(tmp_path / "s")
    lengths = {name: len(data) for name, data in contents(tmp_path / "s").items()}
    expected = {name: len(data) for name, data in contents(whole.folder).items()}
    row = 4 * whole.recipe.dim
    assert expected["global.npy"] - lengths["global.npy"] == 3 * row  # two whole batches
    assert expected["patches_2.npy"] - lengths["patches_2.npy"] == 5 * 2 * row  # one
    extract(toy.model(), photos, tmp_path / "s", SIZE, batch=2)
    assert contents(tmp_path / "s") == contents(whole.folder)


# --- photos that cannot be read -------------------------------------------------------------------------------------


def test_an_unreadable_photo_is_named_and_earlier_batches_are_kept(
    tmp_path: Path, photos: ImageList, whole: FeatureStore
) -> None:
    intact = (photos.root / "d.png").read_bytes()
    (photos.root / "d.png").write_bytes(intact[: len(intact) // 2])
    with pytest.raises(ImageError, match=r"photos/d\.png cannot be read as an image"):
        extract(toy.model(), photos, tmp_path / "s", SIZE, batch=2)
    with pytest.raises(StoreError, match=r"is incomplete \(4 of 7 images\)"):
        FeatureStore(tmp_path / "s")
    (photos.root / "d.png").write_bytes(intact)
    extract(toy.model(), photos, tmp_path / "s", SIZE, batch=2)
    assert contents(tmp_path / "s") == contents(whole.folder)


def test_missing_photos_are_counted_before_anything_is_made(tmp_path: Path, photos: ImageList) -> None:
    (photos.root / "b/1.png").unlink()
    (photos.root / "e.png").unlink()
    with pytest.raises(ImageError, match=r"2 of 7 images are missing below .*photos, the first is b/1\.png: check"):
        extract(toy.model(), photos, tmp_path / "s", SIZE)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_skipped_photos_keep_a_row_of_zeros_and_are_never_retrieved(
    tmp_path: Path, photos: ImageList, whole: FeatureStore, batch: int, caplog: pytest.LogCaptureFixture
) -> None:
    (photos.root / "a/1.png").write_bytes(b"no image")
    (photos.root / "c.png").unlink()
    skipped = extract(toy.model(), photos, tmp_path / "s", SIZE, batch=batch, skip_unreadable=True)
    assert skipped.names == NAMES
    assert skipped.manifest.unreadable == (0, 4)
    said = sorted(record.getMessage().partition(str(photos.root))[2][:8] for record in caplog.records)
    assert said == ["/a/1.png", "/c.png d"]  # sorted: threads read in no order
    for array in (skipped.global_, *skipped.patches.values()):
        assert not array[[0, 4]].any()
    for row in (1, 2, 3, 5, 6):
        np.testing.assert_allclose(skipped.global_[row], whole.global_[row], atol=1e-6)
    as_database = retrieve(whole, skipped, k=7)
    assert not np.isin(as_database.indices, (0, 4)).any()
    np.testing.assert_array_equal((as_database.indices >= 0).sum(axis=1), 5)
    assert np.isneginf(as_database.scores[as_database.indices < 0]).all()
    as_queries = retrieve(skipped, whole, k=7)
    assert (as_queries.indices[[0, 4]] == -1).all()
    assert (as_queries.indices[[1, 2, 3, 5, 6]] >= 0).all()


def test_skipping_goes_on_with_what_was_skipped_before(tmp_path: Path, photos: ImageList) -> None:
    for name in ("a/1.png", "e.png"):
        (photos.root / name).write_bytes(b"no image")
    options = {"size": SIZE, "batch": 2, "skip_unreadable": True}
    extract(toy.model(), photos, tmp_path / "whole", **options)
    with pytest.raises(KeyboardInterrupt):
        extract(toy.model(), photos, tmp_path / "s", progress=stop_after(2), **options)
    assert extract(toy.model(), photos, tmp_path / "s", **options).manifest.unreadable == (0, 6)
    assert contents(tmp_path / "s") == contents(tmp_path / "whole")


# --- sizes ----------------------------------------------------------------------------------------------------------


def test_without_a_size_photos_keep_their_own(tmp_path: Path, photos: ImageList) -> None:
    store = extract(toy.model(), photos, tmp_path / "s", size=None)
    assert store.recipe.size == (40, 56)
    assert store.recipe.map_size == (2, 3)
    (expected,) = toy.model().describe([read_image(photos.path(6))])
    torch.testing.assert_close(store.descriptors(6).global_, expected.global_)


@pytest.mark.parametrize("skip_unreadable", [False, True])
def test_without_a_size_photos_of_two_sizes_are_refused(
    tmp_path: Path, photos: ImageList, skip_unreadable: bool
) -> None:
    photo(photos.root / "c.png", 0, size=(40, 64))
    with pytest.raises(ConfigError, match=r"c\.png is 64 x 40 pixels, the first image 56 x 40: .*imageresizew"):
        extract(toy.model(), photos, tmp_path / "s", size=None, skip_unreadable=skip_unreadable)


def test_without_a_size_the_first_photo_that_can_be_read_decides(tmp_path: Path, photos: ImageList) -> None:
    (photos.root / "a/1.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"a/1\.png"):
        extract(toy.model(), photos, tmp_path / "s", size=None)
    store = extract(toy.model(), photos, tmp_path / "s", size=None, skip_unreadable=True)
    assert (store.recipe.size, store.manifest.unreadable) == ((40, 56), (0,))


def test_without_a_size_and_any_readable_photo_there_is_an_error(tmp_path: Path, photos: ImageList) -> None:
    for name in NAMES:
        (photos.root / name).unlink()
    with pytest.raises(ImageError, match="none of the 7 images below"):
        extract(toy.model(), photos, tmp_path / "s", size=None, skip_unreadable=True)


def test_a_size_too_small_for_the_patches_makes_no_store(tmp_path: Path, photos: ImageList) -> None:
    with pytest.raises(ConfigError, match="patches of 2 x 2 cells do not fit a feature map of 1 x 3 cells"):
        extract(toy.model(), photos, tmp_path / "s", size=(16, 48))
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("options", [{"batch": 0}, {"workers": 0}])
def test_no_batch_and_no_workers_are_refused(tmp_path: Path, photos: ImageList, options: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="must be at least 1"):
        extract(toy.model(), photos, tmp_path / "s", SIZE, **options)


# --- one folder, one way --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "options", "said"),
    [
        ({"seed": 1}, {}, "model unnamed [0-9a-f]{12} against unnamed [0-9a-f]{12}"),
        ({"components": 5}, {}, "model unnamed"),
        ({}, {"size": (48, 48)}, "image size 32 x 48 against 48 x 48"),
        ({"patch_sizes": (2,)}, {}, r"patch sizes and strides \(\(1, 1\), \(2, 1\)\) against \(\(2, 1\),\)"),
        ({"pooling": "netvlad"}, {}, "pooling patchnetvlad against netvlad"),
        ({}, {"dtype": "float16"}, "numbers kept as float32 against float16"),
    ],
)
def test_another_model_size_or_preset_is_refused_by_name_and_overwrites_on_request(
    photos: ImageList, whole: FeatureStore, changes: dict, options: dict, said: str
) -> None:
    options = {"size": SIZE, "batch": 2, **options}
    before = contents(whole.folder)
    with pytest.raises(MismatchError, match=said):
        extract(toy.model(**changes), photos, whole.folder, **options)
    assert contents(whole.folder) == before
    anew = extract(toy.model(**changes), photos, whole.folder, overwrite=True, **options)
    assert anew.manifest.rows == len(NAMES)
    assert contents(whole.folder) != before


def test_other_photos_are_refused(photos: ImageList, whole: FeatureStore) -> None:
    fewer = ImageList(photos.root, photos.names[:5])
    with pytest.raises(MismatchError, match=r"7 images against 5 \(d.png is missing\)"):
        extract(toy.model(), fewer, whole.folder, SIZE)


def test_how_many_are_read_ahead_changes_nothing(tmp_path: Path, photos: ImageList, whole: FeatureStore) -> None:
    extract(toy.model(), photos, tmp_path / "s", SIZE, batch=2, workers=5)
    assert contents(tmp_path / "s") == contents(whole.folder)


def test_other_photos_of_the_same_names_are_refused_and_moved_ones_are_not(tmp_path: Path) -> None:
    for folder, seed in (("day", 0), ("night", 10)):
        for i in range(3):
            photo(tmp_path / folder / f"{i}.bmp", seed + i)  # bitmaps: all of one size on disk
    extract(toy.model(), ImageList.read(tmp_path / "day"), tmp_path / "store", SIZE)
    with pytest.raises(MismatchError, match="not the same photos"):
        extract(toy.model(), ImageList.read(tmp_path / "night"), tmp_path / "store", SIZE)
    (tmp_path / "day").rename(tmp_path / "moved")
    assert len(extract(toy.model(), ImageList.read(tmp_path / "moved"), tmp_path / "store", SIZE)) == 3


def test_a_disk_that_is_too_small_is_told_before_the_first_photo(
    tmp_path: Path, photos: ImageList, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("patchvlad.features.extraction.describe_batch", None)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(OutputError, match=r"s cannot be written: the disk is full: it takes [\d.]+ kB, and 1.0 kB are"):
        extract(toy.model(), photos, tmp_path / "s", SIZE)

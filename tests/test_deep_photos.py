"""Photos of more than 8 bits or without contrast: extraction, stores, matching and the other commands."""

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import toy
from PIL import Image
from test_damage import before_0_2
from tiny import TinyBackbone, photo, write_config, write_model

from patchvlad.errors import ConfigError, ImageError, MismatchError, ModelError, StoreError
from patchvlad.features.extraction import extract, photo_reader
from patchvlad.features.store import FeatureStore
from patchvlad.images.frames import frames
from patchvlad.images.lists import ImageList
from patchvlad.model.registry import BACKBONES
from patchvlad.places.radii import Reading
from patchvlad.places.training_sets import read_places
from patchvlad.search.retrieval import retrieve

Run = Callable[..., tuple[int, str, str]]
SIZE = (32, 48)


@pytest.fixture(autouse=True)
def _nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("patchvlad.images.scaling._said", set())


def thermal(path: Path, place: int, offset: int = 0) -> Path:
    """A 16-bit photo of a place: a few hundred levels, above an offset that drifts with the camera."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photo(place)[..., 0].astype(np.uint16) + 7000 + offset).save(path)
    return path


@pytest.fixture
def drive(tmp_path: Path) -> ImageList:
    for place in (1, 2, 3):
        thermal(tmp_path / "drive" / f"{place}.png", place)
    return ImageList.read(tmp_path / "drive")


def older(store: FeatureStore) -> FeatureStore:
    """The store as patchvlad 0.1.0 wrote it, which knew no pixel range."""
    make_older(store.folder)
    return FeatureStore(store.folder)


def make_older(folder: Path) -> None:
    before_0_2(folder)
    values = json.loads((folder / "manifest.json").read_text())
    del values["deep"], values["recipe"]["pixel_range"]
    (folder / "manifest.json").write_text(json.dumps(values))


# --- stores ---------------------------------------------------------------------------------------------------------


def test_deep_photos_are_told_apart_and_counted(tmp_path: Path, drive: ImageList) -> None:
    store = extract(toy.model(), drive, tmp_path / "s", SIZE)
    assert (store.recipe.pixel_range, store.manifest.deep) == (None, 3)
    assert len(np.unique(store.global_, axis=0)) == 3
    found = extract(toy.model(), drive.scaled((7000, 7255)), tmp_path / "t", SIZE)
    assert (found.recipe.pixel_range, found.manifest.deep) == ((7000, 7255), 3)
    Image.fromarray(photo(2)[..., 0]).save(tmp_path / "eight.png")
    eight = extract(toy.model(), ImageList(tmp_path, ("eight.png",)), tmp_path / "u", SIZE)
    assert eight.manifest.deep == 0
    np.testing.assert_allclose(eight.global_[0], found.global_[1], atol=1e-6)  # 7000 to 7255 is black to white


def test_stores_of_different_ranges_do_not_belong_together(tmp_path: Path, drive: ImageList) -> None:
    own = extract(toy.model(), drive, tmp_path / "own", SIZE)
    ranged = extract(toy.model(), drive.scaled((7000, 7500)), tmp_path / "ranged", SIZE)
    with pytest.raises(MismatchError, match="pixel range of each photo against 7000 to 7500"):
        retrieve(own, ranged)
    with pytest.raises(MismatchError, match="pixel range 7000 to 7500 against 7000 to 8000"):
        extract(toy.model(), drive.scaled((7000, 8000)), tmp_path / "ranged", SIZE)
    assert extract(toy.model(), drive.scaled((7000, 7500)), tmp_path / "ranged", SIZE).recipe == ranged.recipe


def test_stores_of_0_1_0_open_and_do_not_go_with_deep_photos(tmp_path: Path, drive: ImageList) -> None:
    new = extract(toy.model(), drive, tmp_path / "new", SIZE)
    old = older(extract(toy.model(), drive, tmp_path / "old", SIZE))
    assert old.manifest.deep is None and old.recipe == new.recipe
    assert retrieve(old, old, k=1).indices[:, 0].tolist() == [0, 1, 2]
    for pair in ((old, new), (new, old)):
        with pytest.raises(MismatchError, match=r"old was made by patchvlad 0\.1\.0 .*: extract again"):
            retrieve(*pair)
    Image.fromarray(photo(2)).save(tmp_path / "eight.png")
    eight = extract(toy.model(), ImageList(tmp_path, ("eight.png",)), tmp_path / "eight", SIZE)
    assert retrieve(eight, old, k=1).indices.shape == (1, 1)


def test_an_unfinished_store_of_0_1_0_takes_no_deep_photos(tmp_path: Path, drive: ImageList) -> None:
    def stop(done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(toy.model(), drive, tmp_path / "s", SIZE, batch=1, progress=stop)
    make_older(tmp_path / "s")
    with pytest.raises(MismatchError, match=r"was begun by patchvlad 0\.1\.0.*--overwrite"):
        extract(toy.model(), drive, tmp_path / "s", SIZE, batch=1)
    assert extract(toy.model(), drive, tmp_path / "s", SIZE, batch=1, overwrite=True).manifest.deep == 3


def test_photos_are_read_again_as_they_were_read_for_their_store(tmp_path: Path, drive: ImageList) -> None:
    ranged = extract(toy.model(), drive.scaled((7000, 9000)), tmp_path / "ranged", SIZE)
    assert photo_reader(drive, ranged.manifest)(0).max() < 40
    old = older(extract(toy.model(), drive, tmp_path / "old", SIZE))
    with pytest.raises(MismatchError, match=r"1\.png has more than 8 bits, and patchvlad 0\.1\.0 scaled it otherwise"):
        photo_reader(drive, old.manifest)(0)


@pytest.mark.parametrize("value", ["[1]", "[2, 1]", '"ab"', "3", "[null, 1]", "{}", "[NaN, 1]"])
def test_a_manifest_with_a_range_that_cannot_be_is_damaged(tmp_path: Path, drive: ImageList, value: str) -> None:
    extract(toy.model(), drive.scaled((1, 9000)), tmp_path / "s", SIZE)
    path = tmp_path / "s" / "manifest.json"
    path.write_text(re.sub(r'"pixel_range": \[[^\]]*\]', f'"pixel_range": {value}', path.read_text()))
    with pytest.raises(StoreError, match="damaged"):
        FeatureStore(tmp_path / "s")


# --- extraction -----------------------------------------------------------------------------------------------------


def test_a_range_without_effect_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "p").mkdir()
    Image.fromarray(photo(1)).save(tmp_path / "p" / "1.png")
    extract(toy.model(), ImageList.read(tmp_path / "p").scaled((0, 9)), tmp_path / "s", SIZE)
    assert "no photo has more than 8 bits, so --pixel-range changes nothing" in caplog.text


def test_photos_of_one_colour_are_refused_or_skipped_and_faint_ones_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "p").mkdir()
    Image.fromarray(photo(1)).save(tmp_path / "p" / "1.png")
    Image.new("RGB", (64, 48)).save(tmp_path / "p" / "2.png")
    dark = np.random.default_rng(0).integers(0, 5, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(dark).save(tmp_path / "p" / "3.png")
    images = ImageList.read(tmp_path / "p")
    with pytest.raises(ImageError, match=r"2\.png has no contrast: all its pixels are \(0, 0, 0\).*--skip-unreadable"):
        extract(toy.model(), images, tmp_path / "s", SIZE)
    caplog.clear()
    store = extract(toy.model(), images, tmp_path / "s", SIZE, skip_unreadable=True)
    assert store.unreadable == (1,)
    assert 1 not in retrieve(store, store).indices
    assert "1 photo has next to no contrast" in caplog.text and caplog.text.rstrip().endswith(": 3.png")


def test_where_nothing_can_be_read_there_is_no_store_to_match(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    for name in ("1.png", "2.png"):
        (tmp_path / "p" / name).write_text("no photo")
    for _ in range(2):  # the second time the store is there
        with pytest.raises(ImageError, match=r"none of the 2 images below .*p can be read"):
            extract(toy.model(), ImageList.read(tmp_path / "p"), tmp_path / "s", SIZE, skip_unreadable=True)


def test_special_files_are_skipped_and_nobody_waits(tmp_path: Path) -> None:
    (tmp_path / "p" / "c.jpg").mkdir(parents=True)
    os.mkfifo(tmp_path / "p" / "a.jpg")
    Image.fromarray(photo(1)).save(tmp_path / "p" / "b.png")
    (tmp_path / "p" / "d.jpg").touch()
    os.truncate(tmp_path / "p" / "d.jpg", 50 * 10**9)
    images = ImageList(tmp_path / "p", ("a.jpg", "b.png", "c.jpg", "d.jpg"))
    store = extract(toy.model(), images, tmp_path / "s", SIZE, skip_unreadable=True)
    assert store.unreadable == (0, 2, 3)


def test_a_model_that_makes_no_numbers_is_named(tmp_path: Path, drive: ImageList) -> None:
    model = toy.model()
    model.whitening.bias.data[0] = float("nan")
    with pytest.raises(ModelError, match="NaN or infinite"):
        extract(model, drive, tmp_path / "s", SIZE)


@pytest.mark.parametrize(
    ("images", "size", "said"),
    [("photos", SIZE, "ImageList"), (["a.jpg"], SIZE, "ImageList"), (None, (0, 9), "size"), (None, (9.5, 9), "size")],
)
def test_what_cannot_be_extracted_is_named(tmp_path: Path, drive: ImageList, images, size, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        extract(toy.model(), drive if images is None else images, tmp_path / "s", size)


# --- places and frames ----------------------------------------------------------------------------------------------


def test_training_and_frames_read_by_the_range(tmp_path: Path, drive: ImageList) -> None:
    lines = [f"drive/{name},p,{split}" for name in drive.names for split in ["train"]]
    (tmp_path / "t.csv").write_text("\n".join(["image,place,split", *lines]) + "\n")
    training, _ = read_places(tmp_path / "t.csv", Reading(pixel_range=(7000, 9000)))
    assert training.images.pixel_range == (7000, 9000) and training.images.photo(0).pixels.max() < 40
    assert training.subset(np.array([0])).images.pixel_range == (7000, 9000)
    with frames(drive.root, pixel_range=(7000, 9000)) as source:
        assert next(source).pixels.max() < 40


# --- commands -------------------------------------------------------------------------------------------------------


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Path]:
    """A drive and the same a day later, 400 levels warmer, with a model and a config."""
    for place in (1, 2, 3):
        thermal(tmp_path / "database" / f"{place}.png", place)
        thermal(tmp_path / "queries" / f"{place}.png", place, offset=40)
    write_model(tmp_path / "tiny.safetensors")
    write_config(tmp_path / "tiny.ini", "model = tiny.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES._things, "tiny", TinyBackbone)
        yield tmp_path


def test_match_scales_both_sides_alike_and_says_so_once(
    world: Path, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    words = ["match", "--queries", "queries", "--database", "database", "--config", "tiny.ini"]
    code, out, _ = run(*words, "--out", "own")
    assert code == 0 and all(f"{n}.png -> {n}.png" in out for n in (1, 2, 3))
    assert len(re.findall("have more than 8 bits", caplog.text)) == 1
    caplog.clear()
    code, out, _ = run(*words, "--out", "ranged", "--pixel-range", 7000, 7400)
    assert code == 0 and "7000 to 7400 becomes black to white" in caplog.text
    stores = [FeatureStore(path.parent) for path in Path("ranged").rglob("manifest.json")]
    assert [store.recipe.pixel_range for store in stores] == [(7000, 7400)] * 2
    code, _, err = run(*words[:3], "--database", stores[0].folder, *words[5:], "--out", "mixed")
    assert code == 1 and "pixel range" in err and "--pixel-range" in err
    code, _, err = run(*words, "--out", "wrong", "--pixel-range", 9, 3)
    assert code == 2 and "the pixel range 9 to 3 cannot be" in err


def test_compare_and_fit_take_a_range(world: Path, run: Run, caplog: pytest.LogCaptureFixture) -> None:
    words = ["compare", "queries/1.png", "database/1.png", "--config", "tiny.ini"]
    assert run(*words, "--pixel-range", 7000, 7400)[0] == 0
    assert "7000 to 7400 becomes black to white" in caplog.text
    caplog.clear()
    assert run(*words, "--pixel-range", 7000, 20000)[0] == 0
    assert "database/1.png has next to no contrast" in caplog.text
    code, _, err = run(*words, "--pixel-range", 100, 200)
    assert code == 1 and "has no contrast between 100 and 200" in err


def test_match_refuses_a_side_of_which_nothing_was_read(world: Path, run: Run) -> None:
    for name in ("1.png", "2.png", "3.png"):
        Path("queries", name).write_text("no photo")
    words = ["match", "--queries", "queries", "--database", "database", "--config", "tiny.ini", "--skip-unreadable"]
    code, _, err = run(*words, "--out", "r")
    assert code == 1 and "none of the 3 images below queries can be read" in err
    store = next(Path("r").rglob("manifest.json")).parent
    code, _, err = run("match", "--queries", store, "--database", store, "--config", "tiny.ini", "--out", "t")
    assert code == 1 and "none of its 3 photos could be read, so there are no queries to match" in err


def test_match_says_how_many_queries_have_no_answer(world: Path, run: Run, caplog: pytest.LogCaptureFixture) -> None:
    Path("queries/2.png").write_text("no photo")
    Path("database/1.png").write_text("no photo")
    words = ["match", "--queries", "queries", "--database", "database", "--config", "tiny.ini", "--skip-unreadable"]
    code, out, err = run(*words, "--out", "r")
    assert code == 0 and "2.png -> nothing" in out
    assert err.count("extracted 2 images") == 2 and err.count("1 skipped") == 2
    assert "1 query of 3 could not be read: no answer, and counted so" in caplog.text
    assert "1 database image of 3 could not be read: never found" in caplog.text


@pytest.mark.parametrize("command", ["extract", "match", "compare", "fit", "train", "add-pca"])
def test_every_command_that_reads_photos_has_the_option(command: str, run: Run) -> None:
    assert "--pixel-range LOW HIGH" in run(command, "--help")[1]

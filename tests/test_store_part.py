"""Some images of a store, by a list: searched as a store of these alone."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tiny import TinyBackbone, write_config, write_model, write_photos

from patchvlad.errors import MismatchError
from patchvlad.features.store import FeatureStore
from patchvlad.features.store_part import StorePart
from patchvlad.model.registry import BACKBONES


@pytest.fixture
def stores(tmp_path: Path, run: Callable, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(BACKBONES._things, "tiny", TinyBackbone)
    write_model(tmp_path / "tiny.safetensors")
    write_config(tmp_path / "tiny.ini", "model = tiny.safetensors")
    write_photos(tmp_path / "photos")
    for side in ("queries", "database"):
        assert run("extract", f"photos/{side}", "--out", side, "--config", "tiny.ini")[0] == 0
    return tmp_path


def test_a_part_of_a_store_is_the_store_of_the_images_listed(stores: Path, run: Callable) -> None:
    Path("some.txt").write_text("street/10.png\nstreet/2.png\nstreet/3.png\n")
    words = ["match", "--config", "tiny.ini", "--candidates", 3]
    listed = ["--queries", "queries", "--database", "database", "--database-list", "some.txt"]
    code, _, err = run(*words, *listed, "--out", "part")
    assert code == 0, err
    Path("photos/database/some.txt").write_text(Path("some.txt").read_text())
    alone = ["--queries", "queries", "--database", "photos/database/some.txt"]
    assert run(*words, *alone, "--out", "alone")[0] == 0
    for name in ("NetVLAD_predictions.txt", "PatchNetVLAD_predictions.txt", "database.txt"):
        found = [  # without scores, whose last digits depend on the photos in one batch
            [line.split(", ")[:2] for line in Path(folder, name).read_text().splitlines()]
            for folder in ("part", "alone")
        ]
        assert found[0] == found[1]
    part = StorePart(FeatureStore("database"), ["street/10.png", "street/2.png"], "list", "database")
    whole = FeatureStore("database")
    assert part.names == ("street/10.png", "street/2.png") and len(part) == 2
    assert np.array_equal(np.asarray(part.global_), np.asarray(whole.global_)[[4, 1]])
    assert part.photo_sums is not None and part.photo_sums.tolist() == whole.photo_sums[[4, 1]].tolist()
    for size, values in part.descriptors(0).patches.items():
        assert np.array_equal(values, whole.descriptors(4).patches[size])


def test_images_that_a_store_does_not_hold_are_named(stores: Path, run: Callable) -> None:
    Path("some.txt").write_text("street/2.png\nstreet/7.png\n")
    words = ["match", "--config", "tiny.ini", "--queries", "queries", "--out", "r"]
    code, _, err = run(*words, "--database", "database", "--database-list", "some.txt")
    assert code == 1 and "database has no features of street/7.png (1 of 2 images of some.txt)" in err
    code, _, err = run(*words, "--database", "photos/database", "--database-list", "some.txt")
    assert code == 2 and "holds photos: give the list itself with --queries or --database" in err
    with pytest.raises(MismatchError, match="twice: every image counts once"):
        StorePart(FeatureStore("database"), ["street/2.png", "street/2.png"], "list", "database")

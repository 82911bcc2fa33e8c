"""Registries: names without imports, one more thing from outside, and toys of each kind that the program then uses."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import TinyBackbone, make_model, write_config, write_model, write_photos

import patchvlad as pv
from patchvlad.commands.main import main
from patchvlad.errors import ConfigError, ModelError
from patchvlad.model.network import Descriptors
from patchvlad.model.registry import BACKBONES
from patchvlad.registry import Registry
from patchvlad.search.registry import INDEXES, MATCHERS


def test_a_thing_is_imported_when_it_is_asked_for() -> None:
    things: Registry = Registry("thing", {"path": "pathlib:Path", "one": 1}, aliases={"p": "path"})
    assert (list(things), len(things), things.choices) == (["path", "one"], 2, ("p", "one"))
    assert things["path"] is things["p"] is Path
    assert things["one"] == 1
    assert "p" in things and "two" not in things
    things.add("two", 2)
    assert things["two"] == 2
    assert things.short("path") == "p"


def test_an_unknown_name_is_told_with_the_nearest() -> None:
    things: Registry = Registry("thing", {"voting": 1, "rapid": 2}, error=ModelError)
    with pytest.raises(
        ModelError, match=r"unknown thing 'votting' \(did you mean voting\?\): choose from voting, rapid"
    ):
        things["votting"]
    with pytest.raises(ModelError, match=r"unknown thing 'x': choose from voting, rapid"):
        things.check("x")


class EvenIndex:
    """Finds even rows only, in order."""

    def __init__(self, descriptors: np.ndarray, never: np.ndarray) -> None:
        self.rows = np.setdiff1d(np.arange(0, len(descriptors), 2), never)

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        found = np.full((len(queries), k), -1)
        found[:, : len(self.rows)] = self.rows[:k]
        return found, np.where(found >= 0, -found, -np.inf).astype(np.float32)


def match_brightness(image0: Descriptors, image1: Descriptors) -> pv.Match:
    """As alike as their first patches are."""
    none = {size: np.zeros((0, 2), dtype=np.float32) for size in image0.grids}
    scores = {size: float(image0.patches[size][0].float() @ image1.patches[size][0].float()) for size in image0.grids}
    return pv.Match(scores, none, none)


class OtherBackbone(TinyBackbone):
    """A backbone of somebody else's."""

    name = "other"

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(images)


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One more of each, as a plug-in would add them."""
    for registry in (BACKBONES, MATCHERS, INDEXES):
        monkeypatch.setattr(registry, "_things", dict(registry._things))
    BACKBONES.add("tiny", TinyBackbone)
    BACKBONES.add("other", OtherBackbone)
    MATCHERS.add("brightness", match_brightness)
    INDEXES.add("even", EvenIndex)
    monkeypatch.chdir(tmp_path)
    write_photos(tmp_path / "photos")
    write_model(tmp_path / "tiny.safetensors")
    return write_config(tmp_path / "tiny.ini", "model = tiny.safetensors", "brightness")


def test_toys_from_outside_are_choices_everywhere(toys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["match", "--queries", "photos/queries", "--database", "photos/database", "--config", str(toys)]
    assert main([*words, "--out", "r"]) == 0
    assert '"matcher": "brightness"' in Path("r/results.json").read_text()
    with pytest.raises(SystemExit):
        main(["match", "--help"])
    assert "brightness" in capsys.readouterr().out
    assert main([*words, "--out", "r2", "--matcher", "voting"]) == 0


def test_a_toy_index_retrieves(toys: Path) -> None:
    model = make_model()
    stores = [
        pv.extract(model, pv.ImageList.read(f"photos/{side}"), f"s/{side}", (96, 128))
        for side in ("queries", "database")
    ]
    assert pv.retrieve(stores[0], stores[1], 4, index="even").indices.tolist() == [[0, 2, 4, -1]] * 2
    with pytest.raises(ConfigError, match="unknown index 'hnsw': choose from flat, even"):
        pv.retrieve(stores[0], stores[1], 4, index="hnsw")


def test_a_toy_backbone_is_saved_loaded_and_trained_whole_unless_it_says_otherwise(toys: Path) -> None:
    model = make_model()
    model.backbone = OtherBackbone()
    path = pv.save_model(model, Path("other.safetensors"))
    assert pv.load_model(path).backbone.name == "other"
    assert OtherBackbone.trained_layers == 1
    assert len(list(model.backbone.head_layers(1).parameters())) == 2
    with pytest.raises(ModelError, match="other has no published weights: give a file of them"):
        OtherBackbone.published_file()


def test_help_tells_what_backbones_say_of_themselves(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    layers = "; ".join(f"{name}: {BACKBONES[name].trained_layers}" for name in ("lite", "vgg16"))
    assert f"of the backbone, from its end (default: {layers})" in said
    with pytest.raises(SystemExit):
        main(["fit", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    weights = ", ".join(f"{BACKBONES[name].cluster_weight} for {name}" for name in ("lite", "vgg16"))
    assert f"(default: {weights})" in said

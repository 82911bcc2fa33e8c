"""The commands that make models, run whole."""

import re
import shutil
from pathlib import Path

import generated_city
import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from patchvlad.commands.main import main
from patchvlad.commands.reference import add_pca, train
from patchvlad.model.backbones.vgg16 import VGG16
from patchvlad.model.checkpoints import load_model, save_model
from patchvlad.model.network import PatchNetVLAD
from patchvlad.model.pickles import read_pickle
from patchvlad.model.registry import BACKBONES
from patchvlad.model.vlad import VLAD
from patchvlad.train import starting

SIZE = ["--size", str(tiny.HEIGHT), str(tiny.WIDTH)]


@pytest.fixture(autouse=True)
def _tiny_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKBONES._things, "tiny", tiny.TinyBackbone)


@pytest.fixture
def city(tmp_path: Path) -> Path:
    return generated_city.write_msls(tmp_path / "msls")


def patchvlad(*words: object) -> int:
    return main([str(word) for word in words])


def test_places_says_what_is_there(city: Path, capsys: pytest.CaptureFixture) -> None:
    assert patchvlad("places", city) == 0
    said = capsys.readouterr().out
    assert "training: 22 photos: 11 queries, 11 database" in said
    assert "positives within 10 m, negatives beyond 25 m" in said
    assert "without a positive, and so left out of training: 0 queries (0 %)" in said
    assert "drawn with weights from 1.00 to 12.00" in said
    assert patchvlad("places", city, "--panoramas", "--radius", 1) == 0
    said = capsys.readouterr().out
    assert "training: 24 photos" in said
    assert "nothing to train on" in said
    next((city / "train_val").rglob("*.jpg")).unlink()
    assert patchvlad("places", city) == 0
    said = capsys.readouterr().out
    assert "  missing below " in said and ": 1 photo, the first is " in said


def test_train_resume_and_whiten(city: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    start = tiny.write_model(tmp_path / "start.safetensors")
    words = ["train", city, "--model", start, *SIZE, "--epochs", 2, "--batch", 3, "--recipe", "paper"]
    run = tmp_path / "run"
    assert patchvlad(*words, "--out", run) == 0
    said = capsys.readouterr()
    assert "validation: 22 photos" in said.out
    assert re.search(r"\nno epoch was better than the start: \d+\.\d\n$", said.out)
    assert "add whitening with: patchvlad add-pca" in said.out
    assert {path.name for path in run.iterdir()} >= {"last.safetensors", "best.safetensors", "state.pt", "history.csv"}
    assert patchvlad(*words, "--out", run) == 2
    assert "holds a run already" in capsys.readouterr().err
    assert patchvlad("train", city, "--resume", run) == 0  # finished: nothing is left to do
    assert "no epoch was better than the start" in capsys.readouterr().out
    other = generated_city.write_msls(tmp_path / "other", 5)
    assert patchvlad("train", other, "--resume", run) == 2
    assert "other photos or positions" in capsys.readouterr().err

    photos = city / "train_val" / "trondheim" / "database"
    best = run / "best.safetensors"
    assert patchvlad("add-pca", best, photos, "--components", 6, "--samples", 300) == 0
    whitened = load_model(run / "best_WPCA6.safetensors")
    assert whitened.dim == 6
    assert torch.equal(whitened.vlad.centroids, load_model(best).vlad.centroids)


def test_training_drops_a_whitening_and_says_so(tmp_path: Path, city: Path, caplog: pytest.LogCaptureFixture) -> None:
    start = tiny.write_model(tmp_path / "start.safetensors")
    with caplog.at_level("INFO", "patchvlad"):
        assert starting.model_from(start, keep_whitening=False).whitening is None
    assert "its whitening is dropped" in caplog.text
    assert "no optimiser state" in caplog.text
    assert starting.model_from(start, keep_whitening=True).whitening is not None


def test_a_training_checkpoint_of_the_reference_is_a_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("patchvlad.model.checkpoints.VGG16", tiny.TinyBackbone)
    path = tiny.write_checkpoint(tmp_path / "checkpoint.pth.tar")
    content = read_pickle(path)
    torch.save(content | {"epoch": 7, "optimizer": {"state": {}}, "best_score": np.float64(0.5)}, path)
    with caplog.at_level("INFO", "patchvlad"):
        starting.model_from(path, keep_whitening=False)
    assert "optimiser's state (epoch 7) is of other software and not taken over" in caplog.text


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["train", "nothing.csv", "--out", "run"], 1, "nothing.csv does not exist: give a csv"),
        (["train", "nothing.csv"], 2, "one of the arguments --out --resume is required"),
        (["train", "x.csv", "--resume", "nowhere"], 2, "nowhere holds no run to resume"),
        (["train", "x.csv", "--out", "run", "--learning-rate", "-1"], 2, "a learning rate of -1 trains nothing"),
        (["places", "x.csv", "--validation", "2"], 2, "a share of 2 cannot be held out"),
    ],
)
def test_mistakes_are_one_line(
    words: list[str], code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.csv").write_text("image,place\na,1\n")
    try:
        assert patchvlad(*words) == code
    except SystemExit as stopped:  # argparse's own
        assert stopped.code == code
    assert said in capsys.readouterr().err


def test_add_pca_refuses_test_sets(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    model = tiny.write_model(tmp_path / "m.safetensors")
    for name in ("pitts30k_test", "queries", "Tokyo247"):
        (tmp_path / name).mkdir()
        Image.fromarray(tiny.photo(1)).save(tmp_path / name / "1.png")
        assert patchvlad("add-pca", model, tmp_path / name, "--components", 4) == 2
        assert "looks like part of a test set" in capsys.readouterr().err
    assert patchvlad("add-pca", model, tmp_path / "queries", "--components", 4, "--i-know") == 0
    assert load_model(tmp_path / "m_WPCA4.safetensors").dim == 4
    assert patchvlad("add-pca", model, tmp_path / "queries", "--i-know", "--reference-format") == 1
    assert "it reads VGG16 with exact VLAD alone, this is tiny" in capsys.readouterr().err
    assert patchvlad("add-pca", model, tmp_path / "queries", "--i-know", "--components", 99) == 1
    assert "99 components are more than the 32 numbers" in capsys.readouterr().err


def test_the_reference_format_round_trips(tmp_path: Path) -> None:
    """VGG16 as the reference names it: what comes back describes a photo as before."""
    torch.manual_seed(0)
    model = PatchNetVLAD(VGG16(), VLAD(2, 512), patch_sizes=(2,)).eval().requires_grad_(False)
    model.vlad.centroids.data.normal_()
    plain = save_model(model, tmp_path / "vgg.safetensors")
    photos = tmp_path / "photos"
    photos.mkdir()
    for place in range(3):
        Image.fromarray(tiny.photo(place)).save(photos / f"{place}.png")
    words = ["add-pca", plain, photos, "--components", 5, "--samples", 40, "--reference-format"]
    assert patchvlad(*words) == 0
    content = torch.load(tmp_path / "vgg_WPCA5.pth.tar", weights_only=True)
    assert content["num_pcs"] == 5
    assert {name: tuple(tensor.shape) for name, tensor in content["state_dict"].items()} == {
        **{f"encoder.{name}": tuple(t.shape) for name, t in VGG16().layers.state_dict().items()},
        "pool.centroids": (2, 512),
        "pool.conv.weight": (2, 512, 1, 1),
        "WPCA.0.weight": (5, 1024, 1, 1),
        "WPCA.0.bias": (5,),
    }
    assert patchvlad(*words[:-1]) == 0
    images = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        ours = load_model(tmp_path / "vgg_WPCA5.safetensors", patch_sizes=(2,))(images)[0]
        theirs = load_model(tmp_path / "vgg_WPCA5.pth.tar", patch_sizes=(2,))(images)[0]
    torch.testing.assert_close(ours, theirs)


# --- the reference's commands ---------------------------------------------------------------------------------------

TRAIN_INI = """
[train]
batchsize = 3
cachebatchsize = 20
optim = SGD
seed = 123
lr = 0.01
lrstep = 5
lrgamma = 0.5
weightdecay = 0.001
momentum = 0.9
patience = 10
evalevery = 1
margin = 0.1
num_clusters = 4
includepanos = True
nNeg = 5
imageresizew = 128
imageresizeh = 96

[global_params]
pooling = netvlad
resumepath = ./pretrained_models/mapillary_WPCA
threads = 0
num_pcs = 4096
ngpu = 1
patch_sizes = 2,5,8
strides = 1,1,1
vladv2 = False
"""


def test_the_references_training_command(
    city: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr("patchvlad.model.checkpoints.VGG16", tiny.TinyBackbone)
    config = tmp_path / "train.ini"
    config.write_text(TRAIN_INI)
    start = tiny.write_checkpoint(tmp_path / "mapillary_WPCA12.pth.tar")
    words = ["--config_path", config, "--dataset_root_dir", city, "--save_path", tmp_path / "out", "--nEpochs", 2]
    words += ["--resume_path", start, "--identifier", "mine", "--nocuda", "--threads", 2, "--save_every_epoch"]
    assert train.main([str(word) for word in words]) == 0
    said = capsys.readouterr()
    assert "training: 24 photos" in said.out  # with panoramas
    runs = list((tmp_path / "out").iterdir())
    assert len(runs) == 1
    assert runs[0].name.endswith("_mine")
    assert (runs[0] / "checkpoints" / "model_best.pth.tar").is_file()
    assert (runs[0] / "checkpoints" / "checkpoint_epoch2.pth.tar").is_file()
    shutil.copy(runs[0] / "checkpoints" / "model_best.pth.tar", tmp_path / "trained.pth.tar")
    photos = city / "train_val" / "trondheim" / "database"
    config.write_text(TRAIN_INI.replace("4096", "6").replace("128", "640").replace("= 96", "= 480"))
    words = ["--config_path", config, "--dataset_root_dir", photos, "--resume_path", tmp_path / "trained.pth.tar"]
    assert add_pca.main([str(word) for word in [*words, "--nocuda"]]) == 0
    assert torch.load(tmp_path / "trained_WPCA6.pth.tar", weights_only=True)["num_pcs"] == 6


def test_a_train_ini_that_cannot_be(tmp_path: Path, city: Path, capsys: pytest.CaptureFixture) -> None:
    config = tmp_path / "train.ini"
    for line, said in (("lr = fast", "[train] lr = fast"), ("optim = LBFGS", "[train] optim = LBFGS")):
        key = line.split(" =")[0]
        old = next(row for row in TRAIN_INI.splitlines() if row.startswith(key + " ="))
        config.write_text(TRAIN_INI.replace(old + "\n", line + "\n"))
        words = ["--config_path", str(config), "--dataset_root_dir", str(city)]
        assert train.main(words) == 2
        assert said in capsys.readouterr().err

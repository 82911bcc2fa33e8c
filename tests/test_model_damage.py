"""Damaged model files: whatever byte is another one, the model is refused by name, or is the very same."""

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import toy
from safetensors import safe_open
from safetensors.torch import save_file

from patchvlad.errors import ModelError
from patchvlad.model import checkpoints
from patchvlad.model.checking import check_model, is_model_file
from patchvlad.model.checkpoints import fingerprint, load_model, save_model
from patchvlad.model.known_models import KNOWN_MODELS
from patchvlad.model.pickles import read_pickle
from patchvlad.model.registry import BACKBONES
from patchvlad.model.tensor_sums import read_summed, write_summed

FLIPS = 1000  # per format, by the slow test


@pytest.fixture
def toy_vgg16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "VGG16", toy.backbone)
    monkeypatch.setitem(BACKBONES._things, "toy", lambda: toy.backbone(seed=99))


def ours(path: Path) -> Path:
    return save_model(toy.model(), path.with_suffix(".safetensors"), notes="of photos")


def released(path: Path) -> Path:
    torch.save({"num_pcs": 7, "state_dict": toy.released(toy.model())}, path.with_suffix(".pth.tar"))
    return path.with_suffix(".pth.tar")


WRITERS = {"safetensors": ours, "pth.tar": released}


def believed(path: Path, whole: bytes, places: list[tuple[int, int]]) -> list[int]:
    """Where a changed byte gives another model without a word; `places` are positions and what is done to the byte."""
    right, wrong = fingerprint(load_model(path)), []
    for place, change in places:
        data = bytearray(whole)
        data[place] ^= change
        path.write_bytes(data)
        try:
            model = load_model(path)
        except ModelError as error:
            assert path.name in str(error)
            continue
        if (fingerprint(model), model.patch_sizes, model.pooling) != (
            right,
            (1, 2) if ".s" in path.name else (5,),
            POOL,
        ):
            wrong.append(place)
    return wrong


POOL = "patchnetvlad"


@pytest.mark.parametrize(
    "count", [pytest.param(60, id="fast"), pytest.param(FLIPS, id="thousand", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("kind", WRITERS)
def test_no_changed_byte_of_a_model_gives_another_model_without_a_word(
    kind: str, count: int, tmp_path: Path, toy_vgg16: None
) -> None:
    path = WRITERS[kind](tmp_path / "model")
    whole = path.read_bytes()
    random = np.random.default_rng(count)
    places = list(zip(random.integers(len(whole), size=count), 1 << random.integers(8, size=count), strict=True))
    assert believed(path, whole, [(int(place), int(change)) for place, change in places]) == []


@pytest.mark.slow
def test_no_bit_of_a_models_header_is_believed_either(tmp_path: Path, toy_vgg16: None) -> None:
    path = ours(tmp_path / "model")
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    assert believed(path, whole, [(place, 1 << bit) for place in range(header) for bit in (0, 1, 5)]) == []


@pytest.mark.parametrize("kind", WRITERS)
def test_every_changed_number_is_noticed(kind: str, tmp_path: Path, toy_vgg16: None) -> None:
    """A changed bit of a weight is refused, wherever it is: none is the same model by chance."""
    path = WRITERS[kind](tmp_path / "model")
    whole = path.read_bytes()
    weights = toy.model().whitening.weight.numpy().tobytes()
    start = whole.index(weights)
    for place in range(start, start + len(weights), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(ModelError, match=r"model\.\S+ is damaged"):
            load_model(path)
        (said,) = check_model(path).damage
        assert str(path) in said


def test_a_model_that_is_whole_is_proven_to_be(tmp_path: Path, toy_vgg16: None) -> None:
    path = ours(tmp_path / "model")
    with safe_open(path, framework="pt") as file:
        held = sum(file.get_tensor(name).numel() * 4 for name in file.keys())
    assert check_model(path) == check_model(path).__class__(held)
    found = check_model(released(tmp_path / "model"))
    assert (found.damage, found.unproven) == ((), "")
    assert found.size > held


def test_the_model_in_the_package_has_checksums() -> None:
    found = check_model(KNOWN_MODELS["lite"].path)
    assert (found.size, found.damage, found.unproven) == (1_867_904, (), "")


def test_what_has_no_checksums_is_read_and_said(tmp_path: Path, toy_vgg16: None) -> None:
    path = ours(tmp_path / "model")
    metadata, tensors = read_summed(path)
    settings = json.loads(metadata["settings"])
    settings.pop("checksums")
    save_file(tensors, path, metadata={"format": metadata["format"], "settings": json.dumps(settings)})  # as 0.1.0
    assert fingerprint(load_model(path)) == fingerprint(toy.model())
    assert check_model(path).unproven.endswith("has no checksums: it is of patchvlad 0.1.0 or of another program")
    old = released(tmp_path / "model")
    torch.save(torch.load(old), old, _use_new_zipfile_serialization=False)
    assert check_model(old).unproven == f"{old} has no checksums: it is of the format that PyTorch wrote before 1.6"
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(torch.load(old), old)
    finally:
        torch.serialization.set_crc32_options(True)
    assert fingerprint(load_model(old)) == fingerprint(toy.model())
    assert check_model(old).unproven == f"{old} has no checksums: it was saved without them"


def test_checksums_that_get_lost_are_missed(tmp_path: Path, toy_vgg16: None) -> None:
    path = ours(tmp_path / "model")
    metadata, tensors = read_summed(path)
    for changed in (
        {k: v for k, v in metadata.items() if k != "checksums"},
        metadata | {"checksums": "{}"},
        metadata | {"checksums": '{"settings": 1, "tensors": 2}'},
        metadata | {"checksums": "[" * 10_000},
        metadata | {"settings": metadata["settings"].replace("XXH3", "XXH2")},
        metadata | {"settings": metadata["settings"].replace('"checksums"', '"checksumt"')},
    ):
        save_file(tensors, path, metadata=changed)
        with pytest.raises(ModelError, match=r"model\.safetensors is damaged: the .* (is|are) wrong or missing"):
            load_model(path)
    save_file({**tensors, "more": torch.ones(1)}, path, metadata=metadata)
    with pytest.raises(ModelError, match=r"damaged: the 1 checksum of more is wrong or missing"):
        load_model(path)
    fewer = {name: tensor for name, tensor in tensors.items() if name != "whitening.bias"}
    save_file(fewer, path, metadata=metadata)
    with pytest.raises(ModelError, match=r"checksum of whitening\.bias is wrong or missing"):
        load_model(path)


def test_equal_models_are_equal_files(tmp_path: Path, toy_vgg16: None) -> None:
    written = {save_model(toy.model(), tmp_path / f"{i}.safetensors", notes="n").read_bytes() for i in range(20)}
    assert len(written) == 1


def test_which_files_are_models() -> None:
    assert [is_model_file(name) for name in ("a.safetensors", "b.pth.tar", "c.pt", "d.tar", "e.npy")] == [
        *(True, True, True, False, False)
    ]


# --- NaN and infinity ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", [name for name, _ in toy.model(bias=True).named_parameters()])
def test_nan_and_infinity_in_a_weight_are_refused_by_name(
    name: str, value: float, tmp_path: Path, toy_vgg16: None
) -> None:
    made = toy.model(bias=True)
    made.state_dict()[name].view(-1)[1] = value
    with pytest.raises(ModelError, match=f"model.safetensors: {name} holds NaN or infinity"):
        save_model(made, tmp_path / "model.safetensors")
    assert list(tmp_path.iterdir()) == []
    path = tmp_path / "old.pth.tar"
    torch.save({"num_pcs": 7, "state_dict": toy.released(made)}, path)
    with pytest.raises(ModelError, match=f"old.pth.tar: {name} holds NaN or infinity"):
        load_model(path)
    assert "holds NaN or infinity" in check_model(path).damage[0]


def test_numbers_too_large_for_float32_are_infinite(tmp_path: Path, toy_vgg16: None) -> None:
    state = toy.released(toy.model())
    torch.save(
        {"state_dict": state | {"WPCA.0.bias": torch.full((7,), 1e300, dtype=torch.float64)}}, tmp_path / "m.pth.tar"
    )
    with pytest.raises(ModelError, match=r"whitening\.bias holds NaN or infinity"):
        load_model(tmp_path / "m.pth.tar")


# --- hostile archives -----------------------------------------------------------------------------------------------


def archive(path: Path, *parts: tuple[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, data in parts:
            file.writestr(name, data)
    return path


PICKLE = b"\x80\x02}."


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("parts", "compression", "said"),
    [
        ((("a/data.pkl", PICKLE), ("a/data.pkl", PICKLE)), zipfile.ZIP_STORED, "data.pkl twice"),
        ((("a/data.pkl", PICKLE), ("a/data/0", bytes(10**7))), zipfile.ZIP_DEFLATED, "is compressed"),
        ((("a/data.pkl", b"\x80\x02cbuiltins\nbytearray\nK\x05\x85R."),), zipfile.ZIP_STORED, "asks for .*bytearray"),
        ((("a/data.pkl", b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b"."),), zipfile.ZIP_STORED, "recursion"),
    ],
    ids=["twice", "compressed", "bytearray", "nested"],
)
def test_archives_that_torch_never_writes_are_named(parts: tuple, compression: int, said: str, tmp_path: Path) -> None:
    path = archive(tmp_path / "m.pth.tar", *parts, ("a/version", b"3\n"), compression=compression)
    with pytest.raises(ModelError, match=rf"m\.pth\.tar.*{said}"):
        read_pickle(path)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("kind", ["expanded", "sparse", "meta"])
@pytest.mark.filterwarnings("ignore:Sparse")
def test_tensors_that_would_fill_the_memory_are_named(kind: str, zipped: bool, tmp_path: Path) -> None:
    make = {
        "expanded": lambda: torch.ones(1).expand(100_000, 100_000),
        "sparse": lambda: torch.sparse_coo_tensor(torch.zeros(2, 1, dtype=torch.long), torch.ones(1), (10**6, 10**6)),
        "meta": lambda: torch.ones(3, device="meta"),
    }
    path = tmp_path / "m.pth.tar"
    torch.save({"state_dict": {"x": make[kind]()}}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ModelError, match=r"m\.pth\.tar cannot be read as a checkpoint \((a tensor|tensors) "):
        read_pickle(path)


def test_a_tensor_without_numbers_is_named(tmp_path: Path, toy_vgg16: None) -> None:
    path = ours(tmp_path / "model")
    metadata, tensors = read_summed(path)
    tensors["whitening.weight"] = torch.zeros(10**9, 0)
    write_summed(path, tensors, metadata["format"], json.loads(metadata["settings"]))
    with pytest.raises(ModelError, match=r"whitening\.weight has the shape \(1000000000, 0\), without a number"):
        load_model(path)


@pytest.mark.parametrize(
    "change",
    [
        *({"patch_sizes": sizes} for sizes in ([0], [-1], [1e30], [10**30], [True], ["5"], 5, None, [], [2, 2])),
        *({"patch_strides": strides} for strides in ([1], [0, 1], "11")),
        *({"pooling": pooling} for pooling in (None, 3, "mean", ["max"], {"a": 1})),
        *({"cluster_weight": weight} for weight in ("heavy", 5, ["exact"], {"a": 1})),
        *({"backbone": backbone} for backbone in (None, 3, ["toy"], {})),
        {"backbone_sha256": 5},
    ],
    ids=str,
)
def test_settings_that_cannot_be_are_named(change: dict, tmp_path: Path, toy_vgg16: None) -> None:
    path = ours(tmp_path / "model")
    metadata, tensors = read_summed(path)
    write_summed(path, tensors, metadata["format"], json.loads(metadata["settings"]) | change)
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        load_model(path)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth.tar"])
@pytest.mark.parametrize("kind", ["pipe", "pointer", "page", "sparse", "empty", "zeros"])
def test_what_is_no_model_is_called_what_it_is(kind: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"m{suffix}"
    said = "cannot be read as a "
    if kind == "pipe":
        os.mkfifo(path)
        said = "it is a named pipe, not a regular file"
    elif kind == "pointer":
        path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
        said = "it is a Git LFS pointer, not the file itself: run 'git lfs pull'"
    elif kind == "page":
        path.write_bytes(b"<!DOCTYPE html><html>")
        said = "it is a web page, not the file itself"
    else:
        with open(path, "wb") as file:
            file.truncate({"sparse": 50 * 10**9, "empty": 0, "zeros": 4096}[kind])
    with pytest.raises(ModelError) as caught:
        load_model(path)
    assert str(path) in str(caught.value)
    assert said in str(caught.value)
    assert "pickle" not in str(caught.value)


def test_a_folder_and_a_name_that_cannot_be_are_no_models(tmp_path: Path) -> None:
    for source in ("a\0b", "x" * 5000, "/dev/null/x", ""):
        with pytest.raises(ModelError):
            load_model(source)

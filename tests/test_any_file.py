"""Whatever a file holds (hypothesis): it is read for what it says, or refused by a named error, and nothing else."""

import functools
import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
import toy
from fuzz_targets import CONFIG, MAKING, SETTINGS, TARGETS, feed, manifests, model_file, toy_backbone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from patchvlad.commands.preset import Preset, read_config
from patchvlad.errors import ConfigError, ModelError, StoreError
from patchvlad.features.manifest import Manifest
from patchvlad.files.archives import read_archive
from patchvlad.files.arrays import read_array, read_object_array
from patchvlad.files.json_files import parse_json, to_record
from patchvlad.model import checkpoints
from patchvlad.model.registry import BACKBONES
from patchvlad.model.tensor_sums import read_summed, write_summed
from patchvlad.results.folder import Making, read_making

FEW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KINDS = st.sampled_from(["<f4", ">f4", "<f8", "<f2", "|i1", "<i8", ">u2", "|u1", "|b1", "<U3", "|S2"])
ARRAYS = KINDS.flatmap(lambda kind: arrays.arrays(kind, arrays.array_shapes(min_dims=0, min_side=0, max_side=4)))


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "VGG16", toy.backbone)
    monkeypatch.setattr(BACKBONES, "_things", dict(BACKBONES._things))
    toy_backbone()


def equal(a: np.ndarray, b: np.ndarray) -> bool:
    return (a.dtype, a.shape) == (b.dtype, b.shape) and a.tobytes() == b.tobytes()


@FEW
@given(array=ARRAYS, mapped=st.booleans())
def test_arrays_are_read_as_they_are_written(array: np.ndarray, mapped: bool, folder: Path) -> None:
    np.save(folder / "a.npy", array)
    assert equal(read_array(folder / "a.npy", mapped=mapped), array)
    np.savez_compressed(folder / "a.npz", x=array)
    found, names = read_archive(folder / "a.npz", ("x", "y"))
    assert (names, [*found]) == (("x",), ["x"])
    assert equal(found["x"], array)


@FEW
@given(rows=st.lists(st.tuples(st.integers(0, 9), st.lists(st.integers(0, 99), max_size=4)), min_size=1, max_size=5))
def test_objects_are_read_as_they_are_written(rows: list[tuple[int, list[int]]], folder: Path) -> None:
    array = np.empty((len(rows), 2), dtype=object)
    for number, (query, positives) in enumerate(rows):
        array[number, 0], array[number, 1] = query, positives
    np.save(folder / "o.npy", array)
    assert read_object_array(folder / "o.npy") == [list(row) for row in rows]


@functools.cache
def seeds(name: str) -> list[bytes]:
    """Made once, as files of some formats hold the time."""
    return TARGETS[name].seeds()


@settings(FEW, max_examples=15)
@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.filterwarnings("ignore")
@given(data=st.data())
def test_any_bytes_in_any_place_are_refused_by_name_if_at_all(name: str, data: st.DataObject, folder: Path) -> None:
    whole = data.draw(st.sampled_from(seeds(name)))
    at, to = sorted(data.draw(st.tuples(*[st.integers(0, len(whole))] * 2)))
    feed(TARGETS[name], whole[:at] + data.draw(st.binary(max_size=20)) + whole[to:], folder)
    feed(TARGETS[name], data.draw(st.binary(max_size=200)), folder)


# --- configs --------------------------------------------------------------------------------------------------------


KEYS = (
    "imageresizew",
    "imageresizeh",
    "patchweights2use",
    "n_values_all",
    "patch_sizes",
    "strides",
    "num_pcs",
    "matcher",
)


@FEW
@given(key=st.sampled_from(KEYS), value=st.text(max_size=20).filter(lambda text: not {*text} & {"\r", "\n", "\x00"}))
def test_whatever_a_key_is_set_to_the_preset_is_sound_or_the_key_is_named(key: str, value: str, folder: Path) -> None:
    lines = [f"{key} = {value}" if line.startswith(key) else line for line in CONFIG.splitlines()]
    (folder / "c.ini").write_bytes("\n".join(lines).encode("utf-8", "replace"))
    try:
        sound(read_config(folder / "c.ini"))
    except ConfigError as error:
        assert "c.ini" in str(error)
        assert key in str(error) or "patch_sizes" in str(error) or "not an .ini" in str(error)


def sound(preset: Preset) -> None:
    described = preset.description
    assert described.size is None or all(0 < side < 2**31 for side in described.size)
    assert len(described.patch_sizes) == len(described.patch_strides) == len(preset.plan.weights)
    assert all(0 < cells < 2**31 for cells in (*described.patch_sizes, *described.patch_strides))
    assert np.isfinite(preset.plan.weights).all()
    assert preset.ks == tuple(sorted(preset.ks)) and preset.ks[0] >= 1


@FEW
@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=5),
    width=st.integers(1, 5000),
    ks=st.lists(st.integers(1, 100), min_size=1, max_size=4),
)
def test_a_config_means_what_it_says(sizes: list[int], width: int, ks: list[int], folder: Path) -> None:
    said = {
        "imageresizew": width,
        "n_values_all": ",".join(map(str, ks)),
        "patch_sizes": ", ".join(map(str, sizes)),
        "strides": ",".join("1" for _ in sizes),
        "patchweights2use": ",".join("0.5" for _ in sizes),
    }
    lines = [
        f"{key} = {said[key]}" if (key := line.partition(" ")[0]) in said else line for line in CONFIG.splitlines()
    ]
    (folder / "c.ini").write_text("\n".join(lines))
    found = read_config(folder / "c.ini")
    assert (found.description.patch_sizes, found.description.size) == (tuple(sizes), (480, width))
    assert found.ks == tuple(sorted(ks))


# --- records --------------------------------------------------------------------------------------------------------


@FEW
@given(value=JSON)
def test_json_is_read_as_it_is_written(value: object) -> None:
    text = json.dumps(value)
    try:
        assert parse_json(text) == value
    except ValueError:
        assert "NaN" in text or "Infinity" in text


@FEW
@given(key=st.sampled_from([*json.loads(manifests()[0])]), value=JSON)
def test_whatever_a_manifest_says_it_is_sound_or_refused(key: str, value: object, folder: Path) -> None:
    (folder / "manifest.json").write_text(json.dumps({**json.loads(manifests()[0]), key: value}))
    try:
        found = Manifest.read(folder)
    except StoreError as error:
        assert "manifest.json" in str(error)
        return
    assert 0 <= found.rows <= found.images
    assert all(type(row) is int and 0 <= row < found.rows for row in found.unreadable)
    assert found.recipe.patch_grids()


@FEW
@given(key=st.sampled_from([*json.loads(manifests()[0])["recipe"]]), value=JSON)
def test_whatever_a_recipe_says_it_is_sound_or_refused(key: str, value: object, folder: Path) -> None:
    values = json.loads(manifests()[0])
    values["recipe"][key] = value
    (folder / "manifest.json").write_text(json.dumps(values))
    try:
        recipe = Manifest.read(folder).recipe
    except StoreError as error:
        assert "manifest.json" in str(error)
        return
    assert min(*recipe.size, *recipe.map_size, recipe.stride, recipe.dim, recipe.patch_dim) >= 1


@FEW
@given(key=st.sampled_from(sorted(asdict(Making()))), value=JSON)
def test_whatever_results_say_of_their_making_can_be_told_or_is_refused(key: str, value: object, folder: Path) -> None:
    said = {**MAKING, key: value}
    (folder / "results.json").write_text(json.dumps(said))
    message = feed(TARGETS["results"], (folder / "results.json").read_bytes(), folder)
    if not message:
        made = read_making(folder)
        assert made is not None
        assert made.describe("PatchNetVLAD")
        assert json.loads(json.dumps(asdict(made)))[key] == value
    else:
        assert "results.json is damaged" in message


@FEW
@given(making=st.builds(Making, group=st.integers(1, 99), weights=st.none() | st.just((0.5, 1.0)), preset=st.text()))
def test_the_making_of_results_is_read_as_it_was_written(making: Making) -> None:
    assert to_record(Making, parse_json(json.dumps(asdict(making)))) == making


# --- models ---------------------------------------------------------------------------------------------------------


@FEW
@given(key=st.sampled_from([*SETTINGS]), value=JSON)
def test_whatever_settings_say_the_model_has_them_or_is_refused(key: str, value: object, folder: Path) -> None:
    path = folder / "m.safetensors"
    path.write_bytes(model_file(**{key: value}))
    try:
        found = checkpoints.load_model(path)
    except ModelError as error:
        assert "m.safetensors" in str(error)
        return
    assert len(found.patch_sizes) == len(found.patch_strides) == len({*found.patch_sizes}) >= 1
    assert all(cells >= 1 for cells in (*found.patch_sizes, *found.patch_strides))
    assert torch.isfinite(found.describe_globally(torch.ones(1, 4, 2, 2))).all()


@FEW
@given(
    tensors=st.dictionaries(
        st.text(min_size=1, max_size=6).filter(lambda name: name != "__metadata__"),
        arrays.arrays(
            st.sampled_from(["f4", "f2", "f8", "i8", "i1"]),
            arrays.array_shapes(min_dims=0, max_side=3),
            elements=st.integers(-99, 99),
        ),
        max_size=4,
    ),
    notes=st.text(max_size=9),
)
def test_tensors_are_read_as_they_were_written(tensors: dict[str, np.ndarray], notes: str, folder: Path) -> None:
    path = folder / "t.safetensors"
    write_summed(path, {name: torch.from_numpy(array) for name, array in tensors.items()}, "x", {"notes": notes})
    metadata, found = read_summed(path)
    assert parse_json(metadata["settings"])["notes"] == notes
    assert {*found} == {*tensors}
    assert all(equal(found[name].numpy(), array) for name, array in tensors.items())

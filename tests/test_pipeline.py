"""The steps behind the commands: what a config asks for against what model and machine can do."""

import dataclasses
import logging
from pathlib import Path

import pytest
import torch
from tiny import TinyBackbone, write_config, write_model

from patchvlad.commands.preset import Preset, read_config
from patchvlad.errors import ConfigError
from patchvlad.features.store import FeatureStore
from patchvlad.model.devices import usable_device, usable_precision
from patchvlad.model.registry import BACKBONES
from patchvlad.search.searching import reader


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Preset:
    monkeypatch.setitem(BACKBONES._things, "tiny", TinyBackbone)
    write_model(tmp_path / "tiny.safetensors", components=12)
    return read_config(write_config(tmp_path / "tiny.ini", "model = tiny.safetensors"))


def test_bfloat16_is_used_where_the_processor_has_it(monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    assert usable_precision("float32", "cpu") == torch.float32
    assert usable_precision("bfloat16", "cuda") == torch.bfloat16
    for supported, expected in ((lambda: True, torch.bfloat16), (lambda: False, torch.float32), (None, torch.float32)):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", supported, raising=False)
        with caplog.at_level(logging.INFO, logger="patchvlad"):
            assert usable_precision("bfloat16", "cpu") == expected
    assert "no faster in bfloat16" in caplog.text


def test_a_device_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"device cuda:9 cannot be used here .*--device cpu"):
        usable_device("cuda:9")


@pytest.mark.parametrize(("asked", "expected"), [(None, 12), (5, 5), (700, 12)])
def test_patches_keep_as_many_components_as_there_are(settings: Preset, asked: int | None, expected: int) -> None:
    model = dataclasses.replace(settings.description, patch_components=asked).load("cpu")
    assert (model.patch_dim, model.dim) == (expected, 12)


def test_descriptors_are_reduced_while_read_by_fast_settings_only(settings: Preset) -> None:
    def reads(**changes: object) -> object:
        described = dataclasses.replace(settings.description, **changes)
        return reader(dataclasses.replace(settings, description=described).to_search())

    assert reads() is FeatureStore.descriptors
    assert reads(store_dtype="int8") is FeatureStore.descriptors
    assert reads(patch_components=3) is FeatureStore.descriptors
    assert reads(store_dtype="int8", patch_components=3) is not FeatureStore.descriptors

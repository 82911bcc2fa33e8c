"""The readers that are fuzzed: each reads its whole files, and refuses files changed at random by name, if at all."""

from pathlib import Path

import fuzz_targets
import numpy as np
import pytest
import toy
from fuzz_targets import TARGETS, feed, toy_backbone

from patchvlad.model import checkpoints
from patchvlad.model.registry import BACKBONES


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "VGG16", toy.backbone)
    monkeypatch.setattr(BACKBONES, "_things", dict(BACKBONES._things))
    toy_backbone()


@pytest.mark.parametrize("name", TARGETS)
def test_whole_files_are_read(name: str, tmp_path: Path) -> None:
    said = [feed(TARGETS[name], seed, tmp_path) for seed in TARGETS[name].seeds()]
    if name == "settings":
        assert "backbone_sha256" in said[0]
    elif name == "pickle":
        assert "has no VLAD layer" in said[0]
    else:
        assert said == [""] * len(said)


@pytest.mark.parametrize("rounds", [pytest.param(8, id="fast"), pytest.param(400, id="many", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.filterwarnings("ignore")
def test_files_changed_at_random_end_in_named_errors(name: str, rounds: int, tmp_path: Path) -> None:
    random = np.random.default_rng(rounds)
    for seed in TARGETS[name].seeds():
        for number in range(rounds):
            feed(TARGETS[name], changed(seed, number, random), tmp_path)


def changed(data: bytes, number: int, random: np.random.Generator) -> bytes:
    """Bytes changed, cut out, doubled, or put in, in turn."""
    at, to = sorted(int(place) for place in random.integers(len(data) + 1, size=2))
    if number % 4 == 0:
        held = bytearray(data)
        for place in random.integers(len(data), size=1 + number % 5):
            held[place] = random.integers(256)
        return bytes(held)
    inside = {1: b"", 2: 2 * data[at:to], 3: random.bytes(number % 7)}[number % 4]
    return data[:at] + inside + data[to if number % 4 < 3 else at :]


def test_every_target_is_named_in_the_harness() -> None:
    assert fuzz_targets.TARGETS is TARGETS
    assert len(TARGETS) >= 20

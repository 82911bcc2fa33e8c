"""Killed commands: at every step on disk and at any moment, what they leave is mended by running them again."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

# Of 500 in all, which PATCHVLAD_KILLS=500 runs; .ci/run runs a tenth of them.
FEW, TENTH = 12, 50
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def check(kills: int, seed: int = 0) -> None:
    command = [sys.executable, str(Path(__file__).with_name("killing.py")), "--kills", str(kills), "--seed", str(seed)]
    done = subprocess.run(command, capture_output=True, text=True)
    found = json.loads(done.stdout) if done.stdout else {}
    wrong = [f"{name}: {said}" for name, one in found.items() for said in one["wrong"]]
    assert found and not wrong, "\n".join(wrong) or done.stderr
    assert sum(one["at steps"] + one["at moments"] for one in found.values()) == kills
    assert {"extract", "match", "train", "fit", "add-pca", "fetch"} <= set(found)


def test_some_killed_commands_end_as_undisturbed_ones() -> None:
    check(int(os.environ.get("PATCHVLAD_KILLS", FEW)))


@pytest.mark.slow
def test_killed_commands_end_as_undisturbed_ones() -> None:
    check(TENTH, seed=1)

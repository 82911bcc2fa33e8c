"""Two processes that train together compute what one would."""

import os
import subprocess
import sys
from pathlib import Path

import generated_city
import pytest
import torch

from patchvlad.train.parallel import Team

WORKER = """
import sys
from dataclasses import replace
sys.path.insert(0, {tests!r})
import tiny, torch
from patchvlad.model.registry import BACKBONES
from patchvlad.train import loop
from patchvlad.places.training_sets import read_places
from patchvlad.train.parallel import team_of_torchrun
from patchvlad.train.recipes import RECIPES
BACKBONES.add("tiny", tiny.TinyBackbone)
torch.set_num_threads(1)
recipe = replace(RECIPES[{recipe!r}], trained=0, epochs=2, part=6, batch=3, learning_rate=0.01, variants=2)
model = tiny.make_model()
with team_of_torchrun("cpu") as (team, device):
    loop.train(model, *read_places({city!r}), recipe, {out!r}, size=(tiny.HEIGHT, tiny.WIDTH), device=device, team=team)
"""


def train(recipe: str, city: Path, out: Path, processes: int) -> tuple[dict, list[list[str]]]:
    code = WORKER.format(tests=str(Path(__file__).parent), recipe=recipe, city=str(city), out=str(out))
    script = out.with_suffix(".py")
    script.write_text(code)
    command = [sys.executable, str(script)]
    if processes > 1:
        command[1:1] = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    state = torch.load(out / "state.pt", weights_only=True)
    rows = [line.split(",") for line in (out / "history.csv").read_text().splitlines()]
    return state["model"], rows


@pytest.mark.parametrize("recipe", ["paper", "modern"])
def test_two_processes_learn_what_one_does(recipe: str, tmp_path: Path) -> None:
    city = generated_city.write_msls(tmp_path / "city", 8)
    alone, history = train(recipe, city, tmp_path / "one", 1)
    together, history2 = train(recipe, city, tmp_path / "two", 2)
    assert len(history) == 4
    for ours, theirs in zip(history[1:], history2[1:], strict=True):
        assert list(map(float, ours)) == pytest.approx(list(map(float, theirs)), rel=1e-4, nan_ok=True)
    for name, weights in alone.items():
        torch.testing.assert_close(weights, together[name], rtol=1e-3, atol=1e-5, msg=name)


def test_shares_are_equally_long_and_cover_everything() -> None:
    for count in (1, 4, 5, 7):
        for size in (1, 2, 3):
            shares = [Team(rank, size).share(list(range(count))) for rank in range(size)]
            assert len({len(share) for share in shares}) == 1
            assert [item for share in shares for item in share][:count] == list(range(count))

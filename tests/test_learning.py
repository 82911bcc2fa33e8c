"""Learning is real: `lite` trained on real places recognises others of their kind better, and the rest no worse."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import patchvlad as pv
from patchvlad.places.radii import Reading
from patchvlad.places.training import Places
from patchvlad.places.training_sets import read_places
from patchvlad.train.frozen import FrozenMaps
from patchvlad.train.loop import Learner, train, validate
from patchvlad.train.parallel import Team
from patchvlad.train.recipes import MODERN, for_backbone


def recall_on(model: pv.PatchNetVLAD, places: Places) -> dict[int, float]:
    with FrozenMaps(model.backbone, 1, places.images, (480, 640), workers=os.cpu_count() or 1) as frozen:
        return validate(Learner(model, [], [], None, 1, torch.float32, Team(), lambda *_: None), frozen, places)


@pytest.mark.slow
def test_unseen_buildings_are_recognised_better(shared_data: Path, tmp_path: Path) -> None:
    training, held_out = read_places(shared_data / "campus" / "labels.csv", Reading(validation=0.3, seed=2))
    before = recall_on(pv.load_model("lite"), held_out)
    recipe = for_backbone(replace(MODERN, seed=2), 1)
    train(pv.load_model("lite"), training, held_out.subset(np.arange(0)), recipe, tmp_path / "run")
    after = recall_on(pv.load_model(tmp_path / "run" / "best.safetensors"), held_out)
    assert after[1] > before[1]
    assert after[5] >= before[5]

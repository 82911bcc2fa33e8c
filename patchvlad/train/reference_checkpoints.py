"""Training checkpoints of the reference, written and read.

They hold epoch, state_dict, recalls, best_score, not_improved, optimizer and parallel. Numbers are Python's own, so
that PyTorch reads them with `weights_only`, as it does by itself from 2.6 on. The optimiser's parameters stand in the
order of the reference: weight and bias of each trained convolution, centroids, weight (and bias) of the assignment.
"""

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import ModelError
from ..model.checkpoints import check_reference_can_read, reference_state
from ..model.network import PatchNetVLAD
from ..model.pickles import read_pickle, write_pickle
from ..model.tensor_sums import check_finite
from .runs import Beginning, State

KEYS = ("epoch", "state_dict", "recalls", "best_score", "not_improved", "optimizer", "parallel")


def write_training_checkpoint(
    path: str | os.PathLike, model: PatchNetVLAD, optimiser: torch.optim.Optimizer, state: State
) -> Path:
    """Writes a VGG16 model and how far its training is, whole or not at all."""
    check_reference_can_read(model)
    last = state.history[-1] if state.history else {}
    recalls = {
        int(k.rpartition("@")[2]): float(value) for k, value in last.items() if k.startswith("validation/recall@")
    }
    content = {
        "epoch": state.epoch,
        "state_dict": reference_state(model),
        "recalls": recalls,
        "best_score": max(float(state.best), 0.0),
        "not_improved": state.not_improved,
        "optimizer": _reshaped(optimiser.state_dict(), _shapes(model, theirs=True)),
        "parallel": False,
    }
    return write_pickle(path, content)


def read_beginning(path: Path, model: PatchNetVLAD) -> Beginning | None:
    """How far a training checkpoint of the reference or of ours is; None for a file that holds weights alone.

    Args:
        path: a .pth.tar.
        model: that was loaded from it.

    Raises:
        ModelError: its numbers are none.
    """
    content = read_pickle(path) if path.name.endswith(".pth.tar") else {}
    if not isinstance(content, dict) or "optimizer" not in content:
        return None
    try:
        numbers = int(content["epoch"]), float(content["best_score"]), int(content["not_improved"])
        optimiser = _reshaped(content["optimizer"], _shapes(model, theirs=False))
        buffers = {f"{k} of {n}": t for n, kept in optimiser["state"].items() for k, t in kept.items()}
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise ModelError(
            f"{path} is not a whole training checkpoint ({error!r}): it should hold {', '.join(KEYS)}"
        ) from error
    check_finite(path, buffers)
    return Beginning(*numbers, optimiser)


def _shapes(model: PatchNetVLAD, theirs: bool) -> list[torch.Size]:
    """Shapes of conv5's and the VLAD layer's parameters, the assignment's being a 1 x 1 convolution in theirs."""
    assert model.vlad is not None
    layers = model.backbone.head_layers(model.backbone.trained_layers)
    found = []
    for parameter in (*layers.parameters(), *model.vlad.parameters()):
        assignment = parameter is model.vlad.assignment.weight
        found.append(torch.Size([*parameter.shape, 1, 1]) if assignment and theirs else parameter.shape)
    return found


def _reshaped(optimiser: dict[str, Any], shapes: list[torch.Size]) -> dict[str, Any]:
    """An optimiser's state with the buffers of its parameters in these shapes."""
    state = {}
    for number, buffers in optimiser["state"].items():
        state[number] = {
            name: value.cpu().reshape(shapes[number]) if isinstance(value, Tensor) and value.dim() else value
            for name, value in buffers.items()
        }
    counted = [len(group["params"]) for group in optimiser["param_groups"]]
    if counted != [len(shapes)]:
        raise ValueError(f"an optimiser of {counted} parameters for {len(shapes)}")
    return {"state": state, "param_groups": optimiser["param_groups"]}

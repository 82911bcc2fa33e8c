"""What a training run leaves in its folder: models, the state that it goes on from, and its numbers."""

import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError, ModelError
from ..files.atomic import write_text
from ..files.room import told
from ..model.checkpoints import load_model, save_model
from ..model.network import PatchNetVLAD
from ..model.pickles import read_pickle, write_pickle
from ..model.tensor_sums import check_finite
from .parallel import Team
from .recipes import Recipe

log = logging.getLogger(__name__)

STATE, LAST, BEST = "state.pt", "last.safetensors", "best.safetensors"
FORMAT = "patchvlad-training-1"


@dataclass
class State:
    """How far a run is, besides weights and optimiser.

    Attributes:
        epoch, part: what comes next.
        step: updates done.
        best: recall of the best epoch so far, -1 before the first.
        not_improved: epochs since then.
        history: for each finished epoch its numbers.
        losses, active: sums over the parts done of an unfinished epoch.
    """

    epoch: int = 0
    part: int = 0
    step: int = 0
    best: float = -1.0
    not_improved: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    active: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Beginning:
    """How far the training was that a new run goes on from.

    Attributes:
        epoch: epochs done.
        best: recall of the best of them; not_improved: validations since then.
        optimiser: its state, None for a new one.
    """

    epoch: int = 0
    best: float = -1.0
    not_improved: int = 0
    optimiser: dict[str, Any] | None = None


def begin(folder: Path, team: Team, beginning: Beginning | None = None) -> State:
    """The state of a new run, in a folder that holds none."""
    if (folder / STATE).exists() and team.rank == 0:
        raise ConfigError(f"{folder} holds a run already: go on with --resume {folder}, or give another --out")
    folder.mkdir(parents=True, exist_ok=True)
    beginning = beginning or Beginning()
    return State(epoch=beginning.epoch, best=beginning.best, not_improved=beginning.not_improved)


def save(
    folder: Path,
    model: PatchNetVLAD,
    optimiser: torch.optim.Optimizer,
    start: list[Tensor],
    state: State,
    identity: dict[str, Any],
) -> None:
    """Writes last.safetensors, then state.pt, which alone decides where a run goes on."""
    content = {
        "format": FORMAT,
        "identity": identity,
        "state": asdict(state),
        "model": {name: tensor.cpu() for name, tensor in model.state_dict().items()},
        "optimiser": optimiser.state_dict(),
        "start": [values.cpu() for values in start],
    }
    save_model(model, folder / LAST, notes=f"{identity['recipe']['name']}, step {state.step}")
    write_pickle(folder / STATE, content)


def read_run(folder: Path) -> tuple[dict[str, Any], PatchNetVLAD]:
    """What state.pt of a run holds, and a model of the run's architecture."""
    return _read_state(folder), load_model(folder / LAST)


def _read_state(folder: Path) -> dict[str, Any]:
    path = folder / STATE
    if not path.is_file():
        raise ConfigError(f"{folder} holds no run to resume: {STATE} is missing")
    content = read_pickle(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ModelError(f"{path} is not the state of a training run of this version of patchvlad")
    records = all(isinstance(content.get(name), dict) for name in ("identity", "state", "model", "optimiser"))
    if not records or not isinstance(content.get("start"), list):
        raise ModelError(f"{path} is not the whole state of a training run: start a new one from {folder / LAST}")
    check_finite(path, content["model"])
    return content


def restore(
    folder: Path,
    model: PatchNetVLAD,
    optimiser: torch.optim.Optimizer,
    start: list[Tensor],
    identity: dict[str, Any],
) -> State:
    """Sets model, optimiser and the values before training as they were when the run was last saved."""
    content = _read_state(folder)
    try:
        _check_identity(folder, content["identity"], identity)
        model.load_state_dict(content["model"])
        optimiser.load_state_dict(content["optimiser"])
        for values, kept in zip(start, content["start"], strict=True):
            values.copy_(kept)
        return State(**content["state"])
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise ModelError(
            f"{folder / STATE} does not fit its run ({' '.join(str(error).split())[:200]}): start a new run from "
            f"{folder / LAST}"
        ) from error


def _check_identity(folder: Path, kept: dict[str, Any], identity: dict[str, Any]) -> None:
    """Refuses to go on with other photos, another size or another recipe."""
    for part, what in (("places", "other photos or positions"), ("size", "another image size"), ("recipe", "a recipe")):
        before, now = kept[part], identity[part]
        if part == "recipe":  # which an older version may have known fewer fields of; more epochs go on
            before = asdict(Recipe(**before)) | {"epochs": now["epochs"]}
        if before != now:
            detail = ""
            if part == "recipe":
                detail = ": " + ", ".join(f"{k} was {v}, is {now[k]}" for k, v in before.items() if v != now[k])
            raise ConfigError(f"{folder} was trained with {what} unlike what is given{detail}: resume with the same")


class Scalars:
    """TensorBoard's scalars, where it is installed, and history.csv. A context."""

    def __init__(self, folder: Path, step: int) -> None:
        self.folder = folder
        self.writer: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
        except ImportError:
            log.warning(
                "TensorBoard is not installed, scalars are in history.csv alone: pip install 'patchvlad[train]'"
            )

    def __enter__(self) -> "Scalars":
        return self

    def __exit__(self, *_: object) -> None:
        if self.writer is not None:
            with told(self.folder / "tensorboard"):
                self.writer.close()

    def add(self, scalars: dict[str, float], step: int) -> None:
        if self.writer is not None:
            with told(self.folder / "tensorboard"):  # its thread hands errors on with what comes next
                for name, value in scalars.items():
                    self.writer.add_scalar(name, value, step)

    def table(self, history: list[dict[str, float]]) -> None:
        """Writes history.csv: one line per epoch, epoch 0 being the model before training."""
        columns = list(history[-1])
        lines = [",".join(columns)] + [",".join(f"{row.get(c, float('nan')):g}" for c in columns) for row in history]
        write_text(self.folder / "history.csv", "\n".join(lines) + "\n")

"""Trains, validates, keeps checkpoints, goes on where it stopped.

An epoch is cut into parts. At the start of each the triplets are mined anew from fresh descriptors, and at its end all
is saved, so that a killed run goes on from there. Every draw depends on the seed, the epoch and the part alone: a
resumed run sees what an uninterrupted one would have seen.
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import GroundTruthError
from ..model.checkpoints import save_model
from ..model.network import PatchNetVLAD
from ..places.training import Places
from .batches import Batch, batches_of_places, parts_of_epoch, triplet_batches
from .frozen import FrozenMaps, View, augmented
from .parallel import Team
from .recipes import Recipe
from .runs import BEST, Beginning, Scalars, State, begin, restore, save

log = logging.getLogger(__name__)

KS = (1, 5, 10)
RESUMED = Beginning()  # stands for the state that the run's own folder holds
TOGETHER = 16  # photos described at a time for the cache and for validation
StepProgress = Callable[[str, int, int], None]  # (what, done, of all)


def train(
    model: PatchNetVLAD,
    training: Places,
    validation: Places,
    recipe: Recipe,
    folder: str | os.PathLike,
    *,
    size: tuple[int, int] = (480, 640),
    resume: bool = False,
    device: str = "cpu",
    memory: int = 2 << 30,
    workers: int = 2,
    precision: torch.dtype = torch.float32,
    team: Team | None = None,
    reading: dict[str, Any] | None = None,
    keep: "Callable[[Run], None] | None" = None,
    beginning: Beginning | None = None,
    progress: StepProgress | None = None,
) -> State:
    """Trains a model in place; the best and the last one are in `folder`.

    Args:
        model: to start from; its whitening, if any, is trained with the rest.
        training, validation: from `read_places`; without validation queries the last epoch counts as the best.
        recipe: how.
        folder: of the run: last.safetensors, best.safetensors, state.pt, history.csv and TensorBoard's scalars.
        size: (height, width) that photos are resized to.
        resume: go on from the folder's state instead of starting anew.
        device: to compute on.
        memory: bytes for maps of layers that are not trained.
        workers: threads that decode.
        precision: that the network multiplies in, weights and sums stay float32.
        team: the processes that train together.
        reading: how the places were read, kept with the run.
        keep: called with the run after each epoch.
        beginning: how far a training was that this one goes on from, if it does.
        progress: called as work is done.

    Raises:
        GroundTruthError: there is nothing to train on.
        ConfigError: the folder holds a run already, or one that does not go with what is given.
    """
    team = team or Team()
    check_places(training, validation)
    trained = recipe.trained if recipe.trained is not None else model.backbone.trained_layers
    learner = _learner(model.to(device).train(), recipe, trained, precision, team, progress or (lambda *_: None))
    identity = _identity(training, validation, size, recipe, reading or {})
    run = Run(learner, recipe, Path(folder), identity, RESUMED if resume else beginning)
    keeping: dict[str, Any] = {"memory": memory // 2, "workers": workers, "precision": precision, "seed": recipe.seed}
    keeping["augment"] = augmented if recipe.variants else None
    with ExitStack() as stack:
        frozen, held_out = (
            stack.enter_context(FrozenMaps(model.backbone, trained, places.images, size, **keeping))
            for places in (training, validation)
        )
        if team.rank == 0:
            run.writer = stack.enter_context(Scalars(run.folder, run.state.step))
        _go(run, (frozen, training), (held_out, validation), keep)
    return run.state


def _go(
    run: "Run",
    training: tuple[FrozenMaps, Places],
    validation: tuple[FrozenMaps, Places],
    keep: "Callable[[Run], None] | None",
) -> None:
    """Epoch after epoch, until all are done or nothing gets better any more."""
    if not run.state.history:
        run.judge(*validation, {})
    while run.state.epoch < run.recipe.epochs and run.state.not_improved < run.recipe.patience:
        run.train_epoch(*training)
        found, last = run.finish_epoch(), run.state.epoch == run.recipe.epochs
        if last or run.state.epoch % run.recipe.evaluate_every == 0:
            run.judge(*validation, found)
        run.save()
        if keep and run.learner.team.rank == 0:
            keep(run)


def _identity(
    training: Places, validation: Places, size: tuple[int, int], recipe: Recipe, reading: dict[str, Any]
) -> dict[str, Any]:
    """What must be the same for a run to go on."""
    return {
        "places": [training.identity, validation.identity],
        "size": list(size),
        "recipe": asdict(recipe),
        "reading": {name: list(v) if isinstance(v, tuple) else v for name, v in reading.items()},
    }


def _learner(
    model: PatchNetVLAD,
    recipe: Recipe,
    trained: int,
    precision: torch.dtype,
    team: Team,
    progress: StepProgress,
) -> "Learner":
    """The model with what changes it, of the same values in all processes."""
    model.requires_grad_(False)
    parameters = trained_parameters(model, trained)
    for parameter in parameters:
        parameter.requires_grad_(True)
    optimiser = _optimiser(recipe, parameters)
    team.agree([tensor.data for tensor in (*model.parameters(), *model.buffers())])
    start = [parameter.detach().clone() for parameter in parameters]
    return Learner(model, parameters, start, optimiser, trained, precision, team, progress)


class Run:
    """A training under way: how far it is, and where it leaves what it learns."""

    def __init__(
        self,
        learner: "Learner",
        recipe: Recipe,
        folder: Path,
        identity: dict[str, Any],
        beginning: Beginning | None,
    ) -> None:
        self.learner, self.recipe, self.folder, self.identity = learner, recipe, folder, identity
        self.writer: Scalars | None = None
        if beginning is RESUMED:
            self.state = restore(folder, learner.model, learner.optimiser, learner.start, identity)
            return
        self.state = begin(folder, learner.team, beginning)
        if beginning is not None and beginning.optimiser is not None:
            learner.optimiser.load_state_dict(beginning.optimiser)

    @property
    def improved(self) -> bool:
        """Whether the last epoch is the best so far."""
        return self.state.not_improved == 0 and self.state.history[-1]["epoch"] == self.state.epoch

    def train_epoch(self, frozen: FrozenMaps, places: Places) -> None:
        """The rest of an epoch, part by part."""
        recipe, state, learner = self.recipe, self.state, self.learner
        parts = parts_of_epoch(places, recipe, state.epoch)
        while state.part < len(parts):
            generator = np.random.default_rng((recipe.seed, 1, state.epoch, state.part))
            if recipe.loss == "triplet":
                cache = lambda rows: learner.describe(frozen, rows, "cache")  # noqa: E731
                batches, active = triplet_batches(places, parts[state.part], recipe, cache, generator)
            else:
                batches, active = batches_of_places(places, parts[state.part], recipe, generator), float("nan")
            done = (state.part + np.arange(len(batches)) / max(len(batches), 1)) / len(parts)
            rates = [recipe.rate_at(state.epoch + part) for part in done]
            for loss in learner.learn(frozen, batches, rates, f"epoch {state.epoch + 1}"):
                state.step += 1
                state.losses.append(loss)
                if self.writer:
                    self.writer.add({"train/loss": loss}, state.step)
            state.active.append(active)
            state.part += 1
            if state.part < len(parts):
                self.save()

    def finish_epoch(self) -> dict[str, float]:
        """Moves on to the next epoch; returns the numbers of the one that is done."""
        state = self.state
        found = {"train/loss": float(np.mean(state.losses)) if state.losses else 0.0}
        if self.recipe.loss == "triplet":
            found["train/active"] = float(np.mean(state.active))
        state.losses, state.active = [], []
        state.epoch, state.part = state.epoch + 1, 0
        return found

    def judge(self, frozen: FrozenMaps, validation: Places, found: dict[str, float]) -> None:
        """Validates, keeps the model if it is the best so far, and writes the numbers down."""
        recipe, state, learner = self.recipe, self.state, self.learner
        with learner.on_the_way(recipe.way):
            recalls = validate(learner, frozen, validation)
            score = recalls.get(recipe.selected_by, recalls.get(KS[0]))
            better = score is None or score > state.best
            first = not state.history and not (self.folder / BEST).exists()
            if (better or first) and learner.team.rank == 0:
                save_model(learner.model, self.folder / BEST, notes=f"{recipe.name}, epoch {state.epoch}")
        state.best = state.best if score is None else max(state.best, score)
        state.not_improved = 0 if better else state.not_improved + (1 if state.history else 0)
        found = found | {f"validation/recall@{k}": value for k, value in recalls.items()}
        state.history.append({"epoch": state.epoch, "step": state.step} | found)
        if self.writer:
            self.writer.add(found, state.step)
            self.writer.table(state.history)
        said = [f"loss {found['train/loss']:.4f}"] if "train/loss" in found else []
        said += [f"recall@{k} {100 * value:.1f}" for k, value in recalls.items()]
        log.info("epoch %d of %d: %s", state.epoch, recipe.epochs, ", ".join(said))

    def save(self) -> None:
        """Leaves all that it takes to go on from here."""
        if self.learner.team.rank == 0:
            save(self.folder, self.learner.model, self.learner.optimiser, self.learner.start, self.state, self.identity)


@dataclass
class Learner:
    """A model and what changes it; `start` are its parameters' values before training."""

    model: PatchNetVLAD
    parameters: list[torch.nn.Parameter]
    start: list[Tensor]
    optimiser: torch.optim.Optimizer
    trained: int
    precision: torch.dtype
    team: Team
    progress: StepProgress

    def __call__(self, maps: Tensor) -> Tensor:
        """Maps (n, C, h, w) in front of the trained layers -> global descriptors (n, D)."""
        with torch.autocast(maps.device.type, torch.bfloat16, enabled=self.precision != torch.float32):
            feature_map = self.model.backbone.head(maps, self.trained)
        return self.model.describe_globally(feature_map.float())

    @contextmanager
    def on_the_way(self, share: float) -> Iterator[None]:
        """For a while the model lies at that share of the way from its start to where it is."""
        reached = [parameter.data for parameter in self.parameters]
        for parameter, start in zip(self.parameters, self.start, strict=True):
            parameter.data = torch.lerp(start, parameter.data, share) if share < 1 else parameter.data
        try:
            yield
        finally:
            for parameter, data in zip(self.parameters, reached, strict=True):
                parameter.data = data

    @torch.no_grad()
    def describe(self, frozen: FrozenMaps, rows: Sequence[int] | np.ndarray, label: str) -> Tensor:
        """Global descriptors (n, D) of photos, by all processes together."""
        own = self.team.share([(int(row), 0) for row in rows])
        chunks = [own[start : start + TOGETHER] for start in range(0, len(own), TOGETHER)]
        found = []
        for maps in frozen.stream(chunks):
            found.append(self(maps))
            self.progress(label, min(len(found) * TOGETHER, len(own)), len(own))
        return self.team.joined(torch.cat(found), len(rows))

    def learn(
        self, frozen: FrozenMaps, batches: Sequence[Batch], rates: Sequence[float], label: str
    ) -> Iterator[float]:
        """One update a batch; yields the losses."""
        shares: list[list[View]] = [self.team.share(batch.views) for batch in batches]
        for number, maps in enumerate(frozen.stream(shares)):
            batch = batches[number]
            for group in self.optimiser.param_groups:
                group["lr"] = rates[number]
            descriptors = self.team.joined(self(maps), len(batch.views))
            loss = batch.loss(descriptors)
            self.optimiser.zero_grad()
            if loss.requires_grad:
                loss.backward()
            self.team.sum_gradients(self.parameters)
            self.optimiser.step()
            self.progress(label, number + 1, len(batches))
            yield loss.item()


def validate(learner: Learner, frozen: FrozenMaps, places: Places, ks: Sequence[int] = KS) -> dict[int, float]:
    """Recall@k over the queries that have positives, each searched within its own region; empty without queries.

    The photo itself, and what was taken in passing, does not count as found and takes no place in the ranking.
    """
    answerable = places.trainable
    if not len(answerable):
        return {}
    rows = np.union1d(places.queries[answerable], places.database)
    descriptors = learner.describe(frozen, rows, "validate")
    at = lambda wanted: descriptors[torch.from_numpy(np.searchsorted(rows, wanted))]  # noqa: E731
    of_database, regions = at(places.database), places.regions[places.database]
    found = np.zeros((len(answerable), max(ks)), dtype=bool)
    for start in range(0, len(answerable), 256):
        numbers = answerable[start : start + 256]
        similarities = (at(places.queries[numbers]) @ of_database.T).cpu().numpy()
        for i, number, similarity in zip(range(start, len(answerable)), numbers, similarities, strict=False):
            query = places.queries[number]
            similarity[(regions != places.regions[query]) | places.excluded(query, places.database)] = -np.inf
            ranked = np.argsort(-similarity, kind="stable")[: max(ks)]
            found[i, : len(ranked)] = np.isin(places.database[ranked], places.positives[number])
    return {k: float(found[:, :k].any(axis=1).mean()) for k in ks}


def trained_parameters(model: PatchNetVLAD, trained: int) -> list[torch.nn.Parameter]:
    """Of the last `trained` layers of the backbone, of the VLAD layer and of the whitening."""
    parts = [model.backbone.head_layers(trained)]
    parts += [part for part in (model.vlad, model.whitening) if part is not None]
    return [parameter for part in parts for parameter in part.parameters()]


def _optimiser(recipe: Recipe, parameters: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(
            parameters, recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay
        )
    adam = torch.optim.Adam if recipe.optimiser == "adam" else torch.optim.AdamW
    return adam(parameters, recipe.learning_rate, weight_decay=recipe.weight_decay)


def check_places(training: Places, validation: Places) -> None:
    """Finds what is wrong with a dataset before anyone waits for it."""
    for name, places in (("training", training), ("validation", validation)):
        missing = places.missing()
        if missing:
            raise GroundTruthError(
                f"{len(missing)} of {len(places.images)} {name} photos are missing below {places.images.root}, "
                f"the first is {missing[0]}: fetch them, or leave their lines out"
            )
    if not len(training.trainable):
        raise GroundTruthError(
            f"none of the {len(training.queries)} training queries has a positive within "
            f"{training.positive_radius:g} m: check positions and labels with 'patchvlad places', or widen the radius"
        )

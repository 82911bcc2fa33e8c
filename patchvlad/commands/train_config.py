"""The reference's train.ini."""

import math
import os
from dataclasses import dataclass
from pathlib import Path

from .ini import read_text, read_values
from .preset import packaged


@dataclass(frozen=True)
class TrainConfig:
    """What the reference's train.ini says, in plain types.

    Attributes:
        name: of the file, for messages.
        size: (height, width) that photos are resized to.
        batch, negatives: queries a step, and negatives of each.
        optimiser: `sgd` or `adam`.
        learning_rate, step_epochs, step_factor, weight_decay, momentum: of the optimiser and its schedule.
        margin: of the triplet loss; the file gives its square.
        patience: evaluations without a better one that are borne; 0 for any number.
        evaluate_every: epochs from one evaluation to the next.
        clusters, components: K, and D of the whitening that add-pca makes.
        vladv2: whether the soft assignment has a bias.
        panoramas: whether panoramas are used in training.
        seed: of every random draw.
    """

    name: str
    size: tuple[int, int]
    batch: int
    negatives: int
    optimiser: str
    learning_rate: float
    step_epochs: int
    step_factor: float
    weight_decay: float
    momentum: float
    margin: float
    patience: int
    evaluate_every: int
    clusters: int
    components: int
    vladv2: bool
    panoramas: bool
    seed: int


def read_train_config(path: str | os.PathLike | None) -> TrainConfig:
    """Reads a train.ini in the reference's format; None, or a file of that name that is not there, gives ours."""
    file = Path(path) if path is not None else Path("train.ini")
    if path is None or (not file.is_file() and file.name == "train.ini"):
        name, text = "train", packaged("train")
    else:
        name, text = str(file), read_text(file)
    values = read_values(text, name, ("train", "global_params"))
    return TrainConfig(
        name=name,
        size=(values.whole("train", "imageresizeh", 480), values.whole("train", "imageresizew", 640)),
        batch=values.whole("train", "batchsize", 4),
        negatives=values.whole("train", "nneg", 5),
        optimiser=values.one_of("train", "optim", "SGD", ("SGD", "ADAM")),
        learning_rate=values.number("train", "lr", 1e-4),
        step_epochs=values.whole("train", "lrstep", 5),
        step_factor=values.number("train", "lrgamma", 0.5),
        weight_decay=values.number("train", "weightdecay", 1e-3),
        momentum=values.number("train", "momentum", 0.9),
        margin=math.sqrt(max(values.number("train", "margin", 0.1), 0.0)),
        patience=values.whole("train", "patience", 10),
        evaluate_every=values.whole("train", "evalevery", 1),
        clusters=values.whole("train", "num_clusters", 16),
        components=values.whole("global_params", "num_pcs", 4096),
        vladv2=values.one_of("global_params", "vladv2", "False", ("True", "False")) == "true",
        panoramas=values.one_of("train", "includepanos", "False", ("True", "False")) == "true",
        seed=values.whole("train", "seed", 0),
    )

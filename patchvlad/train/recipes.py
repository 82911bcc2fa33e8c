"""How to train: the numbers of a recipe, and the two that come with the package."""

import math
from dataclasses import dataclass, replace

from ..errors import ConfigError
from ..registry import Registry

LOSSES = ("triplet", "multi-similarity")
OPTIMISERS = ("sgd", "adam", "adamw")


@dataclass(frozen=True)
class Recipe:
    """All that decides a training but the photos and the model it starts from.

    Attributes:
        name: for messages.
        loss: one of LOSSES.
        trained: layers of the backbone that are trained, from its end; None for the backbone's usual number.
        epochs: passes over all queries, at most.
        patience: validations in a row that are no better after which training stops.
        evaluate_every: epochs from one validation to the next.
        selected_by: the k of the recall@k that says which epoch is best.
        optimiser: one of OPTIMISERS.
        learning_rate, weight_decay, momentum: of the optimiser; AdamW knows no momentum.
        step_epochs, step_factor: the learning rate is multiplied by the factor every so many epochs; with 0 epochs it
            follows a warm-up and a half cosine down to 0 instead.
        warm_up: share of the training over which the learning rate rises.
        batch: queries per step.
        part: queries between two refreshes of the cache, and between two checkpoints.
        negatives, cached_negatives, margin: triplet loss: negatives per query, photos they are mined from, margin.
        photos_a_place: multi-similarity loss: photos of each place in a batch.
        base: multi-similarity loss: about where the dot products of positives and negatives part.
        variants: augmented variants of each photo; 0 for none.
        way: share of the way from the starting weights to the trained ones at which the model lies that is validated
            and kept. Halfway it has learned most and forgotten little (Wortsman et al. 2022).
        whitened: whether the whitening of a model that has one is trained with the rest; else it is dropped first.
        seed: of every random draw.
    """

    name: str
    loss: str
    trained: int | None = None
    epochs: int = 30
    patience: int = 10
    evaluate_every: int = 1
    selected_by: int = 5
    optimiser: str = "sgd"
    learning_rate: float = 1e-4
    weight_decay: float = 1e-3
    momentum: float = 0.9
    step_epochs: int = 5
    step_factor: float = 0.5
    warm_up: float = 0.0
    batch: int = 4
    part: int = 1000
    negatives: int = 5
    cached_negatives: int = 1000
    margin: float = math.sqrt(0.1)
    photos_a_place: int = 4
    base: float = 0.1
    variants: int = 0
    way: float = 1.0
    whitened: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise ConfigError(f"unknown loss {self.loss!r}: choose from {', '.join(LOSSES)}")
        if self.optimiser not in OPTIMISERS:
            raise ConfigError(f"unknown optimiser {self.optimiser!r}: choose from {', '.join(OPTIMISERS)}")
        least = {
            "epochs": 1,
            "batch": 1,
            "part": 1,
            "negatives": 1,
            "photos_a_place": 2,
            "patience": 1,
            "evaluate_every": 1,
        }
        for field, smallest in least.items():
            if getattr(self, field) < smallest:
                raise ConfigError(f"{field} = {getattr(self, field)}: it must be at least {smallest}")
        if not 0 < self.way <= 1:
            raise ConfigError(f"way = {self.way:g}: it must be above 0 and at most 1")
        if not self.learning_rate > 0:
            raise ConfigError(f"a learning rate of {self.learning_rate:g} trains nothing: it must be above 0")

    def rate_at(self, epochs: float) -> float:
        """The learning rate after so many epochs, a fraction perhaps."""
        if self.step_epochs:
            return self.learning_rate * self.step_factor ** (int(epochs) // self.step_epochs)
        done = epochs / self.epochs
        rising = min(1.0, done / self.warm_up) if self.warm_up else 1.0
        return self.learning_rate * rising * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


PAPER = Recipe("paper", "triplet")
MODERN = Recipe(
    "modern",
    "multi-similarity",
    epochs=4,
    optimiser="adamw",
    learning_rate=1e-3,
    step_epochs=0,
    warm_up=0.1,
    batch=12,
    selected_by=1,
    variants=4,
    way=0.5,
    whitened=True,
)
RECIPES: Registry[Recipe] = Registry("recipe", {recipe.name: recipe for recipe in (PAPER, MODERN)})


def for_backbone(recipe: Recipe, usual: int) -> Recipe:
    """The recipe with a backbone's usual number of trained layers where it names none."""
    return recipe if recipe.trained is not None else replace(recipe, trained=usual)

"""Presets and .ini files in the reference's format; the only module that knows them.

    [feature_extract]  imageresizew, imageresizeh, cachebatchsize
    [feature_match]    matcher (RANSAC | spatialApproximator), patchweights2use, n_values_all, pred_input_path
    [global_params]    pooling, resumepath, num_pcs, num_clusters, patch_sizes, strides

`resumepath` with `num_pcs` and ".pth.tar" behind it is the checkpoint, as in the reference; where no such file lies,
its name stands for the known model. Files are looked for from the current folder, then from the config's own.

Beyond the reference there are `model = NAME` (or a file), which says it in one, `precision` (float32 | bfloat16),
`storedtype` (float32 | float16 | int8), `patchcomponents`, `globalweight2use`, `leastspread`, `querystep`, and the
matcher `voting`.
"""

import configparser
import importlib.resources
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .errors import ConfigError

FAST = "-fast"  # behind a preset's name: its fast variant
PRESETS = ("lite", "performance", "speed", "storage", "netvlad_extract")
POOLINGS = ("patchnetvlad", "netvlad", "max", "avg")
MATCHER_NAMES = {"ransac": "ransac", "spatialapproximator": "rapid", "voting": "voting"}  # in lower case -> ours


@dataclass(frozen=True)
class Config:
    """Everything a preset says, in plain types.

    Attributes:
        name: of the preset or file, for messages.
        model: a known name, or the path of a checkpoint.
        size: (height, width) that images are resized to; None keeps their own.
        batch: images the network takes at a time.
        pooling: `patchnetvlad`, `netvlad`, `max` or `avg`.
        components: D; 0 means no whitening; None takes the model's.
        clusters: K; None takes the model's.
        patch_sizes, patch_strides, weights: in cells, and the weight of each patch size in the fused score.
        global_weight: the same for the score that retrieved the candidate; 0 in the paper.
        least_spread: standard deviation of a query's scores that fusion divides by at the least; 0 in the paper.
        matcher: `ransac`, `rapid` or `voting`.
        query_step: of the query's patches every so-manieth along rows and columns is matched; 1 in the paper.
        precision: that the network multiplies in, `float32` or `bfloat16`.
        store_dtype: of patch descriptors on disk.
        patch_components: leading components that patch descriptors keep at most; None keeps all.
        ks: where recall is counted; the largest is how many candidates there are.
        candidates_file: .npy of candidates to re-rank instead of retrieving them.
    """

    name: str
    model: str
    size: tuple[int, int] | None
    batch: int
    pooling: str
    components: int | None
    clusters: int | None
    patch_sizes: tuple[int, ...]
    patch_strides: tuple[int, ...]
    weights: tuple[float, ...]
    global_weight: float
    least_spread: float
    matcher: str
    query_step: int
    precision: str
    store_dtype: str
    patch_components: int | None
    ks: tuple[int, ...]
    candidates_file: str | None

    def fast(self) -> "Config":
        """The fast variant: products in bfloat16, patch descriptors in one byte a component.

        Thousands of components become their leading quarter, RANSAC becomes voting, and rapid spatial scoring, which
        asks little of single matches, goes without three quarters of the query's patches. What is as fast already stays
        as it is. What this costs in recall is measured in docs/design.md.
        """
        components = self.patch_components
        if components is None and self.components and self.components > 1024:
            components = self.components // 4
        return replace(
            self,
            name=self.name if self.name.endswith(FAST) else self.name + FAST,
            precision="bfloat16",
            store_dtype="int8",
            patch_components=components,
            matcher="voting" if self.matcher == "ransac" else self.matcher,
            query_step=2 if self.matcher == "rapid" else self.query_step,
        )


def read_preset(name: str) -> Config:
    """Reads a preset that comes with the package; `NAME-fast` is its fast variant."""
    plain = name.removesuffix(FAST)
    if plain not in PRESETS:
        raise ConfigError(f"unknown preset {name!r}: choose from {', '.join(PRESETS)}, or one of these with {FAST}")
    text = importlib.resources.files("patchvlad").joinpath("presets", f"{plain}.ini").read_text(encoding="utf-8")
    settings = _parse(text, plain, Path())
    return settings if plain == name else settings.fast()


def read_config(path: str | os.PathLike) -> Config:
    """Reads an .ini file in the reference's format.

    Raises:
        ConfigError: the file is missing, or says something that cannot be; the message names section and key.
    """
    path = Path(path)
    try:
        return _parse(path.read_text(encoding="utf-8-sig"), str(path), path.parent)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as a config ({error}); presets are {', '.join(PRESETS)}") from error


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
        patience: epochs without a better validation after which training stops.
        clusters, components: K, and D of the whitening that add-pca makes.
        panoramas: whether panoramas are used.
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
    clusters: int
    components: int
    panoramas: bool
    seed: int


def read_train_config(path: str | os.PathLike | None) -> TrainConfig:
    """Reads a train.ini in the reference's format; None, or a file of that name that is not there, gives ours."""
    file = Path(path) if path is not None else Path("train.ini")
    if path is None or (not file.is_file() and file.name == "train.ini"):
        name, text = "train", importlib.resources.files("patchvlad").joinpath("presets", "train.ini").read_text("utf-8")
    else:
        try:
            name, text = str(file), file.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{file} cannot be read as a config ({error})") from error
    values = _values(text, name, ("train", "global_params"))
    every = values.whole("train", "evalevery", 1)
    if every != 1:
        raise ConfigError(f"{name}: [train] evalevery = {every}: validation is after every epoch, set it to 1")
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
        clusters=values.whole("train", "num_clusters", 16),
        components=values.whole("global_params", "num_pcs", 4096),
        panoramas=values.one_of("train", "includepanos", "False", ("True", "False")) == "true",
        seed=values.whole("train", "seed", 0),
    )


def _values(text: str, name: str, sections: Sequence[str]) -> "_Values":
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(text, source=name)
    except configparser.Error as error:
        raise ConfigError(f"{name} is no .ini file: {' '.join(str(error).split())}") from error
    for section in sections:
        if section not in parser:
            raise ConfigError(f"{name} has no section [{section}]: see the presets for the format")
    return _Values(parser, name)


def _parse(text: str, name: str, folder: Path) -> Config:
    values = _values(text, name, ("feature_extract", "global_params"))
    width, height = (
        values.whole("feature_extract", "imageresizew", 640),
        values.whole("feature_extract", "imageresizeh", 480),
    )
    if "feature_match" in values.parser:
        matched = (
            values.whole("feature_match", "imageresizew", width),
            values.whole("feature_match", "imageresizeh", height),
        )
        if matched != (width, height):
            raise ConfigError(
                f"{name}: images are extracted at {width} x {height} but matched at {matched[0]} x {matched[1]}: "
                "make imageresizew and imageresizeh equal in [feature_extract] and [feature_match]"
            )
    sizes = values.wholes("global_params", "patch_sizes", (5,), least=1)
    strides = values.wholes("global_params", "strides", (1,) * len(sizes), least=1)
    weights = values.numbers("feature_match", "patchweights2use", (1 / len(sizes),) * len(sizes))
    if not len(sizes) == len(strides) == len(weights):
        raise ConfigError(
            f"{name}: {len(sizes)} patch_sizes, {len(strides)} strides and {len(weights)} patchweights2use: "
            "give as many of each"
        )
    matcher = values.one_of("feature_match", "matcher", "RANSAC", ("RANSAC", "spatialApproximator", "voting"))
    candidates = values.text("feature_match", "pred_input_path", "None")
    components = values.whole("global_params", "num_pcs", -1)
    return Config(
        name=name,
        model=_model(values, components, folder),
        size=(height, width) if height > 0 and width > 0 else None,
        batch=max(values.whole("feature_extract", "cachebatchsize", 4), 1),
        pooling=values.one_of("global_params", "pooling", "patchnetvlad", POOLINGS),
        components=components if components >= 0 else None,
        clusters=values.whole("global_params", "num_clusters", 0) or None,
        patch_sizes=sizes,
        patch_strides=strides,
        weights=weights,
        global_weight=values.number("feature_match", "globalweight2use", 0.0),
        least_spread=values.number("feature_match", "leastspread", 0.0),
        matcher=MATCHER_NAMES[matcher],
        query_step=values.whole("feature_match", "querystep", 1),
        precision=values.one_of("feature_extract", "precision", "float32", ("float32", "bfloat16")),
        store_dtype=values.one_of("feature_extract", "storedtype", "float32", ("float32", "float16", "int8")),
        patch_components=values.whole("global_params", "patchcomponents", 0) or None,
        ks=tuple(sorted(values.wholes("feature_match", "n_values_all", (1, 5, 10, 20, 50, 100), least=1))),
        candidates_file=None if candidates == "None" else candidates,
    )


def _model(values: "_Values", components: int, folder: Path) -> str:
    """The checkpoint that a config names: a file if it lies where it says, else the known model of that file name."""
    named = values.text("global_params", "model", "")
    prefix = values.text("global_params", "resumepath", "")
    if not named and not prefix:
        raise ConfigError(f"{values.name}: [global_params] names no model: set resumepath (or model)")
    file = named or f"{prefix}{components if components > 0 else ''}.pth.tar"
    for place in (Path(file), folder / file):
        if place.is_file():
            return str(place)
    family, _, number = Path(file).name.removesuffix(".pth.tar").partition("_WPCA")
    return f"{family}-{number}" if family in ("mapillary", "pittsburgh") and number else file


class _Values:
    """Typed look-ups with errors that name file, section and key."""

    def __init__(self, parser: configparser.ConfigParser, name: str) -> None:
        self.parser = parser
        self.name = name

    def text(self, section: str, key: str, default: str) -> str:
        return self.parser.get(section, key, fallback=default).strip()

    def one_of(self, section: str, key: str, default: str, choices: Sequence[str]) -> str:
        """One of the choices, in lower case, however it is written."""
        written = self.text(section, key, default)
        if written.lower() not in (choice.lower() for choice in choices):
            raise ConfigError(f"{self.name}: [{section}] {key} = {written}: choose from {', '.join(choices)}")
        return written.lower()

    def numbers(self, section: str, key: str, default: tuple[float, ...]) -> tuple[float, ...]:
        return self._list(section, key, default, float, "finite numbers, separated by commas", math.isfinite)

    def wholes(self, section: str, key: str, default: tuple[int, ...], least: float = -math.inf) -> tuple[int, ...]:
        said = "whole numbers" + (f" of at least {least}" if least > 0 else "") + ", separated by commas"
        return self._list(section, key, default, int, said, lambda number: number >= least)

    def number(self, section: str, key: str, default: float) -> float:
        found = self.numbers(section, key, (default,))
        if len(found) != 1:
            raise ConfigError(f"{self.name}: [{section}] {key} must be one number, not {len(found)}")
        return found[0]

    def whole(self, section: str, key: str, default: int) -> int:
        found = self.wholes(section, key, (default,))
        if len(found) != 1:
            raise ConfigError(f"{self.name}: [{section}] {key} must be one whole number, not {len(found)}")
        return found[0]

    def _list(self, section, key, default, kind, said, allowed):
        written = self.text(section, key, "")
        if not written:
            return default
        try:
            found = tuple(kind(part) for part in written.split(","))
        except ValueError:
            found = ()
        if not found or not all(map(allowed, found)):
            raise ConfigError(f"{self.name}: [{section}] {key} = {written}: {said}")
        return found

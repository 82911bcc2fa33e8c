"""Presets and .ini files in the reference's format: how photos are described, and how they are searched.

    [feature_extract]  imageresizew, imageresizeh, cachebatchsize
    [feature_match]    matcher (RANSAC | spatialApproximator), patchweights2use, n_values_all, pred_input_path
    [global_params]    pooling, resumepath, num_pcs, num_clusters, patch_sizes, strides

`resumepath` with `num_pcs` and ".pth.tar" behind it is the checkpoint, as in the reference; where no such file lies,
its name stands for the known model. Files are looked for from the current folder, then from the config's own and the
one above it, with and without the number and the extension.

Beyond the reference there are `model = NAME` (or a file), which says it in one, `precision` (float32 | bfloat16),
`storedtype` (float32 | float16 | int8), `patchcomponents`, `globalweight2use`, `leastspread`, `querystep`, `index`, and
the matcher `voting`.
"""

import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..features.description import Description
from ..features.registry import STORE_DTYPES
from ..model.registry import POOLINGS, PRECISIONS
from ..registry import Registry
from ..search.plan import Plan
from ..search.registry import FASTER, INDEXES, MATCHERS
from .ini import Values, read_text, read_values

FAST = "-fast"  # behind a preset's name: its fast variant
PRESETS = ("lite", "performance", "speed", "storage", "netvlad_extract")  # files in commands/presets
MATCHER_NAMES = {"spatialapproximator": "rapid"}  # the reference's names in lower case -> ours


@dataclass(frozen=True)
class Preset:
    """What a preset or config says.

    Attributes:
        name: of the preset or file, for messages.
        description: how photos are described.
        plan: how they are searched.
        ks: where recall is counted; the largest is how many candidates there are.
    """

    name: str
    description: Description
    plan: Plan
    ks: tuple[int, ...]

    def fast(self) -> "Preset":
        """The fast variant: products in bfloat16, patch descriptors in one byte per component.

        Thousands of components become their leading quarter, RANSAC becomes voting, and rapid spatial scoring, which
        asks little of single matches, goes without three quarters of the query's patches. What is as fast already stays
        as it is. What this costs in recall is measured in docs/design.md.
        """
        described, plan = self.description, self.plan
        components = described.patch_components
        if components is None and described.components and described.components > 1024:
            components = described.components // 4
        return replace(
            self,
            name=self.name if self.name.endswith(FAST) else self.name + FAST,
            description=replace(described, precision="bfloat16", store_dtype="int8", patch_components=components),
            plan=replace(
                plan,
                matcher=FASTER.get(plan.matcher, plan.matcher),
                query_step=2 if plan.matcher == "rapid" else plan.query_step,
            ),
        )

    def to_search(self, **changes: Any) -> Plan:
        """The plan with changes, comparing what the description keeps: of int8, leading components alone."""
        kept = self.description.patch_components if self.description.store_dtype == "int8" else None
        return replace(self.plan, compared=kept, **changes)


def packaged(name: str) -> str:
    """The text of an .ini file that comes with the package."""
    return (Path(__file__).parent / "presets" / f"{name}.ini").read_text(encoding="utf-8")


def read_preset(name: str) -> Preset:
    """Reads a preset that comes with the package; `NAME-fast` is its fast variant."""
    plain = name.removesuffix(FAST)
    if plain not in PRESETS:
        raise ConfigError(f"unknown preset {name!r}: choose from {', '.join(PRESETS)}, or one of these with {FAST}")
    settings = _parse(packaged(plain), plain, Path())
    return settings if plain == name else settings.fast()


def read_config(path: str | os.PathLike) -> Preset:
    """Reads an .ini file in the reference's format.

    Raises:
        ConfigError: the file is missing, or says something that cannot be; the message names section and key.
    """
    path = Path(path)
    return _parse(read_text(path, f"; presets are {', '.join(PRESETS)}"), str(path), path.parent)


def by_name(names: tuple[str, ...] | Registry, value: Callable[[str], object]) -> str:
    """What each preset, or each recipe, decides, for help: "lite: 1; performance, speed: 4"."""
    said: dict[str, list[str]] = {}
    for name in names:
        found = value(name)
        text = " ".join(map(str, found)) if isinstance(found, tuple) else str("all" if found is None else found)
        said.setdefault(text, []).append(name)
    return "; ".join(f"{', '.join(names)}: {text}" for text, names in said.items())


def by_preset(value: Callable[[Preset], object]) -> str:
    """What each preset decides, for help."""
    return by_name(PRESETS, lambda name: value(read_preset(name)))


def _parse(text: str, name: str, folder: Path) -> Preset:
    values = read_values(text, name, ("feature_extract", "global_params"))
    description = _description(values, folder)
    sizes = description.patch_sizes
    weights = values.numbers("feature_match", "patchweights2use", (1 / len(sizes),) * len(sizes))
    if not len(sizes) == len(description.patch_strides) == len(weights):
        raise ConfigError(
            f"{name}: {len(sizes)} patch_sizes, {len(description.patch_strides)} strides and {len(weights)} "
            "patchweights2use: give as many of each"
        )
    theirs = [known for known in MATCHERS if known not in MATCHER_NAMES.values()]
    matcher = values.one_of("feature_match", "matcher", "RANSAC", ("RANSAC", "spatialApproximator", *theirs))
    candidates = values.text("feature_match", "pred_input_path", "None")
    ks = tuple(sorted(values.wholes("feature_match", "n_values_all", (1, 5, 10, 20, 50, 100), least=1)))
    plan = Plan(
        matcher=MATCHER_NAMES.get(matcher, matcher),
        weights=weights,
        global_weight=values.number("feature_match", "globalweight2use", 0.0),
        least_spread=values.number("feature_match", "leastspread", 0.0),
        query_step=values.whole("feature_match", "querystep", 1),
        index=values.one_of("feature_match", "index", "flat", tuple(INDEXES)),
        candidates=max(ks),
        candidates_file=None if candidates == "None" else candidates,
    )
    return Preset(name, description, plan, ks)


def _description(values: Values, folder: Path) -> Description:
    sizes = values.wholes("global_params", "patch_sizes", (5,), least=1)
    components = values.whole("global_params", "num_pcs", -1)
    model, looked_in = _model(values, components, folder)
    return Description(
        model=model,
        looked_in=looked_in,
        size=_size(values),
        batch=max(values.whole("feature_extract", "cachebatchsize", 4), 1),
        pooling=values.one_of("global_params", "pooling", "patchnetvlad", POOLINGS),
        components=components if components >= 0 else None,
        clusters=values.whole("global_params", "num_clusters", 0) or None,
        patch_sizes=sizes,
        patch_strides=values.wholes("global_params", "strides", (1,) * len(sizes), least=1),
        precision=values.one_of("feature_extract", "precision", "float32", PRECISIONS),
        store_dtype=values.one_of("feature_extract", "storedtype", "float32", STORE_DTYPES),
        patch_components=values.whole("global_params", "patchcomponents", 0) or None,
    )


def _size(values: Values) -> tuple[int, int] | None:
    """(height, width) that photos are resized to, the same in extraction and matching; None for their own."""
    width = values.whole("feature_extract", "imageresizew", 640)
    height = values.whole("feature_extract", "imageresizeh", 480)
    if "feature_match" in values.parser:
        matched = (
            values.whole("feature_match", "imageresizew", width),
            values.whole("feature_match", "imageresizeh", height),
        )
        if matched != (width, height):
            raise ConfigError(
                f"{values.name}: images are extracted at {width} x {height} but matched at {matched[0]} x "
                f"{matched[1]}: make imageresizew and imageresizeh equal in [feature_extract] and [feature_match]"
            )
    return (height, width) if height > 0 and width > 0 else None


def _installed_reference() -> list[Path]:
    """The folder of the reference's package, if it is installed; its code is not run."""
    found = importlib.util.find_spec("patchnetvlad")
    return [Path(found.origin).parent] if found is not None and found.origin else []


def _model(values: Values, components: int, folder: Path) -> tuple[str, tuple[str, ...]]:
    """The checkpoint that a config names: a file, else the known model of its name, else with it where it is not.

    The reference puts `num_pcs` and ".pth.tar" behind `resumepath`, and looks in the current folder and in its package,
    which is the folder above that of its configs.
    """
    named = values.text("global_params", "model", "")
    prefix = values.text("global_params", "resumepath", "")
    if not named and not prefix:
        raise ConfigError(f"{values.name}: [global_params] names no model: set resumepath (or model)")
    number = str(components) if components > 0 else ""
    files = (
        [named]
        if named
        else dict.fromkeys((f"{prefix}{number}.pth.tar", f"{prefix}.pth.tar", f"{prefix}{number}", prefix))
    )
    places = (Path(), folder, folder / "..", *_installed_reference())
    looked = list(dict.fromkeys(place / file for file in files for place in places))
    for path in looked:
        if os.path.isfile(path):
            return str(path), ()
    first = next(iter(files))
    family, _, behind = Path(first).name.removesuffix(".pth.tar").partition("_WPCA")
    if family in ("mapillary", "pittsburgh") and behind:
        return f"{family}-{behind}", ()
    known = Path(first).name == first and not first.endswith((".pth.tar", ".safetensors"))
    return first, () if known else tuple(os.path.normpath(path) for path in looked)

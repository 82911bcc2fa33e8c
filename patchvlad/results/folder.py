"""The results folder: what lies in it, written and read here and nowhere else.

    RESULTS/NetVLAD_predictions.txt        candidates, kapture pairs with scores
    RESULTS/PatchNetVLAD_predictions.txt   the same re-ranked; scores compare images of one query only
    RESULTS/PatchNetVLAD_confidences.txt   the same with match scores, which compare across queries
    RESULTS/queries.txt, database.txt      image lists, one name per line
    RESULTS/results.json                   how all this was made: `Making`
    RESULTS/recalls.txt                    recall as the reference writes it, where there was a ground truth
    RESULTS/excluded.npz                   what was left out of candidates, such as each photo itself, if anything was
    RESULTS/figures/                       pictures of the first queries' best matches
    RESULTS/checksums.json                 of all these, compared when one is read
    RESULTS/stores/                        feature stores of photos that had none, which stay

All but the stores are one set: new results take the place of old ones whole or not at all.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import GroundTruthError, MismatchError, counted
from ..files.archives import read_archive
from ..files.arrays import DAMAGE
from ..files.atomic import finish_set, replacing_set, write_text, writing
from ..files.checksums import Checked
from ..files.json_files import read_json, to_record
from ..images.sides import KINDS, Names, Sides
from ..places.exclusion import ARRAYS, Exclusion
from ..search.ranking import Ranking
from .checking import CHECKSUMS, check_all, is_there, write_sums
from .exports import write_kapture_pairs, write_reference_pairs

STAGES = RETRIEVED, RERANKED = "NetVLAD", "PatchNetVLAD"
_MAKING = "results.json"
_LISTS = ("queries.txt", "database.txt")
_RECALLS = "recalls.txt"
_CONFIDENCES = f"{RERANKED}_confidences.txt"
_FIGURES = "figures"
_EXCLUDED = "excluded.npz"
_OWNED = (
    *(_MAKING, *_LISTS, _RECALLS, "*NetVLAD_predictions.txt", _CONFIDENCES, _EXCLUDED, CHECKSUMS),
    f"{_FIGURES}/[0-9]*_*.png",
)


def _predictions(stage: str) -> str:
    return f"{stage}_predictions.txt"


@dataclass(frozen=True)
class Making:
    """How results were made, so that numbers can be made again; None where it is not known.

    Attributes:
        patchvlad: its version.
        preset: and what it or an option said, the others; `reranked` is how many candidates, None for all.
        fingerprint: of the model.
        image_size: (height, width).
        retrieved_by: whose global descriptors, or which file of candidates.
        index: that they were searched with.
        queries, database: `images`, how many they are, and `sha256`, of their names.
        excluded: what was left out of candidates, in words; empty for nothing.
    """

    patchvlad: str | None = None
    preset: str | None = None
    model: str | None = None
    fingerprint: str | None = None
    image_size: tuple[int, int] | None = None
    precision: str | None = None
    store_dtype: str | None = None
    patch_sizes: tuple[int, ...] = ()
    matcher: str | None = None
    weights: tuple[float, ...] | None = None
    candidates: int | None = None
    reranked: int | None = None
    time_budget: float | None = None
    group: int = 1
    retrieved_by: str | None = None
    index: str = "flat"
    queries: dict[str, Any] = field(default_factory=dict)
    database: dict[str, Any] = field(default_factory=dict)
    excluded: str = ""

    def describe(self, stage: str) -> str:
        """In words, for the results of one stage."""
        size = " x ".join(map(str, self.image_size or ()))
        parts = [
            f"preset {self.preset}",
            f"model {self.model} {str(self.fingerprint)[:12]}",
            f"{size} px",
            f"{self.candidates} candidates by {self.retrieved_by}"
            + (f", {self.index}" if self.index != "flat" else ""),
        ]
        if self.group > 1:
            parts.append(f"the best of {self.group} images per group")
        if self.excluded:
            parts.append(self.excluded)
        if stage == RERANKED:
            depth = "all" if self.reranked is None else f"the first {self.reranked}"
            parts.append(f"{depth} re-ranked by {self.matcher}")
        return ", ".join([*parts, f"patchvlad {self.patchvlad}"])


@dataclass(frozen=True)
class Results:
    """What matching found.

    Attributes:
        names: of the images.
        stages: rankings by the name of the stage that made them, in order: `NetVLAD`, `PatchNetVLAD`.
        making: how they were made.
        recalls: of the same stages, by k; empty without a ground truth.
        counted: how recall was counted, in words.
        exclusion: what was left out of candidates.
    """

    names: Names
    stages: Mapping[str, Ranking]
    making: Making
    recalls: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    counted: str = ""
    exclusion: Exclusion | None = None

    @property
    def ranking(self) -> Ranking:
        """The last stage's."""
        return list(self.stages.values())[-1]


def stores_of(folder: Path) -> Sides[Path]:
    """Where the stores of photos that had none lie."""
    return Sides(*(folder / "stores" / kind for kind in KINDS))


def check_free(folder: Path, names: Names, overwrite: bool = False) -> None:
    """Refuses a folder that holds the results of other photos, before anyone waits for new ones.

    Raises:
        MismatchError: it does, and is not to be overwritten.
    """
    try:
        held = lists_in(folder)
    except GroundTruthError:  # damaged: nothing that could be missed
        return
    if held is None or overwrite or held == names:
        return
    new = next((name for kind, side in names.items() for name in side if name not in set(getattr(held, kind))), "")
    raise MismatchError(
        f"{folder} holds results of {counted(len(held.queries), 'query', 'queries')} and "
        f"{counted(len(held.database), 'database image')}, which are "
        f"other photos{f' ({new} is new)' if new else ''}. Use another --out, or --overwrite"
    )


def write_results(
    folder: Path,
    results: Results,
    draw: Callable[[Path], list[Path]] | None = None,
    reference_root: str | None = None,
) -> list[Path]:
    """Writes results in place of those that are there; all of them appear at once.

    Args:
        folder: where they go.
        results: to be written.
        draw: draws pictures into a folder and returns their paths.
        reference_root: writes pairs as the reference does, without scores and with this in front of the names; match
            scores are in the file of confidences all the same.

    Returns:
        paths of the pictures.
    """
    with replacing_set(folder, _OWNED) as staged:
        for stage, ranking in results.stages.items():
            if reference_root is None:
                write_kapture_pairs(staged / _predictions(stage), ranking)
            else:
                write_reference_pairs(staged / _predictions(stage), ranking, reference_root)
            if ranking.confidences is not None:
                plain = replace(ranking, scores=ranking.confidences, confidences=None)
                prefix = os.path.join(reference_root, "") if reference_root else ""
                write_kapture_pairs(staged / _CONFIDENCES, plain, prefix, prefix)
        for name, images in zip(_LISTS, results.names, strict=True):
            write_text(staged / name, "".join(f"{image}\n" for image in images))
        write_text(staged / _MAKING, json.dumps(asdict(results.making), indent=1))
        if results.exclusion:
            with writing(staged / _EXCLUDED) as file:
                np.savez_compressed(file, **results.exclusion.arrays())  # type: ignore[arg-type]
        if results.recalls:
            write_recalls(staged / _RECALLS, results)
        drawn = draw(staged / _FIGURES) if draw is not None else []
        write_sums(staged)
    return [folder / _FIGURES / path.name for path in drawn]


def write_recalls(path: Path, results: Results) -> None:
    """Writes recalls.txt as the reference does ("Recall NetVLAD@1: 0.7950"), and in comments the protocol."""
    lines = [
        f"Recall {stage}@{k}: {value:.4f}" for stage, values in results.recalls.items() for k, value in values.items()
    ]
    lines += [f"# {results.counted}", f"# {results.making.describe(list(results.stages)[-1])}"]
    write_text(path, "\n".join(lines) + "\n")


# --- reading --------------------------------------------------------------------------------------------------------


def read_making(folder: Path) -> Making | None:
    """How the results in a folder were made; None where it does not say.

    Raises:
        GroundTruthError: results.json is damaged.
    """
    finish_set(folder, _OWNED)
    path = folder / _MAKING
    if not is_there(path):
        return None
    try:
        said = read_json(path)
        if not isinstance(said, dict):
            raise TypeError("it must be a record")
        known = {one.name for one in fields(Making)}  # a later version may say more
        making: Making = to_record(Making, {name: value for name, value in said.items() if name in known})
        if making.group < 1:
            raise ValueError(f"group is {making.group}")
        return making
    except (ValueError, TypeError, AttributeError, OSError) as error:
        raise GroundTruthError(f"{path} is damaged ({error}): run match again") from error


def lists_in(folder: Path) -> Names | None:
    """Names of queries and database; None where the folder does not list them.

    Raises:
        GroundTruthError: the lists cannot be read.
    """
    finish_set(folder, _OWNED)
    there = [is_there(folder / name) for name in _LISTS]  # each is checked
    if not all(there):
        return None
    try:
        return Sides(*(tuple((folder / name).read_text(encoding="utf-8").splitlines()) for name in _LISTS))
    except (UnicodeDecodeError, OSError) as error:
        raise GroundTruthError(f"{folder} holds damaged image lists ({error}): run match again") from error


def stages_in(folder: Path) -> dict[str, Path]:
    """The files of predictions by stage, in order.

    Raises:
        GroundTruthError: there is none.
    """
    finish_set(folder, _OWNED)
    found = {stage: folder / _predictions(stage) for stage in STAGES if is_there(folder / _predictions(stage))}
    if not found:
        raise GroundTruthError(
            f"{folder} holds no {_predictions(RETRIEVED)}: give the folder that 'patchvlad match' wrote"
        )
    return found


def confidences_in(folder: Path) -> Path | None:
    """The file of match scores that compare across queries, if there is one."""
    path = folder / _CONFIDENCES
    return path if is_there(path) else None


def exclusion_in(folder: Path) -> Exclusion | None:
    """What was left out of candidates, by rows of the lists in the folder; None where nothing was.

    Raises:
        GroundTruthError: the file is damaged, or of other images.
    """
    lists, path = lists_in(folder), folder / _EXCLUDED
    if lists is None or not is_there(path):
        return None
    try:
        found, _ = read_archive(path, ARRAYS)
        return Exclusion.from_arrays(found, lists.map(len))
    except (*DAMAGE, GroundTruthError) as error:
        raise GroundTruthError(f"{path} is damaged ({error}): run match again") from error


# --- checking -------------------------------------------------------------------------------------------------------


def has_results(folder: Path) -> bool:
    """Whether a folder holds results, of 0.1.0 perhaps."""
    finish_set(folder, _OWNED)
    return any((folder / name).is_file() for name in (CHECKSUMS, _MAKING, _predictions(RETRIEVED)))


def check_results(folder: Path) -> Checked:
    """Compares all files of a results folder but its stores with their checksums."""
    finish_set(folder, _OWNED)
    return check_all(folder)

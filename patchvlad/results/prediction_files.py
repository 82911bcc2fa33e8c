"""Files of predictions in other tools' formats: their names and scores, as they stand there.

kapture     query, map image[, score]         one pair per line, comments behind #
hloc        query map_image [score]           one pair per line, best first; COLMAP's match lists are the same
MSLS        query_key key key key ...         one query per line, best first; keys are file names without suffix
"""

import logging
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path, PurePosixPath

from ..errors import GroundTruthError, counted
from ..files.regular import check_text
from ..images.sides import Names, Sides
from .checking import check_sum
from .exports import ONE_QUERY

log = logging.getLogger(__name__)

NOBODY: Names = Sides((), ())  # where no names are known


@dataclass(frozen=True)
class Listed:
    """Names as a file lists them.

    Attributes:
        images: for each query its images, best first.
        scores: the same of their scores; None where there are none.
        comparable: whether scores can be compared across queries; None where there are none.
        keys: whether names are keys, file names without suffix.
    """

    images: dict[str, list[str]]
    scores: dict[str, list[float]] | None = None
    comparable: bool | None = None
    keys: bool = False

    @property
    def mentioned(self) -> list[str]:
        """Names of all database images, each once."""
        return list(dict.fromkeys(image for images in self.images.values() for image in images))


def parse(path: Path, names: Names = NOBODY, in_order: bool = False, scores: str | None = None) -> Listed:
    """Reads a text file of predictions, whichever format it is.

    Args:
        path: the file.
        names: that the file may hold, for those with commas or spaces in them, or # before them.
        in_order: whether images stand in their order whatever their scores are.
        scores: what they are, see `SCORES`; None finds out, see `score_order`.

    Raises:
        GroundTruthError: it is none of the formats, a line of it is not, or what its scores mean cannot be told.
    """
    check_sum(path)
    try:
        check_text(path)
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (UnicodeDecodeError, OSError) as error:
        raise GroundTruthError(f"{path} is not a text file of predictions ({error})") from error
    hashed = tuple(name for name in names.queries if name.startswith("#"))
    numbered = [
        (number, line)
        for number, line in enumerate(lines, 1)
        if line.strip() and (not line.startswith("#") or (hashed and line.startswith(hashed)))
    ]
    if not numbered:
        raise GroundTruthError(f"{path} is empty: it holds no prediction")
    of_kapture = lines[0].startswith("# kapture format")
    form = KAPTURE if of_kapture else _form(numbered)
    if form is MSLS:
        return _msls(path, numbered)
    listed = _pairs(path, numbered, names, form)
    if listed.scores is None:
        return listed
    listed = replace(listed, comparable=ONE_QUERY not in lines)
    return listed if in_order else score_order(path, listed, scores, of_kapture)


@dataclass(frozen=True)
class _Form:
    """A format, and how its lines are taken apart: what stands between fields, and what a line should be."""

    name: str
    between: str
    reads: str


KAPTURE = _Form("kapture pairs", ",", "query, map image, score")
HLOC = _Form("hloc pairs", " ", "query and map image, with one space between")
MSLS = _Form("MSLS predictions", " ", "the query's key and the keys of its images")


def _form(numbered: Sequence[tuple[int, str]]) -> _Form:
    """The format that most lines are of."""
    found: Counter[str] = Counter()
    for _, line in numbered:
        fields = line.split()
        if ", " in line or ("," in line and len(fields) == 1):
            found["kapture"] += 1
        elif len(fields) == 2 or (len(fields) == 3 and _is_scored_pair(fields)):
            found["pair"] += 1
    half = len(numbered) / 2
    if found["kapture"] >= half:
        return KAPTURE
    return HLOC if found["pair"] > half else MSLS


def _is_scored_pair(fields: Sequence[str]) -> bool:
    """Whether three fields are two file names and a number, rather than three keys."""
    return all(PurePosixPath(name).suffix[1:2].isalpha() for name in fields[:2]) and _is_number(fields[2])


def _is_number(text: str) -> bool:
    try:
        return not math.isnan(float(text))
    except ValueError:
        return False


def _msls(path: Path, numbered: Sequence[tuple[int, str]]) -> Listed:
    images: dict[str, list[str]] = {}
    for number, line in numbered:
        query, *keys = line.split()
        if not keys:
            raise GroundTruthError(
                f"{path}, line {number}, {line!r}, is not a known format: give kapture or hloc pairs, or MSLS "
                "predictions (a query's key and the keys of its images)"
            )
        if query in images:
            raise GroundTruthError(
                f"{path}, line {number}: {query!r} has a line already, and MSLS predictions have one line per query; "
                "of kapture's and hloc's pairs each line is one pair"
            )
        images[query] = keys
    return Listed(images, keys=True)


def _pairs(path: Path, numbered: Sequence[tuple[int, str]], names: Names, form: _Form) -> Listed:
    """Pairs and their scores as they stand there."""
    known = names.map(frozenset)
    images: dict[str, list[str]] = {}
    scores: dict[str, list[float]] = {}
    last = [fields[-1] for _, line in numbered if len(fields := line.split(form.between)) > 2]
    scored = 2 * len(last) >= len(numbered) and (len(last) == 1 or any(map(_is_number, last)))
    for number, line in numbered:
        try:
            query, image, score = _pair(line, scored, known, form)
        except ValueError as error:
            raise GroundTruthError(
                f"{path}, line {number}: {error}; of {form.name} a line should read {form.reads}"
            ) from error
        images.setdefault(query, []).append(image)
        scores.setdefault(query, []).append(score)
    keys = form is HLOC and not any(PurePosixPath(name).suffix for name in images)
    return Listed(images, scores if scored else None, keys=keys)


def _pair(line: str, scored: bool, known: Sides[frozenset[str]], form: _Form) -> tuple[str, str, float]:
    """Query, image and score of a line; names with commas or spaces are found among those known."""
    between = ", " if form is KAPTURE else " "
    parts = [part.strip() for part in line.split(",")] if form is KAPTURE else line.split()
    if len(parts) != 2 + scored:
        names, _, last = line.rpartition(between) if scored else (line, "", "0")
        cuts = [i for i in range(len(names)) if names.startswith(between, i)]
        pairs = ((names[:i], names[i + len(between) :]) for i in cuts)
        whole = [(*pair, last) for pair in pairs if pair[0] in known.queries and pair[1] in known.database]
        if len(whole) != 1:
            raise ValueError(f"{counted(len(parts), 'field')}")
        parts = list(whole[0])
    if scored and not _is_number(parts[2]):
        raise ValueError(f"the score {parts[2]!r} is not a number")
    score = float(parts[2]) if scored else 0.0
    return parts[0], parts[1], score


# --- what scores mean -----------------------------------------------------------------------------------------------


def score_order(path: Path, listed: Listed, said: str | None, of_kapture: bool) -> Listed:
    """The same with each query's images best first, and scores that are higher where they are better.

    Unless it is said what scores are, the order in which images are listed tells: where scores fall they are
    similarities, and where those of every query rise they are distances, which a warning says. kapture's pairs may
    stand in any order, and are similarities by its definition.

    Raises:
        GroundTruthError: scores of some queries rise, of others they do not, and nothing else tells what they are.
    """
    assert listed.scores is not None
    if said == "none":
        return replace(listed, scores=None, comparable=None)
    turns = Counter(_turn(values) for values in listed.scores.values())
    if said is None and turns["mixed"] + turns["falls"] == 0 and turns["rises"]:
        log.warning(
            "%s: scores rise from the first image of a query to its last, so they are read as distances, and images "
            "are taken in the order of the file; --scores similarity says otherwise",
            path,
        )
        said = "distance"
    elif said is None and turns["mixed"] + turns["rises"]:
        how = (
            f"scores fall for {counted(turns['falls'], 'query', 'queries')}, rise for {turns['rises']}, and do neither "
        )
        how += f"for {turns['mixed']}"
        if not of_kapture:
            raise GroundTruthError(
                f"{path}: {how}, so it cannot be told whether higher ones are better: say so with --scores similarity, "
                "--scores distance, or --scores none (images are listed best first)"
            )
        log.info("%s: %s: they are read as similarities, higher is better, as kapture's are", path, how)
    sign = -1 if said == "distance" else 1
    images, scores = {}, {}
    for query, names in listed.images.items():
        pairs = [(name, sign * value) for name, value in zip(names, listed.scores[query], strict=True)]
        pairs.sort(key=lambda pair: -pair[1])  # equal ones as they stand
        images[query], scores[query] = [name for name, _ in pairs], [score for _, score in pairs]
    return replace(listed, images=images, scores=scores)


def _turn(values: Sequence[float]) -> str:
    """Whether numbers, from the first to the last, never rise, never fall, do both, or stay the same."""
    steps = list(pairwise(values))
    falls, rises = any(after < before for before, after in steps), any(after > before for before, after in steps)
    if falls and rises:
        return "mixed"
    return "falls" if falls else "rises" if rises else "flat"

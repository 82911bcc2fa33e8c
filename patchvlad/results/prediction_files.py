"""Files of predictions in other tools' formats: their names and scores, as they stand there.

kapture     query, map image[, score]         one pair per line, comments behind #
hloc        query map_image                   one pair per line, best first; COLMAP's match lists are the same
MSLS        query_key key key key ...         one query per line, best first; keys are file names without suffix
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from ..errors import GroundTruthError
from ..images.sides import Names, Sides
from .exports import ONE_QUERY

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

    def ordered(self, as_it_stands: bool, comparable: bool) -> "Listed":
        """The same by falling score, as kapture orders pairs, unless they stand in order; equal ones as they stand."""
        if self.scores is None:
            return self
        images, scores = dict(self.images), dict(self.scores)
        for query, names in self.images.items() if not as_it_stands else ():
            pairs = sorted(zip(names, self.scores[query], strict=True), key=lambda pair: -pair[1])
            images[query], scores[query] = [name for name, _ in pairs], [score for _, score in pairs]
        return Listed(images, scores, comparable)

    @property
    def mentioned(self) -> list[str]:
        """Names of all database images, each once."""
        return list(dict.fromkeys(image for images in self.images.values() for image in images))


def parse(path: Path, names: Names = NOBODY, in_order: bool = False) -> Listed:
    """Reads a text file of predictions, whichever format it is.

    Args:
        path: the file.
        names: that the file may hold, for those with commas in them or # before them.
        in_order: whether images stand in their order whatever their scores are.

    Raises:
        GroundTruthError: it is none of the formats.
    """
    try:
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
    first = numbered[0][1]
    if lines[0].startswith("# kapture format") or ", " in first or ("," in first and len(first.split()) == 1):
        listed = _kapture(path, numbered, names)
        return listed.ordered(in_order, ONE_QUERY not in lines)
    fields = [line.split() for _, line in numbered]
    if all(len(parts) == 2 for parts in fields):
        images: dict[str, list[str]] = {}
        for query, image in fields:
            images.setdefault(query, []).append(image)
        keys = not any(PurePosixPath(name).suffix for name in images)
        return Listed(images, keys=keys)
    short = [number for (number, _), parts in zip(numbered, fields, strict=True) if len(parts) < 2]
    repeated = len({parts[0] for parts in fields}) < len(fields)
    if short or repeated:
        where = f", line {short[0]}" if short else ""
        raise GroundTruthError(f"{path}{where} is not a known format: give kapture or hloc pairs, or MSLS predictions")
    return Listed({parts[0]: parts[1:] for parts in fields}, keys=True)


def _kapture(path: Path, numbered: Sequence[tuple[int, str]], names: Names) -> Listed:
    """Pairs and their scores as they stand there."""
    known = names.map(frozenset)
    images: dict[str, list[str]] = {}
    scores: dict[str, list[float]] = {}
    scored = len(numbered[0][1].split(",")) > 2
    for number, line in numbered:
        try:
            query, image, score = _pair(line, scored, known)
        except ValueError as error:
            raise GroundTruthError(f"{path}, line {number}: {error}; it should read query, map image, score") from error
        images.setdefault(query, []).append(image)
        scores.setdefault(query, []).append(score)
    return Listed(images, scores if scored else None)


def _pair(line: str, scored: bool, known: Sides[frozenset[str]]) -> tuple[str, str, float]:
    """Query, image and score of a line; names with commas are found among those known."""
    parts = [part.strip() for part in line.split(",")]
    if len(parts) != 2 + scored:
        names, _, last = line.rpartition(", ") if scored else (line, "", "0")
        cuts = [i for i in range(len(names)) if names.startswith(", ", i)]
        pairs = ((names[:i], names[i + 2 :]) for i in cuts)
        whole = [(*pair, last) for pair in pairs if pair[0] in known.queries and pair[1] in known.database]
        if len(whole) != 1:
            raise ValueError(f"{len(parts)} fields")
        parts = list(whole[0])
    score = float(parts[2]) if scored else 0.0
    if np.isnan(score):
        raise ValueError("a score that is not a number")
    return parts[0], parts[1], score

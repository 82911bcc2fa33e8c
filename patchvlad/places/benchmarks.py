"""Published benchmarks: what must lie where, and how their numbers are counted. The knowledge is in benchmarks.ini."""

import configparser
import functools
import importlib.resources
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..errors import ConfigError, GroundTruthError, ImageError, counted
from ..images.lists import ImageList
from ..images.sides import Sides
from . import msls
from .ground_truth import GroundTruth
from .truth_making import make_ground_truth


@dataclass(frozen=True)
class Benchmark:
    """One benchmark, counted in one way; the fields are explained in benchmarks.ini."""

    name: str
    title: str
    source: str
    truth: str
    note: str
    queries: str = ""
    database: str = ""
    list_root: str = ""
    list_suffix: str = ""
    cities: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    query_count: int | None = None
    database_count: int | None = None
    radius: float | None = None
    frames: int | None = None
    frame_step: int = 1
    group: int = 1
    denominator: str = "all"

    @property
    def counted(self) -> str:
        """How numbers are counted, in words."""
        within = {
            "frames": f"{self.frames} frame{'' if self.frames == 1 else 's'} either way",
            "poses": "pose of the best match",
        }.get(self.truth, f"{self.radius or 0:g} m")
        groups = f", best of {self.group} cut-outs" if self.group > 1 else ""
        return f"{within}{groups}, {self.denominator} queries"


def departures(chosen: Benchmark, truth: GroundTruth, denominator: str) -> list[str]:
    """In what a truth is not what a benchmark says, in words."""
    found = []
    if chosen.truth == "poses":
        return ["it is measured by poses, not by positives"]
    counts = (
        ("queries", chosen.query_count, len(truth) if denominator == "all" else int(truth.answerable.sum())),
        ("database images", chosen.database_count, truth.database),
    )
    found += [f"{there} {kind} instead of {count}" for kind, count, there in counts if count not in (None, there)]
    within = chosen.radius if chosen.frames is None else chosen.frames
    if truth.points is None:
        found.append("positives are listed, not found by distance")
    elif chosen.truth == "frames" and truth.unit == "m":  # the reference's file, whose unit is not what it says
        pass
    elif truth.radius != within:
        found.append(f"positives within {truth.radius:g} {truth.unit} instead of {within:g}")
    if denominator != chosen.denominator:
        found.append(f"{denominator} queries count instead of the {chosen.denominator}")
    return found


@functools.cache
def benchmarks() -> dict[str, Benchmark]:
    """All of them by name."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(importlib.resources.files("patchvlad.places").joinpath("benchmarks.ini").read_text("utf-8"))
    kinds: dict[str, Callable] = {
        **dict.fromkeys(("query_count", "database_count", "frames", "frame_step", "group"), int),
        **dict.fromkeys(("cities", "files"), lambda text: tuple(part.strip() for part in text.split(","))),
        "radius": float,
    }
    found = {}
    for name in parser.sections():
        found[name] = Benchmark(name, **{key: kinds.get(key, _one_line)(text) for key, text in parser[name].items()})
    return found


def _one_line(text: str) -> str:
    return " ".join(text.split())


def benchmark(name: str) -> Benchmark:
    """The benchmark of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in benchmarks():
        near = [known for known in benchmarks() if known.startswith(name.split("-")[0])]
        raise ConfigError(f"unknown dataset {name!r}: choose from {', '.join(near or benchmarks())}")
    return benchmarks()[name]


@dataclass(frozen=True)
class Dataset:
    """A benchmark as it was found on disk.

    Attributes:
        images: named relative to the root; none where they were not found.
        problems: what is missing or wrong, in words.
    """

    benchmark: Benchmark
    images: Sides[ImageList]
    problems: tuple[str, ...]

    def ground_truth(self) -> GroundTruth:
        """Positives as the protocol counts them; queries that it leaves out are still in it.

        Raises:
            GroundTruthError: the benchmark has none, or images do not say where they were taken.
        """
        if self.benchmark.truth == "poses":
            raise GroundTruthError(f"{self.benchmark.name} is measured by poses: it has no positives")
        return make_ground_truth(
            self.images.queries,
            self.images.database,
            None if self.benchmark.truth == "frames" else self.benchmark.truth,
            radius=self.benchmark.radius,
            frames=self.benchmark.frames,
            frame_step=self.benchmark.frame_step,
        )


def find(chosen: Benchmark, root: Path, lists: Mapping[str, Path] | None = None) -> Dataset:
    """Looks for a benchmark's images and files below a folder.

    Args:
        chosen: which.
        root: the folder.
        lists: image lists of "queries" and "database", relative to the root, for another layout than the protocol's.

    Raises:
        ImageError: there is no such folder.
    """
    if not root.is_dir():
        raise ImageError(f"{root} is not a folder: give the one that {chosen.name} lies in")
    problems = []
    sides = {}
    for kind, count in (("queries", chosen.query_count), ("database", chosen.database_count)):
        try:
            images = _side(chosen, root, kind, (lists or {}).get(kind))
        except (ImageError, GroundTruthError) as error:
            sides[kind] = ImageList(root, ())
            problems.append(f"{kind}: {error}")
            continue
        sides[kind] = images
        absent = images.missing()
        if absent:
            problems.append(f"{kind}: {len(absent)} of {len(images)} images are missing, such as {absent[0]}")
        # Benchmarks that leave out queries without a positive count those that are left.
        if count is not None and len(images) != count and not (kind == "queries" and chosen.denominator != "all"):
            problems.append(f"{kind}: {counted(len(images), 'image')}, there should be {count}")
    problems += [f"{pattern} is missing" for pattern in chosen.files if not any(root.glob(pattern))]
    return Dataset(chosen, Sides(**sides), tuple(problems))


def _side(chosen: Benchmark, root: Path, kind: str, listed: Path | None) -> ImageList:
    """Images of "queries" or "database": of a list if one is given, else where the protocol expects them."""
    if listed is not None:
        return ImageList.read_either(listed, root).below(root)
    if chosen.truth == "msls":
        return _of_cities(chosen, root, kind)
    return _images(root, chosen.queries if kind == "queries" else chosen.database, chosen)


def _images(root: Path, where: str, chosen: Benchmark) -> ImageList:
    """Images of a folder, several folders, or a list file, relative to the root."""
    if (root / where).is_file():
        listed = ImageList.read(root / where, root / chosen.list_root).below(root)
        if not chosen.list_suffix:
            return listed
        return ImageList(root, tuple(str(PurePosixPath(name).with_suffix(chosen.list_suffix)) for name in listed.names))
    folders = sorted(path for path in root.glob(where) if path.is_dir())
    if not folders:
        raise ImageError(f"{root / where} does not exist")
    found = [ImageList.read(folder).below(root) for folder in folders]
    return ImageList(root, tuple(name for images in found for name in images.names))


def _of_cities(chosen: Benchmark, root: Path, kind: str) -> ImageList:
    """Photos of MSLS that are used in validation."""
    role = "query" if kind == "queries" else "database"
    names = []
    for city in chosen.cities:
        folder = root / "train_val" / city / role
        if not folder.is_dir():
            raise ImageError(f"{folder} does not exist")
        names += [
            f"train_val/{city}/{role}/images/{row['key']}.jpg"
            for row in msls.used_rows(folder, panoramas=False, validating=True)
        ]
    return ImageList(root, tuple(names))

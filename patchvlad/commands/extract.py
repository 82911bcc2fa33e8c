"""patchvlad extract: photos to a store."""

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import counted
from .options import add_extraction_options, add_model_options, add_root_option, preset_of
from .outputs import FOLDER, add_output
from .process import keep_freed_memory
from .progress import bar

if TYPE_CHECKING:
    from ..features.store import FeatureStore
    from ..images.lists import ImageList
    from ..model.network import PatchNetVLAD
    from .preset import Preset

EXAMPLE = "patchvlad extract photos/database --out stores/database"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("photos", type=Path, help="folder of photos, or text file with one image path per line")
    add_root_option(parser)
    add_output(parser, "--out", FOLDER, required=True, metavar="STORE", help="folder of the store")
    add_model_options(parser)
    add_extraction_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Extracts, and says how large the store is."""
    from ..images.lists import ImageList
    from ..model.known_models import megabytes

    preset = preset_of(arguments)
    images = ImageList.read(arguments.photos, arguments.root).scaled(arguments.pixel_range)
    model = preset.description.load(arguments.device)
    store = extract_photos(arguments.out, images, preset, model, Extracting.of(arguments))
    size = megabytes(sum(path.stat().st_size for path in store.folder.iterdir()))
    skipped = f", {len(store.unreadable)} of them skipped" if store.unreadable else ""
    print(f"{store.folder}: {counted(len(store), 'image')}{skipped}, {size}")


@dataclass(frozen=True)
class Extracting:
    """How a command extracts.

    Attributes:
        workers: threads that read photos.
        overwrite: start anew, whatever the store holds.
        skip_unreadable: go on past photos that cannot be read.
    """

    workers: int = 2
    overwrite: bool = False
    skip_unreadable: bool = False

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> "Extracting":
        """As the options say."""
        return cls(arguments.workers, arguments.overwrite, arguments.skip_unreadable)


def extract_photos(
    folder: Path, images: "ImageList", preset: "Preset", model: "PatchNetVLAD", how: Extracting
) -> "FeatureStore":
    """Extracts with a progress bar, and says what was done."""
    from ..features.extraction import extract

    keep_freed_memory()
    started = time.perf_counter()
    before: list[int] = []

    def count(done: int, total: int) -> None:
        before.append(done)
        progress(done, total)

    with bar(f"extract {folder.name}") as progress:
        store = extract(
            model,
            images,
            folder,
            size=preset.description.size,
            batch=preset.description.batch,
            workers=how.workers,
            dtype=preset.description.store_dtype,
            overwrite=how.overwrite,
            skip_unreadable=how.skip_unreadable,
            preset=preset.name,
            progress=count,
        )
    took, skipped = time.perf_counter() - started, sum(row >= before[0] for row in store.unreadable)
    made = len(store) - before[0] - skipped
    said = f", {skipped} skipped" if skipped else ""
    said += f", {before[0]} {'was' if before[0] == 1 else 'were'} there" if before[0] else ""
    print(f"extracted {counted(made, 'image')} into {folder} in {took:.1f} s{said}", file=sys.stderr)
    return store

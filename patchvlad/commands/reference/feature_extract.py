"""patchnetvlad-feature-extract"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import MismatchError
from ..extract import Extracting, extract_photos
from ..options import add_pixel_range_option
from ..outputs import FOLDER, add_output
from ..progress import bar
from .shared import device_of, images_of, new_parser, preset_of, run_as

if TYPE_CHECKING:
    from ...features.store import FeatureStore
    from ...images.lists import ImageList
    from ...model.network import PatchNetVLAD
    from ..preset import Preset


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    parser = new_parser(
        "patchnetvlad-feature-extract", "Extract global and patch descriptors of a list of images.", _extract
    )
    parser.add_argument("--dataset_file_path", type=Path, required=True, help="text file with one image path per line")
    parser.add_argument(
        "--dataset_root_dir", type=Path, default=Path(), help="what these paths are relative to (default: this folder)"
    )
    add_output(
        parser,
        "--output_features_dir",
        FOLDER,
        default=Path("output_features"),
        help="where features go (%(default)s)",
    )
    parser.add_argument(
        "--reference-files",
        action="store_true",
        help="ours: also write globalfeats.npy and patchfeats_psize*_*.npy, for scripts that read them",
    )
    add_pixel_range_option(parser)
    return run_as(parser, argv, "patchvlad extract")


def _extract(arguments: argparse.Namespace) -> None:
    preset = preset_of(arguments)
    images = images_of(arguments.dataset_file_path, arguments.dataset_root_dir).scaled(arguments.pixel_range)
    if arguments.reference_files:
        from ...features.reference_features import stems_of

        stems_of(images.names, arguments.output_features_dir)  # before the long part
    model = preset.description.load(device_of(arguments))
    store = _extracted(arguments.output_features_dir, images, preset, model)
    if arguments.reference_files:
        from ...features.reference_features import write_reference_features

        with bar("write the reference's files") as progress:
            written = write_reference_features(store, arguments.output_features_dir, progress)
        print(f"{arguments.output_features_dir}: {len(written)} files of the reference", file=sys.stderr)
    print("Done. Finished extracting and saving features")


def _extracted(folder: Path, images: "ImageList", preset: "Preset", model: "PatchNetVLAD") -> "FeatureStore":
    """The features; an unfinished run goes on, and others that lie there are overwritten, as the reference does."""
    from ...features.store import is_store

    try:
        return extract_photos(folder, images, preset, model, Extracting())
    except MismatchError:
        if not is_store(folder):
            raise
        print(f"{folder} holds other features: they are overwritten", file=sys.stderr)
        return extract_photos(folder, images, preset, model, Extracting(overwrite=True))


if __name__ == "__main__":
    sys.exit(main())

"""What can be chosen of places: sources, files of ground truth, layouts, poses. Nothing is imported for it."""

from typing import Any

from ..errors import GroundTruthError
from ..registry import Registry

# Where positions come from, besides tables: (Sides of ImageList, progress or None) -> Sides of Located.
SOURCES: Registry[Any] = Registry(
    "source",
    {
        "names": "patchvlad.places.utm_names:locate",
        "exif": "patchvlad.places.exif:locate",
        "msls": "patchvlad.places.msls:locate",
    },
    error=GroundTruthError,
)
# Where labels of places come from, besides tables: Sides of ImageList -> Sides of a label per image.
LABELS: Registry[Any] = Registry(
    "source", {"folders": "patchvlad.places.folder_labels:of_sides"}, error=GroundTruthError
)
# Files of ground truth by suffix, each with its reader and writer (`ground_truth.TruthFile`).
TRUTH_FILES: Registry[Any] = Registry(
    "kind of ground truth",
    {
        ".npz": "patchvlad.places.truth_npz:NPZ",
        ".csv": "patchvlad.places.truth_csv:CSV",
        ".npy": "patchvlad.places.truth_rows:ROWS",
        ".mat": "patchvlad.places.truth_mat:MAT",
    },
    error=GroundTruthError,
)
# Layouts of training sets by the folder that gives them away: (root, Reading) -> training and validation Places.
LAYOUTS: Registry[Any] = Registry(
    "layout",
    {"train_val": "patchvlad.places.msls:read_training", "Dataframes": "patchvlad.places.gsv_cities:read_training"},
    error=GroundTruthError,
)
POSE_FORMATS = ("ltvl", "cmu", "robotcar", "kapture", "colmap")

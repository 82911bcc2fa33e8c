"""Every reader of files that may come from strangers, as a function of bytes: what it may raise, and whole files.

The tests feed them with files that are made up; `fuzz/run.py` feeds them with whatever leads to new lines of code.
"""

import io
import json
import os
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
import toy
from safetensors.torch import save
from scipy.io import savemat

from patchvlad.commands.preset import read_config
from patchvlad.commands.train_config import read_train_config
from patchvlad.errors import ModelError, PatchvladError
from patchvlad.features.global_descriptors import names_in_hdf5, read_global_descriptors
from patchvlad.features.manifest import FeatureRecipe, Manifest
from patchvlad.files.archives import read_archive
from patchvlad.files.arrays import read_array, read_object_array
from patchvlad.files.json_files import read_json
from patchvlad.images.list_files import read_list
from patchvlad.images.lists import ImageList
from patchvlad.model import checkpoints
from patchvlad.model.backbones.base import Backbone
from patchvlad.model.pickles import read_pickle
from patchvlad.model.registry import BACKBONES
from patchvlad.places.ground_truth import GroundTruth
from patchvlad.places.poses import read_poses
from patchvlad.places.position_tables import read_tables
from patchvlad.places.truth_making import make_ground_truth
from patchvlad.results.folder import read_making
from patchvlad.results.predictions import Asked, read_predictions
from patchvlad.train.clusters import read_clusters

NAMES = ("db/1.jpg", "db/2.jpg", "db/3.jpg")
QUERIES = ("q/a.jpg", "q/b.jpg")
CONFIG = """[feature_extract]
imageresizew = 640
imageresizeh = 480
[feature_match]
matcher = RANSAC
patchweights2use = 0.5,0.5
n_values_all = 1,5
[global_params]
model = lite
patch_sizes = 2,5
strides = 1,2
num_pcs = 512
"""
TRAIN = """[train]
lr = 0.0001
margin = 0.1
nneg = 5
[global_params]
num_pcs = 512
"""
KAPTURE = "# kapture format: 1.1\nq/a.jpg, db/1.jpg, 0.5\nq/b.jpg, db/2.jpg, 0.25\n"


@dataclass(frozen=True)
class Target:
    """A reader.

    Attributes:
        suffix: or the whole name of the files that it reads.
        read: reads a file.
        seeds: whole files, which it reads without an error.
        raises: what it may raise over any other.
    """

    suffix: str
    read: Callable[[Path], Any]
    seeds: Callable[[], list[bytes]]
    raises: tuple[type[Exception], ...] = (PatchvladError,)


def npy(array: np.ndarray) -> bytes:
    held = io.BytesIO()
    np.save(held, array)
    return held.getvalue()


def npz(**arrays: Any) -> bytes:
    held = io.BytesIO()
    np.savez_compressed(held, **arrays)
    return held.getvalue()


def hdf5(fill: Callable[[h5py.File], None]) -> bytes:
    held = io.BytesIO()
    with h5py.File(held, "w") as file:
        fill(file)
    return held.getvalue()


def zipped(*parts: tuple[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", compression) as file:
        for name, data in parts:
            file.writestr(zipfile.ZipInfo(name), data, compression)
    return held.getvalue()


def torch_file(content: Any, zip_: bool = True) -> bytes:
    held = io.BytesIO()
    torch.save(content, held, _use_new_zipfile_serialization=zip_)
    return held.getvalue()


SETTINGS = {
    **{"backbone": "toy", "pooling": "patchnetvlad", "cluster_weight": "exact"},
    **{"patch_sizes": [1, 2], "patch_strides": [1, 1], "notes": ""},
}


def toy_backbone() -> None:
    """Lets the toy stand for the backbones that files name, in this process; it has no published weights."""

    def make() -> Backbone:
        return toy.backbone(seed=99)

    def published_file() -> Path:
        raise ModelError("the toy has no published weights")

    make.published_file = published_file
    BACKBONES.add("toy", make)
    checkpoints.VGG16 = toy.backbone


def model_file(settings: str | None = None, **more: Any) -> bytes:
    """Our own format, without checksums, as of 0.1.0."""
    made = toy.model()
    digest = checkpoints._digest({n: t for n, t in made.state_dict().items() if n.startswith("backbone.")})
    said = json.dumps({**SETTINGS, "backbone_sha256": digest, **more}) if settings is None else settings
    return save(made.state_dict(), {"format": checkpoints.FORMAT, "settings": said})


def model_settings(path: Path) -> None:
    """A model whose settings are the file's bytes."""
    path.write_bytes(model_file(path.read_bytes().decode("latin1")))
    checkpoints.load_model(path)


def pickled(path: Path) -> None:
    """An archive whose pickle is the file's bytes, and whose sums are right."""
    numbers = ("a/data/0", bytes(16))
    path.write_bytes(
        zipped(("a/data.pkl", path.read_bytes()), ("a/byteorder", b"little"), numbers, ("a/version", b"3\n"))
    )
    checkpoints.load_model(path)


def member(path: Path) -> None:
    """An archive of arrays in which one is the file's bytes."""
    path.write_bytes(
        zipped(
            ("utmQ.npy", path.read_bytes()), ("utmDb.npy", npy(np.zeros((3, 2)))), ("posDistThr.npy", npy(np.array(9)))
        )
    )
    GroundTruth.read(path, query_names=QUERIES, database_names=NAMES)


def in_hdf5(**arrays: np.ndarray) -> bytes:
    return hdf5(lambda file: [file.create_dataset(name, data=data) for name, data in arrays.items()])


def manifest(path: Path) -> None:
    Manifest.read(path.parent)


def tables(path: Path) -> None:
    read_tables([path])


def data_pkl(content: Any) -> bytes:
    with zipfile.ZipFile(io.BytesIO(torch_file(content))) as file:
        return file.read(next(name for name in file.namelist() if name.endswith("data.pkl")))


def vpr_bench() -> list[bytes]:
    rows = np.empty((2, 2), dtype=object)
    rows[0, 0], rows[0, 1], rows[1, 0], rows[1, 1] = 0, [1, 2], np.int64(1), np.array([0])
    return [npy(rows)]


def db_struct() -> list[bytes]:
    held, cells = io.BytesIO(), lambda *names: np.array([[name] for name in names], dtype=object)
    said = {
        "dbImageFns": cells("1.jpg", "2.jpg"),
        "utmDb": np.eye(2),
        "qImageFns": cells("a.jpg"),
        "utmQ": np.ones((2, 1)),
    }
    savemat(held, {"dbStruct": said | {"posDistThr": 25.0}})
    return [held.getvalue()]


TIMED = ImageList(Path("photos"), ("1.25.png",))


def mat(**changed: Any) -> bytes:
    held = io.BytesIO()
    fields = {
        **{"dbImageFns": np.array([[name] for name in NAMES], object), "utmDb": np.ones((2, 3))},
        **{"qImageFns": np.array([[name] for name in QUERIES], object), "utmQ": np.zeros((2, 2)), "posDistThr": 25.0},
    }
    savemat(held, {"dbStruct": {**fields, **changed}}, do_compression=True)
    return held.getvalue()


def manifests() -> list[bytes]:
    recipe = FeatureRecipe("f" * 64, "toy", (96, 128), "patchnetvlad", ((1, 1), (2, 1)), (6, 8), 16, 12, 12)
    values = asdict(Manifest(recipe, 3, "0" * 64, rows=3, format=1))
    return [json.dumps(values).encode()]


MAKING = {
    **{"patchvlad": "0.2.0", "preset": "lite", "model": "lite", "image_size": [480, 640], "patch_sizes": [2, 5]},
    **{"weights": [0.5, 0.5], "candidates": 100, "group": 1, "queries": {"images": 2, "sha256": "0"}},
}
STATE = {"num_pcs": 7, "state_dict": toy.released(toy.model())}
ANY = (PatchvladError, ValueError, OSError)
TARGETS: dict[str, Target] = {
    "npy": Target(".npy", read_array, lambda: [npy(np.ones((3, 4), "f4")), npy(np.array(["a", "bc"]))], (ValueError,)),
    "objects": Target(".npy", read_object_array, vpr_bench, (ValueError,)),
    "descriptors": Target(
        ".npy", lambda path: read_global_descriptors(path, NAMES), lambda: [npy(np.ones((3, 4), np.float32))]
    ),
    "rows": Target(
        ".npy",
        lambda path: read_predictions(path, Asked(QUERIES, NAMES, (2, 3))),
        lambda: [npy(np.array([[0, 1], [2, -1]]))],
    ),
    "npz": Target(
        ".npz",
        lambda path: GroundTruth.read(path, query_names=QUERIES, database_names=NAMES),
        lambda: [npz(utmQ=np.zeros((2, 2)), utmDb=np.ones((3, 2)), posDistThr=25)],
    ),
    "npz-names": Target(".npz", lambda path: read_archive(path, ("a",)), lambda: [npz(a=np.ones(3))], (ValueError,)),
    "npz-member": Target(".npz", member, lambda: [npy(np.ones((2, 2))), npy(np.ones((2, 2), "f4"))]),
    "mat": Target(
        ".mat", lambda path: GroundTruth.read(path, query_names=QUERIES, database_names=NAMES), lambda: [mat()]
    ),
    "vpr-bench": Target(
        ".npy", lambda path: GroundTruth.read(path, query_names=QUERIES, database_names=NAMES), vpr_bench
    ),
    "checkpoint": Target(
        ".pth.tar", lambda path: checkpoints.load_model(path), lambda: [torch_file(STATE), torch_file(STATE, False)]
    ),
    "pickle": Target(".pth.tar", pickled, lambda: [data_pkl({"state_dict": {"a": torch.ones(4)}, "x": np.ones(2)})]),
    "legacy-pickle": Target(".pth", read_pickle, lambda: [torch_file({"a": torch.ones(4), "b": [1, "x"]}, False)]),
    "safetensors": Target(".safetensors", lambda path: checkpoints.load_model(path), lambda: [model_file()]),
    "settings": Target(".safetensors", model_settings, lambda: [json.dumps(SETTINGS).encode()]),
    "preset": Target(".ini", read_config, lambda: [CONFIG.encode()]),
    "train-ini": Target(".ini", read_train_config, lambda: [TRAIN.encode()]),
    "hdf5": Target(
        ".h5",
        lambda path: (names_in_hdf5(path), read_global_descriptors(path, NAMES)),
        lambda: [in_hdf5(**{f"{name}/global_descriptor": np.ones(4, "f4") for name in NAMES})],
    ),
    "clusters": Target(
        ".hdf5",
        read_clusters,
        lambda: [in_hdf5(centroids=np.ones((2, 4)), descriptors=np.ones((5, 4)))],
    ),
    "json": Target(".json", read_json, lambda: [b'{"a": [1, 2.5, null, "x"]}'], (ValueError, OSError)),
    "manifest": Target("manifest.json", manifest, manifests),
    "results": Target("results.json", lambda path: read_making(path.parent), lambda: [json.dumps(MAKING).encode()]),
    "list": Target(".txt", lambda path: read_list(path, None), lambda: [b"a.jpg\nb/c.png\n"]),
    "csv-positions": Target(".csv", tables, lambda: [b"image,easting,northing\ndb/1.jpg,1.5,2\n"]),
    "csv-truth": Target(
        ".csv",
        lambda path: GroundTruth.read(path, query_names=QUERIES, database_names=NAMES),
        lambda: [b"query,positives\nq/a.jpg,db/1.jpg;db/2.jpg\nq/b.jpg,\n"],
    ),
    "predictions": Target(
        ".txt",
        lambda path: read_predictions(path, Asked(QUERIES, NAMES, (2, 3))),
        lambda: [KAPTURE.encode(), b"q/a.jpg db/1.jpg\nq/b.jpg db/2.jpg\n"],
    ),
    "poses": Target(
        ".txt",
        lambda path: read_poses([path]),
        lambda: [b"a.jpg 1 0 0 0 1 2 3\n", b"a.jpg 1 0 0 4 0 1 0 5 0 0 1 6 0 0 0 1\n", b"1 1 0 0 0 1 2 3 1 a.jpg\n\n"],
    ),
    "trajectory": Target(
        ".txt",
        lambda path: make_ground_truth(TIMED, TIMED, [path]),
        lambda: [b"# time tx ty tz qx qy qz qw\n1.0 5 6 7 0 0 0 1\n1.5 5 6 8 0 0 0 1\n"],
    ),
    "mat-truth": Target(".mat", GroundTruth.read, db_struct),
}


def feed(target: Target, data: bytes, folder: Path) -> str:
    """Has a reader read bytes -> the message of its error, "" if there is none; any other error is raised."""
    path = folder / (target.suffix if not target.suffix.startswith(".") else f"file{target.suffix}")
    path.write_bytes(data)
    try:
        target.read(path)
    except target.raises as error:
        return f"{type(error).__name__}: {error}"
    return ""


def scratch() -> Path:
    """A folder in memory, where there is such."""
    return Path(tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None))

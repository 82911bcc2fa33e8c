"""Time, disk and memory beside the reference implementation (patchnetvlad 0.1.8), same photos and weights, in one run.

    make benchmark CHECKPOINT=mapillary_WPCA512.pth.tar PHOTOS=folder

Both describe the photos and re-rank candidates of the first of them by the preset that fits the checkpoint's components
(512: speed, 128: storage, 4096: performance), in turns; medians of several turns are printed as one table, and written
as JSON. Where there are fewer photos than candidates, photos repeat. The reference reads its features from files in the
page cache, one file an image and patch size, as its own command does.
"""

import argparse
import dataclasses
import json
import os
import platform
import statistics
import sys
import tempfile
import time
import types
from collections.abc import Callable
from configparser import ConfigParser
from pathlib import Path

import cv2
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent / "stand_in"))

from patchnetvlad.models.local_matcher import local_matcher
from patchnetvlad.models.models_generic import get_backend, get_model, get_pca_encoding
from patchnetvlad.tools.datasets import input_transform
from PIL import Image

import patchvlad as pv
from patchvlad import config, pipeline
from patchvlad.search.matching import MATCHERS
from patchvlad.search.retrieval import Ranking

PRESET_OF = {128: "storage", 512: "speed", 4096: "performance"}
REFERENCE_MATCHER = {"ransac": "RANSAC", "rapid": "spatialApproximator"}


class Reference:
    """The reference's own functions, called as its scripts call them, without their argument parsing."""

    def __init__(self, checkpoint: Path, settings: config.Config, folder: Path) -> None:
        self.folder, self.settings = folder, settings
        self.config = ConfigParser()
        self.config.read_dict(
            {
                "global_params": {
                    "pooling": "patchnetvlad",
                    "num_pcs": str(settings.components),
                    "patch_sizes": ",".join(map(str, settings.patch_sizes)),
                    "strides": ",".join(map(str, settings.patch_strides)),
                    "vladv2": "False",
                },
                "feature_match": {
                    "matcher": REFERENCE_MATCHER[settings.matcher],
                    "patchWeights2Use": ",".join(map(str, settings.weights)),
                    "imageresizeH": "480",
                    "imageresizeW": "640",
                },
            }
        )
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
        self.config["global_params"]["num_clusters"] = str(len(state["pool.centroids"]))
        dim, encoder = get_backend()
        self.model = get_model(encoder, dim, self.config["global_params"], append_pca_layer=True)
        self.model.load_state_dict(state)
        self.model.eval()

    def extract(self, images: pv.ImageList) -> None:
        transform = input_transform((480, 640))
        components = self.settings.components
        with torch.no_grad():
            for row in range(len(images)):
                batch = transform(Image.open(images.path(row)).convert("RGB"))[None]
                local, global_ = self.model.pool(self.model.encoder(batch))
                get_pca_encoding(self.model, global_)
                for size, patches in zip(self.settings.patch_sizes, local, strict=True):
                    encoded = get_pca_encoding(self.model, patches.permute(2, 0, 1).reshape(-1, patches.size(1)))
                    encoded = encoded.reshape(patches.size(2), patches.size(0), components).permute(1, 2, 0)
                    np.save(self.folder / f"patchfeats_psize{size}_{row}.npy", encoded[0].numpy())

    def rerank(self, candidates: np.ndarray, images: pv.ImageList) -> np.ndarray:
        names = [f"{row}.jpg" for row in range(len(images))]
        listed = types.SimpleNamespace(images=[*names, names[0]], numDb=len(names))
        prefix = str(self.folder / "patchfeats")
        return local_matcher(candidates, listed, prefix, prefix, self.config, torch.device("cpu"))[0]


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def in_turns(turns: int, **works: Callable[[], object]) -> dict[str, float]:
    """Median seconds of each, one after the other in every turn, after one turn to warm up."""
    taken = [{name: seconds(work) for name, work in works.items()} for _ in range(turns + 1)][1:]
    return {name: statistics.median(turn[name] for turn in taken) for name in works}


def megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*.npy")) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="in the released format")
    parser.add_argument("photos", type=Path)
    parser.add_argument("--most", type=int, default=10, help="photos to use")
    parser.add_argument("--candidates", type=int, default=100)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    listed = pv.ImageList.read(arguments.photos)
    images = pv.ImageList(listed.root, listed.names[: arguments.most])
    components = len(
        torch.load(arguments.checkpoint, map_location="cpu", weights_only=True)["state_dict"]["WPCA.0.bias"]
    )
    settings = dataclasses.replace(config.read_preset(PRESET_OF[components]), model=str(arguments.checkpoint))
    lite = config.read_preset("lite")
    rows = np.resize(np.arange(len(images)), arguments.candidates)[None]
    results: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "reference").mkdir()
        reference = Reference(arguments.checkpoint, settings, folder / "reference")
        models = {"ours": (settings, pipeline.load(settings)), "lite": (lite, pipeline.load(lite))}

        def extract(name: str) -> pv.FeatureStore:
            made_with, model = models[name]
            options = {"dtype": made_with.store_dtype, "batch": made_with.batch, "overwrite": True}
            return pv.extract(model, images, folder / name, **options)

        results["extract, s an image"] = {
            name: value / len(images)
            for name, value in in_turns(
                arguments.turns,
                reference=lambda: reference.extract(images),
                ours=lambda: extract("ours"),
                lite=lambda: extract("lite"),
            ).items()
        }
        found: dict[str, np.ndarray] = {}  # rankings, to compare by eye when numbers look odd

        def rerank(name: str) -> None:
            made_with, store = models[name][0], pv.FeatureStore(folder / name)
            indices = np.full((len(store), rows.shape[1]), -1)
            indices[0] = rows[0]  # the first photo is the query, the others ask for nothing
            scores = np.broadcast_to(-np.arange(rows.shape[1], dtype=np.float32), indices.shape)
            candidates = Ranking(indices, scores, store.names, store.names)
            fusion = made_with.weights, made_with.global_weight, made_with.least_spread
            found[name] = pv.rerank(candidates, store, store, MATCHERS[made_with.matcher], *fusion).indices[0]

        def rerank_reference() -> None:
            found["reference"] = reference.rerank(rows, images)

        results[f"re-rank {arguments.candidates}, s a query"] = in_turns(
            arguments.turns,
            reference=rerank_reference,
            ours=lambda: rerank("ours"),
            lite=lambda: rerank("lite"),
        )
        results["patches on disk, MB an image"] = {
            name: megabytes(folder / name) / len(images) for name in ("reference", "ours", "lite")
        }
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, ", end="")
    print(f"OpenCV {cv2.__version__}; preset {settings.name}, {len(images)} photos, median of {arguments.turns}\n")
    print("| | reference | ours | ratio | lite | ratio |\n|---|---|---|---|---|---|")
    for what, values in results.items():
        base = values["reference"]
        cells = [f"{base:.3g}"]
        for name in ("ours", "lite"):
            cells += [f"{values[name]:.3g}", f"{base / values[name]:.1f}x"]
        print(f"| {what} | " + " | ".join(cells) + " |")
    if arguments.json:
        machine = {"cores": os.cpu_count(), "torch": torch.__version__, "opencv": cv2.__version__}
        arguments.json.write_text(json.dumps({"machine": machine, "preset": settings.name, **results}, indent=1))


if __name__ == "__main__":
    main()

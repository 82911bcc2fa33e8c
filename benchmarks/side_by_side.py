"""Time, disk, memory and recall beside the reference implementation (patchnetvlad 0.1.8): same photos, same weights.

    make benchmark CHECKPOINT=mapillary_WPCA512.pth.tar SET=folder

SET holds database/, queries/ and gt.csv (columns query and positives, these separated by ';'). The preset is the one
of the checkpoint's components (512: speed, 128: storage, 4096: performance). The tools take turns at the same work,
each in a process of its own: the reference's functions, called as its scripts do; our preset, exact; the same in
bfloat16 and int8; its fast variant, which keeps fewer components besides; and our embedded model `lite`. Medians of the
turns make one table; --json writes all numbers. Where the set has fewer photos than candidates are asked for, photos
repeat. Features lie in files in the page cache for all. With --device cuda all compute on the GPU.

The limit is how long the multiplications alone would take at the speed of this machine's largest matrix product in the
precision that each step uses, measured in the same run.
"""

import argparse
import copy
import dataclasses
import json
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
import types
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from configparser import ConfigParser
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

import patchvlad as pv
from patchvlad.commands.preset import Preset, read_preset
from patchvlad.commands.process import keep_freed_memory, lone_workers
from patchvlad.evaluate.metrics import recall
from patchvlad.features.store_writing import open_writer
from patchvlad.model.backbones.vgg16 import VGG16
from patchvlad.model.convolution import LEAST_CHANNELS, LEAST_CHANNELS_BESIDE_BFLOAT16
from patchvlad.model.grid import PatchGrid
from patchvlad.search.neighbours import has_integer_products
from patchvlad.search.ranking import Ranking
from patchvlad.search.searching import matcher_of, reader

PRESET_OF = {128: "storage", 512: "speed", 4096: "performance"}
KS = (1, 5, 10)
PARTS = ("queries", "database")


class Reference:
    """The reference's own functions, called as its scripts call them, without their argument parsing."""

    def __init__(self, settings: Preset, folder: Path, device: str) -> None:
        sys.path.insert(0, str(Path(__file__).parent / "stand_in"))
        from patchnetvlad.models.models_generic import get_backend, get_model

        self.folder, self.settings, self.device = folder, settings, torch.device(device)
        self.config = ConfigParser()
        matcher = {"ransac": "RANSAC", "rapid": "spatialApproximator"}[settings.plan.matcher]
        joined = {
            name: ",".join(map(str, getattr(settings.description, name))) for name in ("patch_sizes", "patch_strides")
        }
        self.config.read_dict(
            {
                "global_params": {
                    "pooling": "patchnetvlad",
                    "num_pcs": str(settings.description.components),
                    "patch_sizes": joined["patch_sizes"],
                    "strides": joined["patch_strides"],
                    "vladv2": "False",
                },
                "feature_match": {
                    "matcher": matcher,
                    "patchWeights2Use": ",".join(map(str, settings.plan.weights)),
                    "imageresizeH": "480",
                    "imageresizeW": "640",
                },
            }
        )
        state = torch.load(settings.description.model, map_location="cpu", weights_only=True)["state_dict"]
        self.config["global_params"]["num_clusters"] = str(len(state["pool.centroids"]))
        dim, encoder = get_backend()
        self.model = get_model(encoder, dim, self.config["global_params"], append_pca_layer=True)
        self.model.load_state_dict(state)
        self.model.eval().to(self.device)

    def extract(self, part: str, images: pv.ImageList) -> None:
        from patchnetvlad.models.models_generic import get_pca_encoding
        from patchnetvlad.tools.datasets import input_transform
        from PIL import Image

        transform, components = input_transform((480, 640)), self.settings.description.components
        (self.folder / part).mkdir(exist_ok=True)
        with torch.no_grad():
            for row in range(len(images)):
                batch = transform(Image.open(images.path(row)).convert("RGB"))[None].to(self.device)
                local, global_ = self.model.pool(self.model.encoder(batch))
                get_pca_encoding(self.model, global_)
                for size, patches in zip(self.settings.description.patch_sizes, local, strict=True):
                    encoded = get_pca_encoding(self.model, patches.permute(2, 0, 1).reshape(-1, patches.size(1)))
                    encoded = encoded.reshape(patches.size(2), patches.size(0), components).permute(1, 2, 0)
                    np.save(self.folder / part / f"patchfeats_psize{size}_{row}.npy", encoded[0].cpu().numpy())

    def rerank(self, queries: list[int], candidates: np.ndarray) -> np.ndarray:
        from patchnetvlad.models.local_matcher import local_matcher

        database = int(candidates.max()) + 1
        names = [f"{row}.jpg" for row in range(database)] + [f"{row}.jpg" for row in queries]
        listed = types.SimpleNamespace(images=names, numDb=database)
        prefixes = [str(self.folder / part / "patchfeats") for part in PARTS]
        return np.stack(local_matcher(candidates, listed, *prefixes, self.config, self.device))


class Ours:
    """patchvlad with a preset."""

    def __init__(self, settings: Preset, folder: Path, device: str) -> None:
        self.folder, self.settings, self.device = folder, settings, device
        self.model = settings.description.load(device)
        keep_freed_memory()

    def extract(self, part: str, images: pv.ImageList) -> None:
        options: dict[str, Any] = {
            "dtype": self.settings.description.store_dtype,
            "batch": self.settings.description.batch,
        }
        pv.extract(self.model, images, self.folder / part, **options, overwrite=True, preset=self.settings.name)

    def candidates(self, k: int) -> np.ndarray:
        return pv.retrieve(*(pv.FeatureStore(self.folder / part) for part in PARTS), k=k).indices

    def rerank(self, queries: list[int], candidates: np.ndarray) -> np.ndarray:
        asked, database = (pv.FeatureStore(self.folder / part) for part in PARTS)
        indices = np.full((len(asked), candidates.shape[1]), -1)
        indices[queries] = candidates
        retrieved = np.zeros(indices.shape, dtype=np.float32)
        for query, row in zip(queries, candidates, strict=True):
            retrieved[query] = database.global_[row] @ asked.global_[query]
        settings = self.settings
        fusion = settings.plan.weights, settings.plan.global_weight, settings.plan.least_spread
        ranking = Ranking(indices, retrieved, asked.names, database.names)
        plan = settings.to_search()
        options: dict[str, Any] = {"read": reader(plan), "device": self.device}
        with lone_workers() as workers:
            found = pv.rerank(ranking, asked, database, matcher_of(plan), *fusion, **options, workers=workers)
        return found.indices[queries]

    def rerank_theirs(self, folder: Path, queries: list[int], candidates: np.ndarray) -> np.ndarray:
        """The same on the descriptors that the reference has extracted."""
        mine = self.folder
        self.folder = self.folder / "theirs"
        for part in PARTS:
            store = pv.FeatureStore(mine / part)
            with open_writer(self.folder / part, store.recipe, store.names, overwrite=True) as writer:
                for row in range(len(store)):
                    patches = {
                        size: np.load(folder / part / f"patchfeats_psize{size}_{row}.npy").T[None]
                        for size in store.grids
                    }
                    writer.append(store.global_[row : row + 1], patches)
        try:
            return self.rerank(queries, candidates)
        finally:
            self.folder = mine

    def accuracy(self, images: pv.ImageList) -> tuple[float, float]:
        """Largest difference of a patch descriptor's component from float64, and mean cosine."""
        exact = copy.deepcopy(self.model).to("cpu", torch.float64)
        exact.precision = torch.float32  # that is, as the weights are
        difference, cosines = 0.0, []
        for row in range(len(images)):
            photo = [pv.read_image(images.path(row))]
            (found,), (expected,) = (model.describe(photo, (480, 640)) for model in (self.model, exact))
            for size, patches in expected.patches.items():
                ours = found.patches[size].cpu().double()
                difference = max(difference, float((ours - patches).abs().max()))
                cosines.append(float((ours * patches).sum(dim=1).mean()))
        return difference, statistics.mean(cosines)


_tool: Any = None


def start(kind: Callable[..., Any], settings: Preset, folder: Path, device: str) -> None:
    """Makes the one tool of this process."""
    global _tool
    folder.mkdir(parents=True, exist_ok=True)
    _tool = kind(settings, folder, device)


def call(method: str, *arguments: Any) -> tuple[float, Any]:
    """Seconds that a method of this process's tool takes, and what it returns."""
    started = time.perf_counter()
    found = getattr(_tool, method)(*arguments)
    return time.perf_counter() - started, found


def peak_memory() -> float:
    """MB that this process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Tools:
    """Processes, one a tool, that take turns."""

    def __init__(
        self, kinds: dict[str, tuple[Callable[..., Any], Preset]], folder: Path, turns: int, device: str
    ) -> None:
        self.folder, self.turns = folder, turns
        self.processes = {
            name: ProcessPoolExecutor(
                1, get_context("spawn"), initializer=start, initargs=(kind, settings, folder / name, device)
            )
            for name, (kind, settings) in kinds.items()
        }

    def ask(self, name: str, work: Callable[..., Any], *arguments: Any) -> Any:
        return self.processes[name].submit(work, *arguments).result()

    def in_turns(self, *work: Any, warm: tuple[Any, ...] = ()) -> dict[str, list[float]]:
        """Seconds of each tool in every turn, after one turn to warm up; `warm` is done untimed before each."""
        taken: dict[str, list[float]] = {name: [] for name in self.processes}
        for turn in range(self.turns + 1):
            for name in self.processes:
                if warm:
                    self.ask(name, call, *warm)
                seconds = self.ask(name, call, *work)[0]
                if turn:
                    taken[name].append(seconds)
        return taken

    def megabytes(self, name: str, part: str) -> float:
        files = (self.folder / name / part).rglob("*patch*.npy")
        return sum(path.stat().st_size for path in files) / 1e6

    def close(self) -> None:
        for process in self.processes.values():
            process.shutdown()


def gflops(device: str) -> dict[str, float]:
    """Speed of a large matrix product in each precision, in 1e9 multiplications and additions a second."""
    size = 2048
    found = {}
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16), ("int8", torch.int8)):
        a = torch.randn(size, size).mul(40).to(device, dtype)
        product = torch._int_mm if dtype == torch.int8 else torch.mm
        taken = []
        for _ in range(8):
            started = time.perf_counter()
            product(a, a)[0, 0].item()  # waits for a GPU
            taken.append(time.perf_counter() - started)
        found[name] = 2 * size**3 / min(taken) / 1e9
    return found


def limits(settings: Preset, clusters: int, candidates: int, peak: dict[str, float]) -> tuple[float, float]:
    """Seconds that the multiplications alone take: of one VGG16 image, of one query."""
    exact = settings.description.precision == "float32"
    least = LEAST_CHANNELS if exact else LEAST_CHANNELS_BESIDE_BFLOAT16
    direct = winograd = 0.0
    height, width, channels = 480, 640, 3
    for step in VGG16._plan:
        if step == "pool":
            height, width = height // 2, width // 2
            continue
        gigaflop = 2 * 9 * height * width * channels * int(step) / 1e9
        if channels >= least:
            winograd += gigaflop / 4
        else:
            direct += gigaflop
        channels = int(step)
    grids = [
        PatchGrid(30, 40, size, step)
        for size, step in zip(settings.description.patch_sizes, settings.description.patch_strides, strict=True)
    ]
    components = settings.description.patch_components or settings.description.components or 0
    whitening = 2 * sum(len(grid) for grid in grids) * clusters * 512 * components / 1e9
    fast = peak["float32" if exact else "bfloat16"]
    extraction = (direct + whitening) / fast + winograd / peak["float32"]
    asked = [PatchGrid(grid.height, grid.width, grid.patch_size, settings.plan.query_step) for grid in grids]
    pairs = sum(len(few) * len(grid) for few, grid in zip(asked, grids, strict=True))
    products = candidates * 2 * pairs * components / 1e9
    return extraction, products / peak["int8" if has_integer_products() else "float32"]


def as_recall(found: np.ndarray, names: tuple[tuple[str, ...], tuple[str, ...]], truth: pv.GroundTruth) -> list[float]:
    """Recall@1, 5 and 10 of (Q, k) rows."""
    ranking = Ranking(found, np.zeros(found.shape, dtype=np.float32), *names)
    return [100 * value for value in recall(ranking, truth, KS).values.values()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="in the released format")
    parser.add_argument("set", type=Path, help="folder with database/, queries/ and gt.csv")
    parser.add_argument("--candidates", type=int, default=100)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--timed", type=int, default=5, help="photos per turn of extraction (default: 5)")
    parser.add_argument("--queries", type=int, default=2, help="queries per turn of re-ranking (default: 2)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--json", type=Path, help="where all numbers go")
    arguments = parser.parse_args()
    state = torch.load(arguments.checkpoint, map_location="cpu", weights_only=True)["state_dict"]
    preset = read_preset(PRESET_OF[len(state["WPCA.0.bias"])])
    described = dataclasses.replace(preset.description, model=str(arguments.checkpoint.resolve()), batch=1)
    exact = dataclasses.replace(preset, description=described)
    whole = dataclasses.replace(exact.fast().description, patch_components=None)
    kinds: dict[str, tuple[Callable[..., Any], Preset]] = {
        "reference": (Reference, exact),
        "exact": (Ours, exact),
        "int8": (Ours, dataclasses.replace(exact.fast(), description=whole)),
        "fast": (Ours, exact.fast()),
        "lite": (Ours, read_preset("lite")),
    }
    if kinds["int8"][1] == kinds["fast"][1]:
        del kinds["int8"]
    ours = [name for name in kinds if name not in ("reference", "lite")]
    images = {part: pv.ImageList.read(arguments.set / part) for part in PARTS}
    peak = gflops(arguments.device)
    results: dict[str, Any] = {"preset": preset.name, "set": arguments.set.name, "turns": arguments.turns}
    with tempfile.TemporaryDirectory() as place:
        tools = Tools(kinds, Path(place), arguments.turns, arguments.device)
        timed = pv.ImageList(images["database"].root, images["database"].names[: arguments.timed])
        one = pv.ImageList(timed.root, timed.names[:1])  # memory that idled is fetched back by the first photo
        results["extract, s per image"] = {
            name: [seconds / len(timed) for seconds in taken]
            for name, taken in tools.in_turns("extract", "timed", timed, warm=("extract", "warm", one)).items()
        }
        results["peak memory of extraction, MB"] = {name: tools.ask(name, peak_memory) for name in kinds}
        found: dict[str, np.ndarray] = {}
        for name in kinds:
            for part in PARTS:
                tools.ask(name, call, "extract", part, images[part])
        depth = min(arguments.candidates, len(images["database"]))
        retrieved = {name: tools.ask(name, call, "candidates", depth)[1] for name in kinds if name != "reference"}
        retrieved["reference"] = retrieved["exact"]  # the global descriptors agree
        queries = list(range(min(arguments.queries, len(images["queries"]))))
        repeated = np.stack([np.resize(retrieved["exact"][query], arguments.candidates) for query in queries])
        results[f"re-rank {arguments.candidates}, s per query"] = {
            name: [seconds / len(queries) for seconds in taken]
            for name, taken in tools.in_turns("rerank", queries, repeated).items()
        }
        every = list(range(len(images["queries"])))
        for name in kinds:
            found[name] = tools.ask(name, call, "rerank", every, retrieved[name])[1]
        results["peak memory, MB"] = {name: tools.ask(name, peak_memory) for name in kinds}
        theirs = tools.folder / "reference", every, retrieved["reference"]
        on_theirs = tools.ask("exact", call, "rerank_theirs", *theirs)[1]
        accuracy = {name: tools.ask(name, call, "accuracy", timed)[1] for name in ours}
        results["difference from float64"] = {name: pair[0] for name, pair in accuracy.items()}
        results["cosine with float64"] = {name: pair[1] for name, pair in accuracy.items()}
        results["patches on disk, MB per image"] = {name: tools.megabytes(name, "timed") / len(timed) for name in kinds}
        tools.close()
    named = images["queries"].names, images["database"].names
    truth = pv.GroundTruth.read(arguments.set / "gt.csv", *named)
    results["recall@1/5/10 of global descriptors, %"] = {
        name: as_recall(rows, named, truth) for name, rows in retrieved.items()
    }
    results["recall@1/5/10, %"] = {name: as_recall(rows, named, truth) for name, rows in found.items()}
    results["rankings of the reference's descriptors that are its own, %"] = float(
        100 * np.mean(np.all(on_theirs == found["reference"], axis=1))
    )
    clusters = len(state["pool.centroids"])
    bound = {name: limits(kinds[name][1], clusters, arguments.candidates, peak) for name in ours}
    results["limit, s per image"] = {name: seconds[0] for name, seconds in bound.items()}
    results["limit, s per query"] = {name: seconds[1] for name, seconds in bound.items()}
    results["machine"] = {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "Gflop/s": peak,
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in ("torch", "numpy", "opencv-python-headless", "patchnetvlad")},
    }
    show(results, tuple(kinds))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1))


def _version(name: str) -> str:
    from importlib.metadata import version

    return version(name)


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor()


def show(results: dict[str, Any], tools: tuple[str, ...]) -> None:
    """Prints the table: values, and in brackets how many times better than the reference."""
    machine = results["machine"]
    speeds = ", ".join(f"{name} {speed:.0f}" for name, speed in machine["Gflop/s"].items())
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    print(f"{machine['processor']}, {machine['cores']} cores; matrix products in Gflop/s: {speeds}\n{versions}")
    print(f"preset {results['preset']}, set {results['set']}, medians of {results['turns']} turns\n")
    print("| | " + " | ".join(tools) + " |\n|---" + "|---" * len(tools) + "|")
    for what in results:
        values = results[what]
        if not isinstance(values, dict) or "reference" not in values:
            continue
        cells = []
        for name in tools:
            value = values[name]
            if "recall" in what:
                cells.append(" / ".join(f"{number:.1f}" for number in value))
                continue
            typical, base = (
                statistics.median(number) if isinstance(number, list) else number
                for number in (value, values["reference"])
            )
            ratio = "" if name == "reference" or "%" in what else f" ({base / typical:.1f}x)"
            cells.append(f"{typical:.3g}{ratio}")
        print(f"| {what} | " + " | ".join(cells) + " |")
    same = results["rankings of the reference's descriptors that are its own, %"]
    print(f"\nqueries ranked by exact as by the reference, from its descriptors: {same:.0f} %")
    for what in ("difference", "cosine"):
        values = results[f"{what} {'from' if what == 'difference' else 'with'} float64"]
        print(f"\n{what} of patch descriptors against float64: ", end="")
        print(", ".join(f"{name} {value:.3g}" for name, value in values.items()))
    for what in ("extract", "re-rank"):
        unit = {"extract": "limit, s per image", "re-rank": "limit, s per query"}[what]
        taken = next(values for name, values in results.items() if name.startswith(what))
        said = [
            f"{name} {limit:.3g} s, reached {100 * limit / statistics.median(taken[name]):.0f} %"
            for name, limit in results[unit].items()
        ]
        print(f"\nmultiplications alone, {what}: " + "; ".join(said))


if __name__ == "__main__":
    main()

"""Time of training beside the reference implementation (patchnetvlad 0.1.8): same photos, weights and batches.

    .venv-benchmark/bin/python benchmarks/training.py x_WPCA512.pth.tar PHOTOS --pairs 8

Of a folder of photos each two neighbours become query and database of one place of a city in MSLS's layout. Both tools
Each two neighbours of a folder of photos become query and database of one place of a city in MSLS's layout. Both tools
the VLAD layer learn from them. The reference's own functions run as its script calls them. They take turns; the table
has medians: seconds per photo of the cache, and photos per second of the training steps.
"""

import argparse
import csv
import json
import statistics
import sys
import tempfile
import time
import types
from configparser import ConfigParser
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import patchvlad as pv
from patchvlad.places.training_sets import read_places
from patchvlad.train import loop
from patchvlad.train.recipes import PAPER


def write_city(root: Path, photos: pv.ImageList, pairs: int) -> None:
    """trondheim to train on, cph to validate on: the same photos, for nobody validates here."""
    for city in ("trondheim", "cph"):
        for number, role in enumerate(("query", "database")):
            folder = root / "train_val" / city / role
            (folder / "images").mkdir(parents=True)
            rows = [2 * pair + number for pair in range(pairs)]
            if role == "database":  # places that no query shows: the reference takes its negatives from these alone
                rows += range(2 * pairs, 3 * pairs)
            for pair, row in enumerate(rows):
                (folder / "images" / f"{role}{pair}.jpg").symlink_to(photos.path(row).resolve())
            tables = {
                "postprocessed": ["key", "easting", "northing", "night", "view_direction"],
                "raw": ["key", "pano"],
                "seq_info": ["key", "sequence_key", "frame_number"],
            }
            for name, columns in tables.items():
                with open(folder / f"{name}.csv", "w", newline="") as file:
                    writer = csv.writer(file)
                    writer.writerow(["", *columns])
                    for pair in range(len(rows)):
                        values = {
                            **{"key": f"{role}{pair}", "easting": 100.0 * pair, "northing": 0.0, "night": False},
                            **{"view_direction": "Forward", "pano": False, "sequence_key": role, "frame_number": pair},
                        }
                        writer.writerow([pair, *(values[column] for column in columns)])


def reference_epoch(checkpoint: Path, city: Path, pairs: int, device: str) -> tuple[float, float, int]:
    """Seconds of the cache, seconds of the steps, and photos in the steps."""
    from patchnetvlad.models.models_generic import get_backend, get_model
    from patchnetvlad.tools.datasets import input_transform
    from patchnetvlad.training_tools import train_epoch as module
    from patchnetvlad.training_tools.msls import MSLS

    np.in1d = np.isin  # newer NumPy has it no more
    settings = ConfigParser()
    settings.read_dict(
        {
            "train": {"batchsize": "4", "margin": "0.1"},
            "global_params": {"pooling": "netvlad", "num_clusters": "16", "vladv2": "False"},
        }
    )
    dim, encoder = get_backend()
    model = get_model(encoder, dim, settings["global_params"], append_pca_layer=False)
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
    model.load_state_dict({name: value for name, value in state.items() if not name.startswith("WPCA")})
    model.to(device)
    data = MSLS(
        str(city),
        cities="trondheim",
        mode="train",
        transform=input_transform(),
        bs=20,
        threads=0,
        margin=0.1,
        cached_negatives=2 * pairs,
        cached_queries=pairs,
    )
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=1e-4, momentum=0.9, weight_decay=1e-3)
    criterion = torch.nn.TripletMarginLoss(margin=0.1**0.5, p=2, reduction="sum")
    took = {}
    refresh = data.update_subcache

    def timed(*arguments) -> None:
        started = time.perf_counter()
        refresh(*arguments)
        took["cache"] = time.perf_counter() - started

    data.update_subcache = timed
    torch.cuda.memory_cached = lambda: 0  # newer PyTorch has it no more
    writer = types.SimpleNamespace(add_scalar=lambda *_: None)
    started = time.perf_counter()
    options = types.SimpleNamespace(threads=0)
    module.train_epoch(data, model, optimizer, criterion, dim, torch.device(device), 1, options, settings, writer)
    total = time.perf_counter() - started
    return took["cache"], total - took["cache"], sum(len(triplet) for triplet, _ in data.triplets)


def our_epoch(checkpoint: Path, city: Path, pairs: int, device: str) -> tuple[float, float, int]:
    model = pv.load_model(checkpoint)
    model.whitening = None
    training, validation = read_places(city)
    took = {"photos": 0}
    mine, learn = loop.triplet_batches, loop.Learner.learn

    def timed_mining(*arguments):
        started = time.perf_counter()
        found = mine(*arguments)
        took["cache"] = time.perf_counter() - started
        return found

    def timed_learning(self, frozen, batches, rates, label):
        started = time.perf_counter()
        yield from learn(self, frozen, batches, rates, label)
        took["steps"] = time.perf_counter() - started
        took["photos"] += sum(len(batch.views) for batch in batches)

    loop.triplet_batches, loop.Learner.learn = timed_mining, timed_learning
    recipe = replace(PAPER, trained=3, epochs=1, cached_negatives=2 * pairs)
    try:
        with tempfile.TemporaryDirectory() as place:
            loop.train(model, training, validation.subset(np.arange(0)), recipe, Path(place) / "run", device=device)
    finally:
        loop.triplet_batches, loop.Learner.learn = mine, learn
    return took["cache"], took["steps"], took["photos"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="in the released format, K = 16")
    parser.add_argument("photos", type=Path)
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parent / "stand_in"))
    tools = {"reference": reference_epoch, "patchvlad": our_epoch}
    seconds = {name: {"cache": [], "steps": []} for name in tools}
    with tempfile.TemporaryDirectory() as place:
        city = Path(place)
        write_city(city, pv.ImageList.read(arguments.photos), arguments.pairs)
        for _ in range(arguments.turns):
            for name, epoch in tools.items():
                cache, steps, photos = epoch(arguments.checkpoint, city, arguments.pairs, arguments.device)
                seconds[name]["cache"].append(cache / (3 * arguments.pairs))
                seconds[name]["steps"].append(photos / steps)
    print("| | reference | patchvlad |\n|---|---|---|")
    for key, label in (("cache", "refresh the cache, s per photo"), ("steps", "training steps, photos per second")):
        theirs, ours = (statistics.median(seconds[name][key]) for name in tools)
        ratio = theirs / ours if key == "cache" else ours / theirs
        print(f"| {label} | {theirs:.3g} | {ours:.3g} ({ratio:.1f}x) |")
    if arguments.json:
        arguments.json.write_text(json.dumps(seconds, indent=1))


if __name__ == "__main__":
    main()

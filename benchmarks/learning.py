"""What training gains: recall on unseen places and on other sets, before and after, without re-ranking.

    python benchmarks/learning.py PLACES.csv --sets SET ... --seeds 0 1 2 3 --json learning.json

PLACES.csv names photos and places; each seed holds out other places, trains on the rest, and is tested on those unseen
(of each place the first half of its photos is the database, the second the queries) and on every SET, a folder with
database/, queries/ and gt.csv. No seed's result decides anything: epochs are fixed, and the last one is tested.
"""

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import patchvlad as pv
from patchvlad.commands.progress import bars
from patchvlad.evaluate.metrics import recall
from patchvlad.places.radii import Reading
from patchvlad.places.training_sets import read_places
from patchvlad.train.frozen import FrozenMaps
from patchvlad.train.loop import Learner, train, validate
from patchvlad.train.parallel import Team
from patchvlad.train.recipes import RECIPES, for_backbone

KS = (1, 5, 10)


def recall_on(model: pv.PatchNetVLAD, folder: Path) -> list[float]:
    """Recall@k in percent of global descriptors."""
    model = pv.PatchNetVLAD(model.backbone, model.vlad, model.whitening, "netvlad").eval()
    with tempfile.TemporaryDirectory() as place, bars() as progress:
        stores = [
            pv.extract(
                model,
                pv.ImageList.read(folder / part),
                Path(place) / part,
                progress=lambda done, total, part=part: progress(f"{folder.name}/{part}", done, total),
            )
            for part in ("queries", "database")
        ]
        truth = pv.GroundTruth.read(folder / "gt.csv", stores[0].names, stores[1].names)
        found = recall(pv.retrieve(*stores, k=max(KS)), truth, KS)
    return [100 * found.values[k] for k in KS]


def recall_on_places(model: pv.PatchNetVLAD, places) -> list[float]:
    with FrozenMaps(model.backbone, 1, places.images, (480, 640)) as frozen, bars() as progress:
        learner = Learner(model, [], [], None, 1, torch.float32, Team(), progress)
        return [100 * value for value in validate(learner, frozen, places, KS).values()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("places", type=Path)
    parser.add_argument("--sets", type=Path, nargs="*", default=[])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--recipe", choices=RECIPES, default="modern")
    parser.add_argument("--epochs", type=int, help="default: the recipe's")
    parser.add_argument("--model", default="lite")
    parser.add_argument("--held-out", type=float, default=0.3, help="share of the photos")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    base = pv.load_model(arguments.model)
    before = {folder.name: recall_on(base, folder) for folder in arguments.sets}
    results = []
    for seed in arguments.seeds:
        recipe = replace(RECIPES[arguments.recipe], seed=seed)
        recipe = replace(recipe, epochs=arguments.epochs or recipe.epochs)
        recipe = for_backbone(recipe, base.backbone.trained_layers)
        training, held_out = read_places(arguments.places, Reading(validation=arguments.held_out, seed=seed))
        none = held_out.subset(np.arange(0))
        model = pv.load_model(arguments.model)
        if not recipe.whitened:
            model.whitening = None
        row = {"seed": seed, "queries": len(held_out.queries), "before": {"unseen": recall_on_places(model, held_out)}}
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as place, bars() as progress:
            train(model, training, none, recipe, Path(place) / "run", progress=progress)
            trained = pv.load_model(Path(place) / "run" / "best.safetensors")
        row["minutes"] = (time.perf_counter() - started) / 60
        row["before"] |= before
        row["after"] = {"unseen": recall_on_places(trained, held_out)}
        row["after"] |= {folder.name: recall_on(trained, folder) for folder in arguments.sets}
        results.append(row)
        print(f"seed {seed}, {row['minutes']:.1f} minutes, {row['queries']} unseen queries", flush=True)
        if arguments.json:
            arguments.json.write_text(json.dumps(results, indent=1))
    names = list(results[0]["after"])
    print(
        "\nrecall@1/5/10 before -> after\n\n| seed | " + " | ".join(names) + " |\n|---" * 1 + "|---" * len(names) + "|"
    )
    slashed = lambda values: "/".join(f"{value:.1f}" for value in values)  # noqa: E731
    for row in results:
        cells = [f"{slashed(row['before'][name])} -> {slashed(row['after'][name])}" for name in names]
        print(f"| {row['seed']} | " + " | ".join(cells) + " |")
    means = [
        slashed(np.mean([np.subtract(row["after"][name], row["before"][name]) for row in results], axis=0))
        for name in names
    ]
    print("| mean change | " + " | ".join(means) + " |")


if __name__ == "__main__":
    main()

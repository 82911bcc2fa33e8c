"""Recall on labelled sets of photos, before and after re-ranking, as one Markdown table.

    python benchmarks/recognition.py DATA --sets toy corridor gardens michigan --out DIR [--preset lite] [--model FILE]

A set is a folder with database/, queries/ and gt.csv (columns query and positives, these separated by ';').
Stores and rankings stay in DIR, so that an interrupted run goes on and single numbers can be looked into.
"""

import argparse
import dataclasses
import json
import time
from pathlib import Path

import patchvlad as pv
from patchvlad import cli, config, pipeline
from patchvlad.evaluate.metrics import Recall
from patchvlad.search.matching import MATCHERS

KS = (1, 5, 10)


def measure(
    settings: config.Config, model: pv.PatchNetVLAD, data: Path, out: Path, matchers: list[str], depth: int | None
) -> dict[str, Recall]:
    """Recall of one set: global descriptors alone, then every matcher."""
    stores = {}
    for part in ("database", "queries"):
        images = pv.ImageList.read(data / part)
        with cli.bar(f"{data.name} {part}") as progress:
            started = time.perf_counter()
            stores[part] = pv.extract(
                model, images, out / part, settings.size, settings.batch, preset=settings.name, progress=progress
            )
            print(f"{data.name} {part}: {(time.perf_counter() - started) / len(images):.3f} s an image", flush=True)
    queries, database = stores["queries"], stores["database"]
    truth = pv.GroundTruth.read(data / "gt.csv", queries.names, database.names)
    candidates = pv.retrieve(queries, database, max(settings.ks))
    found = {"global": pv.recall(candidates, truth, KS)}
    for name in matchers:
        with cli.bar(f"{data.name} {name}") as progress:
            started = time.perf_counter()
            ranking = pv.rerank(
                candidates,
                queries,
                database,
                MATCHERS[name],
                settings.weights,
                settings.global_weight,
                settings.least_spread,
                depth=depth,
                progress=progress,
            )
            seconds = (time.perf_counter() - started) / len(queries)
            print(f"{data.name} {name}: {seconds:.2f} s a query", flush=True)
        found[name] = pv.recall(ranking, truth, KS)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of sets")
    parser.add_argument("--sets", nargs="+", default=["toy", "corridor", "gardens", "michigan"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--preset", default="lite", choices=config.PRESETS)
    parser.add_argument("--model", help="instead of the preset's")
    parser.add_argument("--matchers", nargs="*", default=["rapid", "ransac", "voting"], choices=list(MATCHERS))
    parser.add_argument("--rerank", type=int, help="candidates re-ranked (default: all 100)")
    arguments = parser.parse_args()
    settings = config.read_preset(arguments.preset)
    if arguments.model:
        settings = dataclasses.replace(settings, model=arguments.model, components=None, clusters=None)
    model = pipeline.load(settings)
    lines = ["| set | queries, database | " + " | ".join(["global", *arguments.matchers]) + " |"]
    lines.append("|---" * (2 + 1 + len(arguments.matchers)) + "|")
    numbers = {}
    for name in arguments.sets:
        found = measure(
            settings, model, arguments.data / name, arguments.out / name, arguments.matchers, arguments.rerank
        )
        cells = [" / ".join(f"{100 * recall[k]:.1f}" for k in KS) for recall in found.values()]
        first = found["global"]
        lines.append(f"| {name} | {first.queries}, {first.database} | " + " | ".join(cells) + " |")
        numbers[name] = {stage: recall.values for stage, recall in found.items()}
        (arguments.out / "recognition.json").write_text(json.dumps(numbers, indent=1))
    print("\n".join(lines))


if __name__ == "__main__":
    main()

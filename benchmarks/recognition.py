"""Recall on labelled sets of photos, before and after re-ranking, as one Markdown table.

    python benchmarks/recognition.py DATA --sets toy corridor gardens michigan --out DIR [--preset lite] [--model FILE]

A set is a folder with database/, queries/ and gt.csv (columns query and positives, these separated by ';').
Stores and rankings stay in DIR, so that an interrupted run goes on and single numbers can be looked into. With
--components the same stores are also matched as int8 of so many leading components, to see what that costs.
"""

import argparse
import dataclasses
import functools
import json
import time
from pathlib import Path

import patchvlad as pv
from patchvlad.commands.preset import Preset, read_preset
from patchvlad.commands.process import keep_freed_memory, lone_workers
from patchvlad.commands.progress import bar
from patchvlad.evaluate.metrics import Recall
from patchvlad.search.registry import MATCHERS
from patchvlad.search.searching import matcher_of, reader

KS = (1, 5, 10)


def measure(
    settings: Preset, model: pv.PatchNetVLAD, data: Path, out: Path, arguments: argparse.Namespace
) -> dict[str, Recall]:
    """Recall of one set: global descriptors alone, then every matcher on descriptors of every length asked for."""
    stores = {}
    for part in ("database", "queries"):
        images = pv.ImageList.read(data / part)
        options = {"dtype": settings.description.store_dtype, "preset": settings.name}
        with bar(f"{data.name} {part}") as progress:
            started = time.perf_counter()
            stores[part] = pv.extract(
                model,
                images,
                out / part,
                settings.description.size,
                settings.description.batch,
                **options,
                progress=progress,
            )
            print(f"{data.name} {part}: {(time.perf_counter() - started) / len(images):.3f} s per image", flush=True)
    queries, database = stores["queries"], stores["database"]
    truth = pv.GroundTruth.read(data / "gt.csv", queries.names, database.names)
    candidates = pv.retrieve(queries, database, max(settings.ks))
    found = {"global": pv.recall(candidates, truth, KS)}
    fusion = settings.plan.weights, settings.plan.global_weight, settings.plan.least_spread
    for components in arguments.components:
        read = reader(settings.to_search())
        if components:
            read = functools.partial(pv.FeatureStore.compact_descriptors, components=components)
        for matcher in arguments.matchers:
            name = f"{matcher}, int8 of {components}" if components else matcher
            with bar(f"{data.name} {name}") as progress, lone_workers() as workers:
                started = time.perf_counter()
                ranking = pv.rerank(
                    candidates,
                    queries,
                    database,
                    matcher_of(dataclasses.replace(settings.plan, matcher=matcher)),
                    *fusion,
                    depth=arguments.rerank,
                    read=read,
                    workers=workers,
                    progress=progress,
                )
            found[name] = pv.recall(ranking, truth, KS)
            seconds = (time.perf_counter() - started) / len(queries)
            shown = " / ".join(f"{100 * found[name][k]:.1f}" for k in KS)
            print(f"{data.name} {name}: {seconds:.3f} s per query, {shown}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of sets")
    parser.add_argument("--sets", nargs="+", default=["toy", "corridor", "gardens", "michigan"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--preset", default="lite", help="a preset, or its fast variant NAME-fast")
    parser.add_argument("--model", help="instead of the preset's")
    parser.add_argument("--store-dtype", choices=("float32", "float16", "int8"), help="instead of the preset's")
    parser.add_argument("--matchers", nargs="*", default=["rapid", "ransac", "voting"], choices=list(MATCHERS))
    parser.add_argument(
        "--components", type=int, nargs="+", default=[0], help="also as int8 of so many; 0: as stored (default)"
    )
    parser.add_argument("--rerank", type=int, help="candidates re-ranked (default: all 100)")
    arguments = parser.parse_args()
    settings = read_preset(arguments.preset)
    if arguments.model:
        described = dataclasses.replace(settings.description, model=arguments.model, components=None, clusters=None)
        settings = dataclasses.replace(settings, description=described)
    if arguments.store_dtype:
        described = dataclasses.replace(settings.description, store_dtype=arguments.store_dtype)
        settings = dataclasses.replace(settings, description=described)
    keep_freed_memory()
    model = settings.description.load()
    rows, numbers = [], {}
    for name in arguments.sets:
        found = measure(settings, model, arguments.data / name, arguments.out / name, arguments)
        first = found["global"]
        cells = [" / ".join(f"{100 * recall[k]:.1f}" for k in KS) for recall in found.values()]
        rows.append(f"| {name} | {first.queries}, {first.database} | " + " | ".join(cells) + " |")
        numbers[name] = {stage: recall.values for stage, recall in found.items()}
        (arguments.out / "recognition.json").write_text(json.dumps(numbers, indent=1))
    print("| set | queries, database | " + " | ".join(found) + " |\n|---" + "|---" * (1 + len(found)) + "|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()

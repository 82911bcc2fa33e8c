"""Seconds and memory of retrieval as the database grows, as one Markdown table.

    python benchmarks/scaling.py [--images 1000 10000 100000 1000000] [--components 512] [--json FILE]

Databases are random unit descriptors (no patches), written to a temporary folder and deleted after use. Each size is
written and measured in processes of its own, with the database in the page cache, as it is after extraction. Exact
search must read the whole matrix of global descriptors: how near that comes to the speed of memory is the measure of a
single query; a batch reads it once for all queries and is bound by arithmetic. Small databases fit the processor's
cache, which is faster than memory.
"""

import argparse
import contextlib
import json
import math
import multiprocessing
import os
import platform
import resource
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

import patchvlad as pv
from patchvlad.features.manifest import FeatureRecipe

BLOCK = 16384  # rows written at once
BATCH = 100  # queries
STATUS = Path("/proc/self/status")


def write(folder: Path, images: int, components: int, seed: int) -> None:
    """Writes a store of random unit descriptors."""
    from patchvlad.features.store_writing import open_writer

    recipe = FeatureRecipe("0" * 64, "random", (480, 640), "netvlad", (), (30, 40), 16, components, components)
    generator = np.random.default_rng(seed)
    with open_writer(folder, recipe, [f"{row:07d}.jpg" for row in range(images)]) as writer:
        for start in range(0, images, BLOCK):
            rows = generator.standard_normal((min(BLOCK, images - start), components), dtype=np.float32)
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            writer.append(rows, {})


def median_seconds(work: Callable[[], object], turns: int) -> float:
    taken = []
    for _ in range(turns + 1):  # the first warms up
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken[1:])


def peak_memory() -> int:
    """Bytes of this process that were ever resident at once, pages of memory-mapped files included."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def anonymous_memory() -> float:
    """Bytes of this process now that are no pages of files; NaN where the system does not tell."""
    lines = STATUS.read_text().splitlines() if STATUS.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon")), math.nan)


@contextlib.contextmanager
def anonymous_memory_watched() -> Iterator[list[float]]:
    """Looks at the anonymous memory every millisecond while the block runs."""
    seen: list[float] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.001):
            seen.append(anonymous_memory())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def bandwidth(turns: int) -> float:
    """Bytes a second at which numpy sums an array far larger than any cache."""
    values = np.ones(2**26, dtype=np.float32)
    return values.nbytes / median_seconds(values.sum, turns)


def measure(folder: Path, k: int, turns: int) -> dict[str, float]:
    """What one database costs; see the columns in `main`."""
    database, single, batch = (pv.FeatureStore(folder / name) for name in ("database", "single", "batch"))
    pv.retrieve(single, single, k)  # imports whatever is imported late
    before, anonymous = peak_memory(), anonymous_memory()
    with anonymous_memory_watched() as seen:
        pv.retrieve(batch, database, k)
    grown = peak_memory() - before
    time.sleep(0.5)  # the threads of BLAS spin for a while before they sleep, and would compete with what is timed next
    one = median_seconds(lambda: pv.retrieve(single, database, k), turns)
    many = median_seconds(lambda: pv.retrieve(batch, database, k), turns)
    matrix, speed = database.global_.nbytes, bandwidth(turns)
    return {
        "images": len(database),
        "matrix_bytes": matrix,
        "single_seconds": one,
        "batch_seconds_a_query": many / BATCH,
        "peak_memory_grown_bytes": grown,
        "anonymous_memory_grown_bytes": max([anonymous, *seen]) - anonymous,
        "memory_bytes_a_second": speed,
        "single_of_bandwidth": matrix / one / speed,
        "batch_of_bandwidth": matrix / many / speed,
        "batch_flops": 2 * matrix / 4 * BATCH / many,
    }


def apart(work: Callable, *arguments: object):
    """Runs a function in a fresh process: its peak memory starts at ours, which is why we import so little."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(work, *arguments).result()


def check_room(place: Path, images: int, components: int) -> None:
    needed, free = 4.2 * images * components, shutil.disk_usage(place).free
    if needed > free:
        raise SystemExit(
            f"{images} images need {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free: "
            "name a folder on a larger disk by --folder, or fewer --images"
        )


def row_of(result: dict[str, float]) -> str:
    cells = [
        f"{result['images']:,}",
        f"{result['matrix_bytes'] / 1e6:,.0f}",
        f"{result['single_seconds'] * 1e3:.3g}",
        f"{result['batch_seconds_a_query'] * 1e3:.3g}",
        f"{result['peak_memory_grown_bytes'] / 1e6:,.0f}",
        f"{result['anonymous_memory_grown_bytes'] / 1e6:,.0f}",
        f"{result['memory_bytes_a_second'] / 1e9:.1f}",
        f"{100 * result['single_of_bandwidth']:.0f} %",
        f"{100 * result['batch_of_bandwidth']:.0f} %",
        f"{result['batch_flops'] / 1e9:.0f}",
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 10_000, 100_000, 1_000_000], metavar="N")
    parser.add_argument("--components", type=int, default=512, metavar="D", help="of a descriptor (default: 512)")
    parser.add_argument("--candidates", type=int, default=100, metavar="K", help="a query (default: 100)")
    parser.add_argument("--turns", type=int, default=5, help="of which the median is taken (default: 5)")
    parser.add_argument(
        "--folder", type=Path, help="for the databases, on a real disk (default: the system's for such)"
    )
    parser.add_argument("--json", type=Path, help="write the numbers here, too")
    arguments = parser.parse_args()
    results = []
    for images in arguments.images:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as place:
            folder = Path(place)
            check_room(folder, images, arguments.components)
            for seed, (name, count) in enumerate({"database": images, "single": 1, "batch": BATCH}.items()):
                apart(write, folder / name, count, arguments.components, seed)
            results.append(apart(measure, folder, arguments.candidates, arguments.turns))
    machine = {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": os.environ.get("OPENBLAS_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS") or os.cpu_count(),
    }
    versions = {"python": platform.python_version(), "numpy": np.__version__, "patchvlad": pv.__version__}
    print(", ".join(f"{name} {value}" for name, value in {**machine, **versions}.items()), end="; ")
    print(f"{arguments.components} components, {arguments.candidates} candidates, median of {arguments.turns}\n")
    print(
        f"| images | matrix, MB | 1 query, ms | {BATCH} queries, ms each | peak memory, MB more | of it anonymous "
        f"| memory, GB/s | 1 query's share of it | {BATCH} queries' share | {BATCH} queries, Gflop/s |"
    )
    print("|---" * 10 + "|")
    print("\n".join(row_of(result) for result in results))
    if arguments.json:
        options = {name: getattr(arguments, name) for name in ("components", "candidates", "turns")}
        written = {"machine": machine, "versions": versions, **options, "batch": BATCH, "results": results}
        arguments.json.write_text(json.dumps(written, indent=1))


if __name__ == "__main__":
    main()

"""A hundred thousand generated photos through `extract` and `match`, watched: memory and open files must not grow.

    python tests/endurance.py [--photos 100000] [--queries 1000] [--figure docs/endurance.png]

Photos are 96 x 128 textures; a query is one of the database in other light. Memory is what a process has for itself
(RssAnon): pages of mapped files, which the system takes back whenever it likes, do not count. Linux only.
"""

import argparse
import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
import time
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

CONFIG = """[feature_extract]
cachebatchsize = 8
imageresizew = 128
imageresizeh = 96
storedtype = int8
[feature_match]
matcher = voting
n_values_all = 1,5,10,100
imageresizew = 128
imageresizeh = 96
patchweights2use = 0.5,0.5
globalweight2use = 0.5
leastspread = 0.02
[global_params]
pooling = patchnetvlad
model = lite
patch_sizes = 2,4
strides = 1,1
"""
HEIGHT, WIDTH = 96, 128
SETTLED = 0.01  # share of the photos after which memory must stay as it is; for `match` of the queries
GROWTH = 32.0  # MB by which it may


def photo(number: int) -> np.ndarray:
    """(96, 128, 3) uint8, another one for each number."""
    generator = np.random.default_rng(number)
    coarse = generator.integers(0, 256, (9, 12, 3), dtype=np.uint8)
    fine = generator.integers(-40, 41, (24, 32, 3)).astype(np.float32)
    made = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    return np.clip(made + cv2.resize(fine, (WIDTH, HEIGHT)), 0, 255).astype(np.uint8)


def write_photos(folder: Path, photos: int, queries: int) -> None:
    """database/, queries/ and gt.csv, a thousand photos per folder."""
    lines = ["query,positives"]
    for number in range(photos):
        path = folder / "database" / f"{number // 1000:03}" / f"{number:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), photo(number))
    (folder / "queries").mkdir()
    for number in range(queries):
        of = number * (photos // queries)
        other = np.clip(255 * (photo(of) / 255.0) ** 1.5 + 8, 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / "queries" / f"{number:04}.jpg"), other)
        lines.append(f"queries/{number:04}.jpg,database/{of // 1000:03}/{of:06}.jpg")
    (folder / "gt.csv").write_text("\n".join(lines) + "\n")


@dataclass
class Watched:
    """What was seen of a command: samples (photos done, MB, open files), seconds, and what it said."""

    name: str
    total: int
    samples: list[tuple[int, float, int]] = field(default_factory=list)
    seconds: float = 0.0
    said: str = ""

    def growth(self) -> float:
        """MB by which memory has grown after the first hundredth: the highest of each half is compared."""
        settled = [memory for done, memory, _ in self.samples if done >= SETTLED * self.total]
        half = len(settled) // 2
        return max(settled[half:]) - max(settled[:half]) if half else 0.0

    def most_files(self) -> tuple[int, int]:
        """Open files at the most, in the first and in the second half of the samples."""
        files = [opened for *_, opened in self.samples] or [0]
        half = len(files) // 2
        return max(files[: half + 1]), max(files[half:])


def watch(name: str, words: list[str], total: int) -> Watched:
    """Runs `patchvlad` with these words on a terminal of its own, whose progress bar says how far it is."""
    seen, started = Watched(name, total), time.perf_counter()
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("4H", 24, 100, 0, 0))
    process = subprocess.Popen([sys.executable, "-m", "patchvlad", *words], stdout=its, stderr=its)
    os.close(its)
    heard = b""
    while True:
        try:
            heard += os.read(ours, 1 << 16)
        except OSError:  # the terminal is closed: it has ended
            break
        counts = re.findall(rb"(\d+)/%d " % total, heard[-400:])
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{process.pid}/status").read_text()
            memory = re.search(r"RssAnon:\s+(\d+) kB", status)
            opened = len(os.listdir(f"/proc/{process.pid}/fd"))
            if memory and counts:
                seen.samples.append((int(counts[-1]), int(memory[1]) / 1024, opened))
    os.close(ours)
    seen.seconds = time.perf_counter() - started
    seen.said = heard.decode(errors="replace").replace("\r", "\n")
    if process.wait():
        raise SystemExit(f"{name} ended with {process.returncode}: {seen.said[-1000:]}")
    return seen


def run(folder: Path, photos: int, queries: int) -> tuple[list[Watched], dict[str, float]]:
    """Extracts and matches; returns what was seen of each command, and recall@1 of both stages."""
    write_photos(folder, photos, queries)
    (folder / "small.ini").write_text(CONFIG)
    described = ["--config", str(folder / "small.ini")]
    stores = {part: str(folder / f"stores/{part}") for part in ("database", "queries")}
    seen = [
        watch("extract", ["extract", str(folder / "database"), "--out", stores["database"], *described], photos),
        watch("extract queries", ["extract", str(folder / "queries"), "--out", stores["queries"], *described], queries),
    ]
    words = ["match", "--queries", stores["queries"], "--database", stores["database"], *described]
    words += ["--ground-truth", str(folder / "gt.csv"), "--out", str(folder / "results")]
    seen.append(watch("match", words, queries))
    found = re.findall(r"Recall (.+)@1: ([0-9.]+)", (folder / "results/recalls.txt").read_text())
    return seen, {stage: float(value) for stage, value in found}


def draw(path: Path, seen: list[Watched]) -> None:
    """Memory over photos done."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3), layout="constrained")
    for axes, watched in zip(figure.subplots(1, 2, sharey=True), (seen[0], seen[-1]), strict=True):
        done, memory, _ = zip(*watched.samples, strict=True)
        axes.plot(done, memory)
        axes.set(xlabel="photos" if watched is seen[0] else "queries", ylabel="memory [MB]", title=watched.name)
        axes.set_ylim(0, 300)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120, metadata={"Software": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--figure", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        seen, recalls = run(Path(folder), arguments.photos, arguments.queries)
    for watched in seen:
        memory = [memory for _, memory, _ in watched.samples] or [0.0]
        print(
            f"{watched.name}: {watched.seconds:.0f} s, at most {max(memory):.0f} MB, {watched.growth():+.1f} MB from "
            f"the first half to the second, {watched.most_files()[1] if watched.samples else 0} open files"
        )
    print("recall@1:", recalls)
    if arguments.figure:
        draw(arguments.figure, seen)


if __name__ == "__main__":
    main()

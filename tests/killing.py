"""Kills long commands before every step on disk and at random moments, runs them again, and compares all that is left.

    python tests/killing.py [--kills 500] [--seed 0] [--only extract]

Each command runs in a fork of this process, whose modules are imported already: a kill costs a fraction of a second.
What a killed command and the same command after it leave must be what one that nobody disturbed leaves, byte by byte,
and nothing besides.
"""

import argparse
import contextlib
import dataclasses
import importlib
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}  # threads do not live on in a fork

import generated_city
import tiny
import torch

from patchvlad.commands import packaged
from patchvlad.commands.main import main
from patchvlad.commands.table import COMMANDS
from patchvlad.model import checkpoints
from patchvlad.model.registry import BACKBONES

STEPS = ("rename", "replace", "unlink", "remove", "mkdir", "rmdir", "fsync", "ftruncate")  # of the module os
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
KILLED = 9
MEMORY = next((place for place in ("/dev/shm",) if os.access(place, os.W_OK)), None)  # a disk takes ten times as long
UNEQUAL = ("tensorboard",)  # folders that hold times


@dataclasses.dataclass(frozen=True)
class Job:
    """A command, what must be there before it, and the command that goes on after it was killed."""

    words: str
    prepare: Callable[[], None]
    again: Callable[[], str] | None = None


def photos() -> None:
    tiny.write_photos(Path("photos"))
    tiny.write_model(Path("tiny.safetensors"))
    tiny.write_config(Path("tiny.ini"), "model = tiny.safetensors")


def other_store() -> None:
    photos()
    tiny.write_model(Path("other.safetensors"), components=7)
    run("extract photos --config tiny.ini --model other.safetensors --out store")


def other_results() -> None:
    photos()
    run("match --queries photos/database --database photos/database --config tiny.ini --out results")


def results() -> None:
    photos()
    run("match --queries photos/queries --database photos/database --config tiny.ini --out results")


def damaged_store() -> None:
    photos()
    run("extract photos --config tiny.ini --out store")
    path = Path("store/patches_2.npy")
    data = bytearray(path.read_bytes())
    for place in (len(data) // 2, len(data) - 3):
        data[place] ^= 0xFF
    path.write_bytes(data)


def city() -> None:
    generated_city.write_msls(Path("msls"), count=6)
    tiny.write_model(Path("tiny.safetensors"))


TRAIN = "train msls --model tiny.safetensors --size 96 128 --epochs 2 --batch 3 --recipe paper --workers 1"
MATCH = "match --queries photos/queries --database photos/database --config tiny.ini --out results"
JOBS = {
    "extract": Job("extract photos --config tiny.ini --batch 2 --out store", photos),
    "extract --overwrite": Job("extract photos --config tiny.ini --batch 3 --out store --overwrite", other_store),
    "match": Job(f"{MATCH} --ground-truth photos/gt.csv --figures 1", photos),
    "match --overwrite": Job(f"{MATCH} --ground-truth photos/gt.csv --overwrite", other_results),
    "train": Job(
        f"{TRAIN} --out run",
        city,
        lambda: "train msls --resume run --workers 1" if Path("run/state.pt").is_file() else f"{TRAIN} --out run",
    ),
    "fit": Job("fit photos --out mine.safetensors --clusters 3 --components 6 --images 4 --samples 60", photos),
    "add-pca": Job(
        "add-pca tiny.safetensors photos/database --components 4 --images 4 --out white.safetensors", photos
    ),
    "fetch": Job("fetch lists", lambda: None),
    "evaluate": Job("evaluate results --ground-truth photos/gt.csv --json n.json --figure f.png", results),
    "export": Job("export results/stores/database --format descriptors --out global.h5", results),
}
if "verify" in COMMANDS:
    JOBS["verify --repair"] = Job("verify store --repair", damaged_store)


def run(words: str) -> None:
    code = main(words.split())
    assert code == 0, (words, code)


# --- children -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def wheel(_: object) -> Iterator[zipfile.ZipFile]:
    """Stands for the reference's wheel."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name in (*packaged.LISTS, *packaged.EXAMPLES):
            archive.writestr(f"patchnetvlad/{name}", name * 10)
    with zipfile.ZipFile(held) as archive:
        yield archive


def set_up() -> None:
    """A small network in all places, one thread, and no network."""
    torch.set_num_threads(1)
    BACKBONES._things["tiny"] = tiny.TinyBackbone
    BACKBONES._aliases["lite"] = "tiny"
    packaged.fetched = wheel  # type: ignore[assignment]
    torch.manual_seed(3)
    weights = tiny.TinyBackbone().state_dict()
    checkpoints.imagenet_weights = lambda *_: weights  # type: ignore[assignment]
    for module, _ in COMMANDS.values():
        importlib.import_module(module)
    for module in ("evaluate.figures", "train.loop", "train.fitting", "features.extraction", "results.folder"):
        importlib.import_module(f"patchvlad.{module}")
    with contextlib.suppress(ImportError):
        __import__("torch.utils.tensorboard")
    import faiss
    import h5py
    import matplotlib.backends.backend_agg
    import matplotlib.font_manager  # noqa: F401

    faiss.omp_set_num_threads(1)
    assert h5py.version.version


def child(folder: Path, work: Callable[[], int | None]) -> int:
    """Forks; the child does the work in the folder and says nothing -> its process number."""
    number = os.fork()
    if number:
        return number
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # as patchvlad.commands.start does
        os.chdir(folder)
        os.environ["PATCHVLAD_CACHE"] = str(folder / "cache")
        with open(folder.parent / "said", "w") as said:
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
        code = work() or 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def wait(number: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


def counting(work: Callable[[], int | None], place: Path) -> int | None:
    """Does the work and leaves the number of its steps in a file."""
    steps = [0]
    watch(lambda: steps.__setitem__(0, steps[0] + 1))
    code = work()
    place.write_text(str(steps[0]))
    return code


def dying(work: Callable[[], int | None], left: int) -> int | None:
    """Does the work, and dies before that step."""
    steps = [left]

    def step() -> None:
        if steps[0] == 0:
            os._exit(KILLED)
        steps[0] -= 1

    watch(step)
    return work()


def watch(step: Callable[[], None]) -> None:
    def watched(function: Callable) -> Callable:
        def call(*words, **more):
            step()
            return function(*words, **more)

        return call

    for name in STEPS:
        setattr(os, name, watched(getattr(os, name)))


# --- kills ----------------------------------------------------------------------------------------------------------


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else b""
        for path in sorted(folder.rglob("*"))
        if not set(UNEQUAL) & set(path.relative_to(folder).parts)
    }


class Bench:
    """A command in its place, and what it leaves when nobody disturbs it."""

    def __init__(self, job: Job, place: Path) -> None:
        self.job, self.place = job, place
        self.before, self.now = place / "before", place / "now"
        self.before.mkdir(parents=True)
        assert wait(child(self.before, job.prepare)) == 0, (place / "said").read_text()  # type: ignore[arg-type]
        self.fresh()
        started = time.monotonic()
        assert wait(child(self.now, lambda: counting(self.work, place / "steps"))) == 0, (place / "said").read_text()
        self.seconds = time.monotonic() - started
        self.steps = int((place / "steps").read_text())
        self.whole = contents(self.now)

    def work(self) -> int:
        return main(self.job.words.split())

    def work_again(self) -> int:
        return main((self.job.again() if self.job.again else self.job.words).split())

    def fresh(self) -> None:
        shutil.rmtree(self.now, ignore_errors=True)
        shutil.copytree(self.before, self.now)

    def kill(self, step: int | None, generator: random.Random) -> str:
        """Kills once, before a step or at a random moment; returns what is wrong afterwards, "" if nothing is."""
        self.fresh()
        if step is not None:
            code = wait(child(self.now, lambda: dying(self.work, step)))
            what = f"before step {step}"
            if code != KILLED:
                return f"{what}: it was not killed but ended with {code}: {self.said()}"
        else:
            moment, number = generator.uniform(0, self.seconds), generator.choice(SIGNALS)
            process = child(self.now, self.work)
            time.sleep(moment)
            os.kill(process, number)
            code = wait(process)
            what = f"by {number.name} after {moment:.3f} s of {self.seconds:.3f}"
            if code not in (0, -number, 128 + number):
                return f"{what}: it ended with {code}: {self.said()}"
            if "Traceback" in self.said():
                return f"{what}: {self.said()}"
        code = wait(child(self.now, self.work_again))
        if code:
            return f"{what}: the same command ends with {code}: {self.said()}"
        left = contents(self.now)
        wrong = sorted(name for name in left.keys() | self.whole.keys() if left.get(name) != self.whole.get(name))
        return f"{what}: {', '.join(wrong)} are not as they should be" if wrong else ""

    def said(self) -> str:
        return (self.place / "said").read_text()[-2000:]


def kill_all(place: Path, kills: int, seed: int = 0, only: str = "") -> dict[str, dict]:
    """Kills so many times, two thirds of them before steps, as far as there are as many.

    Returns:
        for each command how many steps it has, how often it was killed, and what was wrong.
    """
    generator = random.Random(seed)
    benches = {name: Bench(job, place / str(n)) for n, (name, job) in enumerate(JOBS.items()) if only in name}
    steps = [(name, step) for name, bench in benches.items() for step in range(bench.steps)]
    many = min(len(steps), kills * 2 // 3)
    chosen = [steps[i * len(steps) // many] for i in range(many)]
    names = list(benches)
    moments = [(names[i % len(names)], None) for i in range(kills - len(chosen))]
    found: dict[str, dict] = {
        name: {"steps": bench.steps, "at steps": 0, "at moments": 0, "wrong": []} for name, bench in benches.items()
    }
    for name, step in (*chosen, *moments):
        wrong = benches[name].kill(step, generator)
        found[name]["at moments" if step is None else "at steps"] += 1
        if wrong:
            found[name]["wrong"].append(wrong)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    set_up()
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        outcome = kill_all(Path(folder), given.kills, given.seed, given.only)
    print(json.dumps(outcome, indent=1))
    sys.exit(any(one["wrong"] for one in outcome.values()))

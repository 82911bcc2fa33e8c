"""The results folder: written whole or not at all, whatever moment its writer dies in, and read as it was written."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from patchvlad.errors import GroundTruthError, MismatchError
from patchvlad.files import leftovers
from patchvlad.images.sides import Sides
from patchvlad.results.checking import CHECKSUMS
from patchvlad.results.folder import (
    RERANKED,
    RETRIEVED,
    Making,
    Results,
    check_free,
    lists_in,
    read_making,
    stages_in,
    write_results,
)
from patchvlad.results.predictions import Asked, read_predictions
from patchvlad.search.ranking import Ranking

NAMES = Sides(("a.jpg", "b.jpg"), ("1.jpg", "2.jpg", "3.jpg"))
MAKING = Making(
    *("0.2.0", "lite", "lite", "f" * 64, (480, 640), "float32", "int8", (2, 5), "voting", (0.4, 0.6), 3, None, 0.5, 1),
    *("own descriptors", "flat", {"images": 2, "sha256": "q"}, {"images": 3, "sha256": "d"}),
)


def results(first: int = 0, reranked: bool = True, recalls: bool = True) -> Results:
    """Results whose best match is a given row."""
    indices = np.array([[first, (first + 1) % 3]] * 2)
    scores = np.array([[2.0, 1.0]] * 2, dtype=np.float32)
    stages = {RETRIEVED: Ranking(indices, scores, *NAMES)}
    if reranked:
        stages[RERANKED] = replace(stages[RETRIEVED], confidences=scores / 10)
    counted = {stage: {1: 0.5} for stage in stages} if recalls else {}
    return Results(NAMES, stages, MAKING, counted, "counted so")


def draw(folder: Path) -> list[Path]:
    folder.mkdir()
    (folder / "000000_a.png").write_bytes(b"picture")
    return [folder / "000000_a.png"]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    assert write_results(tmp_path / "r", results(), draw) == [tmp_path / "r" / "figures" / "000000_a.png"]
    assert sorted(contents(tmp_path / "r").keys() - {CHECKSUMS}) == [
        *("NetVLAD_predictions.txt", "PatchNetVLAD_confidences.txt", "PatchNetVLAD_predictions.txt", "database.txt"),
        *("figures/000000_a.png", "queries.txt", "recalls.txt", "results.json"),
    ]
    assert read_making(tmp_path / "r") == MAKING
    assert lists_in(tmp_path / "r") == NAMES
    assert list(stages_in(tmp_path / "r")) == [RETRIEVED, RERANKED]


def test_results_of_0_1_0_are_read_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(
        json.dumps(
            {
                **{
                    "patchvlad": "0.1.0",
                    "preset": "lite",
                    "model": "lite",
                    "fingerprint": "ca29",
                    "image_size": [4, 6],
                },
                **{"precision": "float32", "store_dtype": "int8", "patch_sizes": [2, 5, 8], "matcher": "voting"},
                **{"weights": [0.45, 0.15, 0.4], "candidates": 100, "reranked": None, "time_budget": None, "group": 1},
                **{"retrieved_by": "own descriptors", "queries": {"images": 2}, "database": {"images": 3}},
            }
        )
    )
    made = read_making(tmp_path)
    assert made is not None and (made.image_size, made.patch_sizes) == ((4, 6), (2, 5, 8))
    assert made.describe(RERANKED) == (
        "preset lite, model lite ca29, 4 x 6 px, 100 candidates by own descriptors, all re-ranked by voting, "
        "patchvlad 0.1.0"
    )
    assert lists_in(tmp_path) is None
    with pytest.raises(GroundTruthError, match=r"holds no NetVLAD_predictions\.txt"):
        stages_in(tmp_path)


def test_new_results_leave_nothing_of_the_old_and_all_of_others(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "my own.png").write_text("mine")
    write_results(tmp_path, results(), draw)
    write_results(tmp_path, results(1, reranked=False, recalls=False))
    assert sorted(contents(tmp_path).keys() - {CHECKSUMS}) == [
        *("NetVLAD_predictions.txt", "database.txt", "figures/my own.png", "notes.txt", "queries.txt", "results.json")
    ]


def test_other_photos_are_refused_and_the_message_says_what_is_there(tmp_path: Path) -> None:
    write_results(tmp_path, results())
    check_free(tmp_path, NAMES)
    check_free(tmp_path / "new", NAMES)
    other = Sides(("a.jpg", "z.jpg"), NAMES.database)
    there = "holds results of 2 queries and 3 database images, which are other photos"
    with pytest.raises(MismatchError, match=rf"{there} \(z\.jpg is new\)\. Use another --out, or --overwrite"):
        check_free(tmp_path, other)
    check_free(tmp_path, other, overwrite=True)


# Kills the writer of new results before its n-th step on disk, n from 0 until it gets through, and shows what is left.
KILLED = """
import os, shutil, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_results as here

old, copy, step = Path(sys.argv[2]), Path(sys.argv[3]), 0
while True:
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(old, copy)
    child = os.fork()
    if not child:
        left = step
        def dying(function):
            def call(*words, **more):
                global left
                if left == 0:
                    os._exit(9)
                left -= 1
                return function(*words, **more)
            return call
        for name in ("rename", "replace", "mkdir", "rmdir", "unlink", "fsync"):
            setattr(os, name, dying(getattr(os, name)))
        here.write_results(copy, here.results(1), here.draw)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    here.check_whole(copy, old, step)
    if code == 0:
        break
    step += 1
print(step)
"""


def check_whole(folder: Path, old: Path, step: int) -> None:
    """Whatever is left: no file of the old set beside one of the new, and a reader sees one of the two, whole."""
    before = contents(old)
    seen = {name: data for name, data in contents(folder).items() if not name.startswith(".")}
    written = {name for name in seen if before.get(name) != seen[name]}
    # These are the same in both; of the others, all are old or all are new.
    both = {"queries.txt", "database.txt", "results.json", "figures/000000_a.png", "recalls.txt"}
    assert not written or written >= set(seen) - both, (step, sorted(seen), sorted(written))
    first = read_predictions(folder, Asked(*NAMES, (2, 3)))[0]
    assert len(first) == 2, step
    assert len({int(one.ranking.indices[0, 0]) for one in first}) == 1, step
    assert first[1].ranking.confidences is not None
    after = contents(folder)
    assert {name for name in after if not name.startswith(".")} == set(before), step
    write_results(folder, results(2), draw)  # the next one goes through, and leaves nothing behind
    assert sorted(contents(folder)) == sorted(before), (step, sorted(contents(folder)))


@pytest.mark.skipif(not hasattr(sys, "gettrace") or sys.platform == "win32", reason="needs fork")
def test_a_killed_writer_leaves_old_results_or_new_ones(tmp_path: Path) -> None:
    write_results(tmp_path / "old", results(), draw)
    command = [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(tmp_path / "old"), str(tmp_path / "copy")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20  # steps that it was killed at


def test_what_dead_writers_leave_is_swept_and_living_ones_are_left(tmp_path: Path) -> None:
    machine = leftovers.mark().split("-")[2]
    dead, alive = tmp_path / f".partial-999999999-{machine}-1", tmp_path / leftovers.mark()
    for folder in (dead, alive):
        folder.mkdir()
        (folder / "x").write_text("")
    write_results(tmp_path, results())
    assert not dead.exists()
    assert alive.exists()


def test_an_error_while_drawing_leaves_the_old_results(tmp_path: Path) -> None:
    write_results(tmp_path, results(), draw)
    before = contents(tmp_path)

    def broken(folder: Path) -> list[Path]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_results(tmp_path, results(1), broken)
    assert contents(tmp_path) == before

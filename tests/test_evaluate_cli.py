"""The commands around ground truths and predictions, as users meet them."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import generated_city
import h5py
import numpy as np
import pytest
from PIL import Image
from tiny import TinyBackbone, write_config, write_gps, write_model, write_photos

from patchvlad.commands.main import main
from patchvlad.features.global_descriptors import write_global_descriptors
from patchvlad.features.store import FeatureStore
from patchvlad.images.lists import ImageList
from patchvlad.model.registry import BACKBONES
from patchvlad.places.ground_truth import GroundTruth

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module", autouse=True)
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with photos, their ground truth, and what matching them gave."""
    folder = tmp_path_factory.mktemp("world")
    write_photos(folder / "photos")
    write_model(folder / "tiny.safetensors")
    write_config(folder / "tiny.ini", "model = tiny.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES._things, "tiny", TinyBackbone)
        words = ["match", *sides(folder), "--config", folder / "tiny.ini", "--out", folder / "results"]
        assert main([str(word) for word in words]) == 0
        yield folder


def sides(world: Path) -> list:
    return ["--queries", world / "photos/queries", "--database", world / "photos/database"]


def works(run: Run, *words) -> str:
    code, out, err = run(*words)
    assert code == 0, err
    return out


def flat(text: str) -> str:
    """Tables without their alignment."""
    return " ".join(text.split())


# --- list, ground-truth ---------------------------------------------------------------------------------------------


def test_lists_are_natural_relative_and_read_back(world: Path, run: Run) -> None:
    out = works(run, "list", world / "photos/database")
    assert out.splitlines() == [f"street/{place}.png" for place in (1, 2, 3, 4, 10)]
    out = works(run, "list", world / "photos/database", "--root", world / "photos", "--out", "deep/l.txt")
    assert out == f"deep/l.txt: 5 images, in natural order, relative to {world / 'photos'}\n"
    assert ImageList.read("deep/l.txt", world / "photos").names[4] == "database/street/10.png"
    assert not ImageList.read("deep/l.txt", world / "photos").missing()
    code, _, err = run("list", world / "photos/database", "--root", world / "photos/queries")
    assert code == 2
    assert "does not lie below" in err


def test_a_ground_truth_is_made_told_and_used(world: Path, run: Run) -> None:
    Path("p.csv").write_text(
        "image,easting,northing\nqueries/a.png,0,0\nqueries/b.png,500,0\n"
        "database/street/1.png,-200,0\ndatabase/street/2.png,0,26\ndatabase/street/3.png,3,4\n"
        "database/street/4.png,999,0\ndatabase/street/10.png,700,0\n"
    )
    for name in ("gt.npz", "gt.csv"):
        out = works(run, "ground-truth", *sides(world), "--from", "p.csv", "--out", name)
        assert out.splitlines() == [
            "2 queries, 5 database images, positives within 25 m (p.csv, UTM)",
            "          0 positives:      1 query",
            "          1 positive :      1 query",
            "without any: b.png",
            f"written to {name}",
        ]
        said = flat(works(run, "evaluate", world / "results", "--ground-truth", name, "--ks", "1,2"))
        assert "results PatchNetVLAD 50.0" in said
        assert "2 queries, 1 without a positive counted as missed, 5 database images" in said
        said = works(run, "evaluate", world / "results", "--ground-truth", name, "--denominator", "answerable")
        assert "results PatchNetVLAD 100.0" in flat(said)
    assert Path("gt.csv").read_text() == "query,positives\na.png,street/3.png\nb.png,\n"
    wider = works(run, "evaluate", world / "results", "--ground-truth", "gt.npz", "--radius", "300", "--ks", "1")
    assert "positives within 300 m" in wider
    assert "results PatchNetVLAD 100.0" in flat(wider)


def test_exif_and_names_are_found_by_themselves(run: Run) -> None:
    write_gps(Path("q/a.jpg"), 48.0, 11.0)
    write_gps(Path("d/1.jpg"), 48.0, 11.0001)
    out = works(run, "ground-truth", "--queries", "q", "--database", "d", "--out", "gt.npz")
    assert "positives within 25 m (EXIF GPS, UTM zone 32N)" in out
    for name in ("u/@0@0@.jpg", "v/@0@9@.jpg"):
        Path(name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(name)
    assert "(file names, UTM)" in works(run, "ground-truth", "--queries", "u", "--database", "v", "--out", "gt.csv")


def test_photos_on_both_sides_are_warned_of(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    write_gps(Path("q/a.jpg"), 48.0, 11.0)
    works(run, "ground-truth", "--queries", "q", "--database", "q", "--out", "gt.npz")
    said = "1 photo is on both sides, a.jpg: "
    assert [message for message in caplog.messages if said in message] == [
        f"{said}no photo is an answer to itself (--no-exclude-self changes that)"
    ]
    assert not GroundTruth.read("gt.npz").answerable.any()
    caplog.clear()
    works(run, "ground-truth", "--queries", "q", "--database", "q", "--out", "gt.npz", "--no-exclude-self")
    assert f"{said}each is its own best answer, and a positive of itself" in caplog.messages
    assert GroundTruth.read("gt.npz").answerable.all()


def test_frames(world: Path, run: Run) -> None:
    out = works(run, "ground-truth", *sides(world), "--frames", "0", "--frame-step", "4", "--out", "gt.npz")
    assert "positives within 0 frames, every query 4 frames after the last" in out


MISTAKES = {
    "no positions": (1, "ground-truth {sides} --out g.npz", "a.png has no position (2 of 2 have none)"),
    "lists positives": (1, "ground-truth {sides} --from {gt} --out g.npz", "write a .csv"),
    "suffix": (2, "ground-truth {sides} --out g.txt", "a ground truth is written as .npz or .csv"),
    "two sources": (2, "ground-truth {sides} --from exif x.csv --out g.npz", "exif stands alone"),
    "no table": (1, "ground-truth {sides} --from nowhere.csv --out g.npz", "nowhere.csv cannot be read as a csv"),
    "empty table": (1, "ground-truth {sides} --from empty.csv --out g.npz", "empty.csv lists no photo"),
    "unknown dataset": (2, "check-dataset x .", "unknown dataset 'x': choose from pitts30k"),
    "no dataset": (1, "check-dataset pitts30k .", "is not pitts30k as published: 2 problems, listed above"),
    "nothing": (2, "evaluate --ground-truth {gt}", "there is nothing to evaluate"),
    "no truth": (2, "evaluate {results}", "without --ground-truth or poses nothing can be measured"),
    "half the poses": (2, "evaluate {results} --query-poses p.txt", "go together: give both"),
    "ks": (2, "evaluate {results} --ground-truth {gt} --ks 0,1", "must be at least 1, not 0"),
    "no predictions": (1, "evaluate nowhere --ground-truth {gt}", "nowhere does not exist: give predictions"),
    "groups": (2, "evaluate {results} --ground-truth {gt} --group 2", "5 database images do not make groups of 2"),
    "groups of a csv": (2, "evaluate pairs.txt --ground-truth {gt} --group 2", "give its list with --database"),
    "no names": (1, "evaluate pairs.txt --ground-truth r.npz", "give the image lists with --queries and --database"),
    "other names": (1, "evaluate other.txt --ground-truth {gt}", "names no image of the queries: it has 'z.png'"),
    "other length": (1, "evaluate {results} --ground-truth r.npz", "positions of 1 images for the queries, but 2 were"),
    "descriptors of a csv": (2, "evaluate --descriptors q.npy d.npy --ground-truth {gt}", "give the lists with"),
    "no store": (2, "export {results} --format descriptors --out g.h5", "is not a store, so it holds no descriptors"),
    "no poses": (2, "export {results} --format ltvl --out p.txt", "give those of the database with --database-poses"),
    "prefix": (2, "export {results} --format msls --query-prefix q/ --out p.txt", "means nothing with --format msls"),
    "twice": (1, "evaluate {results} --ground-truth {gt} --queries twice.txt", "twice.txt lists a.png twice"),
    "no stage": (2, "export pairs.txt --format hloc --stage NetVLAD --out p.txt", "choose from pairs"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_one_clear_line(mistake: str, world: Path, run: Run) -> None:
    expected, line, said = MISTAKES[mistake]
    Path("empty.csv").write_text("image,lat,lon\n")
    Path("pairs.txt").write_text("a.png street/3.png\n")
    Path("other.txt").write_text("z.png street/3.png\n")
    Path("twice.txt").write_text("a.png\na.png\n")
    np.savez("r.npz", utmQ=[[0, 0]], utmDb=[[0, 3]] * 5, posDistThr=5)
    places = {"sides": " ".join(map(str, sides(world))), "gt": world / "photos/gt.csv", "results": world / "results"}
    code, _, err = run(*line.format(**places).split())
    assert (code, said in err) == (expected, True), err
    assert len([part for part in err.splitlines() if "error:" in part]) == 1
    assert "Traceback" not in err


# --- datasets -------------------------------------------------------------------------------------------------------


def test_datasets_are_listed_with_how_they_are_counted(run: Run) -> None:
    out = works(run, "datasets")
    assert "tokyo247: Tokyo 24/7\n    315 queries, 75984 database images; 25 m, best of 12 cut-outs, all queries" in out
    assert out.count("\nnordland-") == 4


def test_a_dataset_is_checked_written_and_matched(world: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from patchvlad.places import benchmarks

    generated_city.write_city(Path(), "cph", 0, 6)
    code, out, err = run("check-dataset", "msls-val-cph", ".")
    assert code == 1
    assert "  database: 6 images, there should be 12556\n  queries: 6 have a positive, 498 should\n" in out
    assert "Its source is mapillary.com/dataset/places" in err
    known = benchmarks.benchmarks()["msls-val-cph"]
    monkeypatch.setitem(benchmarks.benchmarks(), known.name, replace(known, query_count=6, database_count=6, group=2))
    out = works(run, "check-dataset", "msls-val-cph", ".", "--write", "made")
    assert "complete\nwritten to made; now\n  patchvlad match --queries made/queries.txt " in out
    command = out.splitlines()[-1].split()[1:]
    assert works(run, *command, "--config", world / "tiny.ini", "--candidates", 3).endswith("written to results\n")
    lines = Path("results/NetVLAD_predictions.txt").read_text().splitlines()[2:]
    assert len(lines) == 6 * 3  # the best of each pair of images
    out = works(run, "evaluate", "results", "--ground-truth", "made/gt.npz", "--dataset", "msls-val-cph")
    assert "recall over answerable queries\n          best of 2 images per group" in out


# --- evaluate -------------------------------------------------------------------------------------------------------


def test_several_methods_stand_side_by_side(world: Path, run: Run) -> None:
    works(run, "export", world / "results", "--format", "hloc", "--out", "pairs.txt", "--top", "2")
    works(run, "export", world / "results", "--format", "msls", "--out", "keys.txt", "--stage", "NetVLAD")
    np.save("rows.npy", np.array([[4, 2], [4, 0]]))
    out = works(
        *(run, "evaluate", world / "results", "pairs.txt", "keys.txt", "rows.npy", "rows.npy"),
        *("--row-order", "natural"),
        *("--ground-truth", world / "photos/gt.csv", *sides(world)),
        *("--ks", "1,2", "--json", "n.json", "--figure", "f.png"),
    )
    said = json.loads(Path("n.json").read_text())
    recalls = {method["name"]: method["recall"]["1"] for method in said["methods"]}
    names = ["results NetVLAD", "results PatchNetVLAD", "pairs", "keys", "rows", "rows (2)"]
    assert list(recalls) == names
    assert recalls["results PatchNetVLAD"] == recalls["pairs"] == 1
    assert recalls["keys"] == recalls["results NetVLAD"]
    assert recalls["rows"] == 0.5
    assert said["methods"][1]["made_by"]["matcher"] == "ransac"
    assert said["methods"][1]["made_by"]["fingerprint"]
    assert said["protocol"]["database"] == 5
    assert "recall@1 against results NetVLAD" in out
    assert out.endswith("written to n.json\ndrawn into f.png\n")


def test_a_csv_alone_is_enough_and_says_what_it_does_not_know(
    world: Path, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    works(run, "export", world / "results", "--format", "kapture", "--out", "pairs.txt", "--query-prefix", "q/")
    out = works(run, "evaluate", "pairs.txt", "--ground-truth", world / "photos/gt.csv", "--ks", "1")
    assert "pairs 100.0" in flat(out)
    *exchanged, said = caplog.messages
    assert exchanged == ["pairs.txt: q/a.png is taken for queries/a.png of the queries"]
    assert said.startswith("the database is taken to be what is named (") and said.endswith(": --database gives all")


def test_descriptors_of_another_method_are_evaluated_and_reranked(world: Path, run: Run) -> None:
    # A method that is always wrong: queries look like the next place.
    stores = {name: FeatureStore(world / "results/stores" / name) for name in ("queries", "database")}
    turned = np.roll(stores["database"].global_, 1, axis=0)[[2, 4]]
    write_global_descriptors("q.npy", stores["queries"].names, turned)
    write_global_descriptors("d.h5", stores["database"].names, stores["database"].global_)
    truth = ["--ground-truth", world / "photos/gt.csv"]
    out = works(run, "evaluate", "--descriptors", "q.npy", "d.h5", *sides(world), *truth, "--ks", "1,2")
    assert "q 0.0 [0.0, 65.8]" in flat(out)
    words = ["--queries", world / "results/stores/queries", "--database", world / "results/stores/database"]
    out = works(
        run,
        "match",
        *words,
        "--config",
        world / "tiny.ini",
        "--descriptors",
        "q.npy",
        "d.h5",
        "--out",
        "r",
        "--candidates",
        5,
        *truth,
    )
    assert "NetVLAD 0.0" in flat(out)
    assert "PatchNetVLAD 100.0" in flat(out)  # patches find the place among the candidates
    assert json.loads(Path("r/results.json").read_text())["retrieved_by"] == "other descriptors"


def test_poses_are_transferred_measured_and_submitted(world: Path, run: Run) -> None:
    Path("db.txt").write_text("".join(f"street/{i}.png 1 0 0 0 {i} 0 0\n" for i in (1, 2, 3, 4, 10)))
    Path("q.txt").write_text("a.png 1 0 0 0 3.2 0 0\nb.png 1 0 0 0 7 0 0\n")
    poses = ["--query-poses", "q.txt", "--database-poses", "db.txt"]
    out = works(run, "evaluate", world / "results", *poses)
    assert "results PatchNetVLAD 50.0 50.0 100.0 (2 queries, pose of the best match)" in flat(out)
    assert "poses: q.txt, read as ltvl\nposes: db.txt, read as ltvl\n" in out
    out = works(run, "export", world / "results", "--format", "ltvl", "--database-poses", "db.txt", "--out", "sub.txt")
    assert out == "sub.txt: poses of 2 of 2 queries, copied from their best match\n"
    assert Path("sub.txt").read_text() == "a.png 1.0 0.0 0.0 0.0 3.0 0.0 0.0\nb.png 1.0 0.0 0.0 0.0 10.0 0.0 0.0\n"


def test_a_store_is_exported_as_hloc_reads_it(world: Path, run: Run) -> None:
    store = FeatureStore(world / "results/stores/database")
    out = works(run, "export", store.folder, "--format", "descriptors", "--map-prefix", "db/", "--out", "g.h5")
    assert out == "g.h5: 5 global descriptors of 12 components\n"
    with h5py.File("g.h5") as file:
        np.testing.assert_array_equal(file["db/street/10.png"]["global_descriptor"], store.global_[4])


def test_another_set_is_not_passed_off_as_a_benchmark(world: Path, run: Run, caplog: pytest.LogCaptureFixture) -> None:
    truth = ["--ground-truth", world / "photos/gt.csv"]
    works(run, "evaluate", world / "results", *truth, "--dataset", "pitts30k", "--ks", "1,2")
    said = "2 queries instead of 6816; 5 database images instead of 10000; positives are listed, not found by distance"
    assert caplog.messages == [f"this is not pitts30k as published: {said}"]
    caplog.clear()
    works(run, "match", *sides(world), "--config", world / "tiny.ini", "--out", "r", *truth, "--dataset", "pitts30k")
    assert f"this is not pitts30k as published: {said}" in caplog.messages


def test_the_references_own_nordland_is_the_protocol_that_bears_its_name(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    """Its file places frame i at (i, i) and says 10, which lets 7 frames pass."""
    frames = np.repeat(np.arange(3)[:, None], 2, axis=1)
    np.savez("nordland.npz", utmQ=frames, utmDb=frames, posDistThr=10)
    np.save("rows.npy", frames[:, :1])
    words = [
        "evaluate",
        "rows.npy",
        "--ground-truth",
        "nordland.npz",
        "--dataset",
        "nordland-patchnetvlad",
        "--ks",
        "1",
    ]
    out = works(run, *words)
    said = "3 queries instead of 27592; 3 database images instead of 27592"
    assert caplog.messages[-1] == f"this is not nordland-patchnetvlad as published: {said}"
    assert "error [m]" not in out  # its numbers are frames


def test_groups_of_match_are_recorded_and_told(world: Path, run: Run) -> None:
    Path("d.txt").write_text("".join(f"street/{i}.png\n" for i in (1, 2, 3, 4)))
    words = ["--queries", world / "photos/queries", "--database", "d.txt", "--root", world / "photos/database"]
    works(run, "match", *words, "--config", world / "tiny.ini", "--out", "r", "--group", "2")
    assert json.loads(Path("r/results.json").read_text())["group"] == 2
    Path("gt.csv").write_text("query,positives\na.png,street/3.png\nb.png,\n")
    assert "the best of 2 images per group, all re-ranked" in works(run, "evaluate", "r", "--ground-truth", "gt.csv")


def test_recall_beyond_what_was_found_is_told(world: Path, run: Run, caplog: pytest.LogCaptureFixture) -> None:
    works(run, "export", world / "results", "--format", "hloc", "--top", "1", "--out", "p.txt")
    works(run, "evaluate", "p.txt", "--ground-truth", world / "photos/gt.csv", *sides(world), "--ks", "1,3")
    assert caplog.messages == ["p: at most 1 image per query: recall beyond @1 does not rise"]


def test_targets_that_are_folders_are_named(world: Path, run: Run) -> None:
    Path("x.json").mkdir()
    truth = ["--ground-truth", world / "photos/gt.csv"]
    code, _, err = run("evaluate", world / "results", *truth, "--json", "x.json")
    said = "patchvlad: error: x.json cannot be written: it is a folder: choose another place"
    assert (code, err.splitlines()[-1]) == (1, said)
    code, _, err = run("export", world / "results", "--format", "hloc", "--out", ".")
    assert (code, err.splitlines()[-1]) == (1, said.replace("x.json", "."))


def test_groups_keep_the_best_of_each(world: Path, run: Run) -> None:
    np.save("rows.npy", np.array([[2, 3, 0], [4, 5, 0]]))
    np.savez("r.npz", utmQ=[[3, 0], [0, 0]], utmDb=[[i, 0] for i in range(6)], posDistThr=0)
    out = works(run, "evaluate", "rows.npy", "--ground-truth", "r.npz", "--ks", "1,2", "--group", "2")
    assert "rows 0.0 [0.0, 65.8] 50.0" in flat(out)

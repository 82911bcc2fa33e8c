"""Files of rows: which images they are about, where a folder's natural order and the alphabetical one differ."""

import logging
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_ground_truth import write_npy
from test_images import touch

from patchvlad.errors import GroundTruthError, StoreError
from patchvlad.features.global_descriptors import GlobalDescriptors, names_in_hdf5, write_global_descriptors
from patchvlad.images.lists import ImageList
from patchvlad.images.row_order import RowOrder
from patchvlad.images.sides import Sides
from patchvlad.places.ground_truth import GroundTruth
from patchvlad.places.truth_making import make_ground_truth
from patchvlad.results.predictions import Asked, read_predictions
from patchvlad.search.ranking import Ranking

NATURAL = ("1.jpg", "2.jpg", "10.jpg")
SORTED = ("1.jpg", "10.jpg", "2.jpg")


def folder(path: Path) -> ImageList:
    return ImageList.read(touch(path, *NATURAL))


def truth_files(path: Path) -> dict[str, Path]:
    """A truth of rows in alphabetical order: every query's only positive is the database image of its own name."""
    npz = path / "gt.npz"
    points = np.array([[0, 0], [100, 0], [200, 0]])
    np.savez(npz, utmQ=points, utmDb=points, posDistThr=25)
    return {"npz": npz, "npy": write_npy(path / "gt.npy", (0, [0]), (1, [1]), (2, [2]))}


@pytest.mark.parametrize("kind", ["npz", "npy"])
def test_a_truth_of_rows_asks_for_their_order_where_it_matters(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    queries, database = folder(tmp_path / "q"), ImageList(tmp_path / "db", SORTED)
    path = truth_files(tmp_path)[kind]
    with pytest.raises(GroundTruthError) as caught:
        make_ground_truth(queries, database, [path])
    assert str(caught.value) == (
        f"{path} gives rows, and which images of the queries they are depends on the order: in natural order row 1 is "
        "2.jpg, in alphabetical order 10.jpg. Say which it was made in, with --row-order natural or --row-order "
        "sorted, or give a list file of the images in its order"
    )
    with caplog.at_level(logging.INFO):
        truth = make_ground_truth(queries, database, [path], row_order="sorted")
    assert [m for m in caplog.messages if "rows" in m] == [
        f"{path}: its rows are taken for the images of the queries in alphabetical order (--row-order sorted)"
    ]
    assert truth.query_names == NATURAL and truth.database_names == SORTED
    assert [truth.database_names[rows[0]] for rows in truth.positives] == list(NATURAL)
    if truth.points is not None:
        assert truth.points[0].tolist() == [[0, 0], [200, 0], [100, 0]]
    natural = make_ground_truth(queries, database, [path], row_order="natural")
    assert [natural.database_names[rows[0]] for rows in natural.positives] == list(SORTED)


def test_lists_orders_that_agree_and_files_with_names_ask_nothing(tmp_path: Path) -> None:
    queries = ImageList(tmp_path, NATURAL)  # as a list file gives it
    truth = make_ground_truth(queries, queries, [truth_files(tmp_path)["npy"]])
    assert truth.query_names == NATURAL
    same = folder(tmp_path / "same")
    same = ImageList(same.root, ("1.jpg", "2.jpg"), given=False)
    assert len(make_ground_truth(same, same, [write_npy(tmp_path / "two.npy", (0, [0]), (1, [1]))])) == 2
    images = folder(tmp_path / "q")
    truth.write(tmp_path / "gt.csv")
    assert make_ground_truth(images, images, [tmp_path / "gt.csv"]).query_names == NATURAL


def test_names_in_an_npz_decide_also_about_some_of_them_in_any_order(tmp_path: Path) -> None:
    points = np.array([[0, 0], [100, 0], [200, 0.0]])
    truth = GroundTruth.from_positions(points, points, 25).named(SORTED, SORTED)
    truth.write(tmp_path / "gt.npz")
    images = folder(tmp_path / "q")
    found = make_ground_truth(images, images, [tmp_path / "gt.npz"])
    assert [found.database_names[rows[0]] for rows in found.positives] == list(NATURAL)
    some = GroundTruth.read(tmp_path / "gt.npz", ["q/2.jpg"], ["10.jpg", "2.jpg"])
    assert (some.query_names, some.database, [rows.tolist() for rows in some.positives]) == (("q/2.jpg",), 2, [[1]])
    with pytest.raises(GroundTruthError, match=r"gt.npz is of other images \(the ground truth says nothing of 3.jpg\)"):
        GroundTruth.read(tmp_path / "gt.npz", ["2.jpg", "3.jpg"], SORTED)


def test_predictions_of_rows_stand_for_the_images_in_the_order_chosen(tmp_path: Path) -> None:
    np.save(tmp_path / "p.npy", np.array([[0, 1], [1, -1], [2, 0]]))  # alphabetical: 1, 10, 2
    asked = Asked(NATURAL, NATURAL, (3, 3))
    with pytest.raises(GroundTruthError, match=r"p.npy gives rows, and which images of the queries"):
        read_predictions(tmp_path / "p.npy", asked, order=RowOrder())
    (found,), _ = read_predictions(tmp_path / "p.npy", asked, order=RowOrder("sorted"))
    assert found.ranking.indices.tolist() == [[0, 2], [1, 0], [2, -1]]
    assert found.ranking.scores[2, 1] == -np.inf
    (found,), _ = read_predictions(tmp_path / "p.npy", asked, order=RowOrder("natural"))
    assert found.ranking.indices.tolist() == [[0, 1], [1, -1], [2, 0]]
    with pytest.raises(GroundTruthError, match="gives rows of the whole database, which is not known"):
        read_predictions(tmp_path / "p.npy", Asked(NATURAL, NATURAL, (3, 3), complete=False))


def test_an_order_of_neither_kind_is_that_of_a_list() -> None:
    other = ("10.jpg", "1.jpg", "2.jpg")
    assert RowOrder().of_side(Path("x.npy"), "queries", other) == other
    assert RowOrder("sorted").of_side(Path("x.npy"), "queries", NATURAL) == SORTED
    assert RowOrder("sorted", Sides(True, False)).of_side(Path("x.npy"), "queries", NATURAL) == NATURAL


@given(st.permutations(range(6)), st.integers(0, 2**32 - 1))
def test_what_is_reordered_says_the_same_of_the_same_images(order: list[int], seed: int) -> None:
    generator = np.random.default_rng(seed)
    names = tuple(f"{row}.jpg" for row in range(6))
    turned = tuple(names[row] for row in order)
    ranking = Ranking(generator.integers(-1, 6, (6, 4)), generator.normal(size=(6, 4)).astype(np.float32), names, names)
    said = lambda r: {  # noqa: E731
        (q, place, r.database_names[row] if row >= 0 else None)
        for q, rows in zip(r.query_names, r.indices, strict=True)
        for place, row in enumerate(rows)
    }
    assert said(ranking.of(turned, turned)) == said(ranking)
    points = generator.uniform(0, 30, (6, 2))
    truth = GroundTruth.from_positions(points, points[::-1], 10).named(names, names)
    positives = lambda t: {  # noqa: E731
        (q, t.database_names[row]) for q, rows in zip(t.query_names, t.positives, strict=True) for row in rows
    }
    assert positives(truth.of(turned, turned)) == positives(truth)
    described = GlobalDescriptors(names, points.astype(np.float32), (2,)).of(turned)
    assert [described.global_[turned.index(name)].tolist() for name in names] == points.astype(np.float32).tolist()
    assert [turned[row] for row in described.unreadable] == ["2.jpg"]


def test_commands_refuse_or_take_the_order_that_is_chosen(tmp_path: Path, run: Callable) -> None:
    folder(tmp_path / "q"), folder(tmp_path / "db")
    truth = truth_files(tmp_path)["npy"]
    images = ["--queries", "q", "--database", "db"]
    code, _, err = run("ground-truth", *images, "--from", truth, "--out", "gt.csv")
    assert code == 1 and "--row-order natural or --row-order sorted, or give a list file" in err
    assert run("ground-truth", *images, "--from", truth, "--row-order", "sorted", "--out", "gt.csv")[0] == 0
    assert Path("gt.csv").read_text().splitlines()[2] == "2.jpg,2.jpg"
    values = np.eye(3, dtype=np.float32)
    np.save("q.npy", values[[0, 2, 1]])  # natural order
    np.save("d.npy", values)  # alphabetical
    measured = ["evaluate", *images, "--ground-truth", "gt.csv", "--descriptors", "q.npy", "d.npy", "--ks", "1"]
    code, _, err = run(*measured)
    assert code == 1 and "q.npy gives rows" in err
    for order in ("natural", "sorted"):  # one of both is wrong in either
        code, out, _ = run(*measured, "--row-order", order)
        assert code == 0 and "33.3 [" in out
    Path("q.txt").write_text("q/1.jpg\nq/2.jpg\nq/10.jpg\n")
    measured[measured.index("q")] = "q.txt"
    code, out, _ = run(*measured, "--row-order", "sorted")  # which concerns the folder alone
    assert code == 0 and "100.0 [" in out
    np.save("p.npy", np.array([[0], [2], [1]]))
    measured = ["evaluate", "p.npy", *measured[1:5], "--ground-truth", "gt.csv", "--ks", "1"]
    assert run(*measured)[0] == 1
    code, out, _ = run(*measured, "--row-order", "sorted")
    assert code == 0 and "100.0 [" in out


def test_hdf5_needs_no_lists_and_ours_says_its_order(tmp_path: Path, run: Callable) -> None:
    values = np.eye(3, dtype=np.float32)
    write_global_descriptors("q.h5", NATURAL, values)
    write_global_descriptors("d.h5", NATURAL, values)
    assert names_in_hdf5("q.h5") == (NATURAL, True)
    Path("gt.csv").write_text("query,positives\n" + "".join(f"{name},{name}\n" for name in NATURAL))
    measured = ["evaluate", "--descriptors", "q.h5", "d.h5", "--ks", "1", "--ground-truth"]
    code, out, err = run(*measured, "gt.csv")
    assert code == 0 and "100.0 [" in out, err
    rows = write_npy(tmp_path / "gt.npy", (0, [0]), (1, [1]), (2, [2]))
    code, out, err = run(*measured, rows)  # in the order of the export
    assert code == 0 and "100.0 [" in out, err
    with h5py.File("d.h5", "a") as file:  # as hloc writes it: HDF5 keeps no order but the alphabetical one
        for name in NATURAL:
            del file[name].attrs["row"]
    code, _, err = run(*measured, rows)
    assert code == 1 and "which images of the database they are depends on the order" in err
    code, out, _ = run(*measured, rows, "--row-order", "sorted")
    assert code == 0 and "33.3 [" in out
    with h5py.File("e.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(StoreError, match=r"e.h5 holds no global_descriptor of any image"):
        names_in_hdf5("e.h5")
    code, _, err = run("evaluate", "--descriptors", "q.h5", "q.h5", "--ground-truth", "gt.csv")
    assert code == 2 and "describes queries and database: give their lists" in err


def test_some_queries_of_predictions_and_truth_are_evaluated_alone(tmp_path: Path, run: Callable) -> None:
    points = np.array([[0, 0], [100, 0], [200, 0.0]])
    GroundTruth.from_positions(points, points, 25).named(NATURAL, NATURAL).write("gt.npz")
    Path("p.txt").write_text("1.jpg 2.jpg\n2.jpg 2.jpg\n10.jpg 10.jpg\n")
    Path("some.txt").write_text("10.jpg\n2.jpg\n")
    code, out, err = run("evaluate", "p.txt", "--ground-truth", "gt.npz", "--queries", "some.txt", "--ks", "1")
    assert code == 0, err
    assert "100.0 [" in out and "2 queries, 3 database images" in out

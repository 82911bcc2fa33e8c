"""Rankings of any method, read from the files that other tools write."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from patchvlad.errors import GroundTruthError
from patchvlad.images.sides import Sides
from patchvlad.places.ground_truth import GroundTruth
from patchvlad.results.exports import write_kapture_pairs
from patchvlad.results.predictions import Asked, Prediction, read_predictions
from patchvlad.results.registry import PAIR_FORMATS
from patchvlad.search.ranking import Ranking

QUERIES = ("a.jpg", "b.jpg", "c.jpg")
DATABASE = ("x/1.jpg", "x/2.jpg", "3.jpg", "4.jpg")
TRUTH = GroundTruth.from_rows([[0], [1], []], 4, "by hand").named(QUERIES, DATABASE)
RANKING = Ranking(
    np.array([[2, 0, 3], [1, 3, 0], [3, 1, 2]]),
    np.array([[1 / 3, 0.1, -1.5], [1.0, 1.0, 1e-7], [9e9, 8, -0.7]], dtype=np.float32),
    QUERIES,
    DATABASE,
)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def predictions(path: Path, truth: GroundTruth) -> tuple[list[Prediction], Asked]:
    return read_predictions(path, Asked.by(truth))


def read(path: Path, truth: GroundTruth = TRUTH) -> Ranking:
    (found,), _ = predictions(path, truth)
    return found.ranking


@pytest.mark.parametrize("form", PAIR_FORMATS)
def test_what_is_exported_is_read_back_and_nothing_is_lost(form: str, tmp_path: Path) -> None:
    PAIR_FORMATS[form](tmp_path / "p.txt", RANKING)
    (found,), asked = predictions(tmp_path / "p.txt", TRUTH)
    assert found.ranking.indices.tolist() == RANKING.indices.tolist()
    assert asked == Asked.by(TRUTH)
    if form == "kapture":
        assert found.ranking.scores.tolist() == RANKING.scores.tolist()
        assert found.comparable
    else:
        assert (np.diff(found.ranking.scores, axis=1) < 0).all()
        assert found.comparable is None


@pytest.mark.parametrize("form", ["kapture", "hloc", "colmap"])
def test_prefixes_lead_elsewhere_and_back(form: str, tmp_path: Path) -> None:
    PAIR_FORMATS[form](tmp_path / "p.txt", RANKING, "query/", "db/")
    assert "query/a.jpg" in (tmp_path / "p.txt").read_text()
    assert read(tmp_path / "p.txt").indices.tolist() == RANKING.indices.tolist()


@pytest.mark.parametrize(
    "text",
    [
        "# kapture format: 1.1\n# query, map, score\na.jpg, 3.jpg, 2\nb.jpg, x/2.jpg, 1\na.jpg, x/1.jpg, 1\n",
        "a.jpg,3.jpg,2\nb.jpg,x/2.jpg,1\na.jpg,x/1.jpg,1\n",
        "a.jpg, 3.jpg\nb.jpg, x/2.jpg\na.jpg, x/1.jpg\n",
        "a.jpg 3.jpg\nb.jpg x/2.jpg\na.jpg x/1.jpg\n\n",
        "# a comment\nb 2\na 3 1\n",
    ],
    ids=["kapture", "no header", "no scores", "hloc", "MSLS"],
)
def test_forms(text: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = read(write(tmp_path / "p.txt", text))
    assert found.indices.tolist() == [[2, 0], [1, -1], [-1, -1]]
    assert found.scores[0, 0] > found.scores[0, 1] > found.scores[2, 0] == -np.inf
    assert caplog.messages == [f"{tmp_path / 'p.txt'} has no line for 1 query, such as c.jpg: counted as missed"]


def test_images_that_the_database_lacks_take_a_place_and_are_no_positives(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "p.txt", "a.jpg 9.jpg\na.jpg x/1.jpg\nb.jpg 9.jpg\nc.jpg x/1.jpg\nz.jpg x/1.jpg\n")
    with caplog.at_level(logging.WARNING):
        (found,), asked = predictions(path, TRUTH)
    assert found.ranking.indices.tolist() == [[4, 0], [4, -1], [0, -1]]
    assert asked.counts[1] == len(found.ranking.database_names) == 5
    assert [message.split(": ", 1)[1] for message in caplog.messages] == [
        "named, but not in the database, and so no positives: 1 image, such as 9.jpg",
        "ignored, as not asked for: 1 query, such as z.jpg",
    ]


def test_a_database_that_is_not_known_whole_grows_without_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "p.txt", "a.jpg 9.jpg\nb.jpg x/1.jpg\nc.jpg 9.jpg\n")
    with caplog.at_level(logging.WARNING):
        _, asked = predictions(path, replace(TRUTH, complete=False))
    assert asked.database == (*DATABASE, "9.jpg")
    assert not caplog.messages


def test_rows_of_an_array(tmp_path: Path) -> None:
    np.save(tmp_path / "p.npy", np.array([[2, -1], [1, 0], [3, 3]]))
    found = read(tmp_path / "p.npy", GroundTruth.from_rows([[0], [1], []], 4, "by hand"))
    assert found.indices.tolist() == [[2, -1], [1, 0], [3, 3]]
    assert found.scores.tolist() == [[0, -np.inf], [0, -1], [0, -1]]


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((2, 3), dtype=int), "holds 2 queries and rows 0 to 0, but the ground truth 3 queries and 4 database"),
        (np.full((3, 1), 4), "rows 0 to 4"),
        (np.full((3, 1), -2), "rows -2 to 0"),
        (np.zeros((3, 1)), "holds float64"),
        (np.zeros(3, dtype=int), r"holds int64 \(3,\)"),
        (np.array([[None]]), "cannot be read as an array of rows"),
    ],
)
def test_arrays_that_do_not_fit(array: np.ndarray, said: str, tmp_path: Path) -> None:
    np.save(tmp_path / "p.npy", array)
    with pytest.raises(GroundTruthError, match=said):
        read(tmp_path / "p.npy")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty: it holds no prediction"),
        ("# kapture format: 1.1\n", "is empty"),
        ("a.jpg, 3.jpg, high\n", "line 1: could not convert string to float: 'high'; it should read query, map image"),
        ("a.jpg, 3.jpg, 1\na.jpg, 3.jpg\n", "line 2: 2 fields; it should read"),
        ("a.jpg, 3.jpg, nan\n", "line 1: a score that is not a number"),
        ("a\na 1 2\n", "line 1 is not a known format: give kapture or hloc pairs, or MSLS predictions"),
        ("a 1 2\na 1 2\n", "is not a known format"),
        ("z.jpg 3.jpg\n", "names no image of the queries: it has 'z.jpg', among the queries is 'a.jpg'"),
        ("a.jpg z.jpg\n", "names no image of the database: it has 'z.jpg'"),
    ],
)
def test_files_that_cannot_be(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(GroundTruthError, match=said) as caught:
        read(write(tmp_path / "p.txt", text))
    assert "p.txt" in str(caught.value)


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(GroundTruthError, match="is not a text file of predictions"):
        read(tmp_path / "p.txt")
    with pytest.raises(GroundTruthError, match="does not exist: give predictions, or the folder"):
        read(tmp_path / "nowhere.txt")
    with pytest.raises(GroundTruthError, match=r"holds no NetVLAD_predictions.txt: give the folder"):
        read(tmp_path)
    with pytest.raises(GroundTruthError, match="give the image lists with --queries and --database"):
        read(write(tmp_path / "q.txt", "a 1\n"), GroundTruth.from_rows([[0]], 1, "by hand"))


def write_results(folder: Path) -> Path:
    """What `match` leaves: candidates, and the same in another order with scores of two kinds."""
    write_kapture_pairs(folder / "NetVLAD_predictions.txt", RANKING)
    confidences = RANKING.scores[:, ::-1] / 10  # which need not fall
    turned = replace(RANKING, indices=RANKING.indices[:, ::-1], confidences=confidences)
    write_kapture_pairs(folder / "PatchNetVLAD_predictions.txt", turned)
    plain = replace(turned, scores=confidences, confidences=None)
    write_kapture_pairs(folder / "PatchNetVLAD_confidences.txt", plain)
    for name, images in (("queries", QUERIES), ("database", DATABASE)):
        (folder / f"{name}.txt").write_text("".join(f"{image}\n" for image in images))
    (folder / "results.json").write_text(json.dumps({"preset": "lite"}))
    return folder


def test_results_are_both_stages_with_scores_that_compare_across_queries(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "mine")
    found, _ = predictions(folder, GroundTruth.from_rows([[0], [1], []], 4, "by hand"))  # has no names
    assert [(one.name, one.comparable) for one in found] == [("mine NetVLAD", True), ("mine PatchNetVLAD", True)]
    assert found[1].ranking.indices[0].tolist() == [3, 0, 2]
    np.testing.assert_allclose(found[1].ranking.confidences, RANKING.scores[:, ::-1] / 10)
    np.testing.assert_allclose(found[1].ranking.scores, RANKING.scores)
    assert (found[1].made_by.preset, found[1].made_by.model, found[1].stage) == ("lite", None, "PatchNetVLAD")


def test_without_confidences_scores_of_a_reranking_do_not_compare(tmp_path: Path) -> None:
    folder = write_results(tmp_path)
    (folder / "PatchNetVLAD_confidences.txt").unlink()
    found, _ = predictions(folder, TRUTH)
    assert [one.comparable for one in found] == [True, False]


def test_damaged_results_are_refused(tmp_path: Path) -> None:
    folder = write_results(tmp_path)
    write_kapture_pairs(folder / "PatchNetVLAD_confidences.txt", RANKING)
    with pytest.raises(GroundTruthError, match="does not belong to the predictions beside it: run match again"):
        predictions(folder, TRUTH)
    (folder / "results.json").write_text("{")
    with pytest.raises(GroundTruthError, match=r"results.json is damaged"):
        predictions(folder, TRUTH)


def test_predictions_alone_say_whose_they_are(tmp_path: Path) -> None:
    path = write(tmp_path / "p.txt", "a.jpg 3.jpg\nb.jpg x/2.jpg\n")
    asked = Asked.about(path, Sides(None, None))
    assert (asked.queries, asked.database) == (("a.jpg", "b.jpg"), ("3.jpg", "x/2.jpg"))
    assert not asked.complete
    np.save(tmp_path / "p.npy", np.zeros((1, 1), dtype=int))
    with pytest.raises(GroundTruthError, match="does not name its images: give their lists"):
        Asked.about(tmp_path / "p.npy", Sides(None, None))


def test_kapture_pairs_are_ordered_by_their_scores(tmp_path: Path) -> None:
    PAIR_FORMATS["kapture"](tmp_path / "p.txt", RANKING)
    head, *lines = (tmp_path / "p.txt").read_text().splitlines()
    write(tmp_path / "p.txt", "\n".join([head, *sorted(lines)]) + "\n")
    found = read(tmp_path / "p.txt")
    assert found.indices[[0, 2]].tolist() == RANKING.indices[[0, 2]].tolist()
    assert sorted(found.indices[1, :2].tolist()) == [1, 3]  # whose scores are equal


@pytest.mark.parametrize("comparable", [True, False, None])
def test_whether_scores_compare_outlives_an_export(comparable: bool | None, tmp_path: Path) -> None:
    ranking = RANKING if comparable else replace(RANKING, confidences=RANKING.scores)
    write_kapture_pairs(tmp_path / "p.txt", ranking, scored=comparable is not None)
    (found,), _ = predictions(tmp_path / "p.txt", TRUTH)
    assert found.comparable is comparable
    assert found.ranking.indices.tolist() == RANKING.indices.tolist()


def test_our_own_files_hold_any_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = ("#1.jpg", "a, b.jpg", "c,d.jpg"), ("x, y.jpg", "#2.jpg", "3.jpg", "a, b.jpg, x.jpg")
    ranking = replace(RANKING, query_names=names[0], database_names=names[1])
    write_kapture_pairs(tmp_path / "p.txt", ranking)
    assert "kapture cannot read names with a comma in or # before them, such as #1.jpg" in caplog.text
    (found,), _ = predictions(tmp_path / "p.txt", replace(TRUTH, query_names=names[0], database_names=names[1]))
    assert found.ranking.indices.tolist() == RANKING.indices.tolist()


@pytest.mark.parametrize("content", ["[]", "3", '{"image_size": 5}', '{"reranked": 3, "image_size": [1'])
def test_foreign_records_are_refused(content: str, tmp_path: Path) -> None:
    folder = write_results(tmp_path)
    (folder / "results.json").write_text(content)
    with pytest.raises(GroundTruthError, match=r"results.json is damaged"):
        predictions(folder, TRUTH)


def test_results_of_another_set_are_named_and_of_more_queries_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_results(tmp_path)
    some = GroundTruth.from_rows([[0]], 4, "by hand").named(["b.jpg"], DATABASE)
    found, _ = predictions(folder, some)
    assert found[0].ranking.indices.tolist() == RANKING.indices[[1]].tolist()
    assert "ignored, as not asked for: 2 queries, such as a.jpg" in caplog.text
    other = GroundTruth.from_rows([[0]], 4, "by hand").named(["z.jpg"], DATABASE)
    with pytest.raises(GroundTruthError, match=r" names no image of the queries: it has 'a.jpg'"):
        predictions(folder, other)


def test_keys_that_two_images_have_are_refused(tmp_path: Path) -> None:
    truth = replace(TRUTH, database_names=("x/1.jpg", "y/1.jpg", "3.jpg", "4.jpg"))
    with pytest.raises(
        GroundTruthError, match=r"goes by file names without suffix, and two images of the database are 1"
    ):
        read(write(tmp_path / "p.txt", "a 1 3\nb 3 1\n"), truth)


@pytest.mark.parametrize("kind", [np.uint8, np.uint64, np.int16])
def test_rows_may_be_whole_numbers_of_any_kind(kind: type, tmp_path: Path) -> None:
    np.save(tmp_path / "p.npy", np.array([[0, 3], [1, 0], [2, 2]], dtype=kind))
    assert read(tmp_path / "p.npy").indices.tolist() == [[0, 3], [1, 0], [2, 2]]
    np.save(tmp_path / "p.npy", np.array([[2**64 - 1], [0], [0]], dtype=np.uint64) - np.uint64(5))
    with pytest.raises(GroundTruthError, match="they do not belong together"):
        read(tmp_path / "p.npy")

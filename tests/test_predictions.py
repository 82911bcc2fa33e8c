"""Rankings of any method, read from the files that other tools write."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from patchvlad.errors import GroundTruthError
from patchvlad.images.sides import Sides
from patchvlad.places.ground_truth import GroundTruth
from patchvlad.results.exports import write_kapture_pairs
from patchvlad.results.prediction_files import NOBODY, parse
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
        (
            "a.jpg, 3.jpg, high\n",
            "line 1: the score 'high' is not a number; of kapture pairs a line should read query, m",
        ),
        (
            "a.jpg, 3.jpg, 1\na.jpg, 3.jpg\n",
            "line 2: 2 fields; of kapture pairs a line should read query, map image, sc",
        ),
        ("a.jpg, 3.jpg, nan\n", "line 1: the score 'nan' is not a number"),
        ("a\na 1 2\n", "line 1, 'a', is not a known format: give kapture or hloc pairs, or MSLS predictions"),
        ("a 1 2\na 1 2\n", "line 2: 'a' has a line already, and MSLS predictions have one line per query"),
        (
            "a.jpg 3.jpg\nb.jpg 4.jpg\nc d.jpg 3.jpg\n",
            "line 3: 3 fields; of hloc pairs a line should read query and map",
        ),
        ("a.jpg 3.jpg 0.5\na.jpg 4.jpg x\na.jpg 3.jpg 1\n", "line 2: the score 'x' is not a number; of hloc pairs"),
        ("a.jpg, 3.jpg, 1\n\nb.jpg 3.jpg 2\n", "line 3: 1 field; of kapture pairs a line should read query"),
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


# --- distances, similarities ----------------------------------------------------------------------------------------

RISING = "a.jpg, x/1.jpg, 0.1\na.jpg, 3.jpg, 0.5\nb.jpg, x/2.jpg, 0.2\nb.jpg, x/1.jpg, 0.2\nc.jpg, 4.jpg, 0.3\n"


def with_scores(path: Path, scores: str | None = None) -> Prediction:
    (found,), _ = read_predictions(path, Asked.by(TRUTH), scores)
    return found


@pytest.mark.parametrize("header", ["", "# kapture format: 1.1\n# query, map, score\n"])
@pytest.mark.parametrize("separator", [", ", ",", " "])
def test_scores_that_rise_while_images_are_listed_best_first_are_distances(
    header: str, separator: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    if header and separator == " ":
        return
    path = write(tmp_path / "p.txt", header + RISING.replace(", ", separator))
    found = with_scores(path)
    assert found.ranking.indices.tolist() == [[0, 2], [1, 0], [3, -1]]
    assert found.ranking.scores[0].tolist() == pytest.approx([-0.1, -0.5])  # higher is better, across queries too
    assert found.comparable
    assert "scores rise from the first image of a query to its last, so they are read as distances" in caplog.text
    caplog.clear()
    assert with_scores(path, "distance").ranking.indices.tolist() == found.ranking.indices.tolist()
    assert with_scores(path, "similarity").ranking.indices.tolist() == [[2, 0], [1, 0], [3, -1]]
    assert "distances" not in caplog.text
    none = with_scores(path, "none")
    assert none.ranking.indices.tolist() == found.ranking.indices.tolist() and none.comparable is None


def test_where_scores_rise_for_some_queries_and_fall_for_others_it_is_asked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = "a.jpg, x/1.jpg, 0.1\na.jpg, 3.jpg, 0.5\nb.jpg, x/2.jpg, 0.5\nb.jpg, x/1.jpg, 0.2\n"
    path = write(tmp_path / "p.txt", text)
    with pytest.raises(GroundTruthError, match=r"scores fall for 1 query, rise for 1, .* say so with --scores sim"):
        with_scores(path)
    assert with_scores(path, "distance").ranking.indices[:2].tolist() == [[0, 2], [0, 1]]
    with caplog.at_level(logging.INFO):  # kapture's own may stand in any order
        ranking = with_scores(write(path, f"# kapture format: 1.1\n{text}")).ranking
    assert ranking.indices[:2].tolist() == [[2, 0], [1, 0]]
    assert "are read as similarities, higher is better, as kapture's are" in caplog.text


def test_one_score_per_query_or_equal_ones_say_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "p.txt", "a.jpg, 3.jpg, 2\nb.jpg, 4.jpg, 1\nb.jpg, 3.jpg, 1\nc.jpg, 4.jpg, 9\n")
    assert with_scores(path).ranking.scores[2, 0] == 9
    assert not caplog.messages


def test_hlocs_names_may_hold_spaces_where_they_are_known(tmp_path: Path) -> None:
    truth = replace(TRUTH, query_names=("a 1.jpg", "b.jpg", "c.jpg"))
    path = write(tmp_path / "p.txt", "b.jpg 3.jpg\na 1.jpg 4.jpg\nc.jpg 4.jpg\n")
    assert read(path, truth).indices.tolist() == [[3], [2], [3]]


TEXT = st.text(st.sampled_from("ab .,#\n/\\é0123jpg-\t\u2028"), max_size=120)


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TEXT)
def test_whatever_a_file_holds_it_is_predictions_or_a_named_error(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "p.txt", text)
    for names in (NOBODY, Sides(QUERIES, DATABASE)):
        try:
            listed = parse(path, names)
        except GroundTruthError as error:
            assert str(path) in str(error)
        else:
            assert listed.images and all(listed.images.values())


NUMBERS = st.lists(st.floats(-5, 5, width=32), min_size=3, max_size=3, unique=True)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(NUMBERS, min_size=3, max_size=3), st.booleans())
def test_rankings_survive_as_similarities_and_as_distances(
    tmp_path: Path, scores: list[list[float]], distances: bool
) -> None:
    ranked = np.sort(np.array(scores, dtype=np.float32), axis=1)
    ranked = ranked if distances else ranked[:, ::-1]
    lines = [
        f"{query}, {DATABASE[row]}, {score!s}\n"
        for query, rows, values in zip(QUERIES, RANKING.indices, ranked, strict=True)
        for row, score in zip(rows, values, strict=True)
    ]
    found = read(write(tmp_path / "p.txt", "".join(lines)))
    assert found.indices.tolist() == RANKING.indices.tolist()
    assert found.scores.tolist() == (-ranked if distances else ranked).tolist()

"""Several methods side by side: the numbers are those of the metrics, the protocol is stated, the figure is drawn."""

import json
from pathlib import Path

import numpy as np
import pytest
from test_metrics import make_ranking, make_truth, random_case

from patchvlad import __version__
from patchvlad.errors import ConfigError, GroundTruthError
from patchvlad.evaluate.figures import write_evaluation_figure
from patchvlad.evaluate.metrics import average_precision_at, found_positives, recall
from patchvlad.evaluate.report import as_json, as_text, compare_all, evaluate
from patchvlad.images.pixels import read_image
from patchvlad.places.ground_truth import GroundTruth
from patchvlad.places.poses import Poses
from patchvlad.results.folder import Making
from patchvlad.results.predictions import Prediction

MADE_BY = Making(
    **{"preset": "lite", "model": "lite", "fingerprint": "0123456789abcdef", "image_size": (480, 640)},
    **{"candidates": 100, "retrieved_by": "own descriptors", "reranked": 30, "matcher": "voting", "patchvlad": "0.1.0"},
)


@pytest.mark.parametrize("denominator", ["all", "answerable"])
def test_numbers_are_the_metrics(denominator: str) -> None:
    ranking, truth, positives = random_case(3)
    found = evaluate(Prediction("one", ranking, True), truth, (1, 5), denominator)
    assert found.recall == recall(ranking, truth, (1, 5), denominator)
    counted = np.array([denominator == "all" or bool(rows) for rows in positives])
    precision = average_precision_at(found_positives(ranking, truth), np.array([len(rows) for rows in positives]), 5)
    assert found.mean_average_precision[5] == pytest.approx(precision[counted].mean())
    for k in (1, 5):
        assert found.recall_intervals[k][0] <= found.recall[k] <= found.recall_intervals[k][1]
    assert 0 < found.precision_recall.average_precision < found.retrieved_average_precision


def test_scores_that_do_not_compare_give_no_curve() -> None:
    ranking, truth, _ = random_case(0)
    for comparable in (False, None):
        assert evaluate(Prediction("one", ranking, comparable), truth).precision_recall is None


def two_methods() -> list:
    points = np.arange(10.0)[:, None] * (30, 0)
    truth = GroundTruth.from_positions(points, points + (0, 3), 25)
    right, half = (np.arange(10)[:, None] + wrong for wrong in (np.zeros((10, 1), int), np.zeros((10, 1), int)))
    half[:6] = 9
    predictions = [
        Prediction("half", make_ranking(half, 10)),
        Prediction("right", make_ranking(right, 10), True, MADE_BY, "PatchNetVLAD"),
    ]
    return [evaluate(prediction, truth, (1, 5)) for prediction in predictions]


def test_text_says_everything_and_how_it_was_counted() -> None:
    text = as_text(two_methods(), group=12)
    for said in (
        "half 40.0 [16.8, 68.7]",
        "right 100.0 [72.2, 100.0]",
        "mAP [%]",
        "match scores [%]",
        "error [m]",
        "+60.0 [+30.0, +90.0] points: 6 queries gained, 0 lost, p = 0.031 (McNemar, exact)",
        "protocol: 10 queries, 10 database images, positives within 25 m; recall over all queries",
        "best of 12 images per group; brackets: 95 % intervals (recall: Wilson's; else bootstrap over queries, 2000 ",
        "right: preset lite, model lite 0123456789ab, 480 x 640 px, 100 candidates by own descriptors, the first 30 "
        "re-ranked by voting, patchvlad 0.1.0",
        f"measured by patchvlad {__version__}",
    ):
        assert said in " ".join(text.split())
    assert all(len(line) == len(line.rstrip()) for line in text.splitlines())


def test_json_says_the_same() -> None:
    said = json.loads(json.dumps(as_json(two_methods()), allow_nan=False))
    half, right = said["methods"]
    assert (half["recall"], right["recall"]) == ({"1": 0.4, "5": 0.4}, {"1": 1.0, "5": 1.0})
    assert right["average_precision"] == right["recall_at_full_precision"] == 1
    assert right["error_quantiles"]["0.5"] == 3
    assert right["localised_within"] == {"1": 0, "5": 1, "10": 1, "25": 1}
    assert (right["made_by"]["preset"], right["made_by"]["stage"], half["made_by"]) == ("lite", "PatchNetVLAD", {})
    assert said["compared_to_first"]["right"]["gained"] == 6
    assert said["protocol"] == {
        **{"queries": 10, "without_positives": 0, "database": 10, "protocol": "positives within 25 m"},
        **{"denominator": "all", "group": 1, "confidence": 0.95, "draws": 2000},
    }


def test_unfound_queries_are_no_numbers_in_json() -> None:
    truth = GroundTruth.from_positions(np.zeros((2, 2)), np.zeros((1, 2)), 1)
    assert truth.without_positives == 0
    found = evaluate(Prediction("none", make_ranking(np.full((2, 1), -1), 1)), truth)
    said = json.loads(json.dumps(as_json([found]), allow_nan=False))
    assert said["methods"][0]["error_quantiles"]["0.5"] is None
    assert "inf" in as_text([found])


def test_poses_alone_can_be_measured() -> None:
    poses = Poses(("q0", "q1"), np.tile([1.0, 0, 0, 0], (2, 1)), np.zeros((2, 3)))
    there = Poses(("d0", "d1"), np.tile([1.0, 0, 0, 0], (2, 1)), np.array([[0.1, 0, 0], [3, 0, 0]]))
    found = evaluate(Prediction("one", make_ranking(np.array([[0], [1]]), 2)), None, poses=(poses, there))
    assert found.pose_shares == (0.5, 0.5, 1.0)
    assert "one" in as_text([found]) and "50.0            50.0           100.0   (2 queries" in as_text([found])
    assert as_json([found])["methods"][0]["pose_within"][2] == {"metres": 5.0, "degrees": 10.0, "share": 1.0}
    assert as_json([found])["protocol"] is None
    with pytest.raises(ConfigError, match="there is nothing to draw"):
        write_evaluation_figure("f.png", [found])


def test_methods_of_different_queries_are_not_compared() -> None:
    first, second = (
        evaluate(Prediction(str(n), make_ranking(np.zeros((n, 1), int), 1)), make_truth([[0]] * n, 1)) for n in (2, 3)
    )
    with pytest.raises(GroundTruthError, match="of different queries cannot be compared"):
        compare_all([first, second])


def test_the_figure_is_drawn_whole_or_not_at_all(tmp_path: Path) -> None:
    write_evaluation_figure(tmp_path / "f.png", two_methods())
    drawn = read_image(tmp_path / "f.png")
    assert drawn.shape[1] == 1800  # three panels
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) > 50
    with pytest.raises(ConfigError, match="the name of a figure must end in one of"):
        write_evaluation_figure(tmp_path / "f.txt", two_methods())
    assert [path.name for path in tmp_path.iterdir()] == ["f.png"]


def test_without_a_positive_there_is_nothing_to_measure() -> None:
    with pytest.raises(GroundTruthError, match=r"none of 2 queries has a positive \(positives by hand\): nothing"):
        evaluate(Prediction("one", make_ranking(np.zeros((2, 1), int), 1)), make_truth([[], []], 1))

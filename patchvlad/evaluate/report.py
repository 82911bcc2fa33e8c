"""What is measured of several methods on the same queries, side by side, with intervals, and how it was counted."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from .. import __version__
from ..errors import GroundTruthError, counted
from ..places.ground_truth import GroundTruth
from ..places.poses import Poses
from ..results.exports import transfer
from ..results.folder import Making
from ..results.predictions import Prediction
from ..search.ranking import Ranking
from .metrics import (
    KS,
    PrecisionRecall,
    Recall,
    average_precision_at,
    counted_queries,
    found_positives,
    localisation_errors,
    precision_recall_of,
    recall_of,
)
from .pose_errors import THRESHOLDS, pose_errors, shares_within
from .uncertainty import CONFIDENCE, DRAWS, Comparison, bootstrap, compare_answers, wilson

log = logging.getLogger(__name__)

NEAR = (1.0, 5.0, 10.0, 25.0)  # metres, of which the share of queries localised within is told
Interval = tuple[float, float]


@dataclass(frozen=True)
class Evaluation:
    """One method's numbers; None for those that the truth or the method says nothing about.

    Attributes:
        answered: (n, number of ks) bool of the queries counted: is there a positive among the first k.
        recall_intervals, mean_average_precision_intervals: 95 %, by k; Wilson's, and by bootstrap.
        precision_recall: over the scores of best matches, recall of the queries that can be answered.
        retrieved_average_precision: the same with recall of the right best matches, as VPR-Bench counts.
        errors: (Q,) metres to the best match.
        pose_shares: within each of `THRESHOLDS`, of `posed` queries.
    """

    name: str
    made_by: Making | None
    stage: str
    answered: np.ndarray
    recall: Recall | None = None
    recall_intervals: dict[int, Interval] | None = None
    mean_average_precision: dict[int, float] | None = None
    mean_average_precision_intervals: dict[int, Interval] | None = None
    precision_recall: PrecisionRecall | None = None
    retrieved_average_precision: float | None = None
    errors: np.ndarray | None = None
    pose_shares: tuple[float, ...] | None = None
    posed: int = 0


def evaluate(
    prediction: Prediction,
    truth: GroundTruth | None,
    ks: Sequence[int] = KS,
    denominator: str = "all",
    groups: np.ndarray | None = None,
    poses: tuple[Poses, Poses] | None = None,
) -> Evaluation:
    """Measures one method.

    Args:
        prediction: of any method.
        truth: of the same images; None where only poses are measured.
        ks: how far to look.
        denominator: "all" or "answerable", see `recall`.
        groups: (B,) see `one_a_group`.
        poses: of queries and database, to measure by the pose of the best match.
    """
    ranking = prediction.ranking
    if groups is not None:
        ranking = ranking.best_per_group(groups)
    nothing = np.zeros((0, len(ks)), dtype=bool)
    found = Evaluation(prediction.name, prediction.made_by, prediction.stage, nothing)
    if poses is not None:
        metres, degrees = pose_errors(transfer(ranking, poses[1]), poses[0])
        shares = tuple(shares_within(metres, degrees))
        found = replace(found, pose_shares=shares, posed=int((~np.isnan(metres)).sum()))
    if truth is None:
        return found
    if not truth.answerable.any():
        raise GroundTruthError(
            f"none of {counted(len(truth), 'query', 'queries')} has a positive ({truth.protocol}): nothing to measure"
        )
    hits = found_positives(ranking, truth)
    _warn_if_short(prediction.name, ranking, max(ks), truth.database if groups is None else len(np.unique(groups)))
    found = replace(found, **_by_k(hits, truth, ks, denominator))
    if prediction.comparable:
        found = replace(
            found,
            precision_recall=precision_recall_of(hits, ranking, truth, "answerable"),
            retrieved_average_precision=precision_recall_of(hits, ranking, truth, "retrieved").average_precision,
        )
    if truth.points is not None and truth.unit == "m":
        found = replace(found, errors=localisation_errors(ranking, truth))
    return found


def _warn_if_short(name: str, ranking: Ranking, k: int, images: int) -> None:
    depth = int((ranking.indices >= 0).sum(axis=1).max(initial=0))
    if depth < min(k, images):
        log.warning("%s: at most %s per query: recall beyond @%d does not rise", name, counted(depth, "image"), depth)


def _by_k(hits: np.ndarray, truth: GroundTruth, ks: Sequence[int], denominator: str) -> dict:
    """Recall and mAP with their intervals, as fields of an Evaluation, of (Q, k) hits."""
    counted = counted_queries(truth, denominator)
    positives = np.array([len(rows) for rows in truth.positives], dtype=np.int64)
    answered = np.column_stack([hits[counted, :k].any(axis=1) for k in ks])
    precision = np.column_stack([average_precision_at(hits, positives, k)[counted] for k in ks])
    means = [float(column.mean()) if len(column) else 0.0 for column in precision.T]
    ends = [(float(low), float(high)) for low, high in bootstrap(precision)]
    intervals = [wilson(int(column.sum()), len(column)) for column in answered.T]
    return {
        "answered": answered,
        "recall": recall_of(hits, truth, ks, denominator),
        "recall_intervals": dict(zip(ks, intervals, strict=True)),
        "mean_average_precision": dict(zip(ks, means, strict=True)),
        "mean_average_precision_intervals": dict(zip(ks, ends, strict=True)),
    }


def compare_all(evaluations: Sequence[Evaluation]) -> list[tuple[Evaluation, Comparison]]:
    """Every method but the first with the first, by the first k: how many queries are answered by one alone."""
    measured = [found for found in evaluations if found.recall is not None]
    if len({len(found.answered) for found in measured}) > 1:
        raise GroundTruthError("methods of different queries cannot be compared")
    return [(found, compare_answers(measured[0].answered[:, 0], found.answered[:, 0])) for found in measured[1:]]


# --- as text --------------------------------------------------------------------------------------------------------


def as_text(evaluations: Sequence[Evaluation], group: int = 1) -> str:
    """The tables and the protocol."""
    width = max(16, *(len(found.name) for found in evaluations)) + 2
    parts = []
    measured = [found for found in evaluations if found.recall is not None]
    if measured:
        parts += [
            _table("recall [%]", width, [(f.name, f.recall.values, f.recall_intervals) for f in measured if f.recall]),
            _table(
                "mAP [%]",
                width,
                [(f.name, f.mean_average_precision, f.mean_average_precision_intervals) for f in measured],
            ),
        ]
    parts += [text for text in (_scores(measured, width), _errors(measured, width), _poses(evaluations, width)) if text]
    compared = compare_all(measured) if len(measured) > 1 else []
    if compared:
        parts.append(_differences(measured[0], compared, width))
    return "\n\n".join([*parts, "\n".join(_protocol(evaluations, group))])


def _table(title: str, width: int, rows: Sequence[tuple]) -> str:
    ks = list(rows[0][1])
    lines = [f"{title:{width}}" + "".join(f"{'@' + str(k):^21}" for k in ks)]
    for name, values, intervals in rows:
        cells = (_cell(values[k], intervals[k]) for k in ks)
        lines.append(f"{name:{width}}" + "".join(f"{cell:^21}" for cell in cells))
    return "\n".join(line.rstrip() for line in lines)


def _cell(value: float, interval: Interval) -> str:
    return f"{100 * value:5.1f} [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]"


def _scores(measured: Sequence[Evaluation], width: int) -> str:
    scored = [found for found in measured if found.precision_recall is not None]
    lines = [f"{'match scores [%]':{width}}{'average precision':>18}{'recall at 100 % precision':>28}"]
    for found in scored:
        curve = found.precision_recall
        assert curve is not None
        lines.append(
            f"{found.name:{width}}{100 * curve.average_precision:18.1f}{100 * curve.recall_at_full_precision:28.1f}"
        )
    return "\n".join(lines) if scored else ""


def _errors(measured: Sequence[Evaluation], width: int) -> str:
    located = [found for found in measured if found.errors is not None]
    quantiles = "".join(f"{name:>10}" for name in ("25 %", "median", "75 %", "90 %"))
    lines = [f"{'error [m]':{width}}{quantiles}" + "".join(f"{f'<= {near:g} m':>10}" for near in NEAR)]
    for found in located:
        assert found.errors is not None
        ends = _quantiles(found.errors)
        shares = [100 * float(np.mean(found.errors <= near)) for near in NEAR]
        lines.append(
            f"{found.name:{width}}" + "".join(f"{end:10.1f}" for end in ends) + "".join(f"{s:9.1f}%" for s in shares)
        )
    return "\n".join(lines) if located else ""


def _quantiles(errors: np.ndarray) -> list[float]:
    """The usual ones; of errors some of which may be infinite."""
    if not len(errors):
        return [np.nan] * 4
    return [float(np.quantile(errors, q, method="inverted_cdf")) for q in (0.25, 0.5, 0.75, 0.9)]


def _poses(evaluations: Sequence[Evaluation], width: int) -> str:
    posed = [found for found in evaluations if found.pose_shares is not None]
    names = "".join(f"{f'{near:g} m, {turn:g} deg':>16}" for near, turn in THRESHOLDS)
    lines = [f"{'pose within [%]':{width}}{names}"]
    for found in posed:
        shares = "".join(f"{100 * share:16.1f}" for share in found.pose_shares or ())
        lines.append(
            f"{found.name:{width}}{shares}   ({counted(found.posed, 'query', 'queries')}, pose of the best match)"
        )
    return "\n".join(lines) if posed else ""


def _differences(first: Evaluation, compared: Sequence[tuple[Evaluation, Comparison]], width: int) -> str:
    assert first.recall is not None
    lines = [f"recall@{next(iter(first.recall.values))} against {first.name}"]
    for found, difference in compared:
        low, high = (100 * end for end in difference.interval)
        lines.append(
            f"{found.name:{width}}{100 * difference.difference:+.1f} [{low:+.1f}, {high:+.1f}] points: "
            f"{counted(difference.gained, 'query', 'queries')} gained, {difference.lost} lost, "
            f"p = {difference.p:.2g} (McNemar, exact)"
        )
    return "\n".join(lines)


def _protocol(evaluations: Sequence[Evaluation], group: int) -> list[str]:
    lines = []
    measured = next((found.recall for found in evaluations if found.recall is not None), None)
    if measured is not None:
        lines.append(f"protocol: {measured.describe()}; recall over {measured.denominator} queries")
        lines.append(
            f"          {f'best of {group} images per group' if group > 1 else 'nothing grouped'}; brackets: "
            f"{100 * CONFIDENCE:.0f} % intervals (recall: Wilson's; else bootstrap over queries, {DRAWS} draws)"
        )
    lines += [f"{found.name}: {found.made_by.describe(found.stage)}" for found in evaluations if found.made_by]
    return [*lines, f"measured by patchvlad {__version__}"]


# --- as JSON --------------------------------------------------------------------------------------------------------


def as_json(evaluations: Sequence[Evaluation], group: int = 1) -> dict:
    """The same for machines; shares are in [0, 1], errors in metres."""
    measured = [found for found in evaluations if found.recall is not None]
    compared = {found.name: asdict(difference) for found, difference in compare_all(measured)} if measured else {}
    return {
        "patchvlad": __version__,
        "protocol": _protocol_json(measured[0].recall, group) if measured else None,
        "methods": [_method_json(found) for found in evaluations],
        "compared_to_first": compared,
    }


def _protocol_json(counted: Recall | None, group: int) -> dict:
    assert counted is not None
    said = asdict(counted)
    said.pop("values")
    return said | {"group": group, "confidence": CONFIDENCE, "draws": DRAWS}


def _method_json(found: Evaluation) -> dict:
    made_by = asdict(found.made_by) | {"stage": found.stage} if found.made_by else {}
    said: dict = {"name": found.name, "made_by": made_by}
    if found.recall is not None and found.recall_intervals is not None:
        said["recall"] = {str(k): value for k, value in found.recall.values.items()}
        said["recall_intervals"] = {str(k): ends for k, ends in found.recall_intervals.items()}
    if found.mean_average_precision is not None and found.mean_average_precision_intervals is not None:
        said["mean_average_precision"] = {str(k): value for k, value in found.mean_average_precision.items()}
        said["mean_average_precision_intervals"] = {
            str(k): ends for k, ends in found.mean_average_precision_intervals.items()
        }
    if found.precision_recall is not None:
        said["average_precision"] = found.precision_recall.average_precision
        said["average_precision_of_retrieved"] = found.retrieved_average_precision
        said["recall_at_full_precision"] = found.precision_recall.recall_at_full_precision
    if found.errors is not None:
        ends = (None if not np.isfinite(end) else end for end in _quantiles(found.errors))
        said["error_quantiles"] = dict(zip(("0.25", "0.5", "0.75", "0.9"), ends, strict=True))
        said["localised_within"] = {f"{near:g}": float(np.mean(found.errors <= near)) for near in NEAR}
    if found.pose_shares is not None:
        said["pose_within"] = [
            {"metres": near, "degrees": turn, "share": share}
            for (near, turn), share in zip(THRESHOLDS, found.pose_shares, strict=True)
        ]
        said["posed_queries"] = found.posed
    return said

"""Pictures of results."""

import gzip
import io
import os
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ConfigError
from ..files.atomic import writing
from ..images.pixels import resize
from ..search.matchers.base import Match
from .report import Evaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = (
    "#1b9e77",
    "#d95f02",
    "#7570b3",
    "#e7298a",
    "#66a61e",
    "#e6ab02",
)  # ColorBrewer Dark2: told apart by most eyes


MOST_LINES = 150  # that a patch size shows, evenly chosen; the legend says of how many


@dataclass(frozen=True)
class Pictured:
    """A photo in a picture: (H, W, 3) uint8 RGB, and what stands below it; the middle of a long caption is left out."""

    pixels: np.ndarray
    caption: str


def write_match_figure(
    path: str | os.PathLike,
    photo0: Pictured,
    photo1: Pictured,
    match: Match,
    size: tuple[int, int],
    title: str = "",
) -> None:
    """Draws two photos side by side with a line for every matching patch, coloured by patch size.

    Args:
        path: ends in .png, .pdf or whatever else matplotlib writes.
        photo0, photo1: the two photos.
        match: of the two, in pixels of `size`.
        size: (height, width) that descriptors were made at.
        title: above them.

    Raises:
        ConfigError: matplotlib writes no such files.
    """
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    check_suffix(path)
    height, width = size
    gap = width // 40
    canvas = np.full((height, 2 * width + gap, 3), 255, dtype=np.uint8)
    canvas[:, :width], canvas[:, width + gap :] = (resize(photo.pixels, size) for photo in (photo0, photo1))
    figure = Figure(figsize=(12, 12 * height / canvas.shape[1] + 1.1), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(canvas)
    axes.set_axis_off()
    handles = []
    for colour, patch_size in zip(_cycle(len(match.scores)), match.scores, strict=True):
        matches = len(match.points0[patch_size])
        ends0, ends1 = match.some(patch_size, MOST_LINES)
        segments = np.stack([ends0, ends1 + (width + gap, 0)], axis=1)
        axes.add_collection(LineCollection(list(segments), colors=colour, linewidths=0.8, alpha=0.75))
        axes.scatter(segments[..., 0].ravel(), segments[..., 1].ravel(), s=5, color=colour, linewidths=0)
        some = "" if len(segments) == matches else f", {len(segments)} shown"
        label = f"{patch_size} x {patch_size} cells: {matches} matches{some}, score {match.scores[patch_size]:.3f}"
        handles.append(Line2D([], [], color=colour, label=label))
    for caption, centre in zip((photo0.caption, photo1.caption), (width / 2, width * 1.5 + gap), strict=True):
        text = axes.text(centre, height * 1.02, _shortened(caption), ha="center", va="top", parse_math=False)
        text.set_in_layout(False)
    axes.set_ylim(height * 1.08, 0)
    if title:
        axes.set_title(title, fontsize=12, parse_math=False)
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 3), fontsize=8, frameon=False)
    _save(path, figure)


def write_evaluation_figure(path: str | os.PathLike, evaluations: Sequence[Evaluation]) -> None:
    """Draws what was measured: recall over k with intervals, precision over recall, and localisation errors.

    Raises:
        ConfigError: matplotlib writes no such files, or there is nothing to draw.
    """
    from matplotlib.figure import Figure

    check_suffix(path)
    panels = [
        (draw, shown)
        for draw, shown in (
            (_draw_recall, [found for found in evaluations if found.recall is not None]),
            (_draw_precision, [found for found in evaluations if found.precision_recall is not None]),
            (_draw_errors, [found for found in evaluations if found.errors is not None]),
        )
        if shown
    ]
    if not panels:
        raise ConfigError(f"{path}: there is nothing to draw without a ground truth")
    figure = Figure(figsize=(5 * len(panels), 4.4), layout="constrained")
    colours = dict(zip((found.name for found in evaluations), _cycle(len(evaluations)), strict=True))
    for axes, (draw, shown) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for found in shown:
            draw(axes, found, colours[found.name])
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 3), frameon=False)
    _save(path, figure)


def _draw_recall(axes: "Axes", found: Evaluation, colour: str) -> None:
    assert found.recall is not None and found.recall_intervals is not None
    ks = list(found.recall.values)
    low, high = (100 * np.array([found.recall_intervals[k][end] for k in ks]) for end in (0, 1))
    axes.plot(ks, [100 * found.recall[k] for k in ks], marker="o", markersize=4, color=colour, label=found.name)
    axes.fill_between(ks, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.set_xscale("log")
    axes.set_xticks(ks, [str(k) for k in ks])
    axes.minorticks_off()
    axes.set(xlabel="k", ylabel="recall@k [%]", title="Recall, 95 % intervals")


def _draw_precision(axes: "Axes", found: Evaluation, colour: str) -> None:
    assert found.precision_recall is not None
    curve = found.precision_recall
    axes.step(100 * curve.recall, 100 * curve.precision, where="post", color=colour, label=found.name)
    axes.set(xlim=(0, 101), ylim=(0, 101), xlabel="recall [%]", ylabel="precision [%]", title="Accepting by score")


def _draw_errors(axes: "Axes", found: Evaluation, colour: str) -> None:
    assert found.errors is not None
    errors = np.sort(np.maximum(found.errors[np.isfinite(found.errors)], 0.1))
    shares = 100 * np.arange(1, len(errors) + 1) / max(len(found.errors), 1)
    axes.step(errors, shares, where="post", color=colour, label=found.name)
    axes.set_xscale("log")
    axes.set(ylim=(0, 101), xlabel="error of the best match [m]", ylabel="queries [%]", title="Localisation error")


def check_suffix(path: str | os.PathLike) -> None:
    """Raises ConfigError unless matplotlib writes such files."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    formats = FigureCanvasAgg.get_supported_filetypes()
    if Path(path).suffix[1:].lower() not in formats:
        raise ConfigError(f"{path}: the name of a figure must end in one of .{', .'.join(formats)}")


def _save(path: str | os.PathLike, figure: "Figure") -> None:
    """Writes a figure: equal ones make equal files, which say no time and number their parts by their contents."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    kind = Path(path).suffix[1:].lower()
    timeless = {"svg": {"Date": None}, "svgz": {"Date": None}, "pdf": {"CreationDate": None}}
    held = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "patchvlad"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # names in a script that the font lacks show as boxes
        figure.savefig(held, dpi=120, format=kind, metadata=timeless.get(kind))
    made = held.getvalue()
    if kind in ("ps", "eps"):
        made = re.sub(rb"^%%CreationDate:.*\n", b"", made, count=1, flags=re.MULTILINE)
    elif kind == "svgz":  # gzip writes the time
        made = gzip.compress(gzip.decompress(made), mtime=0)
    with writing(path) as file:
        file.write(made)


def _shortened(caption: str, most: int = 64) -> str:
    return caption if len(caption) <= most else f"{caption[:20]} ... {caption[20 + 5 - most :]}"


def _cycle(count: int) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(count)]

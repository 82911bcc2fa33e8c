"""Match figures: what is drawn lies where the matches are."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import matplotlib.colors
import matplotlib.figure
import numpy as np
import pytest
from matplotlib.collections import LineCollection

from patchvlad.errors import ConfigError
from patchvlad.evaluate.figures import COLOURS, Pictured, write_match_figure
from patchvlad.images.pixels import read_image
from patchvlad.search.matchers.base import Match

SIZE = (96, 128)
LEFT, RIGHT = (60, 0, 0), (0, 0, 60)  # what the two photos are filled with, so that they can be found in the picture
PHOTOS = tuple(
    Pictured(np.full((*SIZE, 3), colour, dtype=np.uint8), caption)
    for colour, caption in ((LEFT, "query"), (RIGHT, "database"))
)


def make_match(**points) -> Match:
    """Match from s<patch size>=([(x, y), ...] of the first photo, [(x, y), ...] of the second)."""
    ends = {
        int(name[1:]): [np.array(side, dtype=np.float32).reshape(-1, 2) for side in v] for name, v in points.items()
    }
    return Match(
        {size: len(sides[0]) / 10 for size, sides in ends.items()},
        {size: sides[0] for size, sides in ends.items()},
        {size: sides[1] for size, sides in ends.items()},
    )


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[matplotlib.figure.Figure]:
    """Every figure that was saved."""
    figures: list[matplotlib.figure.Figure] = []
    save = matplotlib.figure.Figure.savefig

    def savefig(figure, *args, **kwargs):
        figures.append(figure)
        save(figure, *args, **kwargs)

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", savefig)
    return figures


def legend(figure: matplotlib.figure.Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def near(picture: np.ndarray, colour) -> np.ndarray:
    """(H, W) of where the picture has about this colour."""
    return (np.abs(picture.astype(int) - np.array(colour)) < 12).all(axis=2)


def in_picture(picture: np.ndarray, colour: tuple[int, int, int], point: tuple[float, float]) -> np.ndarray:
    """Where a point (x, y) of the photo filled with `colour` lies in the picture, as (x, y)."""
    rows, columns = np.nonzero(near(picture, colour))
    first, last = np.array([columns.min(), rows.min()]), np.array([columns.max(), rows.max()]) + 1
    return first + (np.array(point) + 0.5) / np.array(SIZE[::-1]) * (last - first)


@pytest.mark.parametrize(
    ("point0", "point1"), [((7, 7), (119, 87)), ((119, 7), (7, 87)), ((23, 55), (23, 55)), ((0, 0), (127, 95))]
)
def test_lines_end_where_the_matches_are(tmp_path: Path, point0: tuple, point1: tuple) -> None:
    write_match_figure(tmp_path / "a.png", *PHOTOS, make_match(s5=([point0], [point1])), SIZE)
    picture = read_image(tmp_path / "a.png")
    colour = tuple(round(255 * part) for part in matplotlib.colors.to_rgb(COLOURS[0]))
    end0, end1 = in_picture(picture, LEFT, point0), in_picture(picture, RIGHT, point1)
    rows, columns = np.nonzero(near(picture, colour))
    dots = np.stack([columns, rows], axis=1) + 0.5
    for end in (end0, end1):
        assert np.linalg.norm(dots - end, axis=1).min() < 2
    # Nothing in the photos has this colour but the line, which they shine through, and its ends.
    shades = [np.array(colour), *(0.75 * np.array(colour) + 0.25 * np.array(photo) for photo in (LEFT, RIGHT))]
    rows, columns = np.nonzero(np.any([near(picture, shade) for shade in shades], axis=0))
    below = in_picture(picture, LEFT, (0, SIZE[0]))[1]
    assert (rows < below).sum() > 100
    along = (end1 - end0) / np.linalg.norm(end1 - end0)
    for point in (np.stack([columns, rows], axis=1) + 0.5)[rows < below]:
        offset = point - end0
        assert abs(offset @ (-along[1], along[0])) < 3
        assert -3 < offset @ along < np.linalg.norm(end1 - end0) + 3


def test_each_patch_size_has_its_colour_and_its_own_points(tmp_path: Path, drawn: list) -> None:
    match = make_match(s2=([(1, 2), (3, 4)], [(5, 6), (7, 8)]), s5=([(9, 10)], [(11, 12)]), s8=([], []))
    write_match_figure(tmp_path / "a.png", *PHOTOS, match, SIZE)
    lines = [artist for artist in drawn[0].axes[0].collections if isinstance(artist, LineCollection)]
    right = SIZE[1] + SIZE[1] // 40
    assert [np.array(artist.get_segments()).tolist() for artist in lines] == [
        [[[1, 2], [right + 5, 6]], [[3, 4], [right + 7, 8]]],
        [[[9, 10], [right + 11, 12]]],
        [],
    ]
    for artist, colour in zip(lines[:2], COLOURS, strict=False):
        assert matplotlib.colors.same_color(artist.get_colors()[0, :3], colour)
    assert legend(drawn[0]) == [
        "2 x 2 cells: 2 matches, score 0.200",
        "5 x 5 cells: 1 matches, score 0.100",
        "8 x 8 cells: 0 matches, score 0.000",
    ]


def test_of_many_matches_some_are_drawn_and_all_are_told(
    tmp_path: Path, drawn: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("patchvlad.evaluate.figures.MOST_LINES", 10)
    points = np.random.default_rng(0).integers(0, 96, (31, 2))
    write_match_figure(tmp_path / "a.png", *PHOTOS, make_match(s2=(points, points)), SIZE)
    (lines,) = (artist for artist in drawn[0].axes[0].collections if isinstance(artist, LineCollection))
    starts = np.array(lines.get_segments())[:, 0]
    np.testing.assert_array_equal(starts, points[[0, 3, 6, 10, 13, 16, 20, 23, 26, 30]])
    assert legend(drawn[0]) == ["2 x 2 cells: 31 matches, 10 shown, score 3.100"]


@pytest.mark.parametrize("match", [make_match(s5=([], [])), make_match(s2=([], []), s5=([], []))])
def test_no_match_draws_the_photos(tmp_path: Path, match: Match) -> None:
    write_match_figure(tmp_path / "a.png", *PHOTOS, match, SIZE, "score 0.0000")
    picture = read_image(tmp_path / "a.png")
    areas = [near(picture, colour).sum() for colour in (LEFT, RIGHT)]
    assert areas[0] == pytest.approx(areas[1], rel=0.02)
    assert min(areas) > 100_000


def test_more_patch_sizes_than_colours_are_drawn(tmp_path: Path, drawn: list) -> None:
    match = make_match(**{f"s{size}": ([(size, size)], [(size, size)]) for size in range(1, 9)})
    write_match_figure(tmp_path / "a.png", *PHOTOS, match, SIZE)
    assert len(legend(drawn[0])) == 8


def test_photos_of_any_size_fill_their_half(tmp_path: Path) -> None:
    photos = [
        Pictured(np.full((*shape, 3), colour, dtype=np.uint8), "")
        for shape, colour in (((9, 31), LEFT), ((200, 50), RIGHT))
    ]
    write_match_figure(tmp_path / "a.png", *photos, make_match(s5=([], [])), SIZE)
    picture = read_image(tmp_path / "a.png")
    assert near(picture, LEFT).sum() == pytest.approx(near(picture, RIGHT).sum(), rel=0.02)


@pytest.mark.parametrize("caption", [r"a$\nothing$b.jpg", "_^{.jpg", "東京.jpg", "", "x" * 300])
def test_any_name_can_be_a_caption(tmp_path: Path, caption: str, drawn: list) -> None:
    write_match_figure(
        tmp_path / "a.png", replace(PHOTOS[0], caption=caption), PHOTOS[1], make_match(s5=([], [])), SIZE, caption
    )
    shown = drawn[0].axes[0].texts[0].get_text()
    assert shown == caption or (len(shown) == 64 and caption.startswith(shown[:20]) and caption.endswith(shown[-39:]))
    # However long it is, the photos keep their place.
    assert near(read_image(tmp_path / "a.png"), LEFT).sum() > 100_000


@pytest.mark.parametrize("name", ["a.pdf", "a.svg", "a.JPG", "new folder/a.b.png"])
def test_the_suffix_chooses_the_format(tmp_path: Path, name: str) -> None:
    write_match_figure(tmp_path / name, *PHOTOS, make_match(s5=([(1, 1)], [(2, 2)])), SIZE)
    starts = {"pdf": b"%PDF", "svg": b"<?xml", "JPG": b"\xff\xd8\xff", "png": b"\x89PNG"}
    assert (tmp_path / name).read_bytes().startswith(starts[name.rpartition(".")[2]])
    assert list((tmp_path / name).parent.iterdir()) == [tmp_path / name]


@pytest.mark.parametrize("name", ["figure", "figure.docx", ".png"])
def test_unknown_formats_are_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"must end in one of .*\.png") as caught:
        write_match_figure(tmp_path / name, *PHOTOS, make_match(s5=([], [])), SIZE)
    assert str(tmp_path / name) in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def savefig(figure, path, **_):
        path.write(b"half a picture")
        raise KeyboardInterrupt

    path = tmp_path / "a.png"
    path.write_bytes(b"the old picture")
    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", savefig)
    with pytest.raises(KeyboardInterrupt):
        write_match_figure(path, *PHOTOS, make_match(s5=([], [])), SIZE)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"the old picture"


FORMATS = ["png", "svg", "svgz", "pdf", "ps", "eps", "jpg", "tif", "webp"]
DRAW = """
import sys
sys.path.insert(0, sys.argv[1])
import test_figures as here
here.draw_all(sys.argv[2])
"""


def draw_all(folder: str) -> None:
    match = make_match(s5=([[10, 20], [30, 40]], [[12, 20], [33, 41]]))
    for kind in FORMATS:
        write_match_figure(Path(folder) / f"a.{kind}", *PHOTOS, match, SIZE, "score")


def test_equal_figures_are_equal_files_in_every_format(tmp_path: Path) -> None:
    for run in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": run, "SOURCE_DATE_EPOCH": run + "00000000"}
        command = [sys.executable, "-c", DRAW, str(Path(__file__).parent), str(tmp_path / run)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        time.sleep(1.1)  # times in files are in seconds
    for kind in FORMATS:
        assert (tmp_path / f"1/a.{kind}").read_bytes() == (tmp_path / f"2/a.{kind}").read_bytes(), kind

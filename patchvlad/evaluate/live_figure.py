"""Two frames side by side with their matches, drawn in a few milliseconds for a live view."""

import cv2
import numpy as np

from ..images.pixels import resize
from ..search.matchers.base import Match

COLOURS = ((64, 224, 160), (255, 160, 60), (150, 160, 255), (255, 110, 180))  # light ones, told apart on photos
MOST_LINES = 20  # per patch size, evenly chosen
WIDEST = 960  # pixels of a frame in the picture
GAP, BAR = 8, 30  # pixels between the frames, and of a line of text
BACKGROUND, TEXT = (24, 24, 24), (240, 240, 240)
FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw_live(left: np.ndarray, right: np.ndarray, match: Match, names: tuple[str, str], said: str) -> np.ndarray:
    """Draws a match: what is said above, the frames with lines between matching patches, a legend below.

    Args:
        left, right: (H, W, 3) uint8 RGB, images 0 and 1 of the match, of the size that they were described at.
        match: of the two, in their pixels.
        names: what they are, written into their corners.
        said: the line above.

    Returns:
        (H' + 60, 2 W' + 8, 3) uint8 RGB; H' x W' is H x W, or smaller if W is more than 960.
    """
    scale = min(1.0, WIDEST / left.shape[1])
    height, width = (max(round(side * scale), 1) for side in left.shape[:2])
    canvas = np.full((height + 2 * BAR, 2 * width + GAP, 3), BACKGROUND, dtype=np.uint8)
    starts = np.array([[0, BAR], [width + GAP, BAR]])
    for image, (x, y) in zip((left, right), starts.tolist(), strict=True):
        canvas[y : y + height, x : x + width] = resize(image, (height, width))
    _write(canvas, said, (8, BAR - 10), canvas.shape[1] - 16)
    column = canvas.shape[1] // max(len(match.scores), 1)
    for number, (size, score) in enumerate(match.scores.items()):
        colour = COLOURS[number % len(COLOURS)]
        ends = [
            np.rint(points * scale).astype(int) + start
            for points, start in zip(match.some(size, MOST_LINES), starts, strict=True)
        ]
        _draw_lines(canvas, ends[0], ends[1], colour)
        label = f"{size} x {size} cells: score {score:.3f}, {len(match.points0[size])} matches"
        _write(canvas, label, (number * column + 8, height + 2 * BAR - 10), column - 16, colour)
    for name, (x, y) in zip(names, starts.tolist(), strict=True):
        _write(canvas, name, (x + 8, y + height - 10), width - 16, boxed=True)
    return canvas


def _draw_lines(canvas: np.ndarray, ends0: np.ndarray, ends1: np.ndarray, colour: tuple[int, int, int]) -> None:
    for start, end in zip(ends0.tolist(), ends1.tolist(), strict=True):
        cv2.line(canvas, start, end, colour, 1, cv2.LINE_AA)
        for point in (start, end):
            cv2.circle(canvas, point, 3, colour, -1, cv2.LINE_AA)


def _write(
    canvas: np.ndarray,
    text: str,
    place: tuple[int, int],
    room: int,
    colour: tuple[int, int, int] = TEXT,
    boxed: bool = False,
) -> None:
    """Writes a line of ASCII, smaller where there is no room for it."""
    text = text.encode("ascii", "replace").decode()
    scale = 0.55
    (width, _), _ = cv2.getTextSize(text, FONT, scale, 1)
    scale *= min(1.0, room / max(width, 1))
    if boxed:
        (width, height), below = cv2.getTextSize(text, FONT, scale, 1)
        corner0, corner1 = (place[0] - 4, place[1] - height - 4), (place[0] + width + 4, place[1] + below + 2)
        cv2.rectangle(canvas, corner0, corner1, BACKGROUND, -1)
    cv2.putText(canvas, text, place, FONT, scale, colour, 1, cv2.LINE_AA)

"""What pictures are shown on, and what is said of each."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

NEXT, QUIT = "n", "q"  # keys: the current frame becomes the reference frame; the end


@dataclass(frozen=True)
class Shown:
    """A picture, and what there is to say of it.

    Attributes:
        picture: (H, W, 3) uint8 RGB.
        seconds: when its frame was, since the beginning of the source.
        score: of the match.
        rate: frames shown per second, over the last seconds.
        dropped: frames that came too fast to be shown.
        reference: name of the reference frame.
    """

    picture: np.ndarray
    seconds: float
    score: float
    rate: float
    dropped: int
    reference: str


class Screen(Protocol):
    """A window, a page or a video."""

    def show(self, shown: Shown) -> None:
        """Shows a picture."""

    def idle(self) -> None:
        """Is called while the next frame is waited for."""

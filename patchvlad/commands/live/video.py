"""A video of what was shown, which appears whole or not at all."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ConfigError, ImageError, PatchvladError
from ...files.atomic import replacing
from .screens import Shown

LONGEST_PAUSE = 10.0  # seconds that one picture stands in the video


class _EmptyError(Exception):
    """Nothing was shown, so that there is no video."""


@contextlib.contextmanager
def open_video(path: Path, rate: float, live: bool) -> Iterator["Video"]:
    """A video to write to. What was shown until an error, or until Ctrl-C, is a whole video, too.

    Args:
        path: ends in .mp4.
        rate: frames per second.
        live: whether pictures stand as long as they were shown, not for one frame each.

    Raises:
        ConfigError: the name ends otherwise, or OpenCV cannot write such videos.
        ImageError: it could not be written to its end.
    """
    if path.suffix.lower() != ".mp4":
        raise ConfigError(f"--video {path}: the name must end in .mp4")
    ended: BaseException | None = None
    with contextlib.suppress(_EmptyError), replacing(path) as partial:
        video = Video(partial, path, rate, live)
        try:
            yield video
        except (PatchvladError, KeyboardInterrupt, BrokenPipeError) as error:
            ended = error
        finally:
            video.finish()
        if video.written == 0:
            raise _EmptyError
        video.check()
    if ended is not None:
        raise ended


class Video:
    """The file; a screen."""

    def __init__(self, partial: Path, path: Path, rate: float, live: bool) -> None:
        self.partial, self.path, self.rate, self.live = partial, path, rate, live
        self.written = 0
        self._writer: Any = None
        self._size = (0, 0)
        self._last: tuple[np.ndarray, float] | None = None
        self._start = 0.0

    def show(self, shown: Shown) -> None:
        """Appends a picture; live, the one before stands until then."""
        import cv2

        if self._writer is None:
            self._open(shown.picture)
            self._start = shown.seconds
        picture = cv2.cvtColor(shown.picture, cv2.COLOR_RGB2BGR)
        height, width = shown.picture.shape[:2]
        right, bottom = max(self._size[0] - width, 0), max(self._size[1] - height, 0)
        picture = cv2.copyMakeBorder(picture, 0, bottom, 0, right, cv2.BORDER_CONSTANT)
        picture = np.ascontiguousarray(picture[: self._size[1], : self._size[0]])
        if self.live and self._last is not None:
            before, then = self._last
            due = round((shown.seconds - self._start) * self.rate) - self.written
            for _ in range(min(due, round(LONGEST_PAUSE * self.rate))):
                self._write(before)
            if shown.seconds - then > LONGEST_PAUSE:
                self._start = shown.seconds - self.written / self.rate
        self._write(picture)
        self._last = picture, shown.seconds

    def idle(self) -> None:
        """Waits for the next picture."""

    def finish(self) -> None:
        """Closes the file."""
        if self._writer is not None:
            self._writer.release()

    def check(self) -> None:
        """Raises ImageError unless the file holds all that was written: OpenCV does not say when the disk is full."""
        import cv2

        capture = cv2.VideoCapture(str(self.partial))
        there = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
        capture.release()
        if there < self.written:
            raise ImageError(f"{self.path} could not be written to its end: is the disk full?")

    def _open(self, picture: np.ndarray) -> None:
        import cv2

        height, width = picture.shape[:2]
        self._size = width + width % 2, height + height % 2  # codecs want even numbers
        self._writer = cv2.VideoWriter(str(self.partial), cv2.VideoWriter.fourcc(*"mp4v"), self.rate, self._size)
        if not self._writer.isOpened():
            raise ConfigError(f"{self.path} cannot be written: this build of OpenCV writes no .mp4, leave --video out")

    def _write(self, picture: np.ndarray) -> None:
        self._writer.write(picture)
        self.written += 1

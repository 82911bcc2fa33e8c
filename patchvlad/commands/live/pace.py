"""How fast frames were shown, and how late: a line on standard error that replaces itself, and a summary."""

import contextlib
import shutil
import sys
import time
from array import array
from collections import deque

from ...errors import counted

RECENT = 2.0  # seconds that the current rate is counted over
EVERY = 2.0  # seconds between two lines


class Pace:
    """Counts frames, and says how fast they went.

    Attributes:
        shown, dropped: frames, so far.
    """

    def __init__(self) -> None:
        self.shown = self.dropped = 0
        self._latencies = array("d")
        self._recent: deque[float] = deque()
        self._first = self._last = self._said = time.perf_counter()
        self._line = ""

    def count(self, read: float, dropped: int) -> None:
        """Counts a frame that was read then and is shown now."""
        self._last = time.perf_counter()
        if self.shown == 0:
            self._first = self._said = self._last
        self.shown, self.dropped = self.shown + 1, dropped
        self._latencies.append(self._last - read)
        self._recent.append(self._last)
        while self._recent[0] < self._last - RECENT:
            self._recent.popleft()

    @property
    def rate(self) -> float:
        """Frames per second over the last two seconds."""
        return _rate(len(self._recent), self._recent[-1] - self._recent[0] if self._recent else 0.0)

    def say(self, result: str) -> None:
        """Prints a result; the line about the pace stays below it, where there is a terminal to see it."""
        self.wipe()
        print(result, flush=True)
        if getattr(sys.stdout, "unread", False):  # a live view has no other end, see commands/streams.py
            raise BrokenPipeError
        if time.perf_counter() - self._said >= EVERY:
            self._said = time.perf_counter()
            self._line = self.summary(short=True)
        if self._line and sys.stderr.isatty():
            print(self._line[: shutil.get_terminal_size().columns - 1], end="", file=sys.stderr, flush=True)

    def wipe(self) -> None:
        """Takes the line about the pace away."""
        if self._line and sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Says how it was."""
        self.wipe()
        with contextlib.suppress(BrokenPipeError):
            print(self.summary(), file=sys.stderr, flush=True)

    def summary(self, short: bool = False) -> str:
        """All in one line, which in short fits a terminal of 80 columns."""
        import numpy as np

        if not self.shown:
            return "no frame shown"
        frames = f"{self.shown}" if short else counted(self.shown, "frame")
        rate = _rate(self.shown, self._last - self._first)
        median, most = np.quantile(np.asarray(self._latencies), (0.5, 0.95)) * 1000
        latency = f"{median:.0f} ms (median), {most:.0f} ms (95 %)"
        said = f"{frames} shown, {self.dropped} dropped, {rate:.1f} frames per second, "
        return said + (latency if short else f"read to shown in {latency}")


def _rate(frames: int, seconds: float) -> float:
    """Of so many frames between the first and the last of which so many seconds lie."""
    return (frames - 1) / seconds if frames > 1 and seconds > 0 else 0.0

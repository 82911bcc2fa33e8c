"""Computing with all threads or with one, whichever is faster just now.

Beside other programs, threads that wait for each other at every step are slower than one alone, several times on two
cores; on an idle machine they are faster. So both are tried, and tried again every few seconds.
"""

import statistics
import time
from types import TracebackType

TRIAL = 4  # frames that each is tried with
AGAIN = 5.0  # seconds between two trials
HOPELESS = 3.0  # a trial ends at once with a frame that takes so many times as long


class Threads:
    """A context that chooses how many threads PyTorch computes with, told how long each frame took.

    Attributes:
        count: threads now.
    """

    def __init__(self) -> None:
        import torch

        self._before = self.count = torch.get_num_threads()
        self._took: list[float] = []
        self._rival: tuple[int, float] | None = None  # the other count, and seconds per frame with it
        self._trying = self.count > 1
        self._tried = time.perf_counter()
        self._warm = False

    def __enter__(self) -> "Threads":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._set(self._before)

    def took(self, seconds: float) -> None:
        """A frame took so long."""
        if self._before == 1:
            return
        if not self._warm:  # the first frame sets things up
            self._warm = True
            return
        self._took = [*self._took[1 - TRIAL :], seconds]
        if not self._trying:
            if time.perf_counter() - self._tried >= AGAIN:
                self._switch()
                self._trying = True
        elif len(self._took) == TRIAL or (self._rival is not None and seconds > HOPELESS * self._rival[1]):
            if self._rival is None:
                self._switch()
                return
            if statistics.median(self._took) > self._rival[1]:
                self._switch()
            self._trying, self._tried = False, time.perf_counter()

    def _switch(self) -> None:
        self._rival = self.count, statistics.median(self._took)
        self._took = []
        self._set(1 if self.count > 1 else self._before)

    def _set(self, count: int) -> None:
        import torch

        self.count = count
        torch.set_num_threads(count)

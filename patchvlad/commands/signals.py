"""Ctrl-C and SIGTERM: a command ends in one line, with all that is finished on disk."""

import _thread
import contextlib
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

SAME = 1.0  # seconds in which further signals belong to the first: timeout and torchrun send two
LOST = 0.05  # seconds until an interruption that was lost comes again


class Caught:
    """Which signal has come; None while none has."""

    def __init__(self) -> None:
        self.number: int | None = None
        self._at = 0.0
        self._lost = False

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Raises KeyboardInterrupt, whichever signal it is; the same again, later, ends the process at once."""
        if self.number is None or self._lost:
            self.number = number if self.number is None else self.number
            self._at, self._lost = time.monotonic(), False
            raise KeyboardInterrupt
        if time.monotonic() - self._at > SAME:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    def again(self) -> None:
        """Has the interruption come again that was raised where Python cannot raise, as in a destructor."""
        self._lost = True
        timer = threading.Timer(LOST, _send, (self.number or signal.SIGINT,))
        timer.daemon = True
        timer.start()


def _send(number: int) -> None:
    """Sends this process a signal that wakes the main thread, whatever it waits for."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, number)
    else:
        _thread.interrupt_main(signal.Signals(number))


@contextlib.contextmanager
def caught_signals() -> Iterator[Caught]:
    """Turns SIGINT and SIGTERM into KeyboardInterrupt for a while, unless they are ignored or handled otherwise."""
    caught = Caught()
    before: dict[int, Any] = {}
    told = sys.unraisablehook

    def unraisable(ignored: "sys.UnraisableHookArgs") -> None:
        if issubclass(ignored.exc_type, KeyboardInterrupt):
            caught.again()
        else:
            told(ignored)

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                before[number] = signal.signal(number, caught.handle)
        sys.unraisablehook = unraisable
    try:
        yield caught
    finally:
        if sys.unraisablehook is unraisable:
            sys.unraisablehook = told
        for caught_before, handler in before.items():
            signal.signal(caught_before, handler)

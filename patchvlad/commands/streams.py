"""Standard output and standard error, whose readers may go away before a command is done."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Any


class Unread:
    """A stream that is silent from where its reader has gone (`| head`), while the command goes on to make its files.

    Attributes:
        unread: whether the reader has gone.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.unread = False

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._silence()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._silence()

    def _silence(self) -> None:
        self.unread = True
        silence(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def silence(stream: Any) -> None:
    """Sends what a stream still holds, and all that follows, nowhere."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


@contextlib.contextmanager
def standard_streams() -> Iterator[None]:
    """For a while print() is not stopped by a reader that goes away, nor by a name that the terminal cannot show."""
    before = sys.stdout, sys.stderr
    for stream in before:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.stdout, sys.stderr = (None if stream is None else Unread(stream) for stream in before)  # type: ignore[assignment]
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                try:
                    stream.flush()
                except (OSError, ValueError):  # Python would say so once more at its end
                    silence(stream)
        sys.stdout, sys.stderr = before

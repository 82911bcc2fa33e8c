"""Frames of a camera, a video, a stream or a folder of photos, one after another.

A thread of its own opens and reads the source. Live, it keeps only the newest frame: whoever is slower than the source
sees fewer frames, and none of them late. Otherwise it waits, and no frame is lost.
"""

import math
import os
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from ..errors import ImageError, counted
from .formats import SUFFIXES, suffix_of
from .lists import ImageList
from .scaling import PixelRange

PATIENCE = 8.0  # seconds that a camera or stream may take to open, or to send its next frame
USUAL_RATE = 25.0  # frames per second of a video that does not say
BROKEN_OFF = 0.98  # a video of which less than this share can be read has broken off; counts may be estimates
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


@dataclass(frozen=True)
class Frame:
    """One picture of a source.

    Attributes:
        pixels: (H, W, 3) uint8 RGB.
        name: the photo's path relative to its folder, or "frame 12", counted from 0.
        seconds: since the beginning of the video by its own rate; of cameras, streams and photos since the first frame.
        read: time.perf_counter() when it was there: read, or due in a video that is played live.
    """

    pixels: np.ndarray
    name: str
    seconds: float
    read: float


def frames(source: str | os.PathLike, live: bool = True, pixel_range: PixelRange | None = None) -> "Frames":
    """Opens a source of frames.

    Args:
        source: index of a camera, path of a video, address of a stream (rtsp://, http://, ...), a photo, or a folder of
            photos, which come in natural order.
        live: a video is played at its own rate, and frames that nobody takes in time are dropped. Cameras and streams
            are always live, photos never.
        pixel_range: of photos of more than 8 bits, see `read_image`.

    Raises:
        ImageError: there is no such source, it does not open in time, or is no video.
    """
    return Frames(source, live, pixel_range)


class Frames:
    """An iterator of `Frame`, and a context that frees the camera or file; made by `frames`.

    Iterating raises ImageError where a camera or stream goes away or sends nothing for 8 s, a video breaks off, or a
    photo cannot be read; it ends where a video or folder ends.

    Attributes:
        what: the source in words, without any password.
        live: whether frames may be dropped.
        rate: frames per second that the source says; 0 where it does not.
        dropped: frames that were read, and replaced by newer ones before anybody took them.
    """

    def __init__(self, source: str | os.PathLike, live: bool = True, pixel_range: PixelRange | None = None) -> None:
        self._source = os.fspath(source)
        self._is_camera = self._source.isdecimal()
        self._is_address = _ADDRESS.match(self._source) is not None
        of_files = not self._is_camera and not self._is_address
        self._photos = _photos_of(Path(self._source), pixel_range) if of_files else None
        self.what = f"camera {self._source}" if self._is_camera else re.sub(r"//[^/]*@", "//***@", self._source)
        self.live = self._photos is None and (live or self._is_camera or self._is_address)
        self.rate, self.dropped = 0.0, 0
        self._patience = PATIENCE if self._is_camera or self._is_address else None
        self._changed = threading.Condition()  # guards all below
        self._frame: Frame | None = None
        self._error: Exception | None = None
        self._waiting: float | None = None  # since when the next frame is waited for
        self._open = self._wanted = self._ended = self._closed = False
        self._thread = threading.Thread(target=self._run, name=f"frames of {self.what}", daemon=True)
        self._thread.start()
        with self._changed:
            answered = self._changed.wait_for(lambda: self._open or self._ended, self._patience)
            unopened = self._error if not self._open else None  # a later error belongs to the frame that it hit
            self._closed = not answered or unopened is not None
        if unopened is not None:
            raise unopened
        if not answered:
            raise ImageError(
                f"{self.what} did not answer within {self._patience:g} s: check that it is on and within reach"
            )

    def __enter__(self) -> "Frames":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        """The next frame; live, the newest one that was not taken yet."""
        self.wait(None)
        with self._changed:
            frame, self._frame = self._frame, None
            self._waiting = None
            self._changed.notify_all()
        if frame is not None:
            return frame
        if self._error is not None:
            raise self._error
        raise StopIteration

    def wait(self, seconds: float | None) -> bool:
        """Waits so long at most, None for as long as it takes; whether the next frame, or the end, is there.

        Raises:
            ImageError: a camera or stream has sent nothing for 8 s.
        """
        with self._changed:
            self._wanted = True
            self._changed.notify_all()
            self._waiting = time.perf_counter() if self._waiting is None else self._waiting
            left = None if self._patience is None else max(self._waiting + self._patience - time.perf_counter(), 0)
            most = left if seconds is None else seconds if left is None else min(left, seconds)
            there = self._changed.wait_for(lambda: self._frame is not None or self._ended or self._closed, most)
        if not there and most == left and left is not None:
            raise ImageError(f"{self.what} has sent no frame for {self._patience:g} s: check it, and start again")
        return there

    def close(self) -> None:
        """Frees the source; a camera or stream that hangs is left to itself after a second."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(1.0 if self._patience else None)

    # --- in the thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            if self._photos is not None:
                self._read_photos(self._photos)
            else:
                self._read_video()
        except Exception as error:  # raised again where frames are taken
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _read_photos(self, photos: ImageList) -> None:
        self._opened()
        started = None
        for row, name in enumerate(photos.names):
            pixels, now = photos.photo(row).pixels, time.perf_counter()
            started = now if started is None else started
            if not self._give(Frame(pixels, name, now - started, now)):
                return

    def _read_video(self) -> None:
        import cv2

        capture = self._capture()
        try:
            rate = float(capture.get(cv2.CAP_PROP_FPS))
            self.rate = rate if 0 < rate <= 1000 else 0.0
            count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
            count = int(count) if not self._is_camera and math.isfinite(count) and count > 0 else 0
            self._opened()
            done = self._play(capture, paced=count > 0)
        except cv2.error as error:
            raise ImageError(f"{self.what} cannot be read: {' '.join(str(error).split())}") from error
        finally:
            capture.release()
        with self._changed:
            if self._closed:
                return
        if count == 0 and (self._is_camera or self._is_address):
            advice = "check its cable" if self._is_camera else "check the sender and the network"
            raise ImageError(f"{self.what} went away after {counted(done, 'frame')}: {advice}, and start again")
        if done == 0 or done < BROKEN_OFF * count - 1:
            raise ImageError(
                f"{self.what} broke off after {done} of {counted(count, 'frame')}: "
                "it is damaged or incomplete, copy it again"
            )

    def _capture(self) -> Any:
        """The opened source."""
        import cv2

        if self._is_camera:
            capture = cv2.VideoCapture(int(self._source))
            advice = "is it plugged in, is another program using it, may this user read it?"
        elif self._is_address:
            limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, cv2.CAP_PROP_READ_TIMEOUT_MSEC]
            wait = int(900 * PATIENCE)  # it answers before we give it up
            capture = cv2.VideoCapture(
                self._source, cv2.CAP_FFMPEG, [word for limit in limits for word in (limit, wait)]
            )
            advice = "nothing answers there, or what answers is no video"
        else:
            capture = cv2.VideoCapture(os.path.abspath(self._source))
            advice = "it is damaged, or no video: give a video, the index of a camera, an address or a folder of photos"
        if not capture.isOpened():
            capture.release()
            raise ImageError(f"{self.what} cannot be opened: {advice}")
        return capture

    def _play(self, capture: Any, paced: bool) -> int:
        """Gives all frames, those of a video that is played live when they are due; returns how many there were."""
        import cv2

        rate = self.rate or USUAL_RATE
        done, started = 0, 0.0
        while True:
            there, pixels = capture.read()
            if not there:
                return done
            if done == 0:
                self._until_wanted(paced)
                started = time.perf_counter()
            if paced and self.live:
                self._sleep(started + done / rate - time.perf_counter())
            now = time.perf_counter()
            seconds = done / rate if paced else now - started
            if not self._give(Frame(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), f"frame {done}", seconds, now)):
                return done
            done += 1

    def _opened(self) -> None:
        with self._changed:
            self._open = True
            self._changed.notify_all()

    def _until_wanted(self, paced: bool) -> None:
        """A video begins to play when its first frame is asked for."""
        with self._changed:
            self._changed.wait_for(lambda: not paced or self._wanted or self._closed)

    def _sleep(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed, max(seconds, 0))

    def _give(self, frame: Frame) -> bool:
        """Puts a frame where it is taken from; False once nobody wants more."""
        with self._changed:
            self._changed.wait_for(lambda: self.live or self._frame is None or self._closed)
            self.dropped += self._frame is not None and self._wanted and not self._closed
            self._frame = frame
            self._changed.notify_all()
            return not self._closed


def _photos_of(path: Path, pixel_range: PixelRange | None) -> ImageList | None:
    """The photos of a folder, or one photo; None for a file that should be a video."""
    if path.is_dir() or (path.exists() and suffix_of(path.name) in SUFFIXES - {".gif"}):  # which plays as a video
        return ImageList.read(path).scaled(pixel_range)
    if not path.is_file():
        raise ImageError(
            f"{path} does not exist: give a video, the index of a camera, an address or a folder of photos"
        )
    return None

"""patchnetvlad-match-realtime: each frame of a camera or video matched with a reference frame, live."""

import argparse
import contextlib
import os
import queue
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...errors import ConfigError
from ..live.opencv import quiet_opencv
from ..live.pace import Pace
from ..live.page import open_page
from ..live.screens import NEXT, QUIT, Screen, Shown
from ..live.threads import Threads
from ..live.video import open_video
from ..live.window import open_window
from ..options import add_pixel_range_option
from ..outputs import FILE, add_output
from ..preset import PRESETS, Preset, read_preset
from ..process import keep_freed_memory
from .shared import device_of, new_parser, preset_of, run_as

if TYPE_CHECKING:
    import numpy as np

    from ...images.frames import Frame, Frames
    from ...model.network import Descriptors, PatchNetVLAD
    from ...search.matchers.base import Match

PHOTO_RATE, CAMERA_RATE = 10.0, 25.0  # frames per second of --video where the source does not say
TICK = 0.05  # seconds between two looks at the keys while no frame comes


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    parser = new_parser(
        "patchnetvlad-match-realtime", "Match each frame of a camera with a reference frame, live.", _match_realtime
    )
    parser.epilog = "Keys: n makes the current frame the reference frame, q quits."
    parser.add_argument(
        "--source",
        default="0",
        help="index of a camera, a video, an rtsp or http address, or a folder of photos (default: %(default)s)",
    )
    parser.add_argument("--preset", help=f"one of {', '.join(PRESETS)}, in place of --config_path")
    parser.add_argument(
        "--http", type=int, metavar="PORT", help="show a page with both keys as buttons, to this machine alone"
    )
    add_output(parser, "--video", FILE, metavar="OUT.mp4", help="write what is shown into a video")
    parser.add_argument("--no-window", action="store_true", help="open no window, even where there is a display")
    parser.add_argument("--every-frame", action="store_true", help="drop no frame of a video, however long it takes")
    add_pixel_range_option(parser)
    return run_as(parser, argv, "patchvlad compare")


def _match_realtime(arguments: argparse.Namespace) -> None:
    from ...images.frames import frames
    from ...images.scaling import checked_range

    if arguments.preset and arguments.config_path:
        raise ConfigError("a preset and a config are both given: give one of them")
    preset = read_preset(arguments.preset) if arguments.preset else preset_of(arguments)
    preset.description.check_patches(preset.name)
    if arguments.video and os.path.realpath(arguments.video) == os.path.realpath(arguments.source):
        raise ConfigError(f"--video {arguments.video} would replace the source itself: give another name")
    pixel_range = checked_range(arguments.pixel_range)
    keys: queue.SimpleQueue[str] = queue.SimpleQueue()
    quiet_opencv()
    keep_freed_memory()
    with ExitStack() as opened:
        source = opened.enter_context(frames(arguments.source, not arguments.every_frame, pixel_range))
        screens = _screens(arguments, source, keys, opened)
        model = preset.description.load(device_of(arguments))
        pairs = Pairs(model, preset, opened.enter_context(Threads()))
        pace = Pace()
        opened.callback(pace.end)
        with contextlib.suppress(KeyboardInterrupt):
            _play(source, pairs, screens, keys, pace)


def _screens(
    arguments: argparse.Namespace, source: "Frames", keys: "queue.SimpleQueue[str]", opened: ExitStack
) -> list[Screen]:
    """The page, the video and the window that are asked for, and can be."""
    screens: list[Screen] = []
    if arguments.http is not None:
        page = opened.enter_context(open_page(arguments.http, keys))
        print(f"showing at {page.address}", file=sys.stderr, flush=True)
        screens.append(page)
    if arguments.video is not None:
        rate = source.rate or (CAMERA_RATE if source.live else PHOTO_RATE)
        screens.append(opened.enter_context(open_video(arguments.video, rate, source.live)))
    if not arguments.no_window:
        window = opened.enter_context(open_window("patchnetvlad-match-realtime", keys))
        if window is not None:
            screens.append(window)
    if not screens:
        why = "--no-window leaves" if arguments.no_window else "there is no display (or no tkinter), which leaves"
        raise ConfigError(f"{why} nothing to show on: give --http PORT for a page, or --video OUT.mp4 for a video")
    return screens


def _play(
    source: "Frames", pairs: "Pairs", screens: Sequence[Screen], keys: "queue.SimpleQueue[str]", pace: Pace
) -> None:
    """Shows frame after frame, until there are no more, or q is pressed."""
    from ...evaluate.live_figure import draw_live
    from ...images.scaling import is_faint

    while _wait(source, pairs, screens, keys):
        frame = next(source, None)
        if frame is None:
            return
        match, score = pairs.match(frame)
        current, reference = pairs.current, pairs.reference
        assert current is not None and reference is not None
        said = f"score {score:.5f}   {pace.rate:.1f} frames per second   {source.dropped} dropped"
        said += "   next to no contrast" if is_faint(current.pixels) or is_faint(reference.pixels) else ""
        names = (current.name, f"reference: {reference.name}")
        picture = draw_live(current.pixels, reference.pixels, match, names, said)
        for screen in screens:
            screen.show(Shown(picture, frame.seconds, score, pace.rate, source.dropped, reference.name))
        pace.count(frame.read, source.dropped)
        pace.say(f"Similarity score between the two images is: {score:.5f}. Larger scores indicate better matches.")


def _wait(source: "Frames", pairs: "Pairs", screens: Sequence[Screen], keys: "queue.SimpleQueue[str]") -> bool:
    """Waits for the next frame, and does what is pressed meanwhile; False once q is."""
    while _obey(keys, pairs):
        if source.wait(TICK):
            return True
        for screen in screens:
            screen.idle()
    return False


class Pairs:
    """Frames matched with the reference frame, which is described once.

    Attributes:
        current, reference: the frame matched last and the one it was matched with, None before the first; their pixels
            are of the size that they are described at.
    """

    def __init__(self, model: "PatchNetVLAD", preset: Preset, threads: Threads) -> None:
        from ...search.searching import matcher_of

        self._model, self._preset, self._threads = model, preset, threads
        self._matcher = matcher_of(preset.plan)
        self.current: Described | None = None
        self.reference: Described | None = None

    def match(self, frame: "Frame") -> "tuple[Match, float]":
        """Matches a frame with the reference frame, which the first is itself -> the match and its score."""
        from ...images.pixels import resize

        started = time.perf_counter()
        size = self._preset.description.size or frame.pixels.shape[:2]
        pixels = resize(frame.pixels, size)
        if self.reference is not None and self.reference.pixels.shape != pixels.shape:
            raise ConfigError(
                f"{self.reference.name} and {frame.name} differ in size and {self._preset.name} does not resize: set "
                "imageresizew and imageresizeh"
            )
        self.current = Described(frame.name, pixels, self._model.describe([pixels])[0])
        self.reference = self.reference or self.current
        match = self._matcher(self.current.descriptors, self.reference.descriptors)
        self._threads.took(time.perf_counter() - started)
        return match, match.weighted(self._preset.plan.weights or ())

    def renew(self) -> None:
        """Makes the current frame the reference frame."""
        self.reference = self.current


@dataclass(frozen=True)
class Described:
    """A frame, (H, W, 3) uint8 RGB, and its descriptors."""

    name: str
    pixels: "np.ndarray"
    descriptors: "Descriptors"


def _obey(keys: "queue.SimpleQueue[str]", pairs: "Pairs") -> bool:
    """Does what was pressed; False for the end."""
    while not keys.empty():
        key = keys.get()
        if key == QUIT:
            return False
        if key == NEXT:
            pairs.renew()
    return True


if __name__ == "__main__":
    sys.exit(main())

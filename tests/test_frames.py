"""Frames of videos, folders, cameras and streams: all of them, or the newest."""

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny import HEIGHT, WIDTH, write_photos

from patchvlad.errors import ImageError
from patchvlad.images import frames as frames_module
from patchvlad.images.frames import Frames, frames
from patchvlad.images.pixels import read_image


def write_video(path: Path, count: int, rate: float = 20.0) -> Path:
    """Motion JPEG whose frame n is grey 10 n, but for a red corner."""
    code = cv2.VideoWriter.fourcc(*("MJPG" if path.suffix == ".avi" else "mp4v"))
    writer = cv2.VideoWriter(str(path), code, rate, (WIDTH, HEIGHT))
    for number in range(count):
        picture = np.full((HEIGHT, WIDTH, 3), 10 * number, dtype=np.uint8)
        picture[:16, :16] = (0, 0, 255)  # BGR
        writer.write(picture)
    writer.release()
    return path


def cut(path: Path) -> Path:
    """Takes the second half of an .avi's frames away."""
    whole = path.read_bytes()
    start = whole.index(b"movi")
    path.write_bytes(whole[: start + (len(whole) - start) // 2])
    return path


class FakeCapture:
    """A camera with so many frames."""

    def __init__(self, count: int, hang: bool = False) -> None:
        self.left, self.hang, self.released = count, hang, threading.Event()

    def isOpened(self) -> bool:
        return True

    def get(self, prop: int) -> float:
        return 0.0

    def read(self) -> tuple[bool, np.ndarray | None]:
        time.sleep(0.005)
        if self.left == 0:
            if self.hang:
                self.released.wait(1.5)
            return False, None
        self.left -= 1
        return True, np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)

    def release(self) -> None:
        self.released.set()


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_video(tmp_path / "v.avi", 12)


def test_every_frame_comes_in_rgb_with_its_time(video: Path) -> None:
    with frames(video, live=False) as source:
        assert (source.rate, source.live) == (20.0, False)
        found = list(source)
    assert [frame.name for frame in found] == [f"frame {n}" for n in range(12)]
    np.testing.assert_allclose([frame.seconds for frame in found], np.arange(12) / 20)
    for number, frame in enumerate(found):
        assert frame.pixels.shape == (HEIGHT, WIDTH, 3) and frame.pixels.dtype == np.uint8
        assert abs(float(frame.pixels[-1, -1].mean()) - 10 * number) < 4
        assert frame.pixels[4, 4, 0] > 200 and frame.pixels[4, 4, 2] < 60
    assert source.dropped == 0


def test_no_frame_is_lost_to_someone_slow(video: Path) -> None:
    with frames(video, live=False) as source:
        found = []
        for frame in source:
            time.sleep(0.01)
            found.append(frame.name)
    assert len(found) == 12 and source.dropped == 0


def test_live_drops_what_is_late_and_counts_it(video: Path) -> None:
    with frames(video) as source:
        time.sleep(0.3)  # it begins to play when a frame is asked for
        names, ages = [], []
        for frame in source:
            ages.append(time.perf_counter() - frame.read)
            names.append(frame.name)
            time.sleep(0.12)  # two to three frames
    assert names[0] == "frame 0"
    assert 0 < source.dropped == 12 - len(names)
    assert np.median(ages) < 0.06  # a frame that waited is the newest


def test_live_keeps_the_videos_own_pace(video: Path) -> None:
    started = time.perf_counter()
    with frames(video) as source:
        assert sum(1 for _ in source) + source.dropped == 12
    assert time.perf_counter() - started > 10 / 20


def test_a_folder_gives_its_photos_in_order_and_drops_none(tmp_path: Path) -> None:
    folder = write_photos(tmp_path / "data") / "database"
    with frames(folder) as source:
        assert not source.live
        found = list(source)
    assert [frame.name for frame in found] == [f"street/{n}.png" for n in (1, 2, 3, 4, 10)]
    np.testing.assert_array_equal(found[2].pixels, read_image(folder / "street/3.png"))
    with frames(folder / "street/3.png") as source:
        assert [frame.name for frame in source] == ["3.png"]


def test_what_is_no_video(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video\n" * 20)
    (tmp_path / "empty").mkdir()
    for source, said in (
        ("nowhere.mp4", "nowhere.mp4 does not exist: give a video"),
        ("text.mp4", "text.mp4 cannot be opened: it is damaged, or no video"),
        ("empty", "empty holds no image"),
    ):
        with pytest.raises(ImageError, match=said):
            frames(tmp_path / source)


def test_a_video_that_breaks_off(video: Path) -> None:
    with frames(cut(video), live=False) as source, pytest.raises(ImageError, match=r"broke off after \d+ of 12 frames"):
        list(source)


def test_a_damaged_photo_is_named(tmp_path: Path) -> None:
    folder = write_photos(tmp_path / "data") / "queries"
    (folder / "b.png").write_bytes(b"no photo")
    with frames(folder) as source:
        assert next(source).name == "a.png"
        with pytest.raises(ImageError, match=r"b\.png cannot be read"):
            next(source)


def test_a_photo_damaged_while_the_source_is_opened_is_raised_when_its_turn_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_photos(tmp_path / "data") / "queries"
    (folder / "a.png").write_bytes(b"no photo")
    start = threading.Thread.start

    def start_and_end(thread: threading.Thread) -> None:  # the reader has failed before the opener looks
        start(thread)
        thread.join()

    monkeypatch.setattr(threading.Thread, "start", start_and_end)
    with frames(folder) as source, pytest.raises(ImageError, match=r"a\.png cannot be read"):
        next(source)


def test_a_camera_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: FakeCapture(3))
    with frames("0", live=False) as source:
        assert source.live and source.what == "camera 0"
        with pytest.raises(ImageError, match="camera 0 went away after 3 frames: check its cable"):
            list(source)


def test_a_camera_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames_module, "PATIENCE", 0.2)
    camera = FakeCapture(2, hang=True)
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: camera)
    with frames("0") as source, pytest.raises(ImageError, match=r"camera 0 has sent no frame for 0\.2 s"):
        list(source)


def test_a_camera_that_is_not_there() -> None:
    with pytest.raises(ImageError, match="camera 97 cannot be opened: is it plugged in"):
        frames("97")


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_addresses_that_do_not_answer(silent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames_module, "PATIENCE", 0.5)
    started = time.perf_counter()
    with pytest.raises(ImageError, match=r"//\*\*\*@127\.0\.0\.1") as caught:
        frames(f"http://me:secret@127.0.0.1:{silent}/a")
    assert "secret" not in str(caught.value)
    assert time.perf_counter() - started < 3
    with pytest.raises(ImageError, match="cannot be opened: nothing answers there"):
        frames("http://127.0.0.1:9/a")


class Sender(BaseHTTPRequestHandler):
    """Sends ten pictures, as network cameras do, and goes away."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        picture = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n".encode()
        for _ in range(10):
            self.wfile.write(head + jpeg + b"\r\n")
            time.sleep(0.02)

    def log_message(self, *_: object) -> None:
        pass


def test_a_stream_gives_frames_until_it_goes_away() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Sender) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        seen = 0
        with frames(f"http://127.0.0.1:{server.server_port}/a", live=False) as source:
            assert source.live
            with pytest.raises(ImageError, match=r"went away after \d+ frames: check the sender"):
                for frame in source:
                    seen += 1
                    assert frame.pixels.shape == (HEIGHT, WIDTH, 3)
        server.shutdown()
    assert seen > 0


def test_closing_frees_the_source_at_once(video: Path) -> None:
    before = threading.active_count()
    started = time.perf_counter()
    source: Frames = frames(video)
    next(source)
    source.close()
    assert time.perf_counter() - started < 0.5
    assert threading.active_count() == before
    with pytest.raises(StopIteration):
        next(source), next(source)

"""Known models: downloads from a fake hub on this machine come whole, resumed and verified, or not at all."""

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import huggingface_hub.utils
import numpy as np
import pytest
import torch
import toy

from patchvlad.errors import DownloadError, ModelError, OutputError
from patchvlad.model import checkpoints
from patchvlad.model.checkpoints import load_model
from patchvlad.model.known_models import KNOWN_MODELS, download, megabytes, models_folder

REPOSITORY = "TobiasRobotics/Patch-NetVLAD"
REMOTE = f"/{REPOSITORY}/resolve/main/mapillary_WPCA128.pth.tar"
DATA = np.random.default_rng(0).bytes(20_000)


@dataclass
class Hub:
    """What the fake hub serves, how it fails, and what it was asked: (method, path, Range header)."""

    endpoint: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    sha256: dict[str, str] = field(default_factory=dict)  # published in place of the true ones
    breaks_after: int | None = None  # bytes of the file, counted from its start
    ranges: bool = True
    redirects: bool = False  # as the real one, to where large files lie
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)

    def gets(self) -> list[str | None]:
        """The Range header of each request for the file."""
        return [asked for method, path, asked in self.requests if method == "GET" and path == REMOTE]


def handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def answer(self) -> None:
            asked = self.headers.get("Range")
            hub.requests.append((self.command, self.path, asked))
            path = self.path.removeprefix("/cdn")
            data = hub.files.get(path)
            if data is None:
                self.send_response(404)
                self.send_header("X-Error-Code", "EntryNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            redirects = hub.redirects and path == self.path
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and hub.ranges else 0
            self.send_response(302 if redirects else 206 if start else 200)
            if redirects:
                self.send_header("Location", f"http://localhost:{self.server.server_port}/cdn{path}")
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.send_header("ETag", '"0123"')
            self.send_header("X-Linked-ETag", f'"{hub.sha256.get(path) or hashlib.sha256(data).hexdigest()}"')
            self.send_header("X-Linked-Size", str(len(data)))
            self.send_header("X-Repo-Commit", "c" * 40)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", "0" if redirects else str(len(data) - start))
            self.end_headers()
            if self.command == "GET" and not redirects:
                self.wfile.write(data[start : hub.breaks_after])

    return Handler


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Serves one released file; the hub's client waits for nothing and knows no other hub."""
    made = Hub(files={REMOTE: DATA})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler(made)) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        made.endpoint = f"http://127.0.0.1:{server.server_port}"
        constants = "huggingface_hub.constants"
        monkeypatch.setattr(f"{constants}.ENDPOINT", made.endpoint)
        monkeypatch.setattr(
            f"{constants}.HUGGINGFACE_CO_URL_TEMPLATE", made.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(f"{constants}.HF_HUB_OFFLINE", False)
        monkeypatch.setattr(f"{constants}.HF_HUB_DISABLE_TELEMETRY", True)
        monkeypatch.setattr(f"{constants}.DOWNLOAD_CHUNK_SIZE", 1000)
        monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
        huggingface_hub.utils.close_session()
        yield made
        huggingface_hub.utils.close_session()
        server.shutdown()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where models are downloaded to."""
    monkeypatch.setenv("PATCHVLAD_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_a_model_comes_whole_into_the_models_folder(hub: Hub, folder: Path) -> None:
    path = download("mapillary-128", hub.endpoint)
    assert path == folder / "mapillary_WPCA128.pth.tar"
    assert path.read_bytes() == DATA
    assert names(folder) == ["mapillary_WPCA128.pth.tar"]
    assert hub.requests == [("HEAD", REMOTE, None), ("GET", REMOTE, None)]


def test_redirects_to_where_large_files_lie_are_followed(hub: Hub) -> None:
    hub.redirects = True
    assert download("mapillary-128", hub.endpoint).read_bytes() == DATA
    assert ("GET", f"/cdn{REMOTE}", None) in hub.requests


def test_pittsburgh_is_called_otherwise_on_the_hub(hub: Hub, folder: Path) -> None:
    hub.files = {f"/{REPOSITORY}/resolve/main/pitts_WPCA4096.pth.tar": DATA}
    assert download("pittsburgh-4096", hub.endpoint) == folder / "pittsburgh_WPCA4096.pth.tar"


def test_a_model_that_is_there_is_not_asked_for(hub: Hub, folder: Path) -> None:
    folder.mkdir()
    (folder / "mapillary_WPCA128.pth.tar").write_bytes(b"mine")
    assert download("mapillary-128", hub.endpoint).read_bytes() == b"mine"
    assert hub.requests == []


def test_the_embedded_model_is_not_asked_for(hub: Hub, folder: Path) -> None:
    assert download("lite", hub.endpoint) == KNOWN_MODELS["lite"].path
    assert hub.requests == []
    assert not folder.exists()


def test_the_first_use_downloads_after_saying_so(
    hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(checkpoints, "VGG16", toy.backbone)
    buffer = BytesIO()
    torch.save({"num_pcs": 7, "state_dict": toy.released(toy.model())}, buffer)
    hub.files[REMOTE] = buffer.getvalue()
    assert load_model("mapillary-128").name == "mapillary-128"
    said = [record.getMessage() for record in caplog.records if record.name.startswith("patchvlad")]
    assert said == [f"downloading model mapillary-128 (about 63 MB) into {folder}"]
    asked = list(hub.requests)
    assert load_model("mapillary-128").dim == 7
    assert hub.requests == asked


# --- interruptions --------------------------------------------------------------------------------------------------


def test_a_connection_that_breaks_once_is_taken_up_again_at_once(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def mend(seconds: float) -> None:
        hub.breaks_after = None

    hub.breaks_after = 7500
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", mend)
    assert download("mapillary-128", hub.endpoint).read_bytes() == DATA
    assert hub.gets() == [None, "bytes=7000-"]


def test_a_download_that_broke_off_goes_on_in_the_next_call(hub: Hub, folder: Path) -> None:
    hub.breaks_after = 7500
    with pytest.raises(DownloadError, match="model mapillary-128 could not be downloaded"):
        download("mapillary-128", hub.endpoint)
    assert not (folder / "mapillary_WPCA128.pth.tar").exists()
    hub.breaks_after = None
    hub.requests.clear()
    assert download("mapillary-128", hub.endpoint).read_bytes() == DATA
    assert hub.gets() == ["bytes=7000-"]
    assert names(folder) == ["mapillary_WPCA128.pth.tar"]


@pytest.mark.parametrize("count", [1, 19_999, 20_000])
def test_a_killed_download_goes_on_where_it_stopped(hub: Hub, folder: Path, count: int) -> None:
    folder.mkdir()
    (folder / "mapillary_WPCA128.pth.tar.partial").write_bytes(DATA[:count])
    assert download("mapillary-128", hub.endpoint).read_bytes() == DATA
    assert hub.gets() == ([f"bytes={count}-"] if count < len(DATA) else [])


def test_a_hub_that_cannot_resume_sends_everything_again(hub: Hub, folder: Path) -> None:
    hub.ranges = False
    folder.mkdir()
    (folder / "mapillary_WPCA128.pth.tar.partial").write_bytes(DATA[:5000])
    assert download("mapillary-128", hub.endpoint).read_bytes() == DATA


def test_a_partial_file_of_another_version_is_dropped(hub: Hub, folder: Path) -> None:
    folder.mkdir()
    (folder / "mapillary_WPCA128.pth.tar.partial").write_bytes(DATA + b"more")
    assert download("mapillary-128", hub.endpoint).read_bytes() == DATA


def test_two_downloads_at_once_fetch_it_once(hub: Hub) -> None:
    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: found.append(download("mapillary-128", hub.endpoint).read_bytes()))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [DATA] * 3
    assert hub.gets() == [None]


# --- failures -------------------------------------------------------------------------------------------------------


def failure(name: str, endpoint: str) -> str:
    """The message of the DownloadError, which must be one line that says what to do instead."""
    with pytest.raises(DownloadError) as caught:
        download(name, endpoint)
    message = str(caught.value)
    known = KNOWN_MODELS[name]
    assert message.startswith(f"model {name} could not be downloaded (")
    assert message.endswith(
        f"): fetch {known.remote_file} of the Hugging Face repository {REPOSITORY} by other means and put it at "
        f"{known.path}, or use the embedded model 'lite'"
    )
    assert "\n" not in message
    return message


def test_a_wrong_checksum_is_refused_and_leaves_nothing(hub: Hub, folder: Path) -> None:
    hub.sha256[REMOTE] = "0" * 64
    assert "the checksum of what came is wrong, so it was deleted" in failure("mapillary-128", hub.endpoint)
    assert names(folder) == []
    hub.sha256.clear()
    assert download("mapillary-128", hub.endpoint).read_bytes() == DATA


def test_damage_before_an_interruption_is_found_after_it(hub: Hub, folder: Path) -> None:
    folder.mkdir()
    (folder / "mapillary_WPCA128.pth.tar.partial").write_bytes(b"\0" * 5000)
    assert "checksum" in failure("mapillary-128", hub.endpoint)
    assert download("mapillary-128", hub.endpoint).read_bytes() == DATA


def test_a_file_that_the_hub_does_not_have_is_named(hub: Hub, folder: Path) -> None:
    assert "404" in failure("mapillary-512", hub.endpoint)
    assert names(folder) == []


def test_a_hub_that_cannot_be_reached_is_given_up_at_once(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", waits.append)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler(hub)) as server:
        closed = f"http://127.0.0.1:{server.server_port}"
    assert "refused" in failure("mapillary-128", closed)
    assert waits == []


def test_a_models_folder_that_cannot_be_made_is_named(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PATCHVLAD_MODELS", str(tmp_path / "file"))
    with pytest.raises(OutputError, match=r"file/mapillary_WPCA128\.pth\.tar cannot be written: a file stands where"):
        download("mapillary-128", hub.endpoint)
    assert hub.requests == []


def test_a_disk_that_is_full_is_told_with_the_room_that_it_takes(
    hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(url: str, file, **_) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("huggingface_hub.file_download.http_get", full)
    with pytest.raises(OutputError, match=rf"cannot be written: the disk is full: it takes {len(DATA) / 1e3:.1f} kB"):
        download("mapillary-128", hub.endpoint)


def test_an_unknown_name_lists_the_known_ones(hub: Hub) -> None:
    with pytest.raises(ModelError, match=r"unknown model 'mapilary': choose from lite, mapillary-128, .*pittsburgh"):
        download("mapilary", hub.endpoint)


# --- what is known --------------------------------------------------------------------------------------------------


def test_the_models_folder_is_the_users_choice_or_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATCHVLAD_MODELS", "chosen")
    assert models_folder() == Path("chosen")
    monkeypatch.delenv("PATCHVLAD_MODELS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert models_folder() == tmp_path / "patchvlad" / "models"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert models_folder() == tmp_path / "home" / ".cache" / "patchvlad" / "models"


def test_expected_sizes_are_those_of_the_tensors() -> None:
    known = KNOWN_MODELS["pittsburgh-4096"]
    dim = 64 * 512
    assert known.expected_bytes == 4 * (14_714_688 + 64 * 512 + 64 * 512 + 4096 * dim + 4096)
    assert (megabytes(known.expected_bytes), megabytes(1234)) == ("596 MB", "1 kB")

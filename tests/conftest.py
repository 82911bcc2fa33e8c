"""What tests share: the photos and golden numbers of ../shared, which only development and CI have."""

import errno
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from tiny import RESUME, TinyBackbone, write_checkpoint, write_config, write_photos

# The same examples in every run: new ones are what fuzz/ is for, and HYPOTHESIS_PROFILE=default.
settings.register_profile("same", derandomize=True, database=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """What is started in a shell's background ignores SIGINT, and so would all that the tests start."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _threads() -> None:
    torch.set_num_threads(int(os.environ.get("PATCHVLAD_TEST_THREADS", torch.get_num_threads())))


def _shared(name: str) -> Path:
    path = SHARED / name
    if not path.is_dir():
        pytest.skip(f"needs {name} of ../shared, which only development and CI have")
    return path


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real photos with ground truth."""
    return _shared("data")


@pytest.fixture(scope="session")
def parity() -> Path:
    """Golden numbers of the reference implementation."""
    return _shared("parity")


@pytest.fixture(scope="session")
def parity_checkpoints(parity: Path, pytestconfig: pytest.Config) -> Path:
    """A folder with imagenet_WPCA{128,512}.pth.tar in the released format; made once, kept in pytest's cache."""
    folder = Path(pytestconfig.cache.mkdir("parity"))
    if not (folder / "imagenet_WPCA512.pth.tar").is_file():
        done = subprocess.run(
            [sys.executable, str(parity / "make_checkpoint.py"), str(folder)], capture_output=True, text=True
        )
        if done.returncode and "pip" in done.stderr:
            pytest.fail(f"the parity checkpoint could not be made: {done.stderr[-500:]}")
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def run_command(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs a command, given its `main` and its words -> exit code, standard output, standard error."""

    def call(command: Callable[[Sequence[str]], int], *words) -> tuple[int, str, str]:
        try:
            code = command([str(word) for word in words])
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def run(
    run_command: Callable[..., tuple[int, str, str]],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., tuple[int, str, str]]:
    """Runs a command in an empty folder -> exit code, standard output, standard error."""
    from patchvlad.commands.main import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATCHVLAD_MODELS", str(tmp_path / "models"))
    capsys.readouterr()

    return partial(run_command, main)


@pytest.fixture
def tiny_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a tiny network in the place of VGG16, its checkpoint, and nothing else; no GPU."""
    from patchvlad.model import checkpoints

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATCHVLAD_MODELS", str(tmp_path / "known"))
    monkeypatch.setenv("PATCHVLAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(checkpoints, "VGG16", TinyBackbone)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    write_checkpoint(tmp_path / "pretrained_models/mapillary_WPCA12.pth.tar")
    return tmp_path


@pytest.fixture
def reference_folder(tiny_reference: Path) -> Path:
    """The current folder, laid out as the reference's: photos, lists, a checkpoint and a config."""
    write_photos(tiny_reference / "data")
    (tiny_reference / "configs").mkdir()
    write_config(tiny_reference / "configs/tiny.ini", RESUME)
    Path("query.txt").write_text("./queries/a.png\n./queries/b.png\n")
    Path("index.txt").write_text("".join(f"./database/street/{place}.png\n" for place in (10, 4, 3, 2, 1)))
    np.savez("gt.npz", utmQ=np.array([[30, 0], [0, 0]]), utmDb=np.array([[10 * i, 0] for i in range(5)]), posDistThr=15)
    return tiny_reference


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes a disk, of which so many bytes are free, of all that is written from now on by `files.atomic`."""
    from patchvlad.files import atomic

    def fill(free: int) -> None:
        class Disk(io.FileIO):
            def write(self, data) -> int:
                nonlocal free
                if not free:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                count = super().write(memoryview(data)[:free])
                free -= count
                return count

        monkeypatch.setattr(atomic, "open", lambda path, mode, **_: Disk(path, mode.replace("b", "")), raising=False)

    return fill

"""What tests share: the photos and golden numbers of ../shared, which only development and CI have."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

SHARED = Path(__file__).parents[2] / "shared"


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
def run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """Runs a command in an empty folder -> exit code, standard output, standard error."""
    from patchvlad.commands.main import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATCHVLAD_MODELS", str(tmp_path / "models"))
    capsys.readouterr()

    def call(*words) -> tuple[int, str, str]:
        try:
            code = main([str(word) for word in words])
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        return code, *capsys.readouterr()

    return call

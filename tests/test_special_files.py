"""Pipes, devices, sockets, folders, and what others left in a file's place: named at once, and never waited for."""

import contextlib
import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from fuzz_targets import TARGETS

from patchvlad.errors import ModelError
from patchvlad.files.json_files import parse_json, read_json
from patchvlad.files.regular import UnfitFileError, check_file, check_regular, size_of
from patchvlad.model.checkpoints import load_model

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"
PAGE = b"\n<!DOCTYPE html>\n<html><body>Sign in</body></html>"


def test_pipes_devices_sockets_and_folders_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        for name, said in ((Path("pipe"), "a named pipe"), (Path("socket"), "a socket"), ("/dev/zero", "a device")):
            for check in (check_regular, check_file):
                with pytest.raises(UnfitFileError, match=f"^it is {said}, not a regular file$"):
                    check(name)
    with pytest.raises(IsADirectoryError):
        check_regular(tmp_path)
    with pytest.raises(FileNotFoundError):
        check_regular(tmp_path / "nothing")


def test_a_file_has_its_size_and_may_be_too_large(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert check_regular(tmp_path / "a", most=5) == check_file(tmp_path / "a") == 5
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(50 * 10**9)
    with pytest.raises(UnfitFileError, match=r"^it has 50 GB, and such files have 1\.07 GB at most$"):
        check_file(tmp_path / "sparse", most=1 << 30)
    assert [size_of(n) for n in (0, 999, 1000, 4_200_000)] == ["0 bytes", "999 bytes", "1 kB", "4.2 MB"]


@pytest.mark.parametrize(
    ("content", "said"),
    [(POINTER, "Git LFS pointer"), (PAGE, "web page"), (b"\xef\xbb\xbf<html>", "web page"), (b"<HTML>", "web page")],
)
def test_what_others_left_in_a_files_place_is_named(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(UnfitFileError, match=f"^it is a {said}, not the file itself: "):
        check_file(tmp_path / "a")
    for name in ("a.pth.tar", "a.safetensors"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelError, match=rf"{name} cannot be read as a .*checkpoint: it is a {said}") as told:
            load_model(tmp_path / name)
        assert "is it complete" not in str(told.value)


@pytest.mark.parametrize(
    "text",
    [
        *("[" * 200_000, '{"a":' * 200_000, "NaN", "[Infinity]", "-Infinity", "1e999", "9" * 5000, "", "{", "\x00"),
        *('{"a": 1, "a": 2}', "[1] 2", '"\x01"', "{1: 2}"),
    ],
    ids=lambda text: text[:8],
)
def test_json_that_is_none_is_a_value_error(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        parse_json(text)
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError):
        read_json(tmp_path / "a.json")


def test_json_that_is_one_is_read(tmp_path: Path) -> None:
    content = {"a": [1, -2.5, None, True], "ü": {"": "x"}}
    (tmp_path / "a.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    assert read_json(tmp_path / "a.json") == content
    (tmp_path / "a.json").write_bytes(b'"\xff"')
    with pytest.raises(ValueError):
        read_json(tmp_path / "a.json")
    with pytest.raises(UnfitFileError):
        read_json(tmp_path / "a.json", most=2)


@contextlib.contextmanager
def impatient() -> Iterator[None]:
    """Fails after ten seconds of waiting."""

    def end(*_: object) -> None:
        raise AssertionError("it waits")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(10)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


# Not those that write their file themselves, and not results.json: what is no file there is passed by.
READERS = [name for name in TARGETS if name not in ("pickle", "settings", "npz-member", "results")]
SAID = {"pipe": "named pipe", "socket": "socket", "device": "device", "sparse": "file|manifest|results|it |header"}
MEMORY = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("kind", SAID)
@pytest.mark.parametrize("name", READERS)
def test_no_reader_waits_for_a_special_file_or_reads_50_gb_of_nothing(
    name: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = TARGETS[name]
    path = Path(target.suffix if not target.suffix.startswith(".") else f"file{target.suffix}")
    monkeypatch.chdir(tmp_path)
    with contextlib.ExitStack() as held:
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "socket":
            held.enter_context(socket.socket(socket.AF_UNIX)).bind(str(path))
        elif kind == "device":
            path.symlink_to("/dev/zero")
        else:
            with open(path, "wb") as file:
                file.truncate(max(50 * 10**9, 2 * MEMORY))
        with impatient(), pytest.raises((*target.raises, OSError)) as caught:
            target.read(Path.cwd() / path)
        assert re.search(SAID[kind], str(caught.value))
        assert "\n" not in str(caught.value)

"""Files that are written: whole or not at all, nothing left over, errors that name the file and the room it needs."""

import errno
import os
import re
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from patchvlad.errors import OutputError
from patchvlad.features.global_descriptors import write_global_descriptors
from patchvlad.files import leftovers
from patchvlad.files.atomic import replacing, replacing_set, write_text, writing
from patchvlad.files.locks import locked
from patchvlad.files.room import check_file, check_folder, refusal
from patchvlad.files.tensors import write_tensors
from patchvlad.model.pickles import read_pickle, write_pickle
from patchvlad.train.clusters import Clusters, write_clusters

MACHINE = leftovers.mark().split("-")[2]
NOBODY = 999_999_999


# --- room -----------------------------------------------------------------------------------------------------------

SINGLE = {
    "text": lambda path: write_text(path, "x" * 50_000),
    "pickle": lambda path: write_pickle(path, {"weights": torch.zeros(20_000)}),
    "tensors": lambda path: write_tensors(path, {"weights": np.zeros(20_000, np.float32)}, {}),
    "npy": lambda path: write_global_descriptors(path.with_suffix(".npy"), ["a"], np.zeros((1, 20_000))),
    "hdf5": lambda path: write_global_descriptors(path.with_suffix(".h5"), ["a"], np.zeros((1, 20_000))),
    "clusters": lambda path: write_clusters(path, Clusters(torch.zeros(1, 20_000), torch.zeros(1, 20_000))),
}


@pytest.mark.parametrize("free", [0, 1, 10_000])
@pytest.mark.parametrize("kind", SINGLE)
def test_a_full_disk_is_one_error_that_names_the_file_and_the_room(
    kind: str, free: int, tmp_path: Path, full_disk
) -> None:
    full_disk(free)
    with pytest.raises(OutputError) as caught:
        SINGLE[kind](tmp_path / "out.bin")
    found = re.fullmatch(
        rf"{tmp_path}/out\.\w+ cannot be written: the disk is full: it takes ([\d.]+) (kB|MB), and .* free there\. "
        "Make room, or choose another place",
        str(caught.value),
    )
    assert found, str(caught.value)
    assert 40 <= float(found[1]) * (1000 if found[2] == "MB" else 1) <= 200  # kB, of 50 to 160
    assert caught.value.errno == errno.ENOSPC
    assert os.listdir(tmp_path) == []


LIMITED = """
import resource, sys
sys.path.insert(0, sys.argv[1])
import test_output_files as here
from pathlib import Path
from patchvlad.errors import OutputError
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
for kind, write in here.SINGLE.items():
    try:
        write(Path(sys.argv[2]) / "out.bin")
    except OutputError as error:
        assert "files may not be that large here: it takes " in str(error), str(error)
    else:
        raise AssertionError(kind)
"""


def test_a_limit_of_the_system_is_the_same_error(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LIMITED, str(Path(__file__).parent), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert os.listdir(tmp_path) == []
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 10_000


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.EDQUOT, "your quota is used up: it takes 2.0 MB"),
        (errno.EROFS, "the file system is read-only: choose another place"),
        (errno.EACCES, "you may not write there"),
        (errno.EIO, "the disk reports an error"),
    ],
)
def test_what_the_system_refuses_is_said_in_words(number: int, said: str, tmp_path: Path, monkeypatch) -> None:
    error = refusal(tmp_path / "x", OSError(number, os.strerror(number)), 2_000_000)
    assert said in str(error) and str(tmp_path / "x") in str(error)
    assert isinstance(error, OSError) and error.errno == number

    def refuse(*_, **__):
        raise OSError(number, os.strerror(number), None)

    monkeypatch.setattr("os.replace", refuse)
    with pytest.raises(OutputError, match=said.split(":")[0]):
        write_text(tmp_path / "x", "text")
    assert os.listdir(tmp_path) == []


def test_an_error_over_another_file_is_not_called_one_of_ours(tmp_path: Path) -> None:
    with pytest.raises(PermissionError) as caught, writing(tmp_path / "x"):
        raise PermissionError(errno.EACCES, "no", "/elsewhere/photo.jpg")
    assert not isinstance(caught.value, OutputError)


def test_targets_are_checked_without_a_trace(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "loose").symlink_to(tmp_path / "nowhere")
    before = sorted(os.listdir(tmp_path)), os.stat(tmp_path).st_mtime_ns
    for good in ("new", "file", "a/b/c"):
        check_file(tmp_path / good)
    check_folder(tmp_path / "d/e")
    check_folder(tmp_path)
    with pytest.raises(OutputError, match=r"it is a folder"):
        check_file(tmp_path)
    for bad in ("file/x", "file/x/y", "loose/x"):
        with pytest.raises(OutputError, match=rf"{bad} cannot be written: a file stands where a folder should be"):
            check_file(tmp_path / bad)
    with pytest.raises(OutputError, match="a file stands where a folder should be"):
        check_folder(tmp_path / "file")
    assert (sorted(os.listdir(tmp_path)), os.stat(tmp_path).st_mtime_ns) == before

    def read_only(**_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("tempfile.TemporaryFile", read_only)
    with pytest.raises(OutputError, match=r"new/x cannot be written: the file system is read-only"):
        check_file(tmp_path / "new/x")


@pytest.mark.parametrize("write", [write_text, lambda path, text: _by_path(path, text)])
def test_devices_and_pipes_are_written_to_and_stay(write, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    write(pipe, "through it")
    reader.join(10)
    assert read == ["through it"]
    assert os.listdir(tmp_path) == ["pipe"] and pipe.is_fifo()


def _by_path(path: Path, text: str) -> None:
    with replacing(path) as partial:
        partial.write_text(text)


# --- leftovers ------------------------------------------------------------------------------------------------------


def leave(folder: Path, name: str, age: float = 0.0) -> Path:
    path = folder / name
    path.write_text("half")
    os.utime(path, (time.time() - age, time.time() - age))
    return path


def test_what_dead_processes_left_goes_and_what_may_be_alive_stays(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as alive:
        born = leftovers._born(alive.pid)
        gone = [
            leave(tmp_path, f"a.partial-{NOBODY}-{MACHINE}-1.json"),
            leave(tmp_path, f"b.partial-{alive.pid}-{MACHINE}-1.json"),  # its number was given again
            leave(tmp_path, f"c.partial-{os.getpid()}-{MACHINE}-1.json"),
            leave(tmp_path, f"d.partial-{alive.pid}-00000000-1.json", age=2 * leftovers.DAY),
            leave(tmp_path, f"e.partial-{NOBODY}.json", age=2 * leftovers.DAY),  # of 0.1.0
        ]
        kept = [
            leave(tmp_path, f"f.partial-{alive.pid}-{MACHINE}-{born}.json", age=2 * leftovers.DAY),
            leave(tmp_path, f"g.partial-{NOBODY}-00000000-1.json"),  # of another machine
            leave(tmp_path, f"h.partial-{NOBODY}.json"),
            leave(tmp_path, f"i.partial-{alive.pid}.json", age=2 * leftovers.DAY),
            leave(tmp_path, "my.partial-notes.txt", age=2 * leftovers.DAY),
            leave(tmp_path, "x.partial", age=2 * leftovers.DAY),  # a download that goes on
        ]
        write_text(tmp_path / "out.txt", "whole")
        assert sorted(tmp_path.iterdir()) == sorted([*kept, tmp_path / "out.txt"])
        assert not any(path.exists() for path in gone)
        alive.communicate(b"\n")
    leftovers.sweep(tmp_path)
    assert not kept[0].exists()


def test_folders_that_dead_processes_left_go(tmp_path: Path) -> None:
    old = tmp_path / f".partial-{NOBODY}-{MACHINE}-1-7"
    (old / "figures").mkdir(parents=True)
    (old / "figures/a.png").write_text("half")
    with replacing_set(tmp_path, ["a.txt"]) as staged:
        (staged / "a.txt").write_text("whole")
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("length", [10, 250])
def test_long_names_are_written(length: int, tmp_path: Path) -> None:
    for letter in "ab":
        write_text(tmp_path / f"{letter * length}.txt", letter)
    assert sorted(path.read_text() for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_lock_leaves_no_file_and_keeps_others_out(tmp_path: Path) -> None:
    path, inside, most = tmp_path / "x.lock", [0], [0]

    def work() -> None:
        for _ in range(20):
            with locked(path):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                time.sleep(0.0005)
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    assert os.listdir(tmp_path) == []
    with locked(path), pytest.raises(BlockingIOError), locked(path, wait=False):
        pass
    path.write_text("")  # of a process that was killed
    with locked(path, wait=False):
        assert path.exists()
    assert os.listdir(tmp_path) == []


# --- equal bytes ----------------------------------------------------------------------------------------------------

TWICE = {
    "m.safetensors": lambda path: write_tensors(
        path, {name: np.arange(3) for name in "abc"}, dict.fromkeys("defgh", "x")
    ),
    "m.pth.tar": lambda path: write_pickle(path, {"a": torch.ones(3), "b": ["x", "x"]}),
    "g.h5": lambda path: write_global_descriptors(path, ["a/b", "c"], np.ones((2, 3))),
    "g.npy": lambda path: write_global_descriptors(path, ["a/b", "c"], np.ones((2, 3))),
    "c.hdf5": lambda path: write_clusters(path, Clusters(torch.ones(1, 3), torch.ones(2, 3))),
}
WRITE = """
import sys
sys.path.insert(0, sys.argv[1])
import test_output_files as here
from pathlib import Path
for name, write in here.TWICE.items():
    write(Path(sys.argv[2]) / name)
"""


def test_equal_contents_make_equal_files_in_every_process_and_at_every_time(tmp_path: Path) -> None:
    for run in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": run}
        command = [sys.executable, "-c", WRITE, str(Path(__file__).parent), str(tmp_path / run)]
        subprocess.run(command, check=True, env=environment)
        time.sleep(1.1)  # times in files are often in seconds
    for name in TWICE:
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes(), name
    loaded = load_file(tmp_path / "1/m.safetensors")
    assert {name: list(values) for name, values in loaded.items()} == {name: [0, 1, 2] for name in "abc"}
    with h5py.File(tmp_path / "1/g.h5") as file:
        assert list(file["a/b/global_descriptor"]) == [1, 1, 1]


def test_a_pickle_does_not_depend_on_which_equal_texts_are_one_object(tmp_path: Path) -> None:
    name = "".join(["ab", "cd"])
    shared = [1.5]
    write_pickle(tmp_path / "a", {"x": [name, name], "y": shared, "z": shared, "t": (shared,)})
    write_pickle(tmp_path / "b", {"x": ["".join(["ab", "cd"]), name], "y": [1.5], "z": [1.5], "t": ([1.5],)})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert read_pickle(tmp_path / "a") == {"x": ["abcd", "abcd"], "y": [1.5], "z": [1.5], "t": ([1.5],)}

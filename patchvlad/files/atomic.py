"""Files that appear whole or not at all."""

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from filelock import FileLock

STAGED, COMPLETE, MOVING, LOCK = ".partial-", ".complete", ".moving", ".set.lock"


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a path beside `path` to write to; it takes the place of `path` once all is written and on disk."""
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.stem}.partial-{os.getpid()}{path.suffix}")
    try:
        partial.touch()
        mode = partial.stat().st_mode
        yield partial
        partial.chmod(mode)  # some libraries make files that only their owner may read
        with open(partial, "r+b") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a text file in UTF-8 with Unix line ends."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


# --- sets of files --------------------------------------------------------------------------------------------------
#
# New files are written into FOLDER/.partial-PID. Once all are on disk the folder is renamed to .complete: from there on
# the set is the new one. Then the old files are removed, .complete is renamed to .moving, and the new files move to
# their places. Whatever moment the writer dies in, old and new files never stand side by side, and whoever comes next,
# reader or writer, goes on from what the name says.


@contextlib.contextmanager
def replacing_set(folder: str | os.PathLike, owned: Sequence[str]) -> Iterator[Path]:
    """Yields a folder to write files to; together they take the place of a set of files below `folder`.

    Args:
        folder: where the set is, or will be.
        owned: patterns of the set's files, relative to the folder; those that are there are replaced or removed.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    finish_set(folder, owned)
    _sweep(folder)
    staged = folder / f"{STAGED}{os.getpid()}"
    staged.mkdir()
    try:
        yield staged
        for path in sorted(staged.rglob("*")):
            if path.is_file():
                with open(path, "r+b") as file:
                    os.fsync(file.fileno())
        with _lock(folder):
            os.rename(staged, folder / COMPLETE)
            _finish(folder, owned)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def finish_set(folder: str | os.PathLike, owned: Sequence[str]) -> None:
    """Brings a set whose writer died at the very end to its end; readers call it first. Does nothing otherwise."""
    folder = Path(folder)
    if (folder / COMPLETE).is_dir() or (folder / MOVING).is_dir():
        with _lock(folder):
            _finish(folder, owned)


def _finish(folder: Path, owned: Sequence[str]) -> None:
    complete, moving = folder / COMPLETE, folder / MOVING
    if complete.is_dir():  # all files outside are old
        for pattern in owned:
            for path in folder.glob(pattern):
                path.unlink()
        os.rename(complete, moving)
    if moving.is_dir():  # all files outside are new
        for path in sorted(moving.rglob("*")):
            if path.is_file():
                place = folder / path.relative_to(moving)
                place.parent.mkdir(parents=True, exist_ok=True)
                os.replace(path, place)
        shutil.rmtree(moving)


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    with FileLock(folder / LOCK):
        yield
    (folder / LOCK).unlink(missing_ok=True)


def _sweep(folder: Path) -> None:
    """Removes what writers that are dead have left."""
    for path in folder.glob(f"{STAGED}*"):
        pid = re.fullmatch(r"\d+", path.name.removeprefix(STAGED))
        if path.is_dir() and pid and not _alive(int(pid[0])):
            shutil.rmtree(path, ignore_errors=True)


def _alive(pid: int) -> bool:
    if pid == os.getpid():  # a folder of our own number that we have not made: its maker is dead
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's process, or a system that does not tell
        return True
    return True

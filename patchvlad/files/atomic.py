"""Files that appear whole or not at all."""

import contextlib
import errno
import io
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, cast

from .leftovers import mark, sweep, sweep_once, unfinished
from .locks import locked
from .room import is_special, refusal, told

COMPLETE, MOVING, LOCK = ".complete", ".moving", ".set.lock"
_numbers = itertools.count()


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a path beside `path` to write to; it takes the place of `path` once all is written and on disk.

    For libraries that want a path; others write into the file of `writing`, which knows how much room they need.

    Raises:
        OutputError: the disk is full, or the file may not be written.
    """
    path = Path(path)
    with told(path):
        if is_special(path):
            with tempfile.TemporaryDirectory() as elsewhere:
                partial = Path(elsewhere) / path.name
                yield partial
                with open(partial, "rb") as made, open(path, "wb") as file:
                    shutil.copyfileobj(made, file)
            return
        partial = _begun(path)
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


@contextlib.contextmanager
def writing(path: str | os.PathLike) -> Iterator[IO[bytes]]:
    """Yields a binary file, whose contents take the place of `path` once all is written and on disk.

    Raises:
        OutputError: the disk is full, or the file may not be written.
    """
    path = Path(path)
    with told(path):
        if is_special(path):
            held = io.BytesIO()
            yield held
            with open(path, "wb") as file:
                file.write(held.getbuffer())
            return
        partial = _begun(path)
        try:
            with _Kept(partial) as kept:
                try:
                    yield cast(IO[bytes], kept)
                finally:
                    if kept.error is not None:  # whatever a library has made of it
                        raise refusal(path, kept.error, kept.size) from kept.error
                os.fsync(kept.fileno())
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a text file in UTF-8, with the line ends that the text has."""
    with writing(path) as file:
        file.write(text.encode("utf-8"))


def _begun(path: Path) -> Path:
    """Where a file is written until it is whole."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep_once(os.path.abspath(path.parent), os.getpid())
    return unfinished(path)


class _Kept(io.RawIOBase):
    """A file that keeps the first error of the system, and from then on counts what it would have been.

    Compiled libraries make something else of an error in writing, or end the process. They never learn of it here.

    Attributes:
        size: bytes of the whole.
        error: the first one.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = open(path, "w+b", buffering=0)
        self._at = self.size = 0
        self.error: OSError | None = None

    def write(self, data) -> int:  # type: ignore[override]
        view = memoryview(data).cast("B")
        count = len(view)
        if self.error is None:
            try:
                while len(view):  # a disk that fills up takes a part
                    view = view[self._file.write(view) or 0 :]
            except OSError as error:
                self.error = error
        self._at += count
        self.size = max(self.size, self._at)
        return count

    def readinto(self, buffer) -> int:  # type: ignore[override]
        count = self._file.readinto(buffer) if self.error is None else 0
        self._at += count or 0
        return count or 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + (0, self._at, self.size)[whence]
        if self.error is None:
            self._file.seek(self._at)
        return self._at

    def tell(self) -> int:
        return self._at

    def truncate(self, size: int | None = None) -> int:
        self.size = self._at if size is None else size
        if self.error is None:
            try:
                self._file.truncate(self.size)
            except OSError as error:
                self.error = error
        return self.size

    def close(self) -> None:
        self._file.close()
        super().close()

    def fileno(self) -> int:
        return self._file.fileno()

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


# --- sets of files --------------------------------------------------------------------------------------------------
#
# New files are written into FOLDER/.partial-... Once all are on disk the folder is renamed to .complete: from there on
# the set is the new one. Then the old files are removed, .complete is renamed to .moving, and the new files move to
# their places. Whatever moment the writer dies in, old and new files never stand side by side, and whoever comes next,
# reader or writer, goes on from what the name says.


@contextlib.contextmanager
def replacing_set(folder: str | os.PathLike, owned: Sequence[str]) -> Iterator[Path]:
    """Yields a folder to write files to; together they take the place of a set of files below `folder`.

    Args:
        folder: where the set is, or will be.
        owned: patterns of the set's files, relative to the folder; those that are there are replaced or removed.

    Raises:
        OutputError: the disk is full, or the folder may not be written into.
    """
    folder = Path(folder)
    with told(folder):
        folder.mkdir(parents=True, exist_ok=True)
        finish_set(folder, owned)
        sweep(folder)
        staged = folder / f"{mark()}-{next(_numbers)}"
        staged.mkdir()
        try:
            yield staged
            for path in sorted(staged.rglob("*")):
                if path.is_file():
                    with open(path, "r+b") as file:
                        os.fsync(file.fileno())
            swap_in(staged, folder, owned)
        finally:
            shutil.rmtree(staged, ignore_errors=True)


def swap_in(ready: Path, folder: Path, owned: Sequence[str]) -> None:
    """The files of a folder, which are on disk, take the place of a set of files below `folder`, on the same disk."""
    with locked(folder / LOCK):
        _finish(folder, owned)
        os.rename(ready, folder / COMPLETE)
        _finish(folder, owned)


def finish_set(folder: str | os.PathLike, owned: Sequence[str]) -> None:
    """Brings a set whose writer died at the very end to its end; readers call it first. Does nothing otherwise."""
    folder = Path(folder)
    if (folder / COMPLETE).is_dir() or (folder / MOVING).is_dir() or (folder / LOCK).exists():
        with told(folder), locked(folder / LOCK):
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

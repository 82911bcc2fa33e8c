"""Whether files can be written, found out before the work; and what is said when it turns out that they cannot."""

import contextlib
import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ..errors import OutputError

FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EFBIG: "files may not be that large here",
    getattr(errno, "EDQUOT", errno.ENOSPC): "your quota is used up",
}
REFUSED = {
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "you may not write there",
    errno.EPERM: "you may not write there",
    errno.EISDIR: "it is a folder",
    errno.ENOTDIR: "a file stands where a folder should be",
    errno.EEXIST: "a file stands where a folder should be",
    errno.ENAMETOOLONG: "the name is too long",
    errno.EIO: "the disk reports an error",
    errno.ENODEV: "the disk is not there",
}


def refusal(path: str | os.PathLike, error: OSError, needed: int | None = None) -> OutputError:
    """The error that names a file, why it cannot be written, and the room that it takes, in bytes."""
    if error.errno in FULL:
        size = f"it takes {megabytes(needed)}" if needed else "it takes more than there is"
        said = f"{FULL[error.errno]}: {size}, and {_free(Path(path))}. Make room, or choose another place"
    else:
        why = REFUSED.get(error.errno or 0) or error.strerror or str(error)
        said = f"{why}: choose another place"
    made = OutputError(f"{path} cannot be written: {said}")
    made.errno, made.filename = error.errno, str(path)
    return made


@contextlib.contextmanager
def told(path: str | os.PathLike, needed: int | None = None) -> Iterator[None]:
    """Makes errors of the system over writing a file that error.

    Args:
        path: of the file, or of the folder that files are written into.
        needed: bytes that it takes, if that is known.

    Raises:
        OutputError: the disk is full, or the file may not be written.
    """
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        ours = error.filename is None or str(error.filename).startswith(str(Path(path).parent))
        if error.errno in FULL or (ours and error.errno in REFUSED):
            raise refusal(path, error, needed) from error
        raise


def check_file(path: str | os.PathLike) -> None:
    """Finds out, without leaving a trace, whether a file can be written.

    Raises:
        OutputError: it cannot be.
    """
    path = Path(path)
    with _asking(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if is_special(path):
            return
    check_folder(path.parent, of=path)


def check_folder(folder: str | os.PathLike, of: str | os.PathLike | None = None) -> None:
    """The same of a folder, which need not be there; `of` is what is named if files cannot be written into it."""
    named, place = Path(of if of is not None else folder), Path(os.path.abspath(folder))
    with _asking(named):
        while not place.exists() and place != place.parent:
            if place.is_symlink():
                raise FileNotFoundError(errno.EEXIST, "a link that leads nowhere", str(place))
            place = place.parent
        if not place.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(place))
        with tempfile.TemporaryFile(dir=place):
            pass


def check_room(folder: str | os.PathLike, needed: int) -> None:
    """Finds out whether so many bytes are free where a folder is, before anyone waits for them.

    Raises:
        OutputError: they are not.
    """
    try:
        free = shutil.disk_usage(folder).free
    except OSError:  # a system that does not tell
        return
    if free < needed:
        raise refusal(folder, OSError(errno.ENOSPC, "the disk is full"), needed)


@contextlib.contextmanager
def _asking(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise refusal(path, error) from error


def is_special(path: Path) -> bool:
    """Whether a path is a device or pipe, such as /dev/stdout: it is written to, and nothing takes its place."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def megabytes(count: int) -> str:
    """A number of bytes for people."""
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


def _free(path: Path) -> str:
    place = Path(os.path.abspath(path)).parent
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        return f"{megabytes(shutil.disk_usage(place).free)} are free there"
    except OSError:
        return "it is not known how much is free"

"""What may be opened: regular files, no larger than they may be, and not what others left in a file's place."""

import errno
import os
import stat

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}
_POINTER = b"version https://git-lfs.github.com/spec/"
_PAGES = (b"<!doctype html", b"<html", b"<head", b"<body", b"<?xml")


class UnfitFileError(OSError):
    """A path that is no file to be read; its text says what it is, and what to do."""

    def __init__(self, reason: str, path: str | os.PathLike) -> None:
        super().__init__(errno.EINVAL, reason, os.fspath(path))
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


def check_regular(path: str | os.PathLike, most: int | None = None) -> int:
    """Checks that opening a path cannot wait for anybody, as a pipe or a device may; returns its size in bytes.

    Args:
        path: of the file; links are followed.
        most: bytes that it may have; any number unless given.

    Raises:
        OSError: there is no such file, it is a folder, or (UnfitFileError) no regular file, or too large.
    """
    found = os.stat(path)
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not stat.S_ISREG(found.st_mode):
        raise UnfitFileError(
            f"it is {_KINDS.get(stat.S_IFMT(found.st_mode), 'something else')}, not a regular file", path
        )
    if most is not None and found.st_size > most:
        raise UnfitFileError(f"it has {size_of(found.st_size)}, and such files have {size_of(most)} at most", path)
    return found.st_size


def check_file(path: str | os.PathLike, most: int | None = None) -> int:
    """The same, and that its first bytes are not those of what others left in its place, see `stand_in`."""
    size = check_regular(path, most)
    with open(path, "rb") as file:
        found = stand_in(file.read(256))
    if found:
        raise UnfitFileError(found, path)
    return size


def check_text(path: str | os.PathLike) -> int:
    """The same of a text, which is held in memory twice: as it is, and in lines."""
    size = check_file(path)
    check_memory(2 * size, path)
    return size


def check_memory(size: int, path: str | os.PathLike) -> None:
    """Refuses to read what takes more memory than the machine has.

    Raises:
        OSError: as UnfitFileError.
    """
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # a system that does not tell
        return
    if size > memory:
        raise UnfitFileError(f"it takes {size_of(size)} of memory, and this machine has {size_of(memory)}", path)


def stand_in(head: bytes) -> str:
    """What a file is instead of what it should be, by its first bytes, and what to do; empty for any other file."""
    if head.startswith(_POINTER):
        return "it is a Git LFS pointer, not the file itself: run 'git lfs pull' in its repository"
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(_PAGES):
        return "it is a web page, not the file itself: open its link in a browser, and save what it offers"
    return ""


def size_of(count: int) -> str:
    """A number of bytes for people: "4.2 GB"."""
    for unit, name in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= unit:
            return f"{count / unit:.3g} {name}"
    return f"{count} bytes"

"""Locks between processes that leave no file behind."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

AGAIN = 0.05  # seconds between two tries


@contextlib.contextmanager
def locked(path: str | os.PathLike, wait: bool = True) -> Iterator[None]:
    """Holds a lock, whose file is there only as long as somebody holds it or died holding it.

    The owner removes the file before it lets go. Whoever has opened the file before that holds a lock that guards
    nothing, and tries again.

    Args:
        path: of the lock's file; its folder must be there.
        wait: until it is free.

    Raises:
        BlockingIOError: another process holds it, and it is not waited for.
    """
    path = Path(path)
    lock = FileLock(path)
    while True:
        try:
            lock.acquire(timeout=-1 if wait else 0)
        except Timeout as error:
            raise BlockingIOError(f"{path} is held by another process") from error
        if _guards(lock, path):
            break
        lock.release()
        time.sleep(AGAIN)
    try:
        yield
    finally:
        if sys.platform != "win32":  # where it goes by itself
            with contextlib.suppress(OSError):
                path.unlink()
        lock.release()


def _guards(lock: FileLock, path: Path) -> bool:
    """Whether the file that was locked is the one of that name still."""
    held = getattr(lock._context, "lock_file_fd", None)
    if sys.platform == "win32" or held is None:
        return True
    try:
        return os.path.samestat(os.fstat(held), os.stat(path))
    except OSError:
        return False

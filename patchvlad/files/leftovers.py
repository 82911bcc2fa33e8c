"""Unfinished files and what becomes of them: `NAME.partial-PID-MACHINE-BORN.SUFFIX` until they are whole.

A process is named by its number, its machine and when it began, because numbers are given again and network disks are
shared. What a dead process has left is removed by whoever writes into that folder next. Of another machine, and of
patchvlad 0.1.0, which named the number alone, it cannot be told who is dead: what has not changed for a day goes.
"""

import contextlib
import functools
import os
import re
import shutil
import time
import zlib
from pathlib import Path

STAGED = ".partial-"
DAY = 24 * 3600.0  # seconds
LONGEST = 100  # bytes of a name that its unfinished file keeps: names may have 255
_MARK = re.compile(r"\.partial-(\d+)(?:-([0-9a-f]{8})-(\d+))?(?:-\d+)?(?=\.|$)")


def mark() -> str:
    """What this process's unfinished files have in their names."""
    return f"{STAGED}{os.getpid()}-{_machine()}-{_born(os.getpid())}"


def unfinished(path: Path) -> Path:
    """Where a file is written until it is whole."""
    stem = path.stem.encode()
    if len(stem) > LONGEST:
        stem = stem[: LONGEST - 9] + b"-%08x" % zlib.crc32(stem)
    return path.with_name(f"{stem.decode(errors='ignore')}{mark()}{path.suffix}")


@functools.lru_cache(maxsize=256)
def sweep_once(folder: str, process: int) -> None:
    """Sweeps a folder unless this process, of that number, has: a folder may hold a million files."""
    sweep(folder)


def sweep(folder: str | Path) -> None:
    """Removes what dead writers have left in a folder."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if STAGED in entry.name and is_dead(Path(entry.path)):
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    with contextlib.suppress(OSError):
                        os.unlink(entry.path)


def is_dead(path: Path) -> bool:
    """Whether a path is an unfinished file or folder that nobody will finish."""
    found = _MARK.search(path.name)
    if found is None:
        return False
    if found[2] == _machine():
        return not (_alive(int(found[1])) and _born(int(found[1])) == found[3])
    if found[2] is None and _alive(int(found[1])):
        return False
    try:
        newest = max(inside.stat().st_mtime for inside in (path, *path.rglob("*")))
    except OSError:  # somebody else sweeps, too
        return False
    return time.time() - newest > DAY


@functools.cache
def _machine() -> str:
    """This machine; of containers each is one, with numbers of its own."""
    space = ""
    with contextlib.suppress(OSError):
        space = os.readlink("/proc/self/ns/pid")
    name = os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")
    return f"{zlib.crc32(f'{name} {space}'.encode()):08x}"


def _born(pid: int) -> str:
    """When a process began, in ticks since the machine did; 0 where the system does not tell."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[19].decode()
    except (OSError, IndexError):
        return "0"


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # somebody else's process, or a system that does not tell
        return True
    return True

"""What a command sets for its whole process: memory that is kept, threads that compute alone."""

import contextlib
import functools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..search.reranking import Workers


@functools.cache
def keep_freed_memory() -> None:
    """Has glibc keep up to 512 MB that were freed, for this process's life.

    The maps of a photo are freed with each photo; by default they go back to the system and are asked for anew, page by
    page, which took a quarter of the time of extraction. Does nothing where there is no glibc.
    """
    import ctypes

    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
    with contextlib.suppress(OSError, TypeError):
        library = ctypes.CDLL(None)
        if hasattr(library, "gnu_get_libc_version"):
            library.mallopt(mmap_threshold, 256 << 20)
            library.mallopt(trim_threshold, 512 << 20)


@contextlib.contextmanager
def lone_workers() -> "Iterator[Workers]":
    """Threads that each compute alone, as many as PyTorch uses: one candidate's numbers stay in one core's cache."""
    import torch

    from ..search.reranking import Workers

    before = torch.get_num_threads()
    alone = functools.partial(torch.set_num_threads, 1) if before > 1 else None
    with ThreadPoolExecutor(before, initializer=alone) as pool:
        try:
            yield Workers(pool, before)
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(before)

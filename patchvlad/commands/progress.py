"""Progress bars on standard error."""

import contextlib
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar that appears only if the work takes longer than two seconds."""
    from tqdm import tqdm

    with tqdm(desc=label, unit="", delay=2, leave=False, disable=None, dynamic_ncols=True) as shown:

        def update(done: int, total: int) -> None:
            if shown.total is None:
                shown.total, shown.initial, shown.n = total, done, done  # no reset(): it draws at once
            shown.update(done - shown.n)

        yield update


@contextlib.contextmanager
def bars() -> Iterator[Callable[[str, int, int], None]]:
    """Progress bars one after another: each lasts until its work, or that of another name, is done."""
    with contextlib.ExitStack() as shown:
        current: list = ["", None]

        def update(label: str, done: int, total: int) -> None:
            if label != current[0]:
                shown.close()
                current[:] = [label, shown.enter_context(bar(label))]
            current[1](done, total)
            if done == total:
                shown.close()
                current[0] = ""

        yield update

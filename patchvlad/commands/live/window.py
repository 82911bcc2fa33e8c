"""A window for live pictures, by Tk: OpenCV's headless build has none."""

import contextlib
import queue
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...errors import PatchvladError
from .screens import NEXT, QUIT, Shown

if TYPE_CHECKING:
    import tkinter


@contextlib.contextmanager
def open_window(title: str, keys: "queue.SimpleQueue[str]") -> Iterator["Window | None"]:
    """A window whose keys n and q, and q when it is closed, are put into `keys`; None without a display or tkinter."""
    try:
        import tkinter
    except ImportError:
        yield None
        return
    try:
        root = tkinter.Tk()
    except tkinter.TclError:
        yield None
        return
    root.title(title)
    for key in (NEXT, QUIT):
        root.bind(key, lambda _, key=key: keys.put(key))  # type: ignore[misc]
    root.protocol("WM_DELETE_WINDOW", lambda: keys.put(QUIT))
    try:
        yield Window(root)
    finally:
        with contextlib.suppress(tkinter.TclError):
            root.destroy()


class Window:
    """The window; a screen."""

    def __init__(self, root: "tkinter.Tk") -> None:
        import tkinter

        self.root = root
        self.label = tkinter.Label(root, borderwidth=0)
        self.label.pack()
        self._picture: object = None  # Tk itself does not keep a picture alive

    def show(self, shown: Shown) -> None:
        """Shows a picture, and takes what was typed meanwhile."""
        from PIL import Image, ImageTk

        with self._displayed():
            self._picture = ImageTk.PhotoImage(Image.fromarray(shown.picture), master=self.root)
            self.label.configure(image=self._picture)  # type: ignore[arg-type]
            self.root.update()

    def idle(self) -> None:
        """Takes what was typed."""
        with self._displayed():
            self.root.update()

    @contextlib.contextmanager
    def _displayed(self) -> Iterator[None]:
        import tkinter

        try:
            yield
        except tkinter.TclError as error:
            raise PatchvladError(f"the window went away ({error}): start again, or use --no-window") from error

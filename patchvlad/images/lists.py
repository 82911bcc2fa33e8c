"""Which photos there are: an image is known by its path relative to the root, with forward slashes, everywhere."""

import contextlib
import logging
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from natsort import natsorted

from ..errors import ConfigError, ImageError, counted
from ..files.checksums import file_sum
from ..files.regular import check_regular
from .formats import SUFFIXES, count_left_out, is_photo, said_left_out, suffix_of
from .list_files import as_on_disk, read_list
from .pixels import Photo, read_photo
from .scaling import PixelRange, checked_range

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImageList:
    """Images below one root.

    Attributes:
        root: the folder.
        names: relative paths, in the order of their rows everywhere else.
        given: whether somebody has given this order; that of a folder is natural.
        pixel_range: LOW and HIGH in the units of the files: values of photos of more than 8 bits that become black and
            white; None scales each such photo by its own percentiles.
    """

    root: Path
    names: tuple[str, ...]
    given: bool = field(default=True, compare=False)
    pixel_range: PixelRange | None = None

    def __post_init__(self) -> None:
        if isinstance(self.names, str) or not all(isinstance(name, str) for name in self.names):
            raise ConfigError(f"names are texts, one per image, not {self.names!r}")
        object.__setattr__(self, "root", Path(self.root))
        object.__setattr__(self, "names", tuple(self.names))

    def __len__(self) -> int:
        return len(self.names)

    def path(self, row: int) -> Path:
        return self.root / self.names[row]

    def photo(self, row: int) -> Photo:
        """Reads the photo of a row; errors as of `read_image`."""
        return read_photo(self.path(row), self.pixel_range)

    def scaled(self, pixel_range: Sequence[float] | None) -> "ImageList":
        """The same photos, read with that pixel range.

        Raises:
            ConfigError: a pixel range that cannot be.
        """
        return replace(self, pixel_range=checked_range(pixel_range))

    def some(self, rows: Iterable[int]) -> "ImageList":
        """Those of the rows given."""
        return replace(self, names=tuple(self.names[row] for row in rows))

    @classmethod
    def read(cls, source: str | os.PathLike, root: str | os.PathLike | None = None) -> "ImageList":
        """Lists a folder (recursively, in natural order) or reads a list file, see `list_files`.

        Args:
            source: a folder of photos, or a text file.
            root: what the paths in a list file are relative to; the file's own folder if not given. Where absolute
                paths lead out of it, names are relative to the folder that all images lie below.

        Raises:
            ImageError: there is no such source, it holds no image, or a line leads out of the root.
        """
        path = Path(source)
        if path.is_dir():
            if root is not None:
                raise ImageError(f"{path} is a folder: a root goes with a list file only")
            return cls(path, _names_below(path), given=False)
        if not path.exists():
            raise ImageError(
                f"{path} does not exist: give a folder of photos or a text file with one image path per line"
            )
        if suffix_of(path.name) in SUFFIXES:
            return cls(path.parent, (path.name,))
        return cls._from_lines(path, Path(root) if root is not None else None)

    @classmethod
    def _from_lines(cls, path: Path, root: Path | None) -> "ImageList":
        said, root = read_list(path, root)
        above = _root_of(path, root, [line for _, line in said])
        names = as_on_disk(above, [_relative(line, root, above, f"{path}, line {number}") for number, line in said])
        if not names:
            raise ImageError(f"{path} lists no image: write one image path per line, relative to the root")
        if len(set(names)) < len(names):
            double = next(name for name, count in Counter(names).items() if count > 1)
            raise ImageError(f"{path} lists {double} twice: every image counts once")
        return cls(above, names)

    @classmethod
    def read_either(cls, source: str | os.PathLike, root: str | os.PathLike | None) -> "ImageList":
        """The same where the root is meant for list files only: that of a folder is the folder itself."""
        return cls.read(source, None if Path(source).is_dir() else root)

    def below(self, root: Path) -> "ImageList":
        """The same images, named relative to a folder above.

        Raises:
            ValueError: the root does not lie above them.
        """
        try:
            above = Path(os.path.abspath(self.root)).relative_to(os.path.abspath(root))
        except ValueError:  # links may lead there all the same
            above = self.root.resolve().relative_to(root.resolve())
        return replace(self, root=root, names=tuple((above / name).as_posix() for name in self.names))

    @classmethod
    def join(cls, lists: "Sequence[ImageList]") -> "ImageList":
        """One list of all, relative to the folder that all lie below."""
        if len(lists) == 1:
            return lists[0]
        paths = [images.path(row).absolute() for images in lists for row in range(len(images))]
        root = Path(os.path.commonpath([path.parent for path in paths]))
        return cls(root, tuple(path.relative_to(root).as_posix() for path in paths))

    def identity(self, row: int) -> bytes:
        """What tells a photo from another of the same name without decoding it: its size and a piece of its middle."""
        with contextlib.suppress(OSError):
            size = check_regular(self.path(row))
            with open(self.path(row), "rb") as file:
                file.seek(size // 2)
                return f"{size} ".encode() + file.read(4096)
        return b"missing"

    def content(self, row: int) -> int:
        """Checksum of a photo's file; 0 where it cannot be read."""
        with contextlib.suppress(OSError):
            return file_sum(self.path(row))
        return 0

    def missing(self) -> list[str]:
        """Names of the images that are not there."""
        return [name for name in self.names if not os.path.exists(self.root / name)]


def check_is_list(images: object) -> None:
    """Raises ConfigError unless images are an ImageList."""
    if not isinstance(images, ImageList):
        raise ConfigError(f"images are an ImageList, such as ImageList.read(FOLDER), not {type(images).__name__}")


def _names_below(folder: Path) -> tuple[str, ...]:
    """The photos below a folder that can be read here; says in one line which other images and videos there are."""
    found: list[str] = []
    others: list[str] = []
    for parent, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [
            name for name in folders if not name.startswith(".") and not _leads_back(Path(parent, name), folder)
        ]
        below = Path(parent).relative_to(folder)
        for file in files:
            if not file.startswith("."):
                (found if is_photo(file) else others).append((below / file).as_posix())
    left_out = said_left_out(others)
    if not found:
        kinds, said = ", ".join(sorted(SUFFIXES)), f" (left out: {left_out})" if left_out else ""
        raise ImageError(f"{folder} holds no image{said}, also not in folders below it: patchvlad reads {kinds}")
    if left_out:
        log.warning("%s: %s left out: %s", folder, counted(count_left_out(others), "file"), left_out)
    for name in found:
        if name.encode(errors="replace").decode().splitlines() != [name]:
            raise ImageError(f"{folder} holds a photo whose name is not one line of UTF-8, {name!r}: rename it")
    return tuple(natsorted(sorted(found)))  # sorted first: the natural order takes 1.jpg and 01.jpg for equal


def _leads_back(link: Path, root: Path) -> bool:
    """Whether a link leads to a folder that the way from the root has passed already: listing would never end."""
    if not link.is_symlink():
        return False
    target = link.resolve()
    passed = [link.parent, *link.parent.parents]
    return any(folder.resolve().is_relative_to(target) for folder in passed[: passed.index(root) + 1])


def _root_of(file: Path, root: Path, lines: Sequence[str]) -> Path:
    """The root of a list, or where absolute paths lead out of it the folder that all images lie below, said once."""
    absolute = [os.path.normpath(line) for line in lines if os.path.isabs(line)]
    if all(Path(line).is_relative_to(os.path.abspath(root)) for line in absolute):
        return root
    folders = [os.path.dirname(line) for line in absolute]
    if len(absolute) < len(lines):
        folders.append(os.path.abspath(root))
    try:
        common = Path(os.path.commonpath(folders))
    except ValueError as error:  # on several drives
        raise ImageError(f"{file} lists images on several drives: there is no root above them all") from error
    log.info("%s: its images lie below %s, which their names are relative to", file, common)
    return common


def _relative(line: str, root: Path, above: Path, where: str) -> str:
    """A line of a list, relative to the folder `above` all images; `root` is what it is relative to as it stands."""
    path = Path(os.path.normpath(line))
    if path.parts[:1] == ("..",):
        raise ImageError(f"{where}: {line} leads out of the root {root}: give a root above all images")
    if path.is_absolute() or above != root:
        path = Path(os.path.abspath(root), path).relative_to(os.path.abspath(above))
    return PurePosixPath(*path.parts).as_posix()

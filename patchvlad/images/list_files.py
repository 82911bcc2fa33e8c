"""Files that list images: one path per line, also as Windows, hloc (with intrinsics) and kapture write them."""

import logging
import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from ..errors import ImageError
from ..files.regular import UnfitFileError, check_file

log = logging.getLogger(__name__)

LONGEST = 1 << 30  # bytes
Line = tuple[int, str]  # its number, and what it names

# COLMAP's camera models, which hloc's lists of queries name behind each image: "name SIMPLE_RADIAL width height f ...".
CAMERAS = (
    *("SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "OPENCV_FISHEYE", "FULL_OPENCV", "FOV"),
    *("SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE", "THIN_PRISM_FISHEYE", "RAD_TAN_THIN_PRISM_FISHEYE", "EUCM"),
    *("SIMPLE_DIVISION", "DIVISION", "SIMPLE_FISHEYE", "FISHEYE", "EQUIRECTANGULAR"),
)
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_INTRINSICS = re.compile(rf"\s+(?:{'|'.join(CAMERAS)})(?:\s+{_NUMBER}){{2,}}$")
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
_COMMENT = re.compile(r"(.*?\.\w{2,5})\s+#.*")  # behind a name
_RECORDS = "records_data"  # where kapture keeps photos, beside records_camera.txt


def read_list(path: Path, root: Path | None) -> tuple[list[Line], Path]:
    """Reads the lines of a list, as they name images.

    Args:
        path: the file.
        root: what names are relative to, if that is known.

    Returns:
        lines without comments, intrinsics and the like, with "/" between folders; and the root, by default the file's
        folder, or of kapture's records that of its photos.

    Raises:
        ImageError: no text, or a path of another computer.
    """
    text = _text(path)
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if lines and lines[0][1].startswith("# kapture format"):
        photos = path.parent / _RECORDS
        return _slashes(path, _of_records(path, lines), root or photos), root or (
            photos if photos.is_dir() else path.parent
        )
    root = root or path.parent
    lines = [(number, name) for number, line in lines if (name := _without_comment(line, root))]
    bare = [(number, _INTRINSICS.sub("", line)) for number, line in lines]
    if bare != lines:
        log.info("%s: what follows the names of images, their cameras, is not used", path)
    return _slashes(path, bare, root), root


def _text(path: Path) -> str:
    try:
        check_file(path, LONGEST)
        content = path.read_bytes()
        utf_16 = content[:2] in (b"\xff\xfe", b"\xfe\xff")  # as Windows's PowerShell writes
        return content.decode("utf-16" if utf_16 else "utf-8-sig")
    except UnfitFileError as error:
        raise ImageError(f"{path} is not an image list: {error}") from error
    except UnicodeDecodeError as error:
        raise ImageError(f"{path} is not a text file: give a folder of photos or one image path per line") from error


def _of_records(path: Path, lines: Sequence[Line]) -> list[Line]:
    """The images of kapture's records_camera.txt: timestamp, device, path."""
    found = []
    for number, line in lines:
        if line.startswith("#"):
            continue
        timestamp, *more = (field.strip() for field in line.split(",", 2))
        if len(more) != 2 or not re.fullmatch(r"-?\d+", timestamp):
            raise ImageError(
                f"{path}, line {number}: {line!r} is not timestamp, device, image path: of kapture's files "
                "records_camera.txt lists images"
            )
        found.append((number, more[1]))
    return found


def _without_comment(line: str, root: Path) -> str:
    """A line without a comment, unless a photo is named like that."""
    if "#" not in line or os.path.isfile(root / line):
        return line
    if line.startswith("#"):
        return ""
    behind = _COMMENT.fullmatch(line)
    return behind[1] if behind else line


def _slashes(path: Path, lines: list[Line], root: Path) -> list[Line]:
    r"""The same with / for Windows's \, unless photos have it in their names."""
    if os.sep == "\\" or not any("\\" in name for _, name in lines):
        return lines
    for number, name in lines:
        if _DRIVE.match(name):
            raise ImageError(
                f"{path}, line {number}: {name} lies on a drive of Windows: write paths relative to the root, and give "
                "the root"
            )
    if any("\\" in name and os.path.isfile(root / name) for _, name in lines):
        return lines
    log.info(r"%s: \ is read as /", path)
    return [(number, name.replace("\\", "/")) for number, name in lines]


def as_on_disk(root: Path, names: Sequence[str]) -> tuple[str, ...]:
    """Names as they are spelt on disk, where an accent may be a letter of its own (NFD, macOS) or not (NFC)."""
    found = []
    for name in names:
        if not name.isascii() and not os.path.lexists(root / name):
            spelt = (unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
            name = next((other for other in spelt if os.path.lexists(root / other)), name)
        found.append(name)
    return tuple(found)

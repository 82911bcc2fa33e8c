"""Which files are photos by their names, which of them can be read here, and what to say of those that cannot."""

import functools
import importlib.util
import os
from collections import Counter
from collections.abc import Iterable

# Suffix -> what it takes to read it: "" for nothing, else a feature of Pillow or the name of a package.
_READ = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".bmp", ".dib", ".gif", ".tga"), ""),
    **dict.fromkeys((".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".tif", ".tiff"), ""),
    ".webp": "webp",
    **dict.fromkeys((".avif", ".avifs"), "avif"),
    **dict.fromkeys((".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"), "jpg_2000"),
    **dict.fromkeys((".heic", ".heif", ".hif", ".heics"), "pillow_heif"),
}
SUFFIXES = frozenset(_READ)

# Images, raw photos and videos that are not read: a folder that holds them is told so. Anything else (text, tables,
# thumbs.db, models) is plainly no photo, and is not spoken of.
_IMAGES = ".jxl .jxr .psd .xcf .exr .hdr .svg .dds .ico .fits .bpg .flif .kra .ora"
_RAW = ".dng .raw .cr2 .cr3 .crw .nef .nrw .arw .srf .sr2 .orf .rw2 .raf .pef .srw .x3f .3fr .iiq .rwl"
_VIDEOS = ".mp4 .mov .avi .mkv .webm .m4v .mpg .mpeg .wmv .mts .m2ts .3gp .flv .insv .360 .h264 .h265"
_NAMED = frozenset(f"{_IMAGES} {_RAW} {_VIDEOS}".split())
_EXTRA = {"pillow_heif": "install patchvlad[heif]"}


def suffix_of(name: str) -> str:
    """The suffix in lower case, with its dot."""
    return os.path.splitext(name)[1].lower()


@functools.cache
def is_readable(suffix: str) -> bool:
    """Whether files of a suffix of `SUFFIXES` can be read by what is installed here."""
    needed = _READ[suffix]
    if needed == "pillow_heif":
        return importlib.util.find_spec(needed) is not None
    if needed:
        from PIL import features

        return bool(features.check(needed))
    return True


def is_photo(name: str) -> bool:
    """Whether a file of that name is a photo that can be read here."""
    suffix = suffix_of(name)
    return suffix in SUFFIXES and is_readable(suffix)


def said_left_out(names: Iterable[str]) -> str:
    """Of file names that are no readable photos, what is worth saying: "2 .heic (install patchvlad[heif]), 1 .mov"."""
    found = Counter(suffix_of(name) for name in names)
    said = []
    for suffix, count in sorted(found.items(), key=lambda item: (-item[1], item[0])):
        if suffix in SUFFIXES:
            said.append(f"{count} {suffix} ({remedy(suffix)})")
        elif suffix in _NAMED:
            said.append(f"{count} {suffix}")
    return ", ".join(said)


def count_left_out(names: Iterable[str]) -> int:
    """How many files `said_left_out` speaks of."""
    return sum(suffix_of(name) in SUFFIXES | _NAMED for name in names)


def remedy(suffix: str) -> str:
    """What lets photos of a suffix be read where they cannot be."""
    return _EXTRA.get(_READ[suffix], f"this Pillow was built without {_READ[suffix]}")

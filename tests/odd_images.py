"""Odd images, several hundred of them, each with what must become of it: one table."""

import io
import os
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image

RANDOM = np.random.default_rng(7)
RGB = RANDOM.integers(0, 256, (24, 36, 3), dtype=np.uint8)
SMOOTH = np.asarray(Image.fromarray(RGB[::6, ::6]).resize((36, 24), Image.Resampling.BICUBIC))
GREY = RGB[..., 0]
DEEP = RANDOM.integers(7000, 7500, (24, 36), dtype=np.uint16)  # a thermal camera's, say

# What becomes of a file: a photo whose pixels are known; one that was scaled from more bits, likewise; any photo; a
# refusal that says this; or, of bytes that were turned over, a photo or a refusal.
Outcome = np.ndarray | str
PHOTO, SCALED, EITHER = "a photo", "scaled", "a photo or a refusal"
CANNOT, CONTRAST = "cannot be read as an image", "has no contrast"


class Case(NamedTuple):
    """A file: its name, what makes it at a path, and what becomes of it."""

    id: str
    name: str
    make: Callable[[Path], object]
    outcome: Outcome


def cases() -> list[Case]:
    """All of them."""
    found = [
        *modes(),
        *png_depths(),
        *netpbm(),
        *tiff(),
        *jpegs(),
        *orientations(),
        *deep(),
        *contrasts(),
        *shapes(),
        *animations(),
        *other_names(),
        *no_images(),
        *headers(),
        *cut_short(),
        *turned_over(),
        *special(),
    ]
    assert len({case.id for case in found}) == len(found)
    return found


def raw(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def encoded(image: Image.Image, form: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def rgb_of(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB"))


def percentiles(values: np.ndarray) -> np.ndarray:
    """The scaling to eight bits, written out slowly."""
    low, high = np.percentile(values[np.isfinite(values)].astype(float), (1, 99))
    scaled = (values.astype(float) - low) / (high - low) * 255
    scaled = np.where(np.isnan(scaled), 0, np.clip(scaled, 0, 255)).round().astype(np.uint8)
    return np.dstack([scaled] * 3) if scaled.ndim == 2 else scaled


def picture(mode: str) -> Image.Image:
    """The same picture in that mode."""
    if mode in ("1", "L", "P", "CMYK", "YCbCr"):
        return Image.fromarray(RGB).convert(mode)
    if mode == "LA":
        return Image.fromarray(np.dstack([GREY, 255 - GREY]))
    if mode == "RGBA":
        return Image.fromarray(np.dstack([RGB, 255 - GREY]))
    if mode == "I;16":
        return Image.fromarray(DEEP)
    if mode == "I":
        return Image.fromarray(DEEP.astype(np.int32) - 7200)
    if mode == "F":
        return Image.fromarray(DEEP.astype(np.float32) / 10)
    return Image.fromarray(RGB)


# --- what is fine ---------------------------------------------------------------------------------------------------

LOSSLESS = {
    "png": ("PNG", "1 L LA P RGB RGBA I;16", {}),
    "tif": ("TIFF", "1 L LA P RGB RGBA CMYK I;16 I F", {}),
    "tiff": ("TIFF", "L RGB I;16", {"compression": "tiff_lzw"}),
    "bmp": ("BMP", "1 L P RGB RGBA", {}),
    "dib": ("DIB", "L RGB", {}),
    "gif": ("GIF", "1 L P", {}),
    "tga": ("TGA", "1 L LA P RGB RGBA", {}),
    "webp": ("WEBP", "RGB L", {"lossless": True}),
    "jp2": ("JPEG2000", "L RGB RGBA I;16", {}),
    "j2k": ("JPEG2000", "L RGB", {}),
    "ppm": ("PPM", "RGB RGBA", {}),
    "pgm": ("PPM", "L I;16 I", {}),
    "pbm": ("PPM", "1", {}),
    "pnm": ("PPM", "L RGB", {}),
    "pfm": ("PPM", "F", {}),
}
LOSSY = {"jpg": "JPEG", "jpeg": "JPEG", "jpe": "JPEG", "jfif": "JPEG", "avif": "AVIF", "webp": "WEBP", "heic": "HEIF"}


def modes() -> Iterator[Case]:
    """Every mode in every format that holds it, and capitals."""
    for suffix, (form, names, options) in LOSSLESS.items():
        for mode in names.split():
            content = (lambda m=mode, f=form, o=options: encoded(picture(m), f, **o))()
            values = np.asarray(Image.open(io.BytesIO(content)))
            deep = mode.startswith("I") or mode == "F"
            expected = (
                SCALED
                if form == "PPM" and mode == "I"
                else percentiles(values)
                if deep
                else rgb_of(Image.open(io.BytesIO(content)))
            )
            yield Case(f"{mode} in {suffix}", f"a.{suffix}", raw(content), expected)
    for suffix, form in LOSSY.items():
        for mode in ("L", "RGB"):
            name = f"a.{suffix}" if mode == "L" else f"A.{suffix.upper()}"
            yield Case(
                f"lossy {mode} in {suffix}", name, raw(lossy(Image.fromarray(SMOOTH).convert(mode), form)), PHOTO
            )


def lossy(image: Image.Image, form: str, **options) -> bytes:
    if form != "HEIF":
        return encoded(image, form, **options)
    import pillow_heif

    buffer = io.BytesIO()
    pillow_heif.from_pillow(image.convert("RGB")).save(buffer, **options)
    return buffer.getvalue()


CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of PNG's colour types


def png(values: np.ndarray, bits: int, kind: int, size: tuple[int, int] | None = None, palette: bytes = b"") -> bytes:
    """A PNG of that bit depth and colour type, by hand."""
    height, width = values.shape[:2]
    flat = values.reshape(height, -1)
    if bits == 16:
        rows = [row.astype(">u2").tobytes() for row in flat]
    else:
        unpacked = [np.unpackbits(row.astype(np.uint8)[:, None], axis=1)[:, 8 - bits :].ravel() for row in flat]
        rows = [np.packbits(row).tobytes() for row in unpacked]
    said = size or (width, height)
    parts = [(b"IHDR", struct.pack(">IIBBBBB", *said, bits, kind, 0, 0, 0))]
    parts += [(b"PLTE", palette)] if palette else []
    parts += [(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    )


def png_depths() -> Iterator[Case]:
    """Every bit depth and colour type of PNG."""
    depths = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
    for kind, every in depths.items():
        for bits in every:
            values = RANDOM.integers(0, 2**bits, (24, 36, CHANNELS[kind]), dtype=np.uint16)
            palette = RANDOM.integers(0, 256, (2**bits, 3), dtype=np.uint8) if kind == 3 else None
            if palette is not None:
                expected: Outcome = palette[values[..., 0]]
            elif bits == 16:
                values = RANDOM.integers(3000, 4000, values.shape, dtype=np.uint16)
                shown = values[..., :3] if kind in (2, 6) else values[..., 0]
                expected = percentiles(shown)
            else:
                shown = values[..., :3] if kind in (2, 6) else values[..., :1].repeat(3, axis=2)
                expected = (shown * 255 // (2**bits - 1)).astype(np.uint8)
            content = png(values, bits, kind, palette=b"" if palette is None else palette.tobytes())
            yield Case(f"PNG of {bits} bits, colour type {kind}", "a.png", raw(content), expected)


def netpbm() -> Iterator[Case]:
    """Plain and raw, of one to three channels, of any largest value: scaled in the units of the file."""
    for most in (1, 15, 100, 255, 256, 1023, 4095, 65535):
        for channels in (1, 3):
            values = RANDOM.integers(0, most + 1, (8, 12, channels))
            words = " ".join(map(str, values.ravel()))
            kind = 2 if channels == 1 else 3
            packed = values.astype(">u2" if most > 255 else np.uint8).tobytes()
            outcome: Outcome = percentiles(values if channels == 3 else values[..., 0]) if most > 255 else PHOTO
            suffix = "pgm" if channels == 1 else "ppm"
            plain = f"P{kind}\n# a comment\n12 8\n{most}\n{words}\n".encode()
            yield Case(f"P{kind} up to {most}", f"a.{suffix}", raw(plain), outcome)
            header = f"P{kind + 3}\n12 8\n{most}\n".encode()
            yield Case(f"P{kind + 3} up to {most}", f"a.{suffix}", raw(header + packed), outcome)
    yield Case("P1", "a.pbm", raw(b"P1\n3 2\n1 0 1\n0 1 0\n"), PHOTO)


def tiff() -> Iterator[Case]:
    """Compressions, byte orders, signs and sizes of numbers."""
    for packing in ("raw", "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "packbits"):
        for mode in ("1", "L", "RGB", "I;16", "F"):
            content = encoded(picture(mode), "TIFF", compression=packing)
            expected = percentiles(np.asarray(picture(mode))) if mode in ("I;16", "F") else rgb_of(picture(mode))
            yield Case(f"TIFF {packing} {mode}", "a.tif", raw(content), expected)
    yield Case("TIFF group4", "a.tif", raw(encoded(picture("1"), "TIFF", compression="group4")), rgb_of(picture("1")))
    yield Case("TIFF jpeg", "a.tif", raw(encoded(picture("RGB"), "TIFF", compression="jpeg")), PHOTO)
    for order in "<>":
        for kind, form in (("u2", 1), ("i2", 2), ("u4", 1), ("i4", 2), ("f4", 3)):
            low = -300 if kind[0] != "u" else 7000
            values = RANDOM.integers(low, low + 900, (6, 9)).astype(order + kind)
            outcome = CANNOT if order + kind == ">u4" else percentiles(values)  # which Pillow does not know
            yield Case(f"TIFF {order}{kind}", "a.tif", raw(plain_tiff(values, form)), outcome)
    large = RANDOM.integers(2**31 - 500, 2**31 + 500, (6, 9)).astype("<u4")
    yield Case("TIFF of 32 bits beyond 2^31", "a.tif", raw(plain_tiff(large, 1)), percentiles(large))
    yield Case("TIFF of doubles", "a.tif", raw(plain_tiff(RGB[:6, :9, 0].astype("<f8"), 3)), CANNOT)


def plain_tiff(values: np.ndarray, form: int) -> bytes:
    """A grey TIFF in one strip, of that sample format."""
    order = ">" if values.dtype.byteorder == ">" else "<"
    height, width = values.shape
    bits = 8 * values.dtype.itemsize
    tags = {
        256: width,
        257: height,
        258: bits,
        259: 1,
        262: 1,
        273: 8,
        277: 1,
        278: height,
        279: values.nbytes,
        339: form,
    }
    start = 8 + values.nbytes
    entries = b"".join(
        struct.pack(f"{order}HHI", tag, 4 if tag in (273, 279) else 3, 1)
        + (struct.pack(f"{order}I", value) if tag in (273, 279) else struct.pack(f"{order}HH", value, 0))
        for tag, value in tags.items()
    )
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", start)
    return head + values.tobytes() + struct.pack(f"{order}H", len(tags)) + entries + bytes(4)


def jpegs() -> Iterator[Case]:
    """Ways of writing JPEG."""
    colour = Image.fromarray(SMOOTH)
    for name, options in (
        ("progressive", {"progressive": True}),
        ("quality 1", {"quality": 1}),
        ("quality 100", {"quality": 100, "subsampling": 0}),
        ("4:2:2", {"subsampling": 1}),
        ("4:2:0", {"subsampling": 2}),
        ("optimised", {"optimize": True}),
        ("with restarts", {"restart_marker_blocks": 1}),
        ("with a comment", {"comment": b"x" * 60_000}),
        ("with a colour profile", {"icc_profile": b"no profile"}),
        ("of 300 dots an inch", {"dpi": (300, 300)}),
    ):
        content = encoded(colour, "JPEG", **options)
        yield Case(f"JPEG {name}", "a.jpg", raw(content), rgb_of(Image.open(io.BytesIO(content))))
    cmyk = encoded(colour.convert("CMYK"), "JPEG")
    yield Case("JPEG of CMYK", "a.jpg", raw(cmyk), PHOTO)
    content = encoded(colour, "JPEG")
    yield Case("JPEG with rubbish behind", "a.jpg", raw(content + bytes(5000)), rgb_of(Image.open(io.BytesIO(content))))
    yield Case("JPEG with rubbish in front", "a.jpg", raw(b"rubbish" + content), CANNOT)


UPRIGHT = {  # what turns the pixels of a photo upright, by its EXIF orientation
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}
TURNS = {0: UPRIGHT[1], **UPRIGHT, 9: UPRIGHT[1], 65535: UPRIGHT[1]}  # what EXIF does not know turns nothing


def orientations() -> Iterator[Case]:
    """EXIF's eight orientations and three that do not exist, in formats that carry it, and in 16-bit colours."""
    for number, turn in TURNS.items():
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = number
        for suffix, form, options in (
            ("png", "PNG", {}),
            ("tif", "TIFF", {}),
            ("webp", "WEBP", {"lossless": True}),
            ("jpg", "JPEG", {"quality": 100}),
        ):
            content = encoded(Image.fromarray(RGB), form, exif=exif, **options)
            plain = encoded(Image.fromarray(RGB), form, **options)
            expected = turn(np.asarray(Image.open(io.BytesIO(plain)).convert("RGB")))
            yield Case(f"orientation {number} in {suffix}", f"a.{suffix}", raw(content), expected)
        deep = encoded(Image.fromarray(DEEP), "PNG", exif=exif)
        yield Case(f"orientation {number} of 16 bits", "a.png", raw(deep), turn(percentiles(DEEP)))
        colours = RANDOM.integers(3000, 4000, (24, 36, 3), dtype=np.uint16)
        chunk = exif_chunk(exif)
        content = png(colours, 16, 2)
        content = content[:33] + chunk + content[33:]
        yield Case(f"orientation {number} of 48 bits", "a.png", raw(content), turn(percentiles(colours)))


def exif_chunk(exif: Image.Exif) -> bytes:
    data = exif.tobytes().removeprefix(b"Exif\0\0")
    return struct.pack(">I", len(data)) + b"eXIf" + data + struct.pack(">I", zlib.crc32(b"eXIf" + data))


def deep() -> Iterator[Case]:
    """Values of more than 8 bits: narrow, with dead pixels, signed, no numbers."""
    dead = DEEP.copy()
    dead[0, :4] = 0, 65535, 0, 65535
    holes = np.where(RANDOM.random(DEEP.shape) < 0.4, np.nan, DEEP).astype(np.float32)
    endless = DEEP.astype(np.float32)
    endless[0, :3] = np.inf, -np.inf, np.nan
    tiny = (GREY / np.float32(1e30)).astype(np.float32)
    for name, values in (
        ("narrow", DEEP),
        ("with dead pixels", dead),
        ("of depth with holes of 0", np.where(RANDOM.random(DEEP.shape) < 0.4, 0, DEEP).astype(np.uint16)),
        ("full", RANDOM.integers(0, 65536, DEEP.shape, dtype=np.uint16)),
        ("below 256", GREY.astype(np.uint16)),
        ("with one NaN", np.where(np.arange(DEEP.size).reshape(DEEP.shape) == 5, np.nan, DEEP).astype(np.float32)),
        ("with many NaN", holes),
        ("with infinities", endless),
        ("in [0, 1]", (GREY / np.float32(255)).astype(np.float32)),
        ("in [-1, 1]", (GREY / np.float32(127.5) - 1).astype(np.float32)),
        ("of 1e-30", tiny),
        ("of 1e30", (GREY * np.float32(1e30)).astype(np.float32)),
        ("negative", -(DEEP.astype(np.int32))),
    ):
        yield Case(f"deep, {name}", "a.tif", raw(encoded(Image.fromarray(values), "TIFF")), percentiles(values))
    one = np.full((24, 36), 7000, dtype=np.uint16)
    one[3, 4] = 7001
    yield Case("deep, all but one value equal", "a.png", raw(encoded(Image.fromarray(one), "PNG")), SCALED)


def contrasts() -> Iterator[Case]:
    """Photos of one colour are refused, whatever their form; of two they are photos."""
    for mode, colours in {
        "1": (0, 255),
        "L": (0, 1, 127, 255),
        "LA": ((0, 255), (127, 0)),
        "P": (0, 3),
        "RGB": ((0, 0, 0), (255, 255, 255), (1, 2, 3)),
        "RGBA": ((0, 0, 0, 0), (9, 9, 9, 255)),
        "I;16": (0, 7000, 65535),
        "I": (0, 2**31 - 1),
        "F": (0.0, 0.5, 1e9, float("nan"), float("inf")),
    }.items():
        for colour in colours:
            content = encoded(Image.new(mode, (20, 10), colour), "TIFF")
            yield Case(f"{mode} of {colour} alone", "a.tif", raw(content), CONTRAST)
    for suffix, form in LOSSY.items():
        image = Image.new("RGB", (64, 64), (20, 200, 90))
        yield Case(f"one colour in {suffix}", f"a.{suffix}", raw(lossy(image, form)), CONTRAST)
    for where in ((0, 0), (9, 19), (5, 7)):
        pixels = np.zeros((10, 20, 3), dtype=np.uint8)
        pixels[where] = 1
        content = encoded(Image.fromarray(pixels), "PNG")
        yield Case(f"black but for {where}", "a.png", raw(content), pixels)


def shapes() -> Iterator[Case]:
    """From a single pixel to threads of 20,000."""
    for width, height in ((2, 1), (1, 2), (3, 1), (1, 1000), (1000, 1), (20_000, 1), (1, 20_000), (7, 5000), (2, 2)):
        pixels = RANDOM.integers(0, 256, (height, width, 3), dtype=np.uint8)
        for suffix, form in (("png", "PNG"), ("tif", "TIFF"), ("bmp", "BMP")):
            content = encoded(Image.fromarray(pixels), form)
            yield Case(f"{width} x {height} in {suffix}", f"a.{suffix}", raw(content), pixels)
    for suffix, form in (("png", "PNG"), ("jpg", "JPEG"), ("gif", "GIF")):
        yield Case(f"one pixel in {suffix}", f"a.{suffix}", raw(encoded(Image.new("RGB", (1, 1)), form)), CONTRAST)


def animations() -> Iterator[Case]:
    """The first frame is the photo."""
    first, second = Image.fromarray(RGB), Image.fromarray(255 - RGB)
    for suffix, form, options in (
        ("png", "PNG", {}),
        ("tif", "TIFF", {}),
        ("webp", "WEBP", {"lossless": True}),
        ("gif", "GIF", {}),
        ("mpo", "MPO", {}),
    ):
        content = encoded(first, form, save_all=True, append_images=[second], **options)
        with Image.open(io.BytesIO(content)) as opened:
            expected = rgb_of(opened)
        yield Case(f"animated {suffix}", f"a.{suffix}", raw(content), expected)


def other_names() -> Iterator[Case]:
    """What is in a file counts, not what it is called."""
    forms = {"PNG": "png", "JPEG": "jpg", "WEBP": "webp", "GIF": "gif", "BMP": "bmp", "TIFF": "tif", "HEIF": "heic"}
    for form, own in forms.items():
        content = lossy(Image.fromarray(SMOOTH), form)
        for suffix in ("jpg", "png", "tiff", "heic", "jp2"):
            if suffix != own:
                yield Case(f"{form} named .{suffix}", f"a.{suffix}", raw(content), PHOTO)
    for name in ("ä ö.png", "a\nb.png", "日本.png", "-.png", " .png", "a.b.c.png", "%20.png", "x" * 240 + ".png"):
        yield Case(f"named {name[:12]!r}", name, raw(encoded(Image.fromarray(RGB), "PNG")), RGB)


# --- what is not ----------------------------------------------------------------------------------------------------


def no_images() -> Iterator[Case]:
    """Files of other kinds under a photo's name."""
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"
    for name, content, said in (
        ("empty", b"", "is empty, it has 0 bytes"),
        ("one byte", b"\xff", CANNOT),
        ("text", b"not a photo\n" * 99, CANNOT),
        ("zeros", bytes(100_000), CANNOT),
        ("noise", RANDOM.bytes(5000), CANNOT),
        ("Git LFS", pointer, "Git LFS pointer"),
        ("a web page", b"<!DOCTYPE html><title>404</title>", "web page"),
        ("SVG", b"<svg xmlns='http://www.w3.org/2000/svg'/>", CANNOT),
        ("PDF", b"%PDF-1.4\n1 0 obj\n", CANNOT),
        ("PostScript", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", CANNOT),
        ("zip", b"PK\x03\x04" + bytes(100), CANNOT),
        ("gzip", b"\x1f\x8b\x08" + bytes(100), CANNOT),
        ("a program", b"\x7fELF" + bytes(100), CANNOT),
        ("a video", b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41", CANNOT),
        ("a raw photo", b"II*\0\x10\0\0\0CR\2\0" + bytes(200), CANNOT),
        ("npy", b"\x93NUMPY\1\0v\0{'descr': '<f4'}", CANNOT),
        ("Photoshop", b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 9, 9, 8, 3) + bytes(400), CANNOT),
        ("an icon", encoded(Image.fromarray(RGB), "ICO"), CANNOT),
        ("DDS", encoded(Image.fromarray(RGB), "DDS"), CANNOT),
        ("JPEG XL", b"\xff\x0a" + bytes(60), CANNOT),
        ("FITS", b"SIMPLE  =                    T".ljust(2880), CANNOT),
        ("only the start of JPEG", b"\xff\xd8\xff", CANNOT),
        ("only the start of PNG", b"\x89PNG\r\n\x1a\n", CANNOT),
        ("only the start of HEIF", b"\0\0\0\x1cftypheic\0\0\0\0mif1heic", CANNOT),
        ("only the start of AVIF", b"\0\0\0\x1cftypavif\0\0\0\0mif1avif", CANNOT),
        ("only the start of TIFF", b"II*\0", CANNOT),
        ("only the start of GIF", b"GIF89a", CANNOT),
        ("only the start of WebP", b"RIFF\x10\0\0\0WEBPVP8 ", CANNOT),
        ("only the start of JPEG 2000", b"\0\0\0\x0cjP  \r\n\x87\n", CANNOT),
    ):
        yield Case(f"{name} as a photo", "a.jpg", raw(content), said)


def headers() -> Iterator[Case]:
    """Sizes that cannot be, or that nobody can hold."""
    bmp = bytearray(encoded(Image.fromarray(RGB), "BMP"))
    for width, height in (
        (0, 0),
        (0, 9),
        (9, 0),
        (100_000, 100_000),
        (2**31 - 1, 2**31 - 1),
        (2**31 - 1, 1),
        (40_000, 40_000),
    ):
        said = "|".join((CANNOT, "too large"))
        at = f"{width} x {height}"
        yield Case(f"PNG that says {at}", "a.png", raw(png(RGB, 8, 2, (width, height))), said)
        bmp[18:26] = struct.pack("<ii", width, height)
        yield Case(f"BMP that says {at}", "a.bmp", raw(bytes(bmp)), said)
        yield Case(f"PPM that says {at}", "a.ppm", raw(f"P6 {width} {height} 255\n".encode() + bytes(99)), said)
        small = min(width, 65535), min(height, 65535)
        if small not in ((65535, 1),):
            yield Case(f"GIF that says {at}", "a.gif", raw(gif(*small)), said)
        jpeg = bytearray(encoded(Image.fromarray(RGB), "JPEG"))
        frame = jpeg.index(b"\xff\xc0") + 5
        jpeg[frame : frame + 4] = struct.pack(">HH", small[1], small[0])
        yield Case(f"JPEG that says {at}", "a.jpg", raw(bytes(jpeg)), said)
    for most in (0, 65536, 10**12):
        yield Case(f"PGM up to {most}", "a.pgm", raw(f"P5 2 2 {most}\n".encode() + bytes(99)), CANNOT)
    loop = bytearray(plain_tiff(RGB[:6, :9, 0].copy(), 1))
    loop[4:8] = struct.pack("<I", 4)
    yield Case("TIFF whose directory is its header", "a.tif", raw(bytes(loop)), CANNOT)


def gif(width: int, height: int) -> bytes:
    content = bytearray(encoded(picture("P"), "GIF"))
    content[6:10] = struct.pack("<HH", width, height)
    image = content.index(b"\x2c", 13 + 3 * 256)
    content[image + 5 : image + 9] = struct.pack("<HH", width, height)
    return bytes(content)


WHOLE = {
    "jpg": lambda: encoded(Image.fromarray(RGB), "JPEG", quality=95),
    "png": lambda: encoded(Image.fromarray(RGB), "PNG"),
    "tif": lambda: encoded(Image.fromarray(RGB), "TIFF", compression="tiff_lzw"),
    "webp": lambda: encoded(Image.fromarray(RGB), "WEBP"),
    "gif": lambda: encoded(picture("P"), "GIF"),
    "bmp": lambda: encoded(Image.fromarray(RGB), "BMP"),
    "ppm": lambda: encoded(Image.fromarray(RGB), "PPM"),
    "tga": lambda: encoded(Image.fromarray(RGB), "TGA"),
    "jp2": lambda: encoded(Image.fromarray(RGB), "JPEG2000"),
    "avif": lambda: encoded(Image.fromarray(SMOOTH), "AVIF"),
    "heic": lambda: lossy(Image.fromarray(SMOOTH), "HEIF"),
}


def cut_short() -> Iterator[Case]:
    """Cut off in many places, none of which leaves a whole photo."""
    for suffix, make in WHOLE.items():
        content = make()
        for share in (0.02, 0.1, 0.3, 0.5, 0.7):
            yield Case(f"{suffix} cut at {share:.0%}", f"a.{suffix}", raw(content[: int(len(content) * share)]), CANNOT)


def turned_over() -> Iterator[Case]:
    """Single bytes turned over."""
    for suffix, make in WHOLE.items():
        content = make()
        for seed in range(8):
            damaged = bytearray(content)
            where = np.random.default_rng(seed).integers(0, min(len(content), 300) if seed % 2 else len(content))
            damaged[where] ^= 0xFF
            yield Case(f"{suffix} with byte {seed} turned over", f"a.{suffix}", raw(bytes(damaged)), EITHER)


def special() -> Iterator[Case]:
    """What is no regular file, or far too large."""

    def listen(path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as opened:
            here = os.getcwd()
            os.chdir(path.parent)  # paths of sockets are short
            opened.bind(path.name)
            os.chdir(here)

    yield Case("a folder", "a.jpg", lambda path: path.mkdir(), "is a folder")
    yield Case("a named pipe", "a.jpg", os.mkfifo, "named pipe")
    yield Case("a socket", "a.jpg", listen, "socket")
    yield Case("a device", "a.jpg", lambda path: path.symlink_to("/dev/zero"), "device")
    yield Case("a link to nowhere", "a.jpg", lambda path: path.symlink_to("nowhere.jpg"), "does not exist")
    yield Case("a link to itself", "a.jpg", lambda path: path.symlink_to(path.name), CANNOT)
    yield Case("50 GB of nothing", "a.jpg", lambda path: (path.touch(), os.truncate(path, 50 * 10**9)), "50 GB")

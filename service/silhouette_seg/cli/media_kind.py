"""Detects by content whether a file is a photo, a video or neither."""

import re
import struct
from enum import StrEnum
from pathlib import Path

from silhouette_seg.errors import UndecodableImage, UnsupportedImageType
from silhouette_seg.vision.codec.formats import read_header

PREFIX_BYTES = 4096
"""Number of bytes that are read from a file to detect its kind."""
PHOTO_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".heic", ".heif", ".hif", ".avif"}
    | {".tif", ".tiff", ".bmp", ".gif"}
)
"""Suffixes of files that are tried as photos if their content is unknown, as when damaged."""
VIDEO_SUFFIXES = frozenset(
    {".3g2", ".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg"}
    | {".mpg", ".mts", ".webm", ".wmv"}
)
"""Suffixes of files that are tried as videos if their content is unknown, as when damaged."""
RAW_SUFFIXES = frozenset(
    {".3fr", ".arw", ".cr2", ".cr3", ".dng", ".iiq", ".nef", ".nrw", ".orf", ".pef", ".rw2", ".srw"}
)
"""Suffixes of raw files of cameras.

Many are TIFF files in form, but the image at their beginning is a thumbnail.
"""
_SYSTEM_FILES = frozenset({".ds_store", "desktop.ini", "ehthumbs.db", "thumbs.db"})
_SYSTEM_FOLDERS = frozenset({"$recycle.bin", ".thumbnails", ".trashes", "@eadir", "__macosx"})
"""Names, in lower case, of folders of thumbnails, deleted files and attributes."""
_APPLE_DOUBLE = b"\x00\x05\x16\x07"
_EBML, _ASF, _PROGRAM_STREAM = (
    b"\x1a\x45\xdf\xa3",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",
    b"\0\0\1\xba",
)
_VIDEO_SIGNATURES = (_EBML, _ASF, _PROGRAM_STREAM, b"FLV\x01")
_QUICKTIME_ATOMS = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})
"""Types of the first atom of a QuickTime file without `ftyp`."""
_NO_VIDEO_BRAND = re.compile(rb"avi[fs]|crx |he[iv][cmsx]|mi[af][f12]|msf1|[FM]4[ABP] ")
"""Brands of `ftyp` that stand for images or for audio alone."""
_PACKET_BYTES = (188, 192)
"""Bytes of a packet of an MPEG transport stream, without and with a time in front of it."""


class MediaKind(StrEnum):
    """Kind of an input file."""

    PHOTO = "photo"
    VIDEO = "video"


def media_kind(path: Path) -> MediaKind | None:
    """Returns the kind of a file by its first bytes, or by its suffix if those are unknown.

    Returns None for a file of another kind. Raises OSError if the file cannot be read.
    """
    with path.open("rb") as file:
        prefix = file.read(PREFIX_BYTES)
        size = file.seek(0, 2)
    suffix = path.suffix.lower()
    if suffix in RAW_SUFFIXES:
        return None
    if _is_photo(prefix):
        return MediaKind.PHOTO
    return MediaKind.VIDEO if _is_video(prefix, size) else kind_by_suffix(path)


def kind_by_suffix(path: Path) -> MediaKind | None:
    """Returns the kind that the suffix of a path stands for; None for any other suffix."""
    suffix = path.suffix.lower()
    if suffix in PHOTO_SUFFIXES:
        return MediaKind.PHOTO
    return MediaKind.VIDEO if suffix in VIDEO_SUFFIXES else None


def _is_photo(prefix: bytes) -> bool:
    """Returns whether a file that begins with these bytes is an image that can be decoded.

    The image may be damaged or exceed a limit, which decoding reports.
    """
    try:
        read_header(prefix)
    except UnsupportedImageType:
        return False
    except UndecodableImage:  # the prefix ends within the header
        return True
    return True


def excluded_by_name(path: Path) -> str | None:
    """Returns the kind of a file or folder that is left out by its name, for the summary.

    These are files and folders of operating systems, and unfinished results of this command.
    Returns None for any other name.
    """
    name = path.name.lower()
    if name in _SYSTEM_FILES:
        return path.name
    if name in _SYSTEM_FOLDERS:
        return f"folder {path.name}"
    return "unfinished result" if name.startswith(".") and name.endswith(".part") else None


def excluded_by_content(path: Path) -> str | None:
    """Returns the kind of a file that is left out by its content, for the summary.

    These are empty files, and the attributes that macOS writes to other disks. Returns None for any
    other file. Raises OSError if the file cannot be read.
    """
    with path.open("rb") as file:
        signature = file.read(len(_APPLE_DOUBLE))
    if signature == _APPLE_DOUBLE:
        return "._ file of macOS"
    return None if signature else "empty file"


def _is_video(prefix: bytes, size: int) -> bool:
    """Returns whether a file of `size` bytes that begins with `prefix` is a video container."""
    if prefix.startswith(_VIDEO_SIGNATURES):
        return True
    if prefix[:4] == b"RIFF" and prefix[8:12] == b"AVI ":
        return True
    return _is_quicktime(prefix, size) or _is_transport_stream(prefix)


def _is_quicktime(prefix: bytes, size: int) -> bool:
    """Returns whether a file of `size` bytes begins as an MP4 or QuickTime file with video.

    Text can spell the type of an atom, but then the length before it exceeds the file.
    """
    if len(prefix) < 12:
        return False
    length, atom = struct.unpack_from(">I4s", prefix)
    if atom == b"ftyp":
        return not _NO_VIDEO_BRAND.match(prefix, 8)
    return atom in _QUICKTIME_ATOMS and (length == 1 or 8 <= length <= size)


def _is_transport_stream(prefix: bytes) -> bool:
    """Returns whether four packets begin with the sync byte, after a time of 0 or 4 bytes."""
    return any(
        len(prefix) >= 4 * packet
        and all(prefix[at] == 0x47 for at in range(packet - 188, 4 * packet, packet))
        for packet in _PACKET_BYTES
    )

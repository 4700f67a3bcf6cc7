"""Resolution, artist and copyright of photos: reads them, and writes them into results.

No other metadata is kept, so the location of a photo and the serial number of a camera are lost.
Sources: CIPA DC-008 (EXIF), Adobe XMP Specification Part 1, JFIF 1.02, PNG (pHYs and eXIf).
"""

import re
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NoReturn
from xml.etree import ElementTree

from silhouette_seg.vision.codec.exif import ExifTag, read_tags, write_exif
from silhouette_seg.vision.codec.header import METRES_PER_INCH, Dpi, ImageFormat, ImageHeader
from silhouette_seg.vision.codec.orientation import MAX_XMP_BYTES

MAX_TEXT_BYTES = 8 * 1024
"""Largest artist or copyright that is kept, in bytes of UTF-8."""
MAX_DPI = 65_535
"""Largest resolution that is kept, in pixels per inch: JPEG has two bytes for it."""

_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 282, 283, 296
_ARTIST, _COPYRIGHT = 315, 33_432
_INCH = 2
_INCHES_PER_UNIT = {_INCH: 1.0, 3: 2.54}
"""Factor from pixels per unit to pixels per inch: inches and centimetres."""
_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_TIFF, _DC = "{http://ns.adobe.com/tiff/1.0/}", "{http://purl.org/dc/elements/1.1/}"
_CONTROLS = re.compile(r"[\0-\x1f\x7f-\x9f]+")
_PNG_HEADER_BYTES, _JFIF_BYTES = 33, 20
"""Bytes before the place for metadata: PNG's signature and IHDR, JPEG's SOI and JFIF segment."""


@dataclass(frozen=True, slots=True)
class PrintMetadata:
    """Metadata of a photo for print and credit. Empty fields are unknown."""

    dpi: Dpi | None = None
    """Resolution of the upright photo, in pixels per inch across and down."""
    artist: str = ""
    copyright: str = ""
    warning: str | None = None
    """A sentence on metadata of the photo that is too large to keep; None without any."""


NO_METADATA = PrintMetadata()


def read_metadata(header: ImageHeader) -> PrintMetadata:
    """Returns the resolution, artist and copyright in the header of an image file.

    The format's own resolution takes precedence, then EXIF, then XMP. Malformed values are left
    out. A text of more than MAX_TEXT_BYTES is left out too, which `warning` says.
    """
    embedded = header.metadata
    exif = {tag.number: tag for tag in read_tags(embedded.exif)} if embedded.exif else {}
    xmp = _read_xmp(embedded.xmp) if embedded.xmp else {}
    dpi = embedded.dpi or _exif_dpi(exif) or _xmp_dpi(xmp)
    if dpi is not None and header.orientation >= 5:
        dpi = dpi[1], dpi[0]
    texts = {
        "artist": _exif_text(exif.get(_ARTIST)) or xmp.get("creator") or xmp.get("Artist", ""),
        "copyright": _exif_text(exif.get(_COPYRIGHT))
        or xmp.get("rights")
        or xmp.get("Copyright", ""),
    }
    sizes = {name: len(text.encode()) for name, text in texts.items()}
    warnings = []
    for name, size in sizes.items():
        if size > MAX_TEXT_BYTES:
            texts[name] = ""
            warnings.append(
                f"The {name} of the photo has {size} bytes and is not kept; the limit is "
                f"{MAX_TEXT_BYTES}."
            )
    return PrintMetadata(_valid_dpi(dpi), **texts, warning=" ".join(warnings) or None)


def exif_of(metadata: PrintMetadata) -> bytes:
    """Returns metadata as an EXIF block with its prefix; empty if there is none."""
    values: dict[int, bytes | float | int] = {}
    if metadata.dpi is not None:
        values = dict(zip((_X_RESOLUTION, _Y_RESOLUTION), metadata.dpi, strict=True))
        values[_RESOLUTION_UNIT] = _INCH
    # EXIF declares ASCII, but writers and readers use UTF-8.
    if metadata.artist:
        values[_ARTIST] = metadata.artist.encode()
    if metadata.copyright:
        values[_COPYRIGHT] = metadata.copyright.encode()
    return write_exif(values) if values else b""


def add_metadata(file: bytes, format: ImageFormat, metadata: PrintMetadata) -> bytes:
    """Returns a PNG or JPEG file of our encoders with metadata behind its header."""
    exif = exif_of(metadata)
    if not exif:
        return file
    if format is ImageFormat.PNG:
        end = _PNG_HEADER_BYTES
        return b"".join((file[:end], _png_chunks(metadata.dpi, exif), file[end:]))
    segment = b"\xff\xe1" + struct.pack(">H", 2 + len(exif)) + exif
    jfif = file[:_JFIF_BYTES]
    if metadata.dpi is not None:
        across, down = map(round, metadata.dpi)
        jfif = jfif[:13] + struct.pack(">BHH", 1, across, down) + jfif[18:]
    return b"".join((jfif, segment, file[_JFIF_BYTES:]))


def _png_chunks(dpi: Dpi | None, exif: bytes) -> bytes:
    chunks = _png_chunk(b"eXIf", exif[6:])
    if dpi is None:
        return chunks
    across, down = (round(value / METRES_PER_INCH) for value in dpi)
    return _png_chunk(b"pHYs", struct.pack(">IIB", across, down, 1)) + chunks


def _png_chunk(kind: bytes, content: bytes) -> bytes:
    crc = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + crc


def _valid_dpi(dpi: Dpi | None) -> Dpi | None:
    return dpi if dpi is not None and all(1 <= value <= MAX_DPI for value in dpi) else None


def _exif_dpi(exif: dict[int, ExifTag]) -> Dpi | None:
    unit = exif[_RESOLUTION_UNIT].integer("H") if _RESOLUTION_UNIT in exif else _INCH
    across, down = (
        exif[number].fraction() if number in exif else None
        for number in (_X_RESOLUTION, _Y_RESOLUTION)
    )
    return _to_dpi(across, down, unit)


def _xmp_dpi(xmp: dict[str, str]) -> Dpi | None:
    unit = xmp.get("ResolutionUnit", str(_INCH))
    across, down = (_fraction(xmp.get(name, "")) for name in ("XResolution", "YResolution"))
    return _to_dpi(across, down, int(unit) if unit in ("2", "3") else 0)


def _to_dpi(across: float | None, down: float | None, unit: int) -> Dpi | None:
    factor = _INCHES_PER_UNIT.get(unit)
    if across is None or down is None or factor is None:
        return None
    return across * factor, down * factor


def _fraction(text: str) -> float | None:
    """Returns the value of a fraction such as `300/1`, or of a whole number; None for others."""
    match = re.fullmatch(r"([0-9]{1,10})(?:/([0-9]{1,10}))?", text.strip(), re.ASCII)
    if match is None or int(match[2] or 1) == 0:
        return None
    return int(match[1]) / int(match[2] or 1)


def _exif_text(tag: ExifTag | None) -> str:
    """Returns the text of an EXIF tag. The copyright may have two parts with a zero between."""
    if tag is None:
        return ""
    content = tag.text()
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    return _joined(text.split("\0"))


def _joined(parts: Iterable[str]) -> str:
    lines = (_CONTROLS.sub(" ", part).strip() for part in parts)
    return "; ".join(line for line in lines if line)


class _NoDoctype(ElementTree.TreeBuilder):
    """Builder that refuses a document type, which could declare entities of any size."""

    def doctype(self, name: str, public: str | None, system: str | None) -> NoReturn:
        raise ValueError("XMP has no document type")


def _read_xmp(packet: memoryview) -> dict[str, str]:
    """Returns the properties of TIFF and Dublin Core in an XMP packet by name without namespace.

    Those of a packet that is malformed or has more than MAX_XMP_BYTES are left out.
    """
    if len(packet) > MAX_XMP_BYTES:
        return {}
    parser = ElementTree.XMLParser(target=_NoDoctype())
    try:
        parser.feed(bytes(packet).strip(b"\0 \n\r\t"))
        root = parser.close()
    except (ElementTree.ParseError, ValueError, LookupError):
        return {}
    found: dict[str, str] = {}
    for description in root.iter(f"{_RDF}Description"):
        for name, value in description.attrib.items():
            found.setdefault(name, _joined([value]))
        for element in description:
            items = [item.text or "" for item in element.iter(f"{_RDF}li")]
            found.setdefault(element.tag, _joined(items or [element.text or ""]))
    return {
        name.rpartition("}")[2]: value
        for name, value in found.items()
        if name.startswith((_TIFF, _DC))
    }

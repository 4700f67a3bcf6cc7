"""Hostile colour profiles. lcms reads their tables in the process of the service."""

import random
import struct

import pytest

from silhouette_seg.vision.codec.colour import ColourTreatment
from silhouette_seg.vision.codec.decode import decode, read_header
from silhouette_seg.vision.codec.icc import UnusableProfile, check_tables
from tests.support.images import icc_profile, make_jpeg, person, table_profile

SMALL = person(24, 32)
UNIT = struct.pack(">9i", *(65536 * (n % 4 == 0) for n in range(9)))
IDENTITY_CURVE = bytes(range(256))
RGB = {(1, 1, 1): (100, 0, 0)}
INKS = {(0, 0, 0, 0): (100, 0, 0)}


def lut8(nodes: int, inputs: int = 4) -> bytes:
    """Returns a table that declares `nodes` per side and contains none."""
    return b"mft1" + bytes(4) + bytes((inputs, 3, nodes, 0)) + UNIT + IDENTITY_CURVE * inputs


def lut16(nodes: int, inputs: int = 4) -> bytes:
    head = bytes((inputs, 3, nodes, 0)) + UNIT + struct.pack(">HH", 2, 2)
    return b"mft2" + bytes(4) + head + bytes(4 * inputs)


def lut_ab(nodes: int, inputs: int = 4, *, wide: int = 1) -> bytes:
    curve = b"curv" + bytes(8)
    grid = bytes([nodes] * inputs).ljust(16, b"\0") + bytes((wide, 0, 0, 0))
    offsets = struct.pack(">5I", 32, 0, 0, 68, 88)
    return b"mAB " + bytes(4) + bytes((inputs, 3, 0, 0)) + offsets + curve * 3 + grid + curve * 4


def inks(tags: dict[bytes, bytes]) -> bytes:
    return icc_profile(b"CMYK", "x", tags, b"prtr", b"Lab ")


@pytest.mark.parametrize(
    "table",
    [
        *(encode(nodes) for encode in (lut8, lut16, lut_ab) for nodes in (40, 97, 255)),
        lut_ab(97, wide=0),
        lut_ab(97, wide=2),
        lut_ab(97, wide=255),
        lut8(2, inputs=15),
        lut8(255, inputs=255),
        lut16(97)[:50],
        lut_ab(97)[:30],
        lut8(97)[:9],
    ],
)
@pytest.mark.parametrize("name", [b"A2B0", b"B2A0", b"gamt"])
def test_profile_with_a_missing_table_is_rejected_before_allocation(name, table):
    """Unchecked, 1.3 KB and 0.4 KB of these took 220 and 270 MB, and 3 and 5 s."""
    content = inks({name: table})
    with pytest.raises(UnusableProfile, match="not there"):
        check_tables(content)
    data = make_jpeg(SMALL, mode="CMYK", icc_profile=content)
    note = decode(data, read_header(data)).colour
    assert (note.treatment, "not there" in note.detail) == (ColourTreatment.IGNORED, True)


def table_of(profile: bytes) -> bytes:
    """Returns the bytes of the only table of a profile."""
    at = profile.index(b"mft1")
    return profile[at:]


def test_first_of_two_profile_tables_is_checked():
    """lcms reads the first table of a name, while a dictionary would keep the last."""
    twice = inks({b"A2B0": lut8(97), b"A2B1": table_of(table_profile(b"CMYK", INKS))})
    twice = twice.replace(b"A2B1", b"A2B0")
    with pytest.raises(UnusableProfile):
        check_tables(twice)


def test_profile_with_complete_tables_is_used():
    for mode, profile in (
        ("RGB", table_profile(b"RGB ", RGB)),
        ("CMYK", table_profile(b"CMYK", INKS)),
    ):
        data = make_jpeg(SMALL, mode=mode, icc_profile=profile)
        assert decode(data, read_header(data)).colour.treatment is ColourTreatment.CONVERTED


def test_damaged_profile_is_used_or_ignored(mutations):
    seeds = (table_profile(b"RGB ", RGB), table_profile(b"CMYK", INKS), inks({b"A2B0": lut_ab(2)}))
    treatments = set()
    for number in range(mutations // 20):
        chance = random.Random(number)
        broken = bytearray(seeds[number % 3])
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(chance.choice((128, 260, len(broken))))
            broken[at : at + chance.choice((1, 4))] = chance.randbytes(chance.choice((1, 4)))
        mode = "RGB" if number % 3 == 0 else "CMYK"
        data = make_jpeg(SMALL, mode=mode, icc_profile=bytes(broken))
        frame = decode(data, read_header(data))
        assert frame.rgb.shape == (*SMALL.shape[:2], 3)
        treatments.add(frame.colour.treatment)
    assert {ColourTreatment.CONVERTED, ColourTreatment.IGNORED} <= treatments

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from silhouette_seg.api.request.multipart import MAX_TEXT_BYTES, MultipartReader
from silhouette_seg.errors import BadParameter, BodyTooLarge, MalformedBody

CONTENT_TYPE = 'multipart/form-data; boundary="edge"'


def form(*parts: tuple[str, bytes]) -> bytes:
    made = [
        f'--edge\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + body + b"\r\n"
        for name, body in parts
    ]
    return b"".join(made) + b"--edge--\r\n"


def reader(max_file_bytes: int = 10_000) -> MultipartReader:
    return MultipartReader(CONTENT_TYPE, files={"image": max_file_bytes})


BODIES = st.one_of(
    st.binary(max_size=300),
    st.lists(
        st.sampled_from([b"\r", b"\n", b"-", b"\r\n--edg", b"--edge", b"\r\n-", b"x"]), max_size=30
    ).map(b"".join),
).filter(lambda body: b"\r\n--edge" not in b"\r\n" + body + b"\r\n--")


@given(bodies=st.lists(BODIES, max_size=5), cuts=st.lists(st.integers(1, 60)))
def test_parts_come_out_as_they_went_in_however_they_are_cut(bodies, cuts):
    whole = form(*(("image", body) for body in bodies))
    if not bodies:
        return
    taken = reader()
    for length in [*cuts, len(whole)]:
        piece, whole = whole[:length], whole[length:]
        if piece:
            taken.feed(piece)

    parts = taken.close()

    assert [part.data() for part in parts] == bodies
    assert [part.hash.hexdigest() for part in parts] == [
        hashlib.sha256(body).hexdigest() for body in bodies
    ]


@given(st.binary(max_size=400))
def test_any_bytes_are_parts_or_malformed(noise):
    taken = reader()
    try:
        taken.feed(b"--edge\r\n" + noise)
        taken.close()
    except (MalformedBody, BadParameter):
        return


def test_limits_hold_for_files_and_for_text():
    reader(100).feed(form(("image", b"x" * 100), ("grow", b"1")))
    with pytest.raises(BodyTooLarge):
        reader(100).feed(form(("image", b"x" * 101)))
    with pytest.raises(BadParameter):
        reader().feed(form(("grow", b"1" * (MAX_TEXT_BYTES + 1))))


def test_names_may_be_in_any_script():
    taken = reader()
    taken.feed(form(("größe", "ñ".encode())))
    (part,) = taken.close()
    assert (part.name, part.text()) == ("größe", "ñ")


def test_whoever_watches_sees_a_part_when_it_begins():
    seen: list[list[str]] = []
    taken = MultipartReader(
        CONTENT_TYPE,
        files={"image": 100},
        watch=lambda parts: seen.append([part.name for part in parts]),
    )
    taken.feed(b'--edge\r\nContent-Disposition: form-data; name="image"\r\n\r\n')
    assert seen == [["image"]]
    taken.feed(b'x\r\n--edge\r\nContent-Disposition: form-data; name="grow"\r\n\r\n')
    assert seen == [["image"], ["image", "grow"]]


def test_the_number_of_parts_is_limited():
    few = MultipartReader(CONTENT_TYPE, files={}, max_parts=2)
    few.feed(form(("a", b"1"), ("b", b"2")))
    with pytest.raises(MalformedBody, match="more than 1 part"):
        MultipartReader(CONTENT_TYPE, files={}, max_parts=1).feed(form(("a", b""), ("b", b"")))

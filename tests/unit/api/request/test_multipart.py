import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from silhouette_seg.api.request.multipart import MAX_TEXT_BYTES, MultipartReader
from silhouette_seg.errors import BadParameter, BodyTooLarge, MalformedBody

CONTENT_TYPE = 'multipart/form-data; boundary="edge"'


def form(*parts: tuple[str, bytes]) -> bytes:
    encoded = [
        f'--edge\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + body + b"\r\n"
        for name, body in parts
    ]
    return b"".join(encoded) + b"--edge--\r\n"


def make_reader(max_image_bytes: int = 10_000) -> MultipartReader:
    return MultipartReader(CONTENT_TYPE, max_file_bytes={"image": max_image_bytes})


BODIES = st.one_of(
    st.binary(max_size=300),
    st.lists(
        st.sampled_from([b"\r", b"\n", b"-", b"\r\n--edg", b"--edge", b"\r\n-", b"x"]), max_size=30
    ).map(b"".join),
).filter(lambda body: b"\r\n--edge" not in b"\r\n" + body + b"\r\n--")


@given(bodies=st.lists(BODIES, min_size=1, max_size=5), cuts=st.lists(st.integers(1, 60)))
def test_multipart_parts_survive_any_chunking(bodies, cuts):
    rest = form(*(("image", body) for body in bodies))
    reader = make_reader()
    for length in [*cuts, len(rest)]:
        chunk, rest = rest[:length], rest[length:]
        if chunk:
            reader.feed(chunk)

    parts = reader.close()

    assert [part.data() for part in parts] == bodies
    assert [part.hash.hexdigest() for part in parts] == [
        hashlib.sha256(body).hexdigest() for body in bodies
    ]


@given(st.binary(max_size=400))
def test_multipart_reader_parses_or_rejects_any_bytes(noise):
    reader = make_reader()
    try:
        reader.feed(b"--edge\r\n" + noise)
        reader.close()
    except (MalformedBody, BadParameter):
        return


def test_multipart_limits_apply_to_files_and_text():
    make_reader(100).feed(form(("image", b"x" * 100), ("grow", b"1")))
    with pytest.raises(BodyTooLarge):
        make_reader(100).feed(form(("image", b"x" * 101)))
    with pytest.raises(BadParameter):
        make_reader().feed(form(("grow", b"1" * (MAX_TEXT_BYTES + 1))))


def test_multipart_names_may_use_any_script():
    reader = make_reader()
    reader.feed(form(("größe", "ñ".encode())))
    (part,) = reader.close()
    assert (part.name, part.text()) == ("größe", "ñ")


def test_multipart_callback_receives_parts_as_they_begin():
    calls: list[list[str]] = []
    reader = MultipartReader(
        CONTENT_TYPE,
        max_file_bytes={"image": 100},
        on_part=lambda parts: calls.append([part.name for part in parts]),
    )
    reader.feed(b'--edge\r\nContent-Disposition: form-data; name="image"\r\n\r\n')
    assert calls == [["image"]]
    reader.feed(b'x\r\n--edge\r\nContent-Disposition: form-data; name="grow"\r\n\r\n')
    assert calls == [["image"], ["image", "grow"]]


def test_multipart_part_count_is_limited():
    allowed = MultipartReader(CONTENT_TYPE, max_file_bytes={}, max_parts=2)
    allowed.feed(form(("a", b"1"), ("b", b"2")))
    limited = MultipartReader(CONTENT_TYPE, max_file_bytes={}, max_parts=1)
    with pytest.raises(MalformedBody, match="more than 1 part"):
        limited.feed(form(("a", b""), ("b", b"")))

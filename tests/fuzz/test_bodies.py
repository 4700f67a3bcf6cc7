"""Hostile forms, JSON, tensors, queries, headers and paths."""

import base64
import gzip
import json
import random
import zlib
from collections import Counter
from urllib.parse import urlencode

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from silhouette_seg.api.removebg.parameters import FIELDS as REMOVEBG
from silhouette_seg.api.request.multipart import MAX_PARTS
from silhouette_seg.api.request.parameters import PARAMETERS
from tests.fuzz.invariants import check_response
from tests.support.images import make_jpeg, make_png, quadrants
from tests.support.malformed_tensors import MALFORMED, SHAPE, VALID, ZEROS, infer_body

JPEG, PNG = make_jpeg(quadrants(16, 24)), make_png(quadrants(16, 24))
FORM = "multipart/form-data; boundary="
FORM_PATHS = ("/v1/segment", "/v1/segment/batch", "/v1.0/removebg", "/api/remove")
OCTETS = "application/octet-stream"
NAMES = ["image", "image_file", "file", "background_image", "output", "grow", "", "x" * 5000, "é\0"]
LENGTH = "Inference-Header-Content-Length"

names = st.sampled_from(NAMES) | st.text(max_size=10)
contents = st.sampled_from([JPEG, PNG, b"", b"cutout", b"0", b"\xff" * 5000]) | st.binary(
    max_size=30
)
extras = st.sampled_from(
    ["", "; filename=a.png", '; filename="', "; filename*=UTF-8''%ff", "; name=two", ";;;===", "\0"]
)


def part(name: str, content: bytes, extra: str = "", more: str = "", boundary: str = "b") -> bytes:
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n{more}\r\n'
    return head.encode("utf-8", "replace") + content + b"\r\n"


parts = st.builds(
    part,
    names,
    contents,
    extras,
    st.sampled_from(["", "Content-Type: image/png\r\n", "Content-Transfer-Encoding: base64\r\n"]),
    st.sampled_from(["b", "b", "b", "c", "b-", ""]),
)
END = b"--b--\r\n"
MANY = b"".join(part(f"n{n}", b"") for n in range(10 * MAX_PARTS)) + END
LONG_NAME = part("image", JPEG) + part("n" * 4000, b"\xff") + END
FORMS = (
    (FORM + "b", MANY),
    (FORM + "b", LONG_NAME),
    (FORM + "b", part("n" * 4000, b"x" * 5000) + END),
    (FORM + "b", part("image", JPEG) + b"--b" + b"-" * 100_000),
    (FORM + "b", b"\r\n" * 50_000 + part("image", JPEG) + END),
    (FORM + "b", part("image", JPEG) + END + b"\r\n" * 50_000),
    (FORM + "b", part("image", b"\r\n--" * 20_000) + END),
    (FORM + "b", b"--b\r\n" + b"A: b\r\n" * 10_000 + b"\r\n" + END),
    (FORM + "b", b"--b\r\nContent-Disposition: form-data; name=" + b"n" * 100_000 + b"\r\n\r\n"),
    (FORM + "b" * 5000, part("image", JPEG) + END),
    (FORM, part("image", JPEG) + END),
    (FORM + '"b', part("image", JPEG) + END),
    (FORM + "b; boundary=c", part("image", JPEG) + END),
    ("multipart/form-data;" + ";" * 10_000 + "boundary=b", part("image", JPEG) + END),
    ("multipart/mixed; boundary=b", part("image", JPEG) + END),
    (FORM + "b", part("image", FORM.encode() + part("image", JPEG) + END) + END),
)


def test_form_of_any_content_gets_a_client_error(inside, request_settings):
    """Nested and cut forms with unusual names and boundaries, on all routes that take forms."""
    post, outcomes = _poster(inside)

    @given(
        path=st.sampled_from(FORM_PATHS),
        kind=st.sampled_from([FORM + "b", FORM + "b", FORM + '"b"', FORM + "c", "multipart/mixed"]),
        pieces=st.lists(parts | st.binary(max_size=20), max_size=8),
        end=st.sampled_from([END, END, b"", b"--b-", END + END]),
        cut=st.integers(0, 5),
    )
    @request_settings
    def send(path: str, kind: str, pieces: list[bytes], end: bytes, cut: int) -> None:
        body = b"".join(pieces) + end
        post(path, body[: len(body) - cut] if cut > 3 else body, {"content-type": kind})

    send()
    for kind, body in FORMS:
        for path in FORM_PATHS:
            assert post(path, body, {"content-type": kind}) in (200, 400, 413, 415, 422)
    assert post("/v1/segment", part("image", JPEG) + END, {"content-type": FORM + "b"}) == 200
    assert outcomes[400]


def test_long_part_name_is_cut_in_the_error(inside):
    answer = inside.run(
        inside.service.client.post(
            "/v1/segment", content=LONG_NAME, headers={"content-type": FORM + "b"}
        )
    )
    assert check_response(answer) == 400
    assert "n" * 80 in answer.text
    assert "n" * 81 not in answer.text


encoded = base64.b64encode(JPEG).decode()
texts = st.one_of(
    st.sampled_from(["", encoded, encoded[:-2], "data:image/jpeg;base64," + encoded, "=" * 99]),
    st.sampled_from(["100%", "10px 20px 30px 40px", "-1", "1e9", "nan", "a" * 5000, "\0", "fff"]),
    st.text(max_size=12),
)
fields = st.dictionaries(st.sampled_from([*REMOVEBG, "image_file_b64", "nonsense"]), texts)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
BOMBS = (
    b"[" * 60_000,
    b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    b'{"size":' + b"9" * 60_000 + b"}",
    b'{"size":1e999999999}',
    b'{"image_file_b64":"' + b"A" * 300_001 + b'"}',
    b'{"image_file_b64":"' + b"\\u0041" * 20_000 + b'"}',
    b'{"image_file_b64":"' + b"\\" * 3001 + b'"}',
    b'{"image_file_b64":{"image_file_b64":"AAAA"}}',
    b'{"image_file_b64":"AAAA","image_file_b64":"AAAA"}',
    b'{"\\u0069mage_file_b64":"AAAA"}',
    '{"image_file_b64":"AAAA"}'.encode("utf-16"),
    b"\xef\xbb\xbf{}",
    b"NaN",
    b"image_file_b64=" + b"%" * 30_000,
    b"image_file_b64=" + b"+" * 30_000,
    b"&" * 30_000,
    b"a=b&" * 10_000,
    b"=&=&=",
    b"size=%ff%fe",
    b"size=\xff",
)


def test_removebg_json_and_urlencoded_bodies_never_cause_500(inside, request_settings):
    post, outcomes = _poster(inside)
    as_json, as_form = "application/json", "application/x-www-form-urlencoded"

    @given(sent=st.one_of(fields, anything))
    @request_settings
    def send(sent: object) -> None:
        body = json.dumps(sent).encode()
        post("/v1.0/removebg", body, {"content-type": as_json})
        if isinstance(sent, dict):
            pairs = {key: value for key, value in sent.items() if isinstance(value, str)}
            body = urlencode(pairs, errors="replace").encode()
            post("/v1.0/removebg", body, {"content-type": as_form})

    send()
    for bomb in BOMBS:
        for kind in (as_json, as_form):
            post("/v1.0/removebg", bomb, {"content-type": kind})
    photo = {"image_file_b64": encoded, "size": "auto"}
    assert post("/v1.0/removebg", json.dumps(photo).encode(), {"content-type": as_json}) == 200
    assert set(outcomes) <= {200, 400, 415}, outcomes


json_members = st.dictionaries(
    st.sampled_from([*PARAMETERS, "image", "file", "background_image", "url", "nonsense"]),
    texts | st.booleans() | st.integers() | st.none() | st.lists(texts, max_size=2),
)


def test_json_photo_of_any_content_never_causes_a_500(inside, request_settings):
    post, outcomes = _poster(inside)
    as_json = {"content-type": "application/json"}

    @given(sent=st.one_of(json_members, anything))
    @request_settings
    def send(sent: object) -> None:
        post("/v1/segment", json.dumps(sent).encode(), as_json)

    send()
    for bomb in BOMBS:
        post("/v1/segment", bomb.replace(b"image_file_b64", b"image"), as_json)
    assert post("/v1/segment", json.dumps({"image": encoded}).encode(), as_json) == 200
    assert set(outcomes) <= {200, 400, 404, 406, 413, 415, 422}, outcomes


COMPRESSED = {"gzip": gzip.compress(JPEG), "deflate": zlib.compress(JPEG)}


def test_damaged_compression_never_causes_a_500(inside, request_settings):
    post, outcomes = _poster(inside)

    @given(
        encoding=st.sampled_from(["gzip", "deflate"]),
        sent=st.sampled_from(["gzip", "deflate"]),
        at=st.integers(0, 2000),
        patch=st.binary(max_size=8),
        cut=st.integers(0, 30),
    )
    @request_settings
    def send(encoding: str, sent: str, at: int, patch: bytes, cut: int) -> None:
        body = COMPRESSED[sent]
        body = body[:at] + patch + body[at + len(patch) :]
        headers = {"content-type": "image/jpeg", "content-encoding": encoding}
        post("/v1/segment", body[: len(body) - cut], headers)

    send()
    assert set(outcomes) <= {200, 400, 413, 415, 422}, outcomes
    for encoding, body in COMPRESSED.items():
        headers = {"content-type": "image/jpeg", "content-encoding": encoding}
        assert post("/v1/segment", body, headers) == 200


TENSORS = (
    *(body for body, _ in MALFORMED.values()),
    infer_body(ZEROS, id="i" * 50_000),
    VALID.replace(b"0]", b"0", 1),
)
numbers = st.none() | st.integers() | st.floats() | st.text(max_size=3) | st.lists(st.integers())
inputs = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["image", "x"]) | numbers,
        "datatype": st.sampled_from(["UINT8", "FP32"]) | numbers,
        "shape": st.just(SHAPE) | st.lists(st.integers(-1, 2**70), max_size=5) | numbers,
        "data": st.just([0] * 2304) | st.lists(numbers, max_size=4) | numbers,
        "parameters": st.dictionaries(st.sampled_from(["binary_data_size", "x"]), numbers),
    },
)


def test_tensor_request_of_any_content_is_400(inside, request_settings):
    post, outcomes = _poster(inside)
    path = "/v2/models/connectnet/infer"
    raw = np.zeros(SHAPE, np.uint8).tobytes()
    header = infer_body(ZEROS | {"parameters": {"binary_data_size": len(raw)}})
    header = header.replace(json.dumps([0] * 2304).encode(), b"0").replace(b'"data": 0, ', b"")

    @given(
        sent=st.lists(inputs, max_size=2),
        more=st.dictionaries(st.sampled_from(["id", "outputs", "parameters"]), numbers),
        length=st.none() | st.integers(0, 10**21) | st.sampled_from(["-1", "x", "1 ", "", "0x1"]),
        behind=st.sampled_from([b"", b"x", raw]),
    )
    @example(sent=[ZEROS], more={}, length=None, behind=b"")
    @request_settings
    def send(sent: list[object], more: dict[str, object], length: object, behind: bytes) -> None:
        headers = {} if length is None else {LENGTH: str(length)}
        post(path, infer_body(*sent, **more) + behind, headers)

    send()
    for body in TENSORS:
        post(path, body, {})
        post(path, body, {LENGTH: str(len(body))})
    for length in (0, 1, len(header) - 1, len(header), len(header) + 1, 10**19):
        post(path, header + raw, {LENGTH: str(length)})
    chance = random.Random(0)
    for _ in range(100):
        at = chance.randrange(len(VALID))
        post(
            path, VALID[:at] + chance.choice((b"", b"[", b"}", b'"', b"\xff")) + VALID[at + 1 :], {}
        )
    assert post(path, VALID, {}) == 200
    assert post(path, header + raw, {LENGTH: str(len(header))}) == 200
    assert set(outcomes) <= {200, 400}, outcomes


queries = st.lists(
    st.tuples(
        st.sampled_from([*PARAMETERS, "nonsense", "", "x" * 300]),
        st.sampled_from(["cutout", "composite", "true", "0.5", "-5", "nan", "1e9", "#102030"])
        | st.text(max_size=15),
    ),
    max_size=4,
)
DIGITS = "9" * 4000
QUERIES = (
    "layout=" + "x:0.1;" * 3000,
    "layout=" + "x:0.1,y:0.1,scale:1,flip:true;" * 7 + "x:",
    f"grow={DIGITS}",
    f"feather=0.{DIGITS}",
    f"threshold={DIGITS}e{DIGITS}",
    "background=%23" + "f" * 5000,
    "%ff=%fe",
    "=",
    "&" * 5000,
    "output=mask&" * 2000,
    "a;b;c",
    "output",
    "output=%00",
    "output=\u202emask",
)
HEADERS = (
    {"accept": "*/*;q=" + DIGITS},
    {"accept": ",".join(["image/png;q=0.1"] * 1000)},
    {"accept": "image/png;q=nan, image/webp;q=-inf"},
    {"accept": "/" * 1000},
    {"accept": ";;;,,,;q"},
    {"if-none-match": ",".join(['"x"'] * 2000)},
    {"if-none-match": "*"},
    {"traceparent": "00-" + "f" * 5000},
    {"traceparent": "00-" + "0" * 32 + "-" + "0" * 16 + "-00"},
    {"x-request-id": "a" * 5000},
    {"x-request-id": "a b\tc"},
    {"x-request-id": "\u0661\u0662".encode().decode("latin-1")},
    {"authorization": "Bearer"},
    {"authorization": "Bearer " + "k" * 5000},
    {"origin": "null"},
    {"range": "bytes=0-0,1-1"},
    {"content-length": "abc"},
    {"content-length": "\u00b2"},
    {"content-encoding": "gzip, deflate"},
    {"content-type": "image/jpeg" + ";" * 5000},
    {"content-type": "image/\xff"},
    {"host": ""},
    {"expect": "everything"},
)


def test_query_and_headers_never_cause_a_500(inside, request_settings):
    post, outcomes = _poster(inside)

    @given(pairs=queries, header=st.sampled_from([{}, *HEADERS]))
    @request_settings
    def send(pairs: list[tuple[str, str]], header: dict[str, str]) -> None:
        query = urlencode(pairs, errors="replace")
        post(f"/v1/segment?{query}", JPEG, {"content-type": "image/jpeg"} | header)

    send()
    for query in QUERIES:
        for path in ("/v1/segment", "/v1/segment/batch", "/v1.0/removebg", "/v1/webrtc", "/livez"):
            post(f"{path}?{query}", JPEG, {"content-type": "image/jpeg"})
    for header in HEADERS:
        post("/v1/segment", JPEG, {"content-type": "image/jpeg"} | header)
    assert outcomes[200]
    assert outcomes[400]


PATHS = (
    "/%00", "/%ff", "//", "/..%2f..%2fetc/passwd", "/web/..%5c..%5cx", "/web/%2e%2e/app.py",
    "/web/" + "a/" * 2000, "/web/%00.js", "/docs/..%2fcore.py", "/docs/%2e%2e", "/v1/webrtc/%0a",
    "/v2/models/%00/infer", "/v2/models/../infer", "/v2/models/a%2fb/versions/1",
    "/v2/models/connectnet/versions/%f0%9f%92%a9", "/v1/models/%0d%0aX:%20y", "/;x=y", "/*",
)  # fmt: skip


def test_hostile_path_never_causes_a_500(inside):
    """No path leaves its folder, and none breaks a header or a log line."""
    for path in PATHS:
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "X"):
            answer = inside.run(inside.service.client.request(method, path))
            assert answer.status_code < 500, path
            assert b"def " not in answer.content, path


def _poster(inside):
    """Returns a function that posts a body and checks the response, and the counts by status."""
    outcomes: Counter[int] = Counter()

    def post(path: str, body: bytes, headers: dict[str, str]) -> int:
        raw = [
            (name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items()
        ]
        answer = inside.run(inside.service.client.post(path, content=body, headers=raw))
        status = (
            check_response(answer)
            if not path.startswith("/v1/segment/batch")
            else answer.status_code
        )
        assert status < 500, answer.text
        outcomes[status] += 1
        return status

    return post, outcomes

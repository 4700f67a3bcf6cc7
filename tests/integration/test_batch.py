"""`POST /v1/segment/batch`: an answer to each photo, in order, as it would have been alone.

The model's alpha is the red channel, so red and white parts of a photo are "person".
"""

import asyncio
import collections
import email
import email.policy
import json
import re
import socket
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import httpx
import numpy as np
import pytest

from silhouette_seg.api.middleware.security_headers import SECURITY_HEADERS
from silhouette_seg.errors import EngineFailed
from silhouette_seg.lifecycle import drain
from tests.integration.conftest import (
    PATIENCE_S,
    InProcess,
    OnSocket,
    in_process,
    on_socket,
    until,
)
from tests.integration.leaving import post_and_leave
from tests.integration.pictures import pixels, refusal
from tests.integration.test_refusals import BAD_IMAGES
from tests.support.images import TEXT, make_jpeg, make_png, make_webp, mutated, quadrants

PATH = "/v1/segment/batch"
JPEG = make_jpeg(quadrants())
ONLY_ALONE = {"etag", "vary", "content-length", "server-timing", "x-request-id"}
"""Headers of a single answer that a part has not, or has of its own."""
ONLY_OF_HTTP = {name.lower() for name in SECURITY_HEADERS}
ONLY_IN_PARTS = {"x-index", "x-status", "content-disposition"}


@dataclass(frozen=True)
class Part:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def filename(self) -> str:
        """As a browser reads it: `filename*` wins (RFC 6266)."""
        disposition = self.headers["content-disposition"]
        assert disposition.isascii()
        plain = re.fullmatch(r'attachment; filename="([^"\\]+)"(; filename\*=.+)?', disposition)
        assert plain is not None, disposition
        _, star, encoded = disposition.partition("; filename*=UTF-8''")
        return unquote(encoded) if star else plain[1]


def parts_of(answer: httpx.Response) -> list[Part]:
    """Read by the standard library, so that no code under test checks itself."""
    assert answer.status_code == 200, answer.text
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + answer.content, policy=email.policy.HTTP)
    assert message.get_content_type() == "multipart/mixed"
    assert not message.defects
    return [_part(index, part) for index, part in enumerate(message.iter_parts())]


def _part(index: int, part: Any) -> Part:
    headers = {name.lower(): str(value) for name, value in part.raw_items()}
    body = part.get_payload(decode=True)
    assert headers["x-index"] == str(index)
    assert headers["content-length"] == str(len(body))
    return Part(int(headers["x-status"]), headers, body)


def problem_of(part: Part, status: int, code: str) -> dict[str, Any]:
    assert part.headers["content-type"] == "application/problem+json"
    document = json.loads(part.body)
    assert (part.status, document["status"], document["code"]) == (status, status, code), document
    assert document["request_id"] == part.headers["x-request-id"]
    assert document["instance"] == PATH
    return document


async def send(
    service: InProcess, *photos: bytes, query: str = "", accept: str = "*/*", **fields: Any
) -> httpx.Response:
    files: list[tuple[str, Any]] = [("image", ("photo.jpg", photo)) for photo in photos]
    files += [
        (name, ("b.jpg", value) if isinstance(value, bytes) else (None, value))
        for name, value in fields.items()
    ]
    return await service.client.post(f"{PATH}{query}", files=files, headers={"accept": accept})


@pytest.fixture(autouse=True)
async def nothing_is_left(service) -> AsyncIterator[None]:
    yield
    await nothing_held(service)


async def nothing_held(service: InProcess) -> None:
    await until(lambda: service.gateway.requests.count == 0)
    assert service.gateway.photo_queue.running == 0
    assert service.gateway.body_memory.reserved == 0


@pytest.fixture(scope="module")
def photos() -> list[bytes]:
    """Of different sizes and kinds, so that a mix-up shows."""
    makers = (make_jpeg, make_png, make_webp)
    return [makers[n % 3](quadrants(40 + 2 * n, 60 + 2 * n)) for n in range(7)]


QUERIES = (
    "",
    "?output=cutout&format=webp",
    "?output=composite&background=%2320639b&format=jpeg",
    "?output=cutout&crop=true&crop_margin=5&threshold=0.5",
)


@pytest.mark.parametrize("query", QUERIES)
async def test_each_part_is_what_the_photo_gets_alone(service, photos, query):
    parts = parts_of(await send(service, *photos, query=query))

    assert [part.status for part in parts] == [200] * len(photos)
    for photo, part in zip(photos, parts, strict=True):
        alone = await service.segment(photo, query)
        assert part.body == alone.content
        headers = dict(alone.headers)
        assert part.headers.keys() - ONLY_IN_PARTS - ONLY_ALONE == (
            headers.keys() - ONLY_ALONE - ONLY_OF_HTTP
        )
        for name in part.headers.keys() - ONLY_IN_PARTS - ONLY_ALONE:
            assert part.headers[name] == headers[name], name
        stages = [entry.partition(";")[0] for entry in part.headers["server-timing"].split(", ")]
        assert stages == ["decode", "route", "queue", "infer", "post", "encode"]


async def test_reports_where_they_are_accepted(service, photos):
    answer = await send(service, *photos[:3], accept="multipart/mixed, application/json")
    for photo, part in zip(photos, parts_of(answer), strict=False):
        assert part.headers["content-type"] == "application/json"
        assert part.filename.endswith(".json")
        report, alone = (
            json.loads(body)
            for body in (
                part.body,
                (await service.segment(photo, accept="application/json")).content,
            )
        )
        assert report["request_id"] == answer.headers["x-request-id"]
        for document in (report, alone):
            del document["request_id"], document["timings_ms"]
        assert report == alone


async def test_multipart_alone_is_accepted_and_parts_are_png(service):
    (part,) = parts_of(await send(service, JPEG, accept="multipart/mixed"))
    assert part.headers["content-type"] == "image/png"


async def test_no_etag_and_no_304(service):
    answer = await service.client.post(PATH, files={"image": JPEG}, headers={"if-none-match": "*"})
    assert "etag" not in answer.headers
    (part,) = parts_of(answer)
    assert "etag" not in part.headers


async def test_parameters_may_be_form_fields(service, photos):
    by_form = parts_of(await send(service, *photos[:2], output="cutout", format="webp"))
    by_query = parts_of(await send(service, *photos[:2], query="?output=cutout&format=webp"))
    assert [part.body for part in by_form] == [part.body for part in by_query]
    assert by_form[0].headers["content-type"] == "image/webp"


async def test_one_background_is_for_all(service, photos):
    blue = make_jpeg(np.full((30, 40, 3), (0, 0, 250), np.uint8))
    parts = parts_of(await send(service, *photos[:3], background_image=blue, output="composite"))
    for photo, part in zip(photos, parts, strict=False):
        alone = await service.form(
            ("image", photo), ("background_image", blue), ("output", "composite")
        )
        assert part.body == alone.content


async def test_aliases_keep_the_order_in_which_they_were_sent(service, photos):
    files = [
        (name, ("a.jpg", photo))
        for name, photo in zip(("file", "image", "image_file"), photos, strict=False)
    ]
    parts = parts_of(await service.client.post(PATH, files=files))
    shapes = [pixels(part.body).shape for part in parts]
    assert shapes == [(40, 60), (42, 62), (44, 64)]


@pytest.mark.parametrize(("body", "status", "code"), BAD_IMAGES.values(), ids=BAD_IMAGES.keys())
async def test_a_bad_photo_spoils_no_other(service, photos, body, status, code):
    first, bad, last = parts_of(await send(service, photos[0], body, photos[1]))

    problem_of(bad, status, code)
    assert bad.headers["content-disposition"] == 'attachment; filename="photo-2.json"'
    assert first.body == (await service.segment(photos[0])).content
    assert last.body == (await service.segment(photos[1])).content


async def test_an_empty_file_is_one_bad_photo(service):
    empty, good = parts_of(await send(service, b"", JPEG))
    problem_of(empty, 400, "missing_image")
    assert good.status == 200


async def test_all_bad_is_still_an_answer_to_each(service):
    parts = parts_of(await send(service, TEXT, JPEG[:50], query="?output=cutout"))
    problem_of(parts[0], 415, "unsupported_image_type")
    problem_of(parts[1], 422, "undecodable_image")


async def test_a_photo_without_a_person_is_refused_alone(service):
    nobody = make_png(np.zeros((40, 60, 3), np.uint8))
    refused, good = parts_of(await send(service, nobody, JPEG, query="?require_foreground=true"))
    problem_of(refused, 422, "foreground_missing")
    assert good.status == 200


async def test_names_are_those_that_were_sent_but_safe_and_different(service):
    sent = [
        "holiday.jpg",
        "../../etc/passwd",
        r"C:\photos\me.JPG",
        "holiday.png",
        "Größe 漢字.webp",
        "a\u202eb.jpg",
        'say "hi".jpg',
        "...",
    ]
    files = [("image", (name, JPEG)) for name in sent]
    parts = parts_of(await service.client.post(PATH, files=files))
    assert [part.filename for part in parts] == [
        "holiday.png",
        "passwd.png",
        "me.png",
        "holiday-2.png",
        "Größe 漢字.png",
        "a_b.png",
        "say %22hi%22.png",
        "image-8.png",
    ]


async def pieces(*parts: bytes, then_stuck: bool = False) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
    if then_stuck:
        await asyncio.Event().wait()


def image_part(body: bytes = JPEG) -> bytes:
    head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'
    return head + body + b"\r\n"


async def send_pieces(
    service: InProcess, *parts: bytes, then_stuck: bool = False
) -> httpx.Response:
    return await service.client.post(
        PATH,
        content=pieces(*parts, then_stuck=then_stuck),
        headers={"content-type": "multipart/form-data; boundary=b"},
    )


async def test_as_many_as_the_limit_are_answered(service):
    assert len(parts_of(await send(service, *[JPEG] * 32))) == 32


async def test_one_more_is_refused_when_it_begins(service):
    """The body never ends: whoever waited for it would be too slow."""
    answer = await send_pieces(service, *[image_part()] * 33, then_stuck=True)
    document = refusal(answer, 413, "too_many_images")
    assert (document["limit"], document["actual"]) == (32, 33)


async def test_body_too_large_is_refused_before_and_while_reading(settings_with):
    async with in_process(settings_with(max_batch_body_bytes=5000)) as service:
        declared = refusal(await send(service, bytes(6000)), 413, "body_too_large")
        assert declared["limit"] == 5000
        assert declared["actual"] > 6000
        arriving = await send_pieces(service, image_part(bytes(6000)), then_stuck=True)
        refusal(arriving, 413, "body_too_large")


async def test_one_image_too_large_is_refused_while_reading(settings_with):
    async with in_process(settings_with(max_body_bytes=5000)) as service:
        answer = await send_pieces(
            service, image_part(bytes(5000)), image_part(bytes(5001)), then_stuck=True
        )
        document = refusal(answer, 413, "body_too_large")
        assert (document["limit"], document["actual"]) == (5000, 5001)


async def test_a_body_that_never_ends_is_too_slow(settings_with):
    async with in_process(settings_with(read_timeout_s=0.05)) as service:
        answer = await send_pieces(service, image_part(), then_stuck=True)
        document = refusal(answer, 408, "body_too_slow")
        # It may be twice as long as one image, and has so much longer.
        assert document["limit"] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("?nope=1", 400, "unknown_parameter"),
        ("?output=nope", 400, "bad_parameter"),
        ("?model=nobody", 404, "unknown_model"),
        ("?output=cutout&format=jpeg", 406, "not_acceptable"),
    ],
)
async def test_what_is_wrong_for_all_refuses_the_whole(service, query, status, code):
    refusal(await send(service, JPEG, JPEG, query=query), status, code)


async def test_what_is_wrong_with_the_form_refuses_the_whole(service):
    refusal(await send(service, JPEG, size="auto"), 400, "unknown_parameter")
    refusal(await send(service, output="mask"), 400, "missing_image")
    twice = [("image", ("a", JPEG))] + [("background_image", ("b", JPEG))] * 2
    refusal(await service.client.post(PATH, files=twice), 400, "ambiguous_source")
    raw = await service.client.post(PATH, content=JPEG, headers={"content-type": "image/jpeg"})
    refusal(raw, 415, "unsupported_media_type")
    refusal(await service.client.post(PATH), 400, "missing_image")
    refusal(await service.client.get(PATH), 405, "method_not_allowed")


async def test_a_bad_background_refuses_the_whole(service):
    answer = await send(service, JPEG, background_image=TEXT, output="composite")
    refusal(answer, 415, "unsupported_image_type")


@pytest.mark.parametrize("accept", ["image/gif", "text/html"])
async def test_nothing_that_we_make_is_accepted(service, accept):
    refusal(await send(service, JPEG, accept=accept), 406, "not_acceptable")


async def test_a_key_is_asked_for(settings_with):
    async with in_process(settings_with(api_keys="sesame")) as service:
        refusal(await send(service, JPEG), 401, "unauthorized")
        service.client.headers["x-api-key"] = "sesame"
        assert len(parts_of(await send(service, JPEG))) == 1


async def test_it_is_described(service):
    document = (await service.client.get("/openapi.json")).json()
    operation = document["paths"][PATH]["post"]
    form = operation["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["properties"]["image"]["type"] == "array"
    assert operation["responses"]["200"]["content"].keys() == {"multipart/mixed"}
    limits = (await service.client.get("/v1/capabilities")).json()["limits"]
    assert (limits["batch_images"], limits["batch_body_bytes"]) == (32, 64 * 2**20)


# What happens between arrival and answer.


@pytest.fixture
async def held(settings_with, gated) -> AsyncIterator[InProcess]:
    """A ready service whose engine is shut; four photos of a batch may be in work."""
    async with in_process(settings_with(engine="gated", workers=2)) as service:
        gated[0].gate.clear()
        gated[0].batch_sizes.clear()
        yield service
        gated[0].gate.set()


async def test_each_photo_is_counted_by_the_answer_it_had(service):
    registry = service.gateway.telemetry.registry

    def counted(status: int, code: str) -> float:
        labels = {"status": str(status), "code": code}
        return registry.get_sample_value("silhouette_batch_photos_total", labels) or 0.0

    answers = ((200, "ok"), (415, "unsupported_image_type"), (400, "missing_image"))
    before = [counted(*answer) for answer in answers]
    parts = parts_of(await send(service, JPEG, TEXT, JPEG, b""))
    assert [part.status for part in parts] == [200, 415, 200, 400]
    after = [counted(*answer) for answer in answers]
    assert [now - then for now, then in zip(after, before, strict=True)] == [2, 1, 1]


async def test_a_few_are_in_work_at_a_time_and_meet_in_the_engine(settings_with, gated):
    """Twice as many as there are threads: while some run, as many others can share a run."""
    settings = settings_with(engine="gated", workers=4, max_batch=4)
    async with in_process(settings) as service:
        engine = gated[0]
        engine.gate.clear()
        engine.batch_sizes.clear()
        asking = asyncio.create_task(send(service, *[JPEG] * 20))
        await engine.wait_for_batches(4)
        await until(lambda: service.gateway.photo_queue.running == 8)
        registry = service.gateway.telemetry.registry
        await until(
            lambda: (
                registry.get_sample_value("silhouette_queue_depth", {"model": "connectnet"})
                == 8 - sum(engine.batch_sizes)
            )
        )
        assert service.gateway.photo_queue.running == 8

        engine.gate.set()
        assert len(parts_of(await asking)) == 20
        assert sum(engine.batch_sizes) == 20
        assert max(engine.batch_sizes) > 1


async def test_one_failure_of_the_engine_is_one_part(held, gated):
    gated[0].fail_next(EngineFailed("The engine failed."))
    gated[0].gate.set()
    parts = parts_of(await send(held, *[JPEG] * 5))
    assert sorted(part.status for part in parts) == [200] * 4 + [503]
    (failed,) = (part for part in parts if part.status == 503)
    assert problem_of(failed, 503, "engine_failed")["retryable"] is True
    assert failed.headers["retry-after"] == "1"


async def test_an_unforeseen_failure_is_one_opaque_part(held, gated, caplog):
    gated[0].fail_next(ZeroDivisionError("secret /path"))
    gated[0].gate.set()
    answer = await send(held, *[JPEG] * 5)
    parts = parts_of(answer)
    assert sorted(part.status for part in parts) == [200] * 4 + [500]
    (failed,) = (part for part in parts if part.status == 500)
    problem_of(failed, 500, "internal")
    assert b"secret" not in answer.content
    assert "secret /path" in caplog.text


async def test_the_deadline_is_that_of_each_photo(settings_with, gated):
    """Two may be in work: all four would not be done in one deadline."""
    settings = settings_with(engine="gated", workers=1, request_timeout_s=0.2)
    async with in_process(settings) as service:
        gated[0].gate.clear()
        parts = parts_of(await send(service, *[JPEG] * 4))
        for part in parts:
            assert problem_of(part, 504, "deadline_exceeded")["limit"] == 0.2
        await until(lambda: gated[0].running == 0)
        gated[0].gate.set()
        assert [part.status for part in parts_of(await send(service, *[JPEG] * 4))] == [200] * 4
        await nothing_held(service)


async def test_photos_after_the_first_wait_for_room(settings_with):
    async with in_process(settings_with(max_pixels_in_flight=10_000)) as service:
        parts = parts_of(await send(service, *[JPEG] * 6))
        assert [part.status for part in parts] == [200] * 6
        await nothing_held(service)


async def test_no_room_for_the_first_refuses_the_whole(settings_with, gated):
    settings = settings_with(engine="gated", photos_at_once=1, queue_size=1)
    async with in_process(settings) as service:
        gated[0].gate.clear()
        both = [asyncio.create_task(service.segment(JPEG)) for _ in range(2)]
        await until(lambda: service.gateway.photo_queue.queued == 1)

        refused = await send(service, TEXT, JPEG)
        refusal(refused, 503, "overloaded")
        assert refused.headers["retry-after"] == "1"

        gated[0].gate.set()
        await asyncio.gather(*both)
        await nothing_held(service)


async def test_bytes_of_a_batch_count_like_all_others(settings_with, gated):
    settings = settings_with(engine="gated", max_body_bytes=len(JPEG))
    async with in_process(settings) as service:
        gated[0].gate.clear()
        asking = asyncio.create_task(send(service, *[JPEG] * 15))
        await until(lambda: service.gateway.photo_queue.running == 4)

        refusal(await service.segment(JPEG), 503, "overloaded")

        gated[0].gate.set()
        assert len(parts_of(await asking)) == 15
        await nothing_held(service)


async def test_a_client_that_leaves_takes_all_of_its_work_along(held, gated):
    leave = asyncio.Event()
    body = image_part(JPEG) * 6 + b"--b--\r\n"
    posted = post_and_leave(held, leave, PATH, body, "multipart/form-data; boundary=b")
    request = asyncio.create_task(posted)
    await gated[0].wait_for_batches(1)
    await until(lambda: held.gateway.photo_queue.running == 4)

    leave.set()
    sent = await request

    assert [message["type"] for message in sent] == ["http.response.start"]
    await until(lambda: gated[0].running == 0)
    await nothing_held(held)
    metrics = (await held.client.get("/metrics")).text
    assert f'code="client_gone",route="{PATH}",status="200"' in metrics


async def test_a_drain_lets_a_batch_finish(held, gated):
    asking = asyncio.create_task(send(held, *[JPEG] * 6))
    await gated[0].wait_for_batches(1)
    draining = asyncio.create_task(drain(held.gateway, PATIENCE_S))
    await asyncio.sleep(0)
    refusal(await send(held, JPEG), 503, "draining")
    assert not draining.done()

    gated[0].gate.set()
    assert [part.status for part in parts_of(await asking)] == [200] * 6
    await draining


async def test_a_drain_that_takes_too_long_fails_what_is_left(held, gated):
    asking = asyncio.create_task(send(held, *[JPEG] * 6))
    await gated[0].wait_for_batches(1)
    await drain(held.gateway, 0.01)
    for part in parts_of(await asking):
        problem_of(part, 503, "draining")
    await nothing_held(held)


async def test_tasks_do_not_pile_up(service):
    before = len(asyncio.all_tasks())
    await send(service, *[JPEG] * 10, TEXT)
    assert len(asyncio.all_tasks()) == before


async def test_damaged_batch_is_answered_as_it_should_be(settings_with, mutations):
    image = make_png(quadrants(8, 12))
    form = image_part(image) + image_part(image) + b"--b--\r\n"
    outcomes: collections.Counter[str] = collections.Counter()
    async with in_process(settings_with()) as service:
        for number in range(mutations // 4):
            answer = await send_pieces(service, mutated(form, number))
            if answer.status_code != 200:
                assert answer.status_code in (400, 415), (number, answer.text)
                outcomes["refused"] += 1
                continue
            statuses = [part.status for part in parts_of(answer)]
            assert set(statuses) <= {200, 400, 415, 422}, number
            outcomes["ok" if set(statuses) == {200} else "some"] += 1
        await nothing_held(service)
    assert outcomes.keys() == {"refused", "ok", "some"}, outcomes


# What only a real socket can show.


def head_and_body(photos: list[bytes], query: str = "") -> bytes:
    body = b"".join(image_part(photo) for photo in photos) + b"--b--\r\n"
    lines = (
        f"POST {PATH}{query} HTTP/1.1",
        "Host: x",
        "Content-Type: multipart/form-data; boundary=b",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join((*lines, "", "")).encode() + body


def connect(service: OnSocket) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE_S)


def test_parts_leave_as_soon_as_they_are_done(settings_with, gated):
    """The engine answers one photo and is shut again: its part is there, the next is in work."""
    with on_socket(settings_with(engine="gated", workers=1)) as service:
        engine = gated[0]
        loop = service.server.servers[0].get_loop()
        engine.gate.clear()
        before = len(engine.batch_sizes)

        async def let_one_through() -> None:
            engine.gate.set()
            engine.gate.clear()

        with closing(connect(service)) as connection:
            connection.sendall(head_and_body([JPEG] * 3))
            service.wait(lambda: len(engine.batch_sizes) == before + 1)
            asyncio.run_coroutine_threadsafe(let_one_through(), loop).result(PATIENCE_S)
            received = b""
            while not re.search(rb"X-Index: 0.*\r\n\r\n.*IEND", received, re.DOTALL):
                received += connection.recv(65536)
            assert b"X-Index: 1" not in received
            service.wait(lambda: engine.running == 1)
        service.wait(lambda: engine.running == 0)
        service.wait(lambda: service.gateway.requests.count == 0)


def test_a_client_that_takes_nothing_is_cut_off(settings_with):
    """Nearly forty megabytes are for it, far more than what lies between it and us can hold."""
    noise = np.random.default_rng(0).integers(0, 256, (900, 900, 3), np.uint8)
    photo = make_png(noise)
    with on_socket(settings_with(request_timeout_s=3.0)) as service:
        with closing(socket.socket()) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(PATIENCE_S)
            connection.connect(("127.0.0.1", service.port))
            connection.sendall(head_and_body([photo] * 16, "?output=cutout"))
            service.wait(lambda: service.gateway.body_memory.reserved > 0)
            service.wait(lambda: service.gateway.requests.count == 0)
        assert service.gateway.body_memory.reserved == 0
        assert service.gateway.photo_queue.running == 0
        labels = {"route": PATH, "status": "200", "code": "client_gone"}
        registry = service.gateway.telemetry.registry
        service.wait(lambda: registry.get_sample_value("silhouette_requests_total", labels) == 1)

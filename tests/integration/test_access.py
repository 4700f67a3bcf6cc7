"""Keys, origins and identities: who may call, from where, and under what name."""

import pytest

from tests.integration.conftest import in_process
from tests.integration.pictures import picture, refusal
from tests.support.images import make_jpeg, quadrants

JPEG = make_jpeg(quadrants())
ORIGIN = "https://shop.example"


@pytest.fixture
async def keyed(settings_with):
    async with in_process(settings_with(api_keys="sesame,open")) as running:
        yield running


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer sesame"},
        {"Authorization": "bearer open"},
        {"X-Api-Key": "sesame"},
        {"X-Api-Key": "open", "Authorization": "Bearer wrong"},
    ],
)
async def test_key_lets_in(keyed, headers):
    picture(await keyed.segment(JPEG, **{k.replace("-", "_"): v for k, v in headers.items()}))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic c2VzYW1l"},
        {"Authorization": "sesame"},
        {"X-Api-Key": "sesame2"},
        {"X-Api-Key": ""},
        {"X-Api-Key": "sésame"},
    ],
)
async def test_no_key_or_a_wrong_one_is_refused(keyed, headers):
    answer = await keyed.client.post(
        "/v1/segment",
        content=JPEG,
        headers=[(b"Content-Type", b"image/jpeg")]
        + [(name.encode(), value.encode()) for name, value in headers.items()],
    )
    refusal(answer, 401, "unauthorized")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert "sesame" not in answer.text


@pytest.mark.parametrize("path", ["/v1/models", "/v1/capabilities", "/metrics"])
async def test_what_needs_a_key(keyed, path):
    refusal(await keyed.client.get(path), 401, "unauthorized")
    assert (await keyed.client.get(path, headers={"X-Api-Key": "open"})).status_code == 200


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/", "/web/app.js", "/docs"])
async def test_what_needs_none(keyed, path):
    assert (await keyed.client.get(path)).status_code == 200


async def test_keys_in_the_query_are_no_keys(keyed):
    refusal(await keyed.segment(JPEG, "?api_key=sesame"), 401, "unauthorized")


class TestOrigins:
    @pytest.fixture
    async def service(self, settings_with):
        async with in_process(settings_with(cors_origins=ORIGIN)) as running:
            yield running

    async def test_allowed_origin_may_read_every_header_of_ours(self, service):
        answer = await service.segment(JPEG, origin=ORIGIN)
        exposed = answer.headers["access-control-expose-headers"].lower().split(", ")
        ours = [name for name in answer.headers if name.startswith("x-")]
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert {*ours, "etag", "server-timing"} - {"x-content-type-options"} <= set(exposed)

    async def test_allowed_origin_may_read_refusals(self, service):
        answer = await service.segment(b"text", origin=ORIGIN)
        refusal(answer, 415, "unsupported_image_type")
        assert answer.headers["access-control-allow-origin"] == ORIGIN

    async def test_preflight(self, service):
        asked = {
            "Origin": ORIGIN,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type, x-api-key, if-none-match",
        }
        answer = await service.client.options("/v1/segment", headers=asked)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert "x-api-key" in answer.headers["access-control-allow-headers"]

    async def test_preflight_of_another_origin_is_refused(self, service):
        asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
        answer = await service.client.options("/v1/segment", headers=asked)
        refusal(answer, 400, "bad_request")
        assert "access-control-allow-origin" not in answer.headers

    async def test_other_origin_is_told_nothing(self, service):
        answer = await service.segment(JPEG, origin="https://evil.example")
        assert "access-control-allow-origin" not in answer.headers


async def test_without_origins_no_page_of_another_origin_is_allowed(service):
    answer = await service.segment(JPEG, origin=ORIGIN)
    assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_request_id_is_taken_over(service):
    assert (await service.segment(JPEG, x_request_id="order-66")).headers["x-request-id"] == (
        "order-66"
    )


async def test_request_id_that_could_forge_a_log_line_is_replaced(service):
    answer = await service.segment(JPEG, x_request_id="a b\tc")
    assert len(answer.headers["x-request-id"]) == 32


async def test_request_ids_differ(service):
    ids = {(await service.client.get("/livez")).headers["x-request-id"] for _ in range(3)}
    assert len(ids) == 3


async def test_trace_id_is_the_request_id(service):
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    answer = await service.segment(JPEG, traceparent=f"00-{trace}-00f067aa0ba902b7-01")
    assert answer.headers["x-request-id"] == trace

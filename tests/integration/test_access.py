"""Access control by key and origin, and the identity of requests."""

import pytest

from tests.integration.conftest import in_process
from tests.integration.pictures import picture, refusal
from tests.support.images import make_jpeg, quadrants

JPEG = make_jpeg(quadrants())
ORIGIN = "https://shop.example"


@pytest.fixture
async def service_with_keys(settings_with):
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
async def test_valid_key_is_accepted(service_with_keys, headers):
    picture(
        await service_with_keys.segment(
            JPEG, **{k.replace("-", "_"): v for k, v in headers.items()}
        )
    )


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
async def test_missing_or_wrong_key_is_401(service_with_keys, headers):
    answer = await service_with_keys.client.post(
        "/v1/segment",
        content=JPEG,
        headers=[(b"Content-Type", b"image/jpeg")]
        + [(name.encode(), value.encode()) for name, value in headers.items()],
    )
    refusal(answer, 401, "unauthorized")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert "sesame" not in answer.text


@pytest.mark.parametrize("path", ["/v1/models", "/v1/capabilities", "/metrics"])
async def test_protected_path_needs_a_key(service_with_keys, path):
    refusal(await service_with_keys.client.get(path), 401, "unauthorized")
    assert (
        await service_with_keys.client.get(path, headers={"X-Api-Key": "open"})
    ).status_code == 200


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/", "/live", "/web/app.js", "/docs"])
async def test_public_path_needs_no_key(service_with_keys, path):
    assert (await service_with_keys.client.get(path)).status_code == 200


async def test_key_in_the_query_is_not_accepted(service_with_keys):
    refusal(await service_with_keys.segment(JPEG, "?api_key=sesame"), 401, "unauthorized")


class TestOrigins:
    @pytest.fixture
    async def service(self, settings_with):
        async with in_process(settings_with(cors_origins=ORIGIN)) as running:
            yield running

    async def test_allowed_origin_can_read_all_response_headers(self, service):
        answer = await service.segment(JPEG, origin=ORIGIN)
        exposed = answer.headers["access-control-expose-headers"].lower().split(", ")
        own = [name for name in answer.headers if name.startswith("x-")]
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert {*own, "etag", "server-timing"} - {"x-content-type-options"} <= set(exposed)

    async def test_allowed_origin_can_read_errors(self, service):
        answer = await service.segment(b"text", origin=ORIGIN)
        refusal(answer, 415, "unsupported_image_type")
        assert answer.headers["access-control-allow-origin"] == ORIGIN

    async def test_preflight_of_an_allowed_origin_succeeds(self, service):
        preflight = {
            "Origin": ORIGIN,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type, x-api-key, if-none-match",
        }
        answer = await service.client.options("/v1/segment", headers=preflight)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert "x-api-key" in answer.headers["access-control-allow-headers"]

    async def test_preflight_of_another_origin_is_rejected(self, service):
        preflight = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
        answer = await service.client.options("/v1/segment", headers=preflight)
        refusal(answer, 400, "bad_request")
        assert "access-control-allow-origin" not in answer.headers

    async def test_other_origin_gets_no_cors_headers(self, service):
        answer = await service.segment(JPEG, origin="https://evil.example")
        assert "access-control-allow-origin" not in answer.headers


async def test_cors_headers_are_absent_without_configured_origins(service):
    answer = await service.segment(JPEG, origin=ORIGIN)
    assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_request_id_of_the_client_is_kept(service):
    assert (await service.segment(JPEG, x_request_id="order-66")).headers["x-request-id"] == (
        "order-66"
    )


async def test_unsafe_request_id_is_replaced(service):
    answer = await service.segment(JPEG, x_request_id="a b\tc")
    assert len(answer.headers["x-request-id"]) == 32


async def test_generated_request_ids_are_unique(service):
    ids = {(await service.client.get("/livez")).headers["x-request-id"] for _ in range(3)}
    assert len(ids) == 3


async def test_trace_id_becomes_the_request_id(service):
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    answer = await service.segment(JPEG, traceparent=f"00-{trace}-00f067aa0ba902b7-01")
    assert answer.headers["x-request-id"] == trace

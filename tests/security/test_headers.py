"""Security headers of all responses."""

import pytest

from silhouette_seg.api.middleware.security_headers import CSP_HEADER, DENY_ALL_POLICY
from tests.integration.conftest import in_process
from tests.support.images import make_jpeg, quadrants

PAGES = ("/", "/live", "/models", "/docs")
FILES = ("/web/app.js", "/web/style.css", "/web/icon.svg", "/docs/swagger-ui-bundle.js")
DOCUMENTS = ("/openapi.json", "/asyncapi.json")
API_PATHS = (*DOCUMENTS, "/livez", "/metrics", "/v1/models", "/v2", "/nothing", "/v1/segment")
PNG = b"\x89PNG"


@pytest.mark.parametrize("path", [*PAGES, *FILES, *API_PATHS])
async def test_response_has_restrictive_headers(service, path):
    headers = (await service.client.get(path)).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert len(headers.get_list(CSP_HEADER)) == 1
    assert "frame-ancestors 'none'" in headers[CSP_HEADER]
    assert "default-src 'none'" in headers[CSP_HEADER]


@pytest.mark.parametrize("path", [*FILES, *API_PATHS])
async def test_response_other_than_a_page_denies_everything(service, path):
    assert (await service.client.get(path)).headers[CSP_HEADER] == DENY_ALL_POLICY


async def test_image_response_denies_everything(service):
    answer = await service.segment(make_jpeg(quadrants()))
    assert answer.content.startswith(PNG)
    assert answer.headers[CSP_HEADER] == DENY_ALL_POLICY


@pytest.mark.parametrize("path", PAGES)
async def test_page_allows_own_scripts_and_the_camera(service, path):
    headers = (await service.client.get(path)).headers
    policy = dict(part.strip().split(" ", 1) for part in headers[CSP_HEADER].split(";"))
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    assert "camera=(self)" in headers["permissions-policy"]
    assert "microphone=()" in headers["permissions-policy"]


@pytest.mark.parametrize("path", PAGES)
async def test_page_refers_to_no_other_host(service, path):
    text = (await service.client.get(path)).text
    assert "//" not in text.replace("<!--", "").replace("http://www.w3.org/", "")


@pytest.mark.parametrize("path", ["/redoc", "/docs/oauth2-redirect", "/docs/redoc.standalone.js"])
async def test_other_documentation_pages_are_404(service, path):
    assert (await service.client.get(path)).status_code == 404


async def test_security_headers_do_not_block_allowed_origins(settings_with):
    async with in_process(settings_with(cors_origins=("https://page.example",))) as service:
        answer = await service.segment(make_jpeg(quadrants()), origin="https://page.example")
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "https://page.example"

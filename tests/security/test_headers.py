"""What a browser is told it may do with our answers."""

import pytest

from silhouette_seg.api.middleware.security_headers import CSP_HEADER, DENY_ALL_POLICY
from tests.integration.conftest import in_process
from tests.support.images import make_jpeg, quadrants

PAGES = ("/", "/docs")
FILES = ("/web/app.js", "/web/style.css", "/web/icon.svg", "/docs/swagger-ui-bundle.js")
ANSWERS = ("/livez", "/metrics", "/openapi.json", "/v1/models", "/v2", "/nothing", "/v1/segment")
PNG = b"\x89PNG"


@pytest.mark.parametrize("path", [*PAGES, *FILES, *ANSWERS])
async def test_every_answer_keeps_to_itself(service, path):
    headers = (await service.client.get(path)).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert len(headers.get_list(CSP_HEADER)) == 1
    assert "frame-ancestors 'none'" in headers[CSP_HEADER]
    assert "default-src 'none'" in headers[CSP_HEADER]


@pytest.mark.parametrize("path", [*FILES, *ANSWERS])
async def test_what_is_no_page_may_do_nothing(service, path):
    assert (await service.client.get(path)).headers[CSP_HEADER] == DENY_ALL_POLICY


async def test_a_picture_may_do_nothing(service):
    answer = await service.segment(make_jpeg(quadrants()))
    assert answer.content.startswith(PNG)
    assert answer.headers[CSP_HEADER] == DENY_ALL_POLICY


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_has_scripts_of_ours_alone_and_the_camera(service, path):
    headers = (await service.client.get(path)).headers
    policy = dict(part.strip().split(" ", 1) for part in headers[CSP_HEADER].split(";"))
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    assert "camera=(self)" in headers["permissions-policy"]
    assert "microphone=()" in headers["permissions-policy"]


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_names_nothing_of_another_host(service, path):
    text = (await service.client.get(path)).text
    assert "//" not in text.replace("<!--", "").replace("http://www.w3.org/", "")


@pytest.mark.parametrize("path", ["/redoc", "/docs/oauth2-redirect", "/docs/redoc.standalone.js"])
async def test_there_is_no_other_documentation(service, path):
    assert (await service.client.get(path)).status_code == 404


async def test_a_page_of_an_allowed_origin_still_reads_answers(settings_with):
    """The headers above do not stand in the way of CORS."""
    async with in_process(settings_with(cors_origins=("https://page.example",))) as service:
        answer = await service.segment(make_jpeg(quadrants()), origin="https://page.example")
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "https://page.example"

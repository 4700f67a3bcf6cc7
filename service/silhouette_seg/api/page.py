"""Serves the pages `/`, `/live`, `/models` and `/docs`, and their files below `/web/`."""

from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from silhouette_seg.api.middleware.security_headers import CSP_HEADER

WEB = Path(__file__).resolve().parent.parent / "web"
SWAGGER = Path(str(files("fastapi_offline"))) / "static"
"""Folder with Swagger UI, from an installed package: no file comes from another host."""
SWAGGER_FILES = ("swagger-ui-bundle.js", "swagger-ui.css")
REVALIDATE = {"Cache-Control": "no-cache"}
"""Header that makes browsers revalidate a cached file before they use it.

After an upgrade no browser then mixes an old page with new scripts.
"""

_SELF_ONLY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; "
)
_PERMISSIONS = {
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=(), display-capture=(), "
    "payment=(), usb=()",
}
PAGE_HEADERS = {
    **REVALIDATE,
    **_PERMISSIONS,
    CSP_HEADER: f"{_SELF_ONLY}style-src 'self'; img-src 'self' blob:",
}
DOCS_HEADERS = {
    **REVALIDATE,
    **_PERMISSIONS,
    # Swagger UI has icons in its style sheet (data:) and shows the images of responses (blob:).
    CSP_HEADER: f"{_SELF_ONLY}style-src 'self'; img-src 'self' data: blob:",
}

router = APIRouter()


@router.get("/", include_in_schema=False)
async def page() -> Response:
    return FileResponse(WEB / "index.html", headers=PAGE_HEADERS)


@router.get("/models", include_in_schema=False)
async def models() -> Response:
    """Returns the page of the models. Its script reads `GET /v1/models`, with a key if needed."""
    return FileResponse(WEB / "models.html", headers=PAGE_HEADERS)


@router.get("/live", include_in_schema=False)
async def live_page() -> Response:
    """Returns the page that shows live video without controls. Its scripts read the query."""
    return FileResponse(WEB / "live.html", headers=PAGE_HEADERS)


@router.get("/docs", include_in_schema=False)
async def docs() -> Response:
    return FileResponse(WEB / "docs.html", headers=DOCS_HEADERS)


@router.get("/docs/{file}", include_in_schema=False)
async def swagger_file(request: Request) -> Response:
    """Returns one of the two files of Swagger UI. Any other name is answered with 404."""
    file = request.path_params["file"]
    if file not in SWAGGER_FILES:
        raise HTTPException(404)
    return FileResponse(SWAGGER / file, headers=REVALIDATE)


class PageFiles(StaticFiles):
    """Static files of the demo page: scripts, styles and images, revalidated on each use."""

    def __init__(self) -> None:
        super().__init__(directory=WEB)

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(REVALIDATE)
        return response

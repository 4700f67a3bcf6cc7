"""The demo page at `/`, its files at `/web/`, and the API's documentation at `/docs`."""

from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

WEB = Path(__file__).resolve().parent.parent / "web"
SWAGGER = Path(str(files("fastapi_offline"))) / "static"
"""Swagger UI as a package that is installed with us has it: nothing comes from another host."""
SWAGGER_FILES = ("swagger-ui-bundle.js", "swagger-ui.css")
REVALIDATE = {"Cache-Control": "no-cache"}
"""After an upgrade no browser mixes the old page with new scripts."""

_ONLY_US = (
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
    "Content-Security-Policy": f"{_ONLY_US}style-src 'self'; img-src 'self' blob:",
}
DOCS_HEADERS = {
    **REVALIDATE,
    **_PERMISSIONS,
    # Swagger UI has icons in its style sheet, and shows the pictures that are answered.
    "Content-Security-Policy": f"{_ONLY_US}style-src 'self'; img-src 'self' data: blob:",
}

router = APIRouter()


@router.get("/", include_in_schema=False)
async def page() -> Response:
    return FileResponse(WEB / "index.html", headers=PAGE_HEADERS)


@router.get("/docs", include_in_schema=False)
async def docs() -> Response:
    return FileResponse(WEB / "docs.html", headers=DOCS_HEADERS)


@router.get("/docs/{file}", include_in_schema=False)
async def swagger_file(request: Request) -> Response:
    file = request.path_params["file"]
    if file not in SWAGGER_FILES:
        raise HTTPException(404)
    return FileResponse(SWAGGER / file, headers=REVALIDATE)


class PageFiles(StaticFiles):
    """The scripts, styles and pictures of the page."""

    def __init__(self) -> None:
        super().__init__(directory=WEB)

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(REVALIDATE)
        return response

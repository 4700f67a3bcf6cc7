"""The demo page at `/` and its files at `/web/`."""

from pathlib import Path

from fastapi import APIRouter
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

WEB = Path(__file__).resolve().parent.parent / "web"
REVALIDATE = {"Cache-Control": "no-cache"}
"""After an upgrade no browser mixes the old page with new scripts."""

router = APIRouter()


@router.get("/", include_in_schema=False)
async def page() -> Response:
    return FileResponse(WEB / "index.html", headers=REVALIDATE)


class PageFiles(StaticFiles):
    """The scripts, styles and pictures of the page."""

    def __init__(self) -> None:
        super().__init__(directory=WEB)

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(REVALIDATE)
        return response

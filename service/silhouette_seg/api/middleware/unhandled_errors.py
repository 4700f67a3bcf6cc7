"""ASGI middleware that turns unexpected exceptions into 500 responses."""

import logging
from collections.abc import Callable

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from silhouette_seg.api.problem_details import INTERNAL_DETAIL
from silhouette_seg.errors import InternalError, ServiceError

log = logging.getLogger(__name__)


class UnhandledErrorMiddleware:
    """ASGI middleware that logs an unexpected exception and answers 500 without details.

    `respond` makes the response. If a response has already started, the exception is raised
    again, and the server cuts the connection.
    """

    def __init__(self, app: ASGIApp, *, respond: Callable[[Scope, ServiceError], Response]) -> None:
        self._app = app
        self._respond = respond

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_started = False

        async def send_and_note(message: Message) -> None:
            nonlocal has_started
            has_started = True
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        except Exception:
            if has_started or scope["type"] != "http":
                raise
            log.exception("unexpected failure of %s %.200r", scope["method"], scope["path"])
            response = self._respond(scope, InternalError(INTERNAL_DETAIL))
            await response(scope, receive, send)

"""ASGI middleware that answers unexpected exceptions."""

import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from silhouette_seg.api.problem_details import INTERNAL_DETAIL, problem
from silhouette_seg.errors import InternalError

log = logging.getLogger(__name__)


class UnhandledErrorMiddleware:
    """Logs an unexpected exception and answers 500 without details.

    Once a response has started, the exception is raised on: the server then cuts the connection.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def send_and_note(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        except Exception:
            if started or scope["type"] != "http":
                raise
            log.exception("unexpected failure of %s %.200r", scope["method"], scope["path"])
            response = problem(scope, InternalError(INTERNAL_DETAIL))
            await response(scope, receive, send)

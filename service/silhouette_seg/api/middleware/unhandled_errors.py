"""ASGI middleware that turns unexpected exceptions into 500 and 503 responses."""

from collections.abc import Callable

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from silhouette_seg.api.problem_details import MAX_PATH_CHARS, to_service_error
from silhouette_seg.errors import ServiceError


class UnhandledErrorMiddleware:
    """ASGI middleware that logs an unexpected exception and answers 500 without details.

    The answer to a failed allocation is 503.

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
        except Exception as error:
            if has_started or scope["type"] != "http":
                raise
            subject = f"{scope['method']} {scope['path'][:MAX_PATH_CHARS]!r}"
            response = self._respond(scope, to_service_error(error, subject))
            await response(scope, receive, send)

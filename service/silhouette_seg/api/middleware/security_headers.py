"""ASGI middleware that adds security headers to every response."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CSP_HEADER = "Content-Security-Policy"
DENY_ALL_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""Content security policy of images and JSON.

Opened in a tab they run no script, and no page can show them in a frame.
"""

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # This header does not affect CORS, which decides what pages of other origins may read.
    "Cross-Origin-Resource-Policy": "same-origin",
    CSP_HEADER: DENY_ALL_POLICY,
}
"""Default values of the security headers; a route that needs another value sets its own."""


class SecurityHeadersMiddleware:
    """ASGI middleware that adds those `SECURITY_HEADERS` that an HTTP response does not set."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)

"""Who is answered: the page of this server, with its token, from this machine, and not too much at a time."""

import secrets

from fastapi import Request
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

# Of what a page sends; a long stroke has some thousand numbers.
MOST_BYTES = 2**20
# Of a clip that is dropped on the page.
MOST_UPLOAD = 16 * 2**30
UPLOADS = "/api/clips"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Guard:
    """Refuses what does not come from the page: other hosts, other origins, no token, or too large."""

    def __init__(self, app: ASGIApp, token: str, port: int) -> None:
        """Takes the application, its token and its port."""
        self._app, self._token, self._cookie = app, token, cookie_of(port)
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or refuses it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        refused = (403, "only the page is answered") if scope["type"] != "http" else self._refusal(Request(scope))
        if refused is not None:
            await JSONResponse({"detail": refused[1]}, refused[0], HEADERS)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _refusal(self, request: Request) -> tuple[int, str] | None:
        headers = request.headers
        host = headers.get("host", "").lower()
        if host not in self._hosts:
            return 403, "another host was asked for; use the address that undertow printed"
        origin = headers.get("origin")
        if origin is not None and origin != f"http://{host}":
            return 403, "another page asked"
        given = headers.get("x-undertow-token") or request.cookies.get(self._cookie) or ""
        if request.url.path == "/" and request.method == "GET":
            given = request.query_params.get("token") or given
        if not secrets.compare_digest(given.encode(), self._token.encode()):
            return 401, "open the address that undertow printed, with its token"
        if request.method not in ("GET", "HEAD"):
            length, most = headers.get("content-length", ""), MOST_BYTES
            if request.method == "POST" and request.url.path == UPLOADS:
                most = MOST_UPLOAD
            if not length.isdigit() or len(length) > 15 or int(length) > most:
                return 413, f"that is too large; at most {most // 2**20} MB are taken"
        return None


def cookie_of(port: int) -> str:
    """Returns what the cookie of a server is called; cookies do not know ports."""
    return f"undertow-{port}"

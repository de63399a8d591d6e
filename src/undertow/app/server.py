"""The server of the page: this machine only, one session, a token on every request."""

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, Field
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from undertow.app.edits import Kind
from undertow.app.pictures import etag, mask_png
from undertow.app.session import Session
from undertow.base import UndertowError
from undertow.masks import VOID

STATIC = Path(__file__).parent / "static"
TYPES = {"index.html": "text/html; charset=utf-8", "app.js": "text/javascript", "app.css": "text/css"}
# Of what a page sends; a long stroke has some thousand numbers.
MOST_BYTES = 2**20
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


class Drawn(BaseModel):
    """What a person did with a tool."""

    kind: Kind
    frame: int = Field(ge=0, le=10**9)
    object: int = Field(ge=1, lt=VOID)
    values: list[float] = Field(default=[], max_length=20000)


class Wanted(BaseModel):
    """A format of export."""

    format: str = Field(max_length=40)


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
        if _host(headers) not in self._hosts:
            return 403, "another host was asked for; use the address that undertow printed"
        origin = headers.get("origin")
        if origin is not None and origin != f"http://{_host(headers)}":
            return 403, "another page asked"
        given = headers.get("x-undertow-token") or request.cookies.get(self._cookie) or ""
        if request.url.path == "/" and request.method == "GET":
            given = request.query_params.get("token") or given
        if not secrets.compare_digest(given.encode(), self._token.encode()):
            return 401, "open the address that undertow printed, with its token"
        if request.method not in ("GET", "HEAD"):
            length = headers.get("content-length", "")
            if not length.isdigit() or int(length) > MOST_BYTES:
                return 413, "that is too large"
        return None


def cookie_of(port: int) -> str:
    """Returns what the cookie of a server is called; cookies do not know ports."""
    return f"undertow-{port}"


def create_app(session: Session, token: str, port: int) -> ASGIApp:
    """Returns the application of a session, which answers at 127.0.0.1:PORT with the token alone."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.exception_handler(UndertowError)
    async def explained(request: Request, error: UndertowError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 409)

    @app.middleware("http")
    async def safe(request: Request, call: Callable[[Request], Any]) -> Response:
        response: Response = await call(request)
        response.headers.update(HEADERS)
        return response

    @app.get("/")
    def page(token: str = "") -> Response:
        # Out of the address and the history at once.
        if token:
            response = Response(status_code=303, headers={"Location": "/"})
            response.set_cookie(cookie_of(port), token, httponly=True, samesite="strict")
            return response
        return static("index.html")

    @app.get("/static/{name}")
    def static(name: str) -> Response:
        if name not in TYPES:
            raise HTTPException(404)
        return Response((STATIC / name).read_bytes(), media_type=TYPES[name], headers={"Cache-Control": "no-cache"})

    @app.get("/api/clip")
    def clip() -> dict[str, Any]:
        return session.about()

    @app.get("/api/state")
    def state() -> dict[str, Any]:
        return session.state()

    @app.get("/api/scores")
    def scores() -> dict[int, Any]:
        return session.scores()

    @app.get("/api/frames/{number}.png")
    def frame(number: int, request: Request) -> Response:
        if not 0 <= number < session.count:
            raise HTTPException(404, f"there is no frame {number}")
        return _tagged(session.frames.png(number), request)

    @app.get("/api/masks/{number}.png")
    def mask(number: int, request: Request) -> Response:
        labels = session.labels(number)
        if labels is None:
            return Response(status_code=204)
        return _tagged(mask_png(labels), request)

    @app.get("/api/events", response_class=EventSourceResponse)
    async def events(request: Request) -> AsyncIterator[ServerSentEvent]:
        place = len(session.events)
        yield ServerSentEvent(event="state", data=await asyncio.to_thread(session.state))
        while not await request.is_disconnected():
            fresh = session.events[place:]
            place += len(fresh)
            for name, facts in fresh:
                yield ServerSentEvent(event=name, data=facts)
            if any(name != "frame" for name, _ in fresh):
                yield ServerSentEvent(event="state", data=await asyncio.to_thread(session.state))
            await asyncio.sleep(0.05)

    @app.post("/api/edits")
    def edit(drawn: Drawn) -> dict[str, Any]:
        session.edit(drawn.kind, drawn.frame, drawn.object, drawn.values)
        return session.state()

    @app.post("/api/exports")
    def export(wanted: Wanted) -> dict[str, Any]:
        session.export(wanted.format)
        return session.state()

    @app.post("/api/{what}")
    def act(what: str) -> dict[str, Any]:
        actions: dict[str, Callable[[], None]] = {
            "undo": lambda: session.move(-1),
            "redo": lambda: session.move(1),
            "track": session.track,
            "stop": session.stop,
        }
        if what not in actions:
            raise HTTPException(404)
        actions[what]()
        return session.state()

    return Guard(app, token, port)


def serve(session: Session, port: int = 0, told: Callable[[str], None] = print) -> None:
    """Serves a session on this machine until it is interrupted.

    Args:
        session: The session.
        port: Where; 0 for any port that is free.
        told: Called with the address of the page.
    """
    with socket.create_server(("127.0.0.1", port)) as listening:
        port, token = listening.getsockname()[1], secrets.token_urlsafe(24)
        config = uvicorn.Config(
            create_app(session, token, port), log_level="warning", timeout_graceful_shutdown=1, server_header=False
        )
        told(f"http://127.0.0.1:{port}/?token={token}")
        try:
            uvicorn.Server(config).run(sockets=[listening])
        finally:
            session.close()


def _host(headers: Headers) -> str:
    return headers.get("host", "").lower()


def _tagged(content: bytes, request: Request) -> Response:
    """Returns a picture, or that the browser has it already."""
    tag = etag(content)
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type="image/png", headers=headers)

"""The server of the page: this machine only, a token on every request, everything by number."""

import asyncio
import errno
import logging
import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from threading import Thread
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, Field
from starlette.types import ASGIApp

from undertow.app import uploads
from undertow.app.edits import MOST_LETTERS, Kind
from undertow.app.guard import HEADERS, UPLOADS, Guard, cookie_of
from undertow.app.looking import looks
from undertow.app.masks import MaskSession
from undertow.app.pictures import Frames, alpha_png, etag, heat_png
from undertow.app.project import Project, Workspace
from undertow.app.session import Session
from undertow.app.words import WordSession
from undertow.base import SettingsError, UndertowError, printable, refusal
from undertow.masks import VOID

log = logging.getLogger(__name__)

# Seconds that requests, and then jobs, have to end.
GRACE = 0.8
STATIC = Path(__file__).parent / "static"
TYPES = {"index.html": "text/html; charset=utf-8", "app.js": "text/javascript", "app.css": "text/css"}


class Drawn(BaseModel):
    """What a person did with a tool."""

    kind: Kind
    frame: int = Field(ge=0, le=10**9)
    object: int = Field(ge=0, lt=VOID)
    values: list[float] = Field(default=[], max_length=20000)
    text: str = Field(default="", max_length=MOST_LETTERS)
    locked: list[int] = Field(default=[], max_length=1000)


class Wanted(BaseModel):
    """A format of export, and what its files are called."""

    format: str = Field(max_length=40)
    template: str = Field(default="", max_length=200)


def create_app(workspace: Workspace, token: str, port: int) -> ASGIApp:
    """Returns the application of a workspace, which answers at 127.0.0.1:PORT with the token alone."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.exception_handler(UndertowError)
    async def explained(request: Request, error: UndertowError) -> JSONResponse:
        return JSONResponse({"detail": printable(str(error))}, 409)

    @app.exception_handler(OSError)
    async def refused(request: Request, error: OSError) -> JSONResponse:
        log.warning("%s", refusal(error))
        return JSONResponse({"detail": refusal(error)}, 507)

    @app.middleware("http")
    async def safe(request: Request, call: Callable[[Request], Any]) -> Response:
        response: Response = await call(request)
        response.headers.update(HEADERS)
        return response

    def project_of(clip: int) -> Project:
        if not 0 <= clip < len(workspace.projects):
            raise HTTPException(404, f"there is no clip {clip}")
        return workspace.projects[clip]

    def frames_of(clip: int, number: int) -> Frames:
        project = project_of(clip)
        if not 0 <= number < project.count:
            raise HTTPException(404, f"there is no frame {number}")
        return project.frames

    def session_of(clip: int, task: str, number: int = 0) -> Session:
        project = project_of(clip)
        if task not in project.sessions or not 0 <= number < max(1, project.count):
            raise HTTPException(404, f"there is no frame {number} of {task}")
        return project.sessions[task]

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

    @app.get(UPLOADS)
    def clips() -> list[str]:
        return [project.label for project in workspace.projects]

    @app.post(UPLOADS)
    async def upload(request: Request, name: str) -> dict[str, int]:
        if workspace.uploads is None:
            raise HTTPException(404, "clips are not taken here; name them when undertow is started")
        length = int(request.headers["content-length"])
        path = await uploads.receive(request.stream(), name[:200], length, workspace.uploads)
        try:
            project = await asyncio.to_thread(workspace.open, path, path.with_name(f"{path.stem}.run"))
        except UndertowError:
            path.unlink()
            raise
        return {"clip": project.number}

    @app.get("/api/jobs")
    def jobs() -> list[dict[str, Any]]:
        return workspace.jobs.list()

    @app.post("/api/jobs/{number}/stop")
    def stop_job(number: int) -> list[dict[str, Any]]:
        workspace.jobs.stop(number)
        return workspace.jobs.list()

    @app.get("/api/events", response_class=EventSourceResponse)
    async def events(request: Request) -> AsyncIterator[ServerSentEvent]:
        place = workspace.news.count
        # Browsers drop an event without data.
        yield ServerSentEvent(event="hello", data={})
        while not (workspace.news.ended or await request.is_disconnected()):
            place, fresh = workspace.news.since(place)
            for name, facts in fresh:
                yield ServerSentEvent(event=name, data=facts)
            await asyncio.sleep(0.05)

    @app.get("/api/{clip}/about")
    def about(clip: int) -> dict[str, Any]:
        return project_of(clip).about()

    @app.get("/api/{clip}/frames/{number}.bmp")
    def frame(clip: int, number: int, request: Request) -> Response:
        frames = frames_of(clip, number)
        return _tagged(frames.tag(number), lambda: frames.bmp(number), request, "image/bmp")

    @app.get("/api/{clip}/thumbs/{number}.jpg")
    def thumb(clip: int, number: int, request: Request) -> Response:
        frames = frames_of(clip, number)
        return _tagged(frames.tag(number), lambda: frames.thumb(number), request, "image/jpeg")

    @app.get("/api/{clip}/look/{number}/{x}/{y}/{other}.png")
    def look(clip: int, number: int, x: float, y: float, other: int) -> Response:
        return _picture(heat_png(looks(project_of(clip), number, (x, y), other)))

    @app.get("/api/{clip}/{task}/state")
    def state(clip: int, task: str) -> dict[str, Any]:
        return session_of(clip, task).state()

    @app.get("/api/{clip}/{task}/copies")
    def copies(clip: int, task: str) -> dict[str, str]:
        return session_of(clip, task).copies()

    @app.get("/api/{clip}/{task}/scores")
    def scores(clip: int, task: str) -> dict[int, Any]:
        return dict(session_of(clip, task).scores())

    @app.get("/api/{clip}/{task}/masks/{number}.png")
    def mask(clip: int, task: str, number: int, request: Request) -> Response:
        session = session_of(clip, task, number)
        labels = session.labels(number)
        if labels is None:
            return Response(status_code=204)
        content = session.picture(labels)
        return _tagged(etag(content), lambda: content, request, "image/png")

    @app.get("/api/{clip}/{task}/layers/{number}")
    def layer(clip: int, task: str, number: int) -> Any:
        return session_of(clip, task, number).layer(number)

    @app.get("/api/{clip}/{task}/soft/{number}/{object_id}.png")
    def soft(clip: int, task: str, number: int, object_id: int) -> Response:
        session = session_of(clip, task, number)
        alpha = session.soft(number, object_id) if isinstance(session, MaskSession) else None
        return Response(status_code=204) if alpha is None else _picture(alpha_png(alpha))

    @app.get("/api/{clip}/{task}/heat/{number}/{object_id}/{word}.png")
    def heat(clip: int, task: str, number: int, object_id: int, word: int) -> Response:
        session = session_of(clip, task, number)
        if not isinstance(session, WordSession):
            raise HTTPException(404)
        return _picture(heat_png(session.heat(number, object_id, word)))

    @app.post("/api/{clip}/{task}/edits")
    def edit(clip: int, task: str, drawn: Drawn) -> dict[str, Any]:
        session = session_of(clip, task)
        session.edit(drawn.kind, drawn.frame, drawn.object, drawn.values, drawn.text, drawn.locked)
        return session.state()

    @app.post("/api/{clip}/{task}/exports")
    def export(clip: int, task: str, wanted: Wanted) -> dict[str, Any]:
        session = session_of(clip, task)
        session.export(wanted.format, wanted.template)
        return session.state()

    @app.post("/api/{clip}/{task}/{what}")
    def act(clip: int, task: str, what: str) -> dict[str, Any]:
        session = session_of(clip, task)
        actions: dict[str, Callable[[], None]] = {
            "undo": lambda: session.move(-1),
            "redo": lambda: session.move(1),
            "run": session.run,
            "estimate": session.estimate,
            "stop": session.stop,
        }
        if what not in actions:
            raise HTTPException(404)
        actions[what]()
        return session.state()

    return Guard(app, token, port)


def listen(port: int) -> socket.socket:
    """Returns a socket that listens on a port of this machine; 0 for any that is free.

    Raises:
        SettingsError: if the port cannot be had.
    """
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError as error:
        code = error.errno or 0
        why = "is in use" if code == errno.EADDRINUSE else f"cannot be used ({os.strerror(code).lower()})"
        raise SettingsError(f"port {port} {why}; give another --port, or leave it out") from error


def serve(workspace: Workspace, port: int | socket.socket = 0, told: Callable[[str], None] = print) -> None:
    """Serves a workspace on this machine until it is interrupted.

    A job or a request that does not end soon then goes on in its thread: all that it has finished is on disk, and
    whoever has no use for the rest ends the process.

    Args:
        workspace: The clips.
        port: Where: a port, 0 for any that is free, or what `listen` returned.
        told: Called with the address of the page.
    """
    with listen(port) if isinstance(port, int) else port as listening:
        number, token = listening.getsockname()[1], secrets.token_urlsafe(24)
        config = uvicorn.Config(
            create_app(workspace, token, number), log_level="warning", timeout_graceful_shutdown=1, server_header=False
        )
        server = uvicorn.Server(config)
        # In a thread of its own, as a request that makes a mask or loads a model cannot be interrupted.
        thread = Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        told(f"http://127.0.0.1:{number}/?token={token}")
        try:
            thread.join()
        finally:
            workspace.news.ended = server.should_exit = True
            thread.join(GRACE)
            workspace.close(GRACE)


def _tagged(tag: str, content: Callable[[], bytes], request: Request, kind: str) -> Response:
    """Returns a picture, or that the browser has it already."""
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(content(), media_type=kind, headers=headers)


def _picture(content: bytes) -> Response:
    return Response(content, media_type="image/png", headers={"Cache-Control": "no-store"})

"""A loopback server that speaks as much of the hub's protocol as fetching a model takes, and can misbehave."""

import hashlib
import json
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "c" * 40
LARGE = ".safetensors"


@dataclass
class Repository:
    """A folder that the server offers, and how it behaves.

    Attributes:
        folder: its files.
        refuses: HTTP status that every request is answered with, or `None`.
        code: the hub's own name for that refusal.
        words: the hub's own words for it.
        gated_files: status that requests for files are answered with, while the listing is given.
        fails: number of requests that are answered with status 500 before all goes well.
        cuts: number of downloads of large files that are cut off in the middle.
        chunk: bytes sent at once; 0 for all.
        pause: seconds between chunks.
        silence: seconds before the listing is answered.
        swap: content sent in the place of a file's own, by path.
        lie: size that is listed in the place of a file's own, by path.
    """

    folder: Path
    refuses: int | None = None
    code: str = ""
    words: str = ""
    gated_files: int | None = None
    fails: int = 0
    cuts: int = 0
    chunk: int = 0
    pause: float = 0.0
    silence: float = 0.0
    swap: Mapping[str, bytes] = field(default_factory=dict)
    lie: Mapping[str, int] = field(default_factory=dict)

    def files(self) -> dict[str, Path]:
        found = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return {path.relative_to(self.folder).as_posix(): path for path in found}

    def entry(self, name: str, path: Path) -> dict[str, object]:
        content = path.read_bytes()
        size = self.lie.get(name, len(content))
        sha1 = hashlib.sha1(content).hexdigest()
        sha256 = hashlib.sha256(content).hexdigest()
        large = {"size": size, "sha256": sha256, "oid": sha256, "pointerSize": 134}
        return {"size": size, "oid": sha1, "blobId": sha1} | ({"lfs": large} if name.endswith(LARGE) else {})


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Says nothing when a client that gave up has left."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Hub:
    """The server: `repositories` by id, and every request as (method, path, Range) in `requests`."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.requests: list[tuple[str, str, str | None]] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_HEAD(self) -> None:
                hub.answer(self, with_body=False)

            def do_GET(self) -> None:
                hub.answer(self, with_body=True)

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def downloads(self, name: str) -> list[str | None]:
        """Returns the Range of every GET of the file called `name`."""
        return [span for method, path, span in self.requests if method == "GET" and path.endswith(f"/{name}")]

    def answer(self, request: BaseHTTPRequestHandler, with_body: bool) -> None:
        path = unquote(urlsplit(request.path).path)
        self.requests.append((request.command, path, request.headers.get("Range")))
        listing = path.startswith("/api/models/")
        parts = path.removeprefix("/api/models").strip("/").split("/")
        repository = self.repositories.get("/".join(parts[:2]))
        if repository is None:
            return _send(request, 404, {"X-Error-Code": "RepoNotFound"})
        if repository.refuses is not None:
            headers = {"X-Error-Code": repository.code, "X-Error-Message": repository.words}
            return _send(request, repository.refuses, headers)
        if repository.fails > 0:
            repository.fails -= 1
            return _send(request, 500)
        kind, revision = (parts[2], parts[3]) if len(parts) > 3 else ("revision", "main")
        if revision not in ("main", COMMIT):
            return _send(request, 404, {"X-Error-Code": "RevisionNotFound"})
        if not listing:
            if repository.gated_files is not None:
                return _send(request, repository.gated_files, {"X-Error-Code": "GatedRepo"})
            return self._file(request, repository, "/".join(parts[4:]), with_body)
        time.sleep(repository.silence)
        entries = {name: repository.entry(name, file) for name, file in repository.files().items()}
        if kind == "tree":
            body: object = [{"type": "file", "path": name, **entry} for name, entry in entries.items()]
        else:
            siblings = [{"rfilename": name, **entry} for name, entry in entries.items()]
            gated = "manual" if repository.gated_files else False
            body = {"id": "/".join(parts[:2]), "sha": COMMIT, "gated": gated, "siblings": siblings}
        return _send(request, 200, {"Content-Type": "application/json"}, json.dumps(body).encode())

    def _file(self, request: BaseHTTPRequestHandler, repository: Repository, name: str, with_body: bool) -> None:
        entry = repository.entry(name, repository.folder / name)
        content = repository.swap.get(name, (repository.folder / name).read_bytes())
        etag = entry.get("lfs", {}).get("sha256", entry["oid"])  # type: ignore[attr-defined]
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT, "X-Linked-Size": str(entry["size"])}
        status, start = 200, 0
        if span := request.headers.get("Range"):
            status, start = 206, int(span.removeprefix("bytes=").partition("-")[0])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        rest = content[start:]
        if not with_body:
            return _send(request, status, {**headers, "Content-Length": str(len(rest))})
        cut = name.endswith(LARGE) and repository.cuts > 0
        repository.cuts -= cut
        _begin(request, status, {**headers, "Content-Length": str(len(rest))})
        sent = rest[: len(rest) // 2] if cut else rest
        step = repository.chunk or len(sent) or 1
        for place in range(0, len(sent), step):
            request.wfile.write(sent[place : place + step])
            request.wfile.flush()
            time.sleep(repository.pause)
        request.close_connection = request.close_connection or cut
        return None


def _begin(request: BaseHTTPRequestHandler, status: int, headers: Mapping[str, str]) -> None:
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name, value)
    request.end_headers()


def _send(
    request: BaseHTTPRequestHandler, status: int, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> None:
    _begin(request, status, {"Content-Length": str(len(body)), **(headers or {})})
    if request.command != "HEAD":
        request.wfile.write(body)

"""What the app takes: seeks, memory over many frames, a hundred objects, five hundred steps back, the first mask.

    python benchmarks/speed/app_figures.py > app.md

The server is a process of its own, asked over HTTP as a page asks it; where there is a browser, the page is measured
too. Times are of a whole answer, and beside them stands the server's CPU time, which others on the machine change less.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from http.client import HTTPConnection
from pathlib import Path
from time import perf_counter
from typing import Any

import av
import numpy as np
import psutil

CHROMIUM = Path("/usr/bin/chromium")
# Name, (height, width), frames and frames per second of the clips.
CLIPS: dict[str, tuple[tuple[int, int], int, int]] = {
    "480p": ((480, 854), 120, 25),
    "an hour": ((90, 160), 10800, 3),
    "4K": ((2160, 3840), 24, 24),
}


@dataclass
class Asked:
    """Answers of a server.

    Attributes:
        seconds: Of each, from asking to the last byte.
        cpu: Seconds of the server's processor for all of them.
    """

    seconds: list[float] = field(default_factory=list)
    cpu: float = 0.0

    def __str__(self) -> str:
        half, most = np.percentile(self.seconds, [50, 95]) * 1000
        return f"{half:.0f} | {most:.0f} | {1000 * self.cpu / len(self.seconds):.0f}"


class Server:
    """`undertow app` as a process."""

    def __init__(self, process: "subprocess.Popen[str]", address: str, token: str) -> None:
        """Takes a process that serves at an address."""
        self._process, self.address, self.token = psutil.Process(process.pid), address, token

    def ask(self, path: str, body: Any = None) -> bytes:
        """Returns the answer to a request.

        Raises:
            RuntimeError: if it is a refusal.
        """
        connection = HTTPConnection(self.address, timeout=600)
        headers = {"X-Undertow-Token": self.token, "Content-Type": "application/json"}
        connection.request("GET" if body is None else "POST", path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if answer.status >= 400:
            raise RuntimeError(f"{path}: {answer.status} {content[:200]!r}")
        return content

    def timed(self, requests: Sequence[tuple[str, Any]]) -> Asked:
        """Returns what answers took."""
        asked, before = Asked(), self._cpu()
        for path, body in requests:
            begun = perf_counter()
            self.ask(path, body)
            asked.seconds.append(perf_counter() - begun)
        asked.cpu = self._cpu() - before
        return asked

    @property
    def megabytes(self) -> float:
        """Memory of the process that is its own."""
        return float(self._process.memory_info().rss) / 2**20

    def _cpu(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)


@contextmanager
def served(*words: str) -> Iterator[Server]:
    """Serves clips."""
    command = [sys.executable, "-m", "undertow", "app", *words]
    # Runs and edits are kept where it is started.
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=Path(words[0]).parent) as process:
        assert process.stderr is not None
        try:
            found = next(f for line in process.stderr if (f := re.search(r"http://([^/]+)/\?token=(\S+)", line)))
            yield Server(process, found[1], found[2])
        finally:
            process.kill()


def write_clip(path: Path, size: tuple[int, int], count: int, rate: int) -> None:
    """Writes H.264 with B-frames, of a bright square that moves over a gradient."""
    height, width = size
    ground = np.add.outer(np.linspace(30, 90, height), np.linspace(0, 60, width)).astype(np.uint8)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=Fraction(rate), options={"preset": "veryfast"})
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for number in range(count):
            image = np.repeat(ground[..., None], 3, axis=2)
            left = (number * 7) % (width - height // 3)
            image[height // 3 : 2 * height // 3, left : left + height // 3] = (230, 190, 40)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        file.mux(stream.encode())


def point(x: float, y: float, number: int = 0) -> dict[str, Any]:
    """Returns the edit of a click."""
    return {"kind": "point", "frame": number, "object": 1, "values": [x, y, 1]}


def measure(folder: Path) -> Iterator[str]:
    """Yields the rows of the table."""
    for name, (size, count, rate) in CLIPS.items():
        write_clip(folder / f"{name}.mp4", size, count, rate)
    paths = [str(folder / f"{name}.mp4") for name in CLIPS]
    random = np.random.default_rng(0)
    yield "| what | median ms | p95 ms | CPU ms |\n|---|---|---|---|"
    with served(*paths) as server:
        for clip, (name, (_, count, _)) in enumerate(CLIPS.items()):
            numbers = random.permutation(count)[: 20 if name == "4K" else 60].tolist()
            found = server.timed([(f"/api/{clip}/frames/{number}.png", None) for number in numbers])
            yield f"| seek to any frame, {name} | {found} |"
        box = {"kind": "box", "frame": 0, "object": 1, "values": [0, 160, 170, 330]}
        yield f"| first mask of a click, GrabCut, 480p | {server.timed([('/api/0/track/edits', point(80, 240))])} |"
        yield f"| mask of a box, GrabCut, 480p | {server.timed([('/api/0/track/edits', box)])} |"
        strokes = [
            {"kind": "brush", "frame": n % 100, "object": 1 + n % 100, "values": [9, 8.0 * (n % 100), 240.0]}
            for n in range(500)
        ]
        yield f"| brush stroke, of 500, 480p | {server.timed([('/api/0/track/edits', each) for each in strokes])} |"
        objects = len(json.loads(server.ask("/api/0/track/state"))["objects"])
        state = server.timed([("/api/0/track/state", None)] * 40)
        yield f"| what the page shows around the frame, {objects} objects | {state} |"
        yield f"| undo, of 500 | {server.timed([('/api/0/track/undo', {})] * 500)} |"
        server.timed([("/api/0/track/redo", {})] * 500)
        before = server.megabytes
        server.timed([(f"/api/1/frames/{number}.png", None) for number in range(10_000)])
        memory = f"server before and after 10 000 frames: {before:.0f} and {server.megabytes:.0f} MB"
        page = of_page(server) if CHROMIUM.exists() else "no browser"
    with served(paths[0], "--segmenter", "tiny-sam", "--out", str(folder / "sam")) as server:
        yield f"| first click, tiny-sam, with its loading | {server.timed([('/api/0/track/edits', point(80, 240))])} |"
        clicks = [("/api/0/track/edits", point(80 + 3 * n, 240)) for n in range(5)]
        yield f"| later clicks on a frame, tiny-sam | {server.timed(clicks)} |"
    yield f"\n{memory}; {objects} objects: {page}"


def of_page(server: Server) -> str:
    """Returns how long the page takes over its list of objects, and its memory while it goes through 10 000 frames."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 720})
        page.goto(f"http://{server.address}/?token={server.token}")
        page.wait_for_selector("#objects li:nth-child(100)", timeout=120_000)
        chosen = page.evaluate(
            """() => { const begun = performance.now();
            for (let n = 1; n <= 20; n++) document.querySelector(`#objects li:nth-child(${5 * n}) button`).click();
            document.body.offsetHeight;
            return (performance.now() - begun) / 20; }"""
        )
        page.get_by_label("Clip", exact=True).select_option("1")
        page.wait_for_selector("canvas[data-frame='0']", timeout=120_000)
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable")
        held = []
        for end in (100, 5_000, 10_000):
            while (frame := int(page.locator("#canvas").get_attribute("data-frame") or 0)) < end:
                page.keyboard.press("Shift+ArrowRight")
                page.wait_for_selector(f"canvas[data-frame='{frame + 10}']", timeout=120_000)
            metrics = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
            held.append(f"{metrics['JSHeapUsedSize'] / 2**20:.0f} MB ({_renderers():.0f} MB with the browser's)")
        browser.close()
    return f"{chosen:.1f} ms to choose one; scripts of the page at frames 100, 5000 and 10 000: {', '.join(held)}"


def _renderers() -> float:
    """Returns the MB of memory of the processes that draw pages; the largest one draws ours."""
    below = psutil.Process().children(recursive=True)
    return max(each.memory_info().rss for each in below if "--type=renderer" in each.cmdline()) / 2**20


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        for row in measure(Path(made)):
            print(row, flush=True)

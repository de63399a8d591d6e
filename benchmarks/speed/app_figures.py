"""What the app takes: seeks, first masks, a hundred objects, five hundred steps back, memory over many frames.

    python benchmarks/speed/app_figures.py [--root DIR] [--part NAME]... > app.md

All parts are measured if none is named. DIR holds `davis-<sequence>/frames` and `masks` of real clips, on whose first
frames masks are made too. The server is a process of its own, asked over HTTP as a page asks
it. Times are of a whole answer; beside them stands the server's CPU time, which others on the machine change less.
"""

import argparse
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
import cv2
import numpy as np
import psutil
from PIL import Image

from undertow.backbones.weights.locating import embedded_folder
from undertow.refinement import get_segmenter_card

CHROMIUM = Path("/usr/bin/chromium")
# Name, (height, width), frames and frames per second of the clips.
CLIPS: dict[str, tuple[tuple[int, int], int, int]] = {
    "480p": ((480, 854), 120, 25),
    "an hour": ((90, 160), 10800, 3),
    "4K": ((2160, 3840), 24, 24),
}
OBJECTS, STEPS, FRAMES = 100, 500, 10_000
# Steps through frames as a person does who keeps the key pressed: each is waited for.
WALK = """async ([from, to]) => {
  const canvas = document.getElementById('canvas');
  for (let frame = from; frame < to; frame++) {
    document.body.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowRight', bubbles: true }));
    while (canvas.dataset.frame !== String(frame + 1)) await new Promise((go) => setTimeout(go, 0));
  }
}"""


@dataclass
class Asked:
    """Answers of a server.

    Attributes:
        seconds: Of each, from asking to the last byte.
        cpu: Seconds of the server's processor for all of them.
    """

    seconds: list[float] = field(default_factory=list)
    cpu: float = 0.0

    def __add__(self, other: "Asked") -> "Asked":
        return Asked(self.seconds + other.seconds, self.cpu + other.cpu)

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
def served(folder: Path, *words: str) -> Iterator[Server]:
    """Serves clips, with runs and edits in a folder of their own."""
    place = Path(tempfile.mkdtemp(dir=folder))
    command = [sys.executable, "-m", "undertow", "app", *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=place) as process:
        assert process.stderr is not None
        try:
            found = next(f for line in process.stderr if (f := re.search(r"http://([^/]+)/\?token=(\S+)", line)))
            yield Server(process, found[1], found[2])
        finally:
            process.kill()


def write_clip(folder: Path, name: str) -> str:
    """Writes H.264 with B-frames, of a bright square that moves over a gradient with grain, and returns its path."""
    (height, width), count, rate = CLIPS[name]
    path = folder / f"{name}.mp4"
    ground = np.add.outer(np.linspace(30, 90, height), np.linspace(0, 60, width))[..., None]
    grain = np.random.default_rng(0).normal(0, 6, (height + 16, width + 16, 3))
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=Fraction(rate), options={"preset": "veryfast", "crf": "18"})
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for number in range(count):
            down, right = number * 5 % 16, number * 11 % 16
            image = (ground + grain[down : down + height, right : right + width]).astype(np.uint8)
            left = (number * 7) % (width - height // 3)
            image[height // 3 : 2 * height // 3, left : left + height // 3] = (230, 190, 40)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        file.mux(stream.encode())
    return str(path)


def drawn(kind: str, values: Sequence[float], object_id: int = 1, number: int = 0, clip: int = 0) -> tuple[str, Any]:
    """Returns the request of an edit."""
    body = {"kind": kind, "frame": number, "object": object_id, "values": [float(each) for each in values]}
    return f"/api/{clip}/track/edits", body


def prompts(mask: Path, clip: int) -> tuple[tuple[str, Any], tuple[str, Any]]:
    """Returns the requests of a click on the pixel that is deepest in the first object of a mask, and of its box."""
    with Image.open(mask) as image:
        found = np.asarray(image)
    there = found == found[found > 0].min()
    rows, columns = np.nonzero(there)
    depth = cv2.distanceTransform(there.astype(np.uint8), cv2.DIST_L2, 5)
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    box = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    return drawn("point", (x + 0.5, y + 0.5, 1), clip=clip), drawn("box", box, 2, clip=clip)


def seek(folder: Path, root: Path | None) -> Iterator[str]:
    """Frames in random order, none of which was asked for before."""
    random = np.random.default_rng(0)
    for name, (_, count, _) in CLIPS.items():
        with served(folder, write_clip(folder, name)) as server:
            numbers = random.permutation(count)[: 20 if name == "4K" else 100].tolist()
            yield f"| seek to any frame, {name} | {server.timed([(f'/api/0/frames/{n}.bmp', None) for n in numbers])} |"


def masks(folder: Path, root: Path | None) -> Iterator[str]:
    """First masks on a made clip and on real ones, and by a segmenter, whose first answer encodes the frame."""
    clip = write_clip(folder, "480p")
    click, box = drawn("point", (80, 240, 1)), drawn("box", (0, 160, 170, 330))
    with served(folder, clip) as server:
        server.ask("/api/0/frames/0.bmp")
        yield f"| mask of the first click, GrabCut, 480p | {server.timed([click])} |"
        yield f"| mask of a box, GrabCut, 480p | {server.timed([box])} |"
    sequences = sorted(root.glob("davis-*/frames")) if root else []
    with served(folder, *map(str, sequences), *([] if sequences else [clip])) as server:
        clicks, boxes = Asked(), Asked()
        for number, sequence in enumerate(sequences):
            server.ask(f"/api/{number}/frames/0.bmp")
            click_there, box_there = prompts(min((sequence.parent / "masks").iterdir()), number)
            clicks += server.timed([click_there])
            boxes += server.timed([box_there])
    if sequences:
        yield f"| mask of the first click, GrabCut, first frames of {len(sequences)} DAVIS clips | {clicks} |"
        yield f"| mask of the exact box, the same | {boxes} |"
    # By its name it would leave clicks to GrabCut; as a folder it is a SAM like others.
    sam = embedded_folder(get_segmenter_card("tiny-sam"))
    with served(folder, clip, "--segmenter", str(sam)) as server:
        yield f"| first click, a small SAM, with its loading | {server.timed([click])} |"
        again = [drawn("point", (80 + 3 * n, 240, 1)) for n in range(9)]
        yield f"| first click on another frame, a small SAM | {server.timed([drawn('point', (80, 240, 1), 1, 1)])} |"
        yield f"| later clicks on a frame that is encoded, a small SAM | {server.timed(again)} |"


def steps(folder: Path, root: Path | None) -> Iterator[str]:
    """Strokes over many objects, what the page shows of them, and all of it taken back."""
    with served(folder, write_clip(folder, "480p")) as server:
        places = [(n % OBJECTS, [9, 8.0 * (n % OBJECTS), 240.0]) for n in range(STEPS)]
        strokes = server.timed([drawn("brush", values, 1 + n, n) for n, values in places])
        yield f"| a brush stroke, of {STEPS} over {OBJECTS} objects, 480p | {strokes} |"
        state = server.timed([("/api/0/track/state", None)] * 40)
        objects = len(json.loads(server.ask("/api/0/track/state"))["objects"])
        yield f"| the state around the frame, {objects} objects and {STEPS} steps | {state} |"
        yield f"| undo, of {STEPS} | {server.timed([('/api/0/track/undo', {})] * STEPS)} |"
        yield f"| redo, of {STEPS} | {server.timed([('/api/0/track/redo', {})] * STEPS)} |"
        if CHROMIUM.exists():
            with opened(server) as page:
                page.wait_for_selector(f"#objects li:nth-child({OBJECTS})", timeout=120_000)
                chosen = page.evaluate(
                    """() => { const begun = performance.now();
                    for (let n = 5; n <= 100; n += 5)
                        document.querySelector(`#objects li:nth-child(${n}) button`).click();
                    document.body.offsetHeight;
                    return (performance.now() - begun) / 20; }"""
                )
            yield f"| the page's script, to choose one of {objects} objects | {chosen:.1f} | | |"


def memory(folder: Path, root: Path | None) -> Iterator[str]:
    """Memory of the server and of the page that goes through many frames."""
    with served(folder, write_clip(folder, "an hour")) as server, opened(server) as page:
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable")
        begun = 0
        yield "\n| frames shown | server, MB | scripts of the page, MB | the browser's process, MB |\n|---|---|---|---|"
        for end in (100, 2_000, 4_000, 6_000, 8_000, FRAMES):
            page.evaluate(WALK, [begun, end])
            begun = end
            session.send("HeapProfiler.collectGarbage")
            heap = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
            yield (f"| {end} | {server.megabytes:.0f} | {heap['JSHeapUsedSize'] / 2**20:.1f} | {_renderer():.0f} |")


PARTS = {part.__name__: part for part in (seek, masks, steps, memory)}


@contextmanager
def opened(server: Server) -> Iterator[Any]:
    """Opens the page of a server in a browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 720})
        page.goto(f"http://{server.address}/?token={server.token}")
        page.wait_for_selector("canvas[data-frame='0']", timeout=120_000)
        page.set_default_timeout(1200_000)
        yield page
        browser.close()


def _renderer() -> float:
    """Returns the MB of memory of the largest of the processes that draw pages, which draws ours."""
    below = psutil.Process().children(recursive=True)
    return max(each.memory_info().rss for each in below if "--type=renderer" in each.cmdline()) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", type=Path)
    parser.add_argument("--part", action="append", choices=PARTS)
    given = parser.parse_args()
    print("| what | median ms | p95 ms | CPU ms |\n|---|---|---|---|", flush=True)
    for part in given.part or PARTS:
        with tempfile.TemporaryDirectory() as made:
            for row in PARTS[part](Path(made), given.root):
                print(row, flush=True)


if __name__ == "__main__":
    main()

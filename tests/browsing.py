"""A real browser on the app: a page that is served, and waiting for what it shows."""

import os
import re
import time
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

CHROMIUM = Path("/usr/bin/chromium")
SQUARE = 8
# Seconds; pictures are made with a model that is larger than that of tests.
PATIENCE = 600 if "UNDERTOW_PICTURES" in os.environ else 120
# The number in the squares along the upper edge of what is on the canvas.
READ = f"""() => {{
  const pen = document.getElementById('canvas').getContext('2d');
  let number = 0;
  for (let bit = 0; bit < 16; bit++) {{
    const [red] = pen.getImageData(bit * {SQUARE} + {SQUARE // 2}, {SQUARE // 2}, 1, 1).data;
    if (red > 60 && red < 195) break;
    number |= (red > 127 ? 1 : 0) << bit;
  }}
  return number;
}}"""


@contextmanager
def opened(workspace, address="", **context):
    """Yields a page of a workspace that is served, with what went wrong on it as `trouble`."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}: apt-get install chromium")
    from undertow.app import serve

    told: list[str] = []
    Thread(target=serve, args=(workspace, 0, told.append), daemon=True).start()
    while not told:
        time.sleep(0.01)
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page(**{"viewport": {"width": 1280, "height": 720}, **context})
        page.trouble = []
        page.on("console", lambda message: page.trouble.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: page.trouble.append(str(error)))
        page.on("request", lambda request: None if _own(request.url) else page.trouble.append(request.url))
        page.goto(told[0] + address)
        until(page, "document.getElementById('canvas').dataset.frame !== undefined")
        yield page
        browser.close()


def _own(url: str) -> bool:
    return bool(re.match(r"http://127\.0\.0\.1:\d+/|blob:|data:", url))


def until(page, script: str) -> None:
    """Waits until a script gives true; `wait_for_function` is what the page's policy forbids."""

    def holds() -> bool:
        try:
            return bool(page.evaluate(script))
        except Exception as error:
            # A page that is being opened anew has nothing to say yet.
            if "context was destroyed" in str(error) or "properties of null" in str(error):
                return False
            raise

    settled(holds, lambda: (script, page.locator("#status").text_content(), page.trouble))


def settled(check, what=lambda: "") -> None:
    """Waits until a check holds."""
    end = time.monotonic() + PATIENCE
    while not check():
        assert time.monotonic() < end, what()
        time.sleep(0.02)


def ready(name: str) -> str:
    """Returns a script that says whether a button can be pressed."""
    return f"document.getElementById('{name}').ariaDisabled === 'false'"


def shows(page, number: int) -> None:
    """Waits until a frame is shown, and checks that it is that frame, by the code in its pixels."""
    until(page, f"document.getElementById('canvas').dataset.frame === '{number}'")
    assert page.evaluate(READ) == number


def idle(page, text: str) -> None:
    """Waits until the page says something."""
    until(page, f"document.getElementById('status').textContent.includes({text!r})")


def _resting(page) -> dict[str, float]:
    """Returns where the canvas is, once it stays there: a finished run can change what is beside it."""
    boxes = [page.locator("#canvas").bounding_box()]

    def same() -> bool:
        page.wait_for_timeout(50)
        boxes.append(page.locator("#canvas").bounding_box())
        return boxes[-1] == boxes[-2]

    settled(same)
    return boxes[-1]


def click(page, x: float, y: float, to: tuple[float, float] | None = None) -> None:
    """Clicks on a pixel of the video, or drags from it to another."""
    box = _resting(page)
    size = page.evaluate("[canvas.width, canvas.height]")
    places = [(box["x"] + px / size[0] * box["width"], box["y"] + py / size[1] * box["height"])
              for px, py in ((x, y), *([] if to is None else [to]))]  # fmt: skip
    page.mouse.move(*places[0])
    page.mouse.down()
    page.mouse.move(*places[-1])
    page.mouse.up()

"""The page in a real browser: the frame that was asked for, a click, a mask, a track, a correction, an export."""

import re
import time
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")

CHROMIUM = Path("/usr/bin/chromium")
COUNT, SQUARE = 6, 8
pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}: apt-get install chromium")
# The number in the squares along the upper edge of what is on the canvas.
READ = f"""() => {{
  const pen = document.getElementById('canvas').getContext('2d');
  let number = 0;
  for (let bit = 0; bit < 8; bit++) {{
    const [red] = pen.getImageData(bit * {SQUARE} + {SQUARE // 2}, {SQUARE // 2}, 1, 1).data;
    if (red !== 0 && red !== 255) return -1;
    number |= (red ? 1 : 0) << bit;
  }}
  return number;
}}"""


@pytest.fixture
def page(session):
    from undertow.app import serve

    told: list[str] = []
    server = Thread(target=serve, args=(session, 0, told.append), daemon=True)
    server.start()
    while not told:
        time.sleep(0.01)
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        made = browser.new_page(viewport={"width": 1280, "height": 720})
        made.trouble = []
        made.on("console", lambda message: made.trouble.append(message.text) if message.type == "error" else None)
        made.on("pageerror", lambda error: made.trouble.append(str(error)))
        made.on("request", lambda request: made.trouble.append(request.url) if not _own(request.url) else None)
        made.goto(told[0])
        until(made, "document.getElementById('canvas').dataset.frame === '0'")
        yield made
        browser.close()


def _own(url: str) -> bool:
    return bool(re.match(r"http://127\.0\.0\.1:\d+/|blob:|data:", url))


def until(page, script: str) -> None:
    """Waits until a script gives true; `wait_for_function` is what the page's policy forbids."""
    end = time.monotonic() + 30
    while not page.evaluate(script):
        assert time.monotonic() < end, (script, page.locator("#status").text_content(), page.trouble)
        time.sleep(0.02)


def shows(page, number: int) -> None:
    until(page, f"document.getElementById('canvas').dataset.frame === '{number}'")
    assert page.evaluate(READ) == number


def idle(page, text: str) -> None:
    until(page, f"document.getElementById('status').textContent.includes('{text}')")


def click(page, x: float, y: float, **more) -> None:
    """Clicks on a pixel of the video."""
    box = page.locator("#canvas").bounding_box()
    page.mouse.move(box["x"] + x / 96 * box["width"], box["y"] + y / 64 * box["height"])
    page.mouse.down()
    page.mouse.up()


def test_click_track_correct_and_export(page, session, tmp_path):
    assert "token" not in page.url
    assert page.title() == "clip <b>&amp; - undertow" and page.locator("h1 b").count() == 0
    shows(page, 0)
    for key, number in [("ArrowRight", 1), ("End", 5), ("ArrowLeft", 4), ("Home", 0), ("Shift+ArrowRight", 5)]:
        page.keyboard.press(key)
        shows(page, number)
    # Asked for in haste, the last one asked for is shown.
    for _ in range(4):
        page.keyboard.press("ArrowLeft")
    shows(page, 1)
    page.keyboard.press("Home")
    shows(page, 0)

    assert page.get_by_role("button", name="Track").is_disabled()
    click(page, 32, 36)
    until(page, "!document.getElementById('track').disabled")
    assert session.labels(0)[36, 32] == 1
    until(
        page,
        "() => { const [r, g] = document.getElementById('canvas').getContext('2d').getImageData(26, 30, 1, 1).data;"
        " return Math.abs(r - 179) < 4 && Math.abs(g - 95) < 4; }",
    )
    page.keyboard.press("t")
    idle(page, "the whole clip is tracked")
    page.keyboard.press("End")
    shows(page, 5)

    before = session.labels(5)
    page.keyboard.press("d")
    click(page, 80, 50)
    idle(page, "edited since it was tracked")
    page.keyboard.press("t")
    idle(page, "the whole clip is tracked")
    assert session.labels(5)[50, 80] == 1
    page.keyboard.press("Control+z")
    idle(page, "edited since it was tracked")
    page.keyboard.press("t")
    idle(page, "the whole clip is tracked")
    assert np.array_equal(session.labels(5), before)

    # A page that is opened again in the middle shows the same.
    page.reload()
    shows(page, 0)
    assert page.locator("#timeline").get_attribute("aria-valuemax") == "5"
    page.locator("#format").select_option("cvat")
    page.keyboard.press("Control+e")
    page.locator("#export").click()
    idle(page, "6 frames are in")
    assert [*(tmp_path / "run.cvat").rglob("*.xml")]
    assert page.trouble == []


def test_all_of_the_page_is_on_a_phone_too(page):
    page.set_viewport_size({"width": 390, "height": 800})
    wide = """[...document.querySelectorAll('body *')].map(e => [e.id, e.getBoundingClientRect().right])
        .filter(([id, right]) => right > 391)"""
    assert page.evaluate(wide) == []
    box = page.locator("#canvas").bounding_box()
    assert box["width"] > 200 and box["height"] > 100
    nameless = """[...document.querySelectorAll('button, select, input, canvas')]
        .filter(e => !(e.textContent.trim() || e.ariaLabel || e.labels?.length)).map(e => e.outerHTML)"""
    assert page.evaluate(nameless) == []

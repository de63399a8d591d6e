"""The page in a real browser: the frame that was asked for, a click, a mask, a track, a correction, an export."""

import numpy as np
import pytest

from browsing import click, idle, opened, ready, settled, shows, until


@pytest.fixture
def page(workspace):
    with opened(workspace) as made:
        yield made


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
    until(page, ready("run"))
    assert session.labels(0)[36, 32] == 1
    until(
        page,
        "() => { const [r, g] = document.getElementById('canvas').getContext('2d').getImageData(26, 30, 1, 1).data;"
        " return Math.abs(r - 179) < 4 && Math.abs(g - 95) < 4; }",
    )
    page.keyboard.press("t")
    idle(page, "the whole clip is done")
    page.keyboard.press("End")
    shows(page, 5)

    before = session.labels(5)
    page.keyboard.press("d")
    click(page, 80, 50)
    idle(page, "edited since it was run")
    page.keyboard.press("t")
    idle(page, "the whole clip is done")
    assert session.labels(5)[50, 80] == 1, np.argwhere(session.labels(5) == 1).mean(0)
    # The correction is taken back with the run that was made of it, and both are done again.
    for key, left in [("Control+z", 3), ("Control+z", 2), ("Control+Shift+z", 3), ("Control+Shift+z", 4)]:
        settled(lambda: not session.doing)
        until(page, ready("redo" if "Shift" in key else "undo"))
        page.keyboard.press(key)
        settled(lambda left=left: session.state()["undo"] == left)
        assert left > 2 or np.array_equal(session.labels(5), before)
    assert session.labels(5)[50, 80] == 1 and session.state()["undo"] == 4

    # A page that is opened again in the middle shows the same.
    page.reload()
    shows(page, 5)
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
        .filter(([id, right]) => right > 391).length === 0"""
    until(page, wide)
    box = page.locator("#canvas").bounding_box()
    assert box["width"] > 200 and box["height"] > 100
    nameless = """[...document.querySelectorAll('button, select, input, canvas')]
        .filter(e => !(e.textContent.trim() || e.ariaLabel || e.labels?.length)).map(e => e.outerHTML)"""
    assert page.evaluate(nameless) == []

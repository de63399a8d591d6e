"""Every task in a real browser, on a clip of a made world; UNDERTOW_PICTURES=docs/images writes what docs show."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from browsing import click, idle, opened, ready, settled, until
from undertow.world import crossing_scene

FRAMES, HEIGHT, WIDTH = 8, 90, 160
WIDE = """[...document.querySelectorAll('body *')].filter(e => !e.closest('#tools, #tasks'))
  .filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.id || e.outerHTML)"""
PICTURES = os.environ.get("UNDERTOW_PICTURES")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A clip, larger where pictures for people are made of it, the middle of the object in it, and about its radius."""
    scale = 3 if PICTURES else 1
    drawn = crossing_scene(height=scale * HEIGHT, width=scale * WIDTH, frames=24)
    folder = tmp_path_factory.mktemp("world") / "crossing"
    folder.mkdir()
    for number in range(FRAMES):
        Image.fromarray(drawn.picture(2.0 * number).image).save(folder / f"{number:05d}.png")
    rows, columns = np.nonzero(drawn.picture(0.0).labels == 1)
    return folder, (float(np.median(columns)), float(np.median(rows))), (len(rows) / np.pi) ** 0.5


@pytest.fixture
def desk(world, tmp_path, tiny_like):
    """The clip, open."""
    pytest.importorskip("fastapi", reason="needs the extra app")
    from undertow.app import Workspace
    from undertow.backbones import load
    from undertow.parsing import ParseSettings
    from undertow.points import PointSettings
    from undertow.referring import ReferSettings
    from undertow.tracking import TrackSettings

    size = (240, 144) if PICTURES else (96, 64)
    settings = {
        "track": TrackSettings(size=size), "points": PointSettings(size=size, keep_features=True),
        "parse": ParseSettings(size=size, clusters=6), "refer": ReferSettings(size=size, pivots=2),
    }  # fmt: skip
    made = Workspace((lambda task: load("tiny", sites=task)) if PICTURES else (lambda task: tiny_like), settings)
    made.open(world[0], tmp_path / "run")
    yield made
    made.close()


def picture(page, tmp_path, name):
    """Keeps what the page shows: light, dark, and on a phone."""
    for kind, width, height, scheme in [
        ("", 1280, 720, "light"),
        ("-dark", 1280, 720, "dark"),
        ("-phone", 390, 800, "light"),
    ]:
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=scheme)
        page.wait_for_timeout(150)
        if not PICTURES and kind == "-dark":
            continue
        path = Path(tmp_path if kind or not PICTURES else PICTURES) / f"app-{name}{kind}.webp"
        page.screenshot(path=path.with_suffix(".png"))
        with Image.open(path.with_suffix(".png")) as image:
            image.convert("RGB").save(path, quality=82)
        path.with_suffix(".png").unlink()
        assert path.stat().st_size < 200_000
        assert page.evaluate(WIDE) == []


def test_masks_are_painted_named_locked_and_looked_at(desk, world, tmp_path):
    session, (x, y), radius = desk.projects[0].sessions["track"], *world[1:]
    with opened(desk) as page:
        page.locator("#radius").fill(str(round(radius)))
        page.keyboard.press("d")
        click(page, x, y)
        settled(lambda: session.state()["undo"] == 1 and not session.doing)
        page.get_by_label("Name", exact=True).fill("<img src=x onerror=alert(1)>")
        page.get_by_label("Name", exact=True).press("Enter")
        settled(lambda: session.state()["undo"] == 2)
        until(page, "document.getElementById('objects').textContent.includes('<img')")
        assert page.locator("#objects img").count() == 0
        session.edit("name", 0, 1, (), "disc")
        until(page, ready("run"))
        page.keyboard.press("t")
        idle(page, "the whole clip is done")
        picture(page, tmp_path, "masks")
        page.set_viewport_size({"width": 1280, "height": 720})
        # A second object does not take what is locked.
        page.get_by_label("Lock disc").click()
        page.keyboard.press("n")
        page.keyboard.press("d")
        before = session.labels(0)
        click(page, x, y, (x + 3 * radius, y))
        settled(lambda: session.state()["undo"] == 5 and not session.doing)
        after = session.labels(0)
        assert (after == 2).any() and np.array_equal(after == 1, before == 1)
        page.get_by_label("Show disc alone").click()
        page.keyboard.press("v")
        until(page, ready("undo"))
        # Where a pixel looks in another frame.
        page.keyboard.press("l")
        click(page, x, y)
        until(page, "document.getElementById('canvas').dataset.layer === '0'")
        page.keyboard.press("ArrowRight")
        until(page, "document.getElementById('canvas').dataset.layer === '1'")
        page.keyboard.press("Escape")
        page.get_by_text("Queue").click()
        assert "track crossing: done" in page.locator("#jobs").text_content()
        assert page.trouble == []


def test_points_are_dropped_dragged_and_followed(desk, world, tmp_path):
    session, (x, y) = desk.projects[0].sessions["points"], world[1]
    with opened(desk, "#0/points") as page:
        click(page, x, y)
        settled(lambda: session.state()["undo"] == 1)
        page.get_by_label("Points across the grid").fill("6")
        page.get_by_role("button", name="Add grid").click()
        settled(lambda: session.state()["undo"] == 2)
        page.keyboard.press("g")
        click(page, x, y, (x + 5, y + 3))
        settled(lambda: session.state()["undo"] == 3)
        assert abs(session.queries()[1].x - x - 5) < 1.5 and session.queries()[1].frame == 0
        until(page, ready("run"))
        page.keyboard.press("t")
        idle(page, "the whole clip is done")
        page.keyboard.press("End")
        until(page, f"document.getElementById('canvas').dataset.frame === '{FRAMES - 1}'")
        picture(page, tmp_path, "points")
        assert page.trouble == []


def test_clusters_are_found_named_merged_and_coloured(desk, tmp_path):
    session = desk.projects[0].sessions["parse"]
    with opened(desk, "#0/parse") as page:
        until(page, ready("run"))
        page.keyboard.press("t")
        idle(page, "the whole clip is done")
        first, second = [each["id"] for each in session.state()["objects"]][:2]
        until(page, f"document.querySelectorAll('#objects li').length === {len(session.state()['objects'])}")
        page.locator("#objects li button").first.click()
        page.get_by_label("Name", exact=True).fill("ground")
        page.get_by_label("Name", exact=True).press("Enter")
        settled(lambda: session.state()["undo"] == 2)
        page.get_by_label("Merge into").select_option(str(second))
        settled(lambda: session.state()["undo"] == 3)
        row = session.state()["objects"][0]
        assert (row["name"], row["merge"]) == ("ground", second) and not (session.labels(0) == first).any()
        page.keyboard.press("Control+z")
        settled(lambda: session.state()["undo"] == 2)
        page.locator("#chosen input[type=color]").fill("#40c080")
        settled(lambda: session.state()["undo"] == 3)
        until(page, "document.querySelector('#objects i').style.background.includes('64, 192, 128')")
        picture(page, tmp_path, "classes")
        assert page.trouble == []


def test_words_are_found_and_show_their_heat(desk, tmp_path):
    session = desk.projects[0].sessions["refer"]
    with opened(desk, "#0/refer") as page:
        page.get_by_label("What to find").fill("the round thing")
        page.get_by_role("button", name="Add", exact=True).click()
        settled(lambda: session.state()["undo"] == 1)
        until(page, ready("run"))
        page.keyboard.press("t")
        idle(page, "done")
        page.locator(".words button", has_text="round").click()
        until(page, "document.getElementById('canvas').dataset.layer === '0'")
        picture(page, tmp_path, "words")
        assert page.trouble == []

"""What a person finds under the fingers: reasons, zoom, keys of one's own, locks, directions."""

import pytest

from browsing import click, idle, opened, ready, settled, until


@pytest.fixture
def page(workspace):
    with opened(workspace) as made:
        yield made


def chosen_key(page, action, key):
    page.keyboard.press("?")
    page.locator(f"[data-action='{action}']").click()
    page.keyboard.press(key)


def test_what_does_nothing_says_why(page, session):
    for key, text in [
        ("t", "click on an object"),
        ("Control+z", "nothing to take back"),
        ("Control+Shift+z", "nothing to do again"),
        ("Control+e", "nothing to export yet"),
        ("w", "no margins yet"),
        ("a", "on no frame yet"),
        ("PageDown", "no keyframe yet"),
        ("Escape", "nothing runs"),
        ("Delete", "is not on this frame"),
    ]:
        page.keyboard.press(key)
        idle(page, text)
    page.keyboard.press("b")
    click(page, 30, 30)
    idle(page, "corner of the box")
    # A button that does nothing now says it too, and can be reached by whoever cannot see that it is pale.
    assert page.locator("#worst").is_disabled() and "no margins yet" in page.locator("#worst").get_attribute("title")
    page.locator("#worst").click(force=True)
    idle(page, "no margins yet")
    page.keyboard.press("d")
    click(page, 32, 36)
    until(page, ready("estimate"))
    # The model is held up, so that the estimate is still there when the run is asked for.
    with session.project.jobs.aside():
        page.locator("#estimate").click()
        settled(lambda: session.doing == "estimate")
        until(page, "document.getElementById('stop').hidden === false")
        page.keyboard.press("t")
        idle(page, "wait for the estimate to end")
    idle(page, "of memory")
    assert page.trouble == []


def test_zoom_keys_and_locks_are_a_persons_own(page, session):
    page.keyboard.press("z")
    until(page, "document.getElementById('share').textContent === '100 %'")
    assert page.locator("#canvas").bounding_box()["width"] == 96
    page.keyboard.press("0")
    fits = page.locator("#canvas").bounding_box()["width"]
    box = page.locator("#stage").bounding_box()
    page.mouse.move(box["x"] + 40, box["y"] + 40)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -300)
    page.keyboard.up("Control")
    until(page, f"document.getElementById('canvas').clientWidth > {2 * fits}")
    page.mouse.down(button="middle")
    page.mouse.move(box["x"] + 10, box["y"] + 15)
    page.mouse.up(button="middle")
    until(page, "document.getElementById('stage').scrollLeft > 0")
    page.keyboard.press("0")

    chosen_key(page, "worst", "Shift+K")
    # A key that something else had is taken from it; digits choose objects.
    page.locator("[data-action='gap']").click()
    page.keyboard.press("Shift+K")
    assert "has no key" in page.locator("#keys-said").text_content()
    page.locator("[data-action='worst']").click()
    page.keyboard.press("7")
    assert "press another key" in page.locator("#keys-said").text_content()
    page.get_by_label("Lock Object 1", exact=True).evaluate("each => each.click()")
    page.reload()
    until(page, "document.getElementById('canvas').dataset.frame !== undefined")
    page.keyboard.press("Shift+K")
    until(page, "document.getElementById('canvas').dataset.frame === '2'")
    page.keyboard.press("d")
    click(page, 32, 36)
    idle(page, "Object 1 is locked")
    assert session.state()["undo"] == 0
    page.keyboard.press("?")
    page.locator("#keys-reset").click()
    assert page.locator("[data-action='worst']").text_content() == "W"
    assert page.trouble == []


def test_masks_are_carried_forward_and_back(page, session):
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    until(page, "document.getElementById('canvas').dataset.frame === '2'")
    page.keyboard.press("d")
    click(page, 38, 36)
    until(page, ready("run"))
    page.keyboard.press("Shift+F")
    idle(page, "the part is done")
    # What a correction made anew is said and shown, until something else is done.
    for key, number in [("Home", 0), ("ArrowRight", 1), ("ArrowRight", 2), ("ArrowRight", 3)]:
        page.keyboard.press(key)
        until(page, f"document.getElementById('canvas').dataset.frame === '{number}'")
    click(page, 80, 50)
    until(page, ready("run"))
    page.keyboard.press("t")
    idle(page, "the part is done; frames 3 to 5 were tracked again; changed: 3-5")
    assert session.state()["changed"] == ((3, 5),) and page.locator("#changed").is_visible()
    page.keyboard.press("Control+z")
    settled(lambda: not session.state()["changed"])
    until(page, ready("undo"))
    page.keyboard.press("Control+z")
    until(page, ready("redo"))
    page.keyboard.press("ArrowLeft")
    until(page, "document.getElementById('canvas').dataset.frame === '2'")
    assert sorted(session.results.names) == [2, 3, 4, 5] and session.state()["way"] == "forward"
    # Back after forward is both, so that what was made stays; the frame that was shown is shown again.
    page.keyboard.press("Shift+B")
    idle(page, "the whole clip is done")
    assert len(session.results.names) == 6 and page.locator("#way").input_value() == "both"
    until(page, "document.getElementById('canvas').dataset.frame === '2'")
    page.keyboard.press("a")
    until(page, "document.getElementById('canvas').dataset.frame === '0'")
    assert page.trouble == []


def test_a_page_that_lost_the_server_finds_it_again(page, session, workspace):
    page.keyboard.press("d")
    click(page, 32, 36)
    until(page, ready("estimate"))
    page.locator("#estimate").click()
    idle(page, "of memory")
    workspace.news.ended = True
    idle(page, "the server does not answer")
    session.edit("name", 0, 1, (), "kite")
    workspace.news.ended = False
    until(page, "document.getElementById('objects').textContent.includes('kite')")
    until(page, "!document.getElementById('status').textContent.includes('does not answer')")
    # A page that is opened anew has the queue.
    page.reload()
    until(page, "document.getElementById('jobs').textContent.includes('estimate clip <b>&amp;: done')")

import numpy as np
import pytest

from undertow.base import MaskError
from undertow.drawing import ClassView, class_colour, class_palette, overlay
from undertow.drawing.overlay import named_places
from undertow.masks import VOID, object_colour

RNG = np.random.default_rng(0)


def scene() -> tuple[np.ndarray, np.ndarray]:
    image = RNG.integers(0, 256, (40, 50, 3)).astype(np.uint8)
    labels = np.zeros((40, 50), np.uint16)
    labels[5:25, 5:25], labels[10:30, 25:45] = 1, 300
    return image, labels


def test_background_is_left_and_inputs_are_not_changed():
    image, labels = scene()
    before = image.copy()
    drawn = overlay(image, labels)
    assert np.array_equal(image, before)
    assert np.array_equal(drawn[labels == 0], image[labels == 0])
    assert drawn.dtype == np.uint8


@pytest.mark.parametrize("object_id", [1, 300])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_the_tint_is_a_blend(object_id, alpha):
    image, labels = scene()
    drawn = overlay(image, labels, alpha=alpha, outline=False)
    inside = labels == object_id
    blend = (1 - alpha) * image[inside].astype(float) + alpha * np.array(object_colour(object_id))
    assert np.abs(drawn[inside] - blend).max() <= 0.5


def test_the_outline_is_two_pixels_inside_the_object_dark_then_light():
    image, labels = scene()
    labels[labels == 300] = 0
    drawn, plain = overlay(image, labels), overlay(image, labels, outline=False)
    changed = (drawn != plain).any(-1)
    ring = np.zeros_like(changed)
    ring[5:25, 5:25], ring[7:23, 7:23] = True, False
    assert not changed[~ring].any()
    red = np.array(object_colour(1))
    assert np.abs(drawn[5, 15] - 0.3 * red).max() <= 0.5
    assert np.abs(drawn[6, 15] - (0.4 * red + 0.6 * 255)).max() <= 0.5


def test_objects_that_touch_both_get_an_outline_and_the_image_border_none():
    image, labels = scene()
    labels[:] = 1
    labels[:, 25:] = 2
    changed = (overlay(image, labels) != overlay(image, labels, outline=False)).any((0, 2))
    assert np.flatnonzero(changed).tolist() == [23, 24, 25, 26]


def test_void_is_hatched_and_not_an_object():
    image, labels = scene()
    labels[:] = VOID
    drawn = overlay(image, labels)
    changed = (drawn != image).any(-1).mean()
    assert 0.15 < changed < 0.35


def test_sizes_must_agree():
    image, labels = scene()
    with pytest.raises(MaskError, match=r"\(40, 49\) do not fit"):
        overlay(image, labels[:, 1:])


def class_scene() -> tuple[np.ndarray, np.ndarray]:
    image = RNG.integers(0, 256, (60, 80, 3)).astype(np.uint8)
    labels = np.zeros((60, 80), np.uint16)
    labels[:, 40:] = 7
    labels[50:, :10] = VOID
    return image, labels


def test_every_pixel_is_tinted_in_its_class_colour_class_0_too():
    image, labels = class_scene()
    before = image.copy()
    view = ClassView((0, 7), colours={7: (10, 200, 30)}, alpha=0.25, words=False)
    drawn = view.draw(image, labels)[:60]
    np.testing.assert_array_equal(image, before)
    for inside, colour in ((np.s_[:48, :38], class_colour(0)), (np.s_[:, 42:], (10, 200, 30))):
        blend = 0.75 * image[inside].astype(float) + 0.25 * np.array(colour)
        assert np.abs(drawn[inside] - blend).max() <= 0.5
    # Where two classes meet there is a darker line on both sides; the picture's own border is none.
    for column in (39, 40):
        blend = 0.75 * image[:, column] + 0.25 * np.array(class_colour(0) if column < 40 else (10, 200, 30))
        assert np.abs(drawn[5:45, column] - 0.45 * blend[5:45]).max() <= 0.5


def test_void_is_hatched_and_otherwise_left_as_it_is():
    image, labels = class_scene()
    drawn = ClassView((0, 7), words=False).draw(image, labels)[:60]
    inside = np.s_[52:, :8]
    same = (drawn[inside] == image[inside]).all(-1)
    assert 0.5 < same.mean() < 0.9


def test_contours_are_lines_inside_both_regions():
    image, labels = class_scene()
    drawn = ClassView((0, 7), view="contours", words=False).draw(image, labels)[:60]
    assert (drawn[:40, 38:40] == class_colour(0)).all() and (drawn[:40, 40:42] == class_colour(7)).all()
    assert np.abs(drawn[:40, :38] - 0.8 * image[:40, :38]).max() <= 0.5
    assert not (drawn[52:, :8] == class_colour(0)).all(-1).any()


def test_side_by_side_holds_the_frame_and_the_map():
    image, labels = class_scene()
    shown, tinted = (ClassView((0, 7), view=view, words=False) for view in ("sidebyside", "overlay"))
    drawn = shown.draw(image, labels)
    np.testing.assert_array_equal(drawn[:60, :80], image)
    np.testing.assert_array_equal(drawn[:60, -80:], tinted.draw(image, labels)[:60])
    assert drawn.shape[:2] == shown.size(60, 80)


@pytest.mark.parametrize("view", ["overlay", "contours", "sidebyside"])
def test_the_picture_keeps_its_size_whatever_is_in_the_frame(view):
    image, labels = class_scene()
    drawer = ClassView(tuple(range(30)), {3: "a class with a long name"}, view=view)
    sizes = {drawer.draw(image, each).shape for each in (labels, np.full_like(labels, VOID), np.full_like(labels, 3))}
    assert sizes == {(*drawer.size(60, 80), 3)}
    with pytest.raises(MaskError, match=r"labels of shape \(2, 2\)"):
        drawer.draw(image, labels[:2, :2])


def test_names_stand_inside_their_class():
    rows, columns = np.mgrid[:120, :160]
    ring = (np.hypot(rows - 60, columns - 80) - 40) ** 2 < 100
    labels = np.where(ring, 5, 0).astype(np.uint16)
    labels[:2, :2] = 9
    places = named_places(labels, (0, 5, 9))
    assert sorted(places) == [0, 5]
    for number, (x, y) in places.items():
        assert labels[y, x] == number
    drawn = [
        ClassView((0, 5), {5: "ring"}, words=words).draw(np.zeros((120, 160, 3), np.uint8), labels) for words in (0, 1)
    ]
    changed = (drawn[0] != drawn[1]).any(-1)
    assert changed[places[5][1] - 6 : places[5][1] + 6].any() and not changed[120:].any()


def test_names_are_not_cut_by_the_edge():
    labels = np.zeros((120, 160), np.uint16)
    labels[:, :30], labels[:, 130:] = 5, 9
    drawn = [
        ClassView((0, 5, 9), {5: "a pavement", 9: "a building"}, words=words).draw(
            np.zeros((120, 160, 3), np.uint8), labels
        )[:120]
        for words in (False, True)
    ]
    changed = (drawn[0] != drawn[1]).any(-1)
    assert changed[:, 30:60].any() and changed[:, 100:130].any() and not changed[:, [0, -1]].any()


def test_colours_of_classes_are_light_and_differ():
    colours = np.array([class_colour(number) for number in range(60)], float)
    apart = np.abs(colours[:, None] - colours[None]).sum(-1)
    np.fill_diagonal(apart, 999)
    assert apart[:24, :24].min() > 20 and colours.max(1).min() > 100
    near = np.abs(colours[:12, None] - colours[None, :12]).sum(-1) + 999 * np.eye(12)
    assert near.min() > 50
    assert (class_palette()[7] == class_colour(7)).all() and not class_palette()[255].any()

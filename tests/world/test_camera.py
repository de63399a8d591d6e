import numpy as np

from undertow.world.camera import Exposure, from_canvas, to_canvas, view


def test_canvas_places_are_what_the_view_shows():
    v, u = np.mgrid[0:60, 0:90].astype(np.float32)
    ramp = np.stack([u + 0.5, v + 0.5, 0 * u], axis=2)
    pose = (44.0, 31.0, 1.3, 0.2)
    shown = view(ramp, *pose, (20, 30))
    y, x = np.mgrid[0:20, 0:30] + 0.5
    places = to_canvas(np.stack([x, y], axis=2), *pose, (20, 30))
    assert np.abs(places - shown[..., :2]).max() < 1e-4
    assert np.abs(from_canvas(places, *pose, (20, 30)) - np.stack([x, y], axis=2)).max() < 1e-9


def test_exposure_starts_at_one_and_changes_colour():
    exposure = Exposure(gain=-0.8, tint=(0.2, 0.0, -0.2), rate=np.pi / 48)
    assert np.allclose(exposure.at(0.0), 1)
    dark = exposure.at(24.0)
    assert dark[1] == np.float32(np.exp(-0.8)) and dark[0] > dark[1] > dark[2]

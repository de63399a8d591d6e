"""Blank ground goes with the camera: at rest under compression and shadows, and along with a pan."""

import io
from itertools import pairwise

import av
import cv2
import numpy as np
import pytest

from undertow.points.camera import steady_flow

HEIGHT, WIDTH = 160, 240
# On a wall (x, y), beside anything that moves.
WALL = np.array([[40.0, 75.0], [80.0, 90.0], [120.0, 65.0], [200.0, 80.0]], np.float32)


def ground():
    """A wall with soft light between a ceiling and a floor with detail, wider and higher than the frames."""
    random = np.random.default_rng(2)
    picture = np.full((HEIGHT + 40, WIDTH + 60), 170.0) + 12 * np.sin(np.arange(WIDTH + 60) / 60)
    detail = cv2.resize(random.uniform(0, 255, (20, 75)), (WIDTH + 60, 80), interpolation=cv2.INTER_CUBIC)
    picture[-80:], picture[:40] = detail.clip(0, 255), detail[:40].clip(0, 255)
    return picture.astype(np.float32)


def compressed(pictures):
    """Returns pictures as a camera with noise and an encoder at low quality give them."""
    random, file = np.random.default_rng(3), io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=25, options={"crf": "30", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for picture in pictures:
            noisy = (picture + random.normal(0, 4, picture.shape)).clip(0, 255).astype(np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(noisy, "gray").reformat(format="yuv420p")))
        out.mux(stream.encode())
    file.seek(0)
    with av.open(file) as found:
        return [frame.to_ndarray(format="gray") for frame in found.decode(video=0)]


def carried(pictures, places):
    """Returns where flow takes places from frame to frame (frame, place, x and y)."""
    path = [places]
    for here, there in pairwise(pictures):
        x, y = path[-1].round().astype(int).T
        path.append(path[-1] + steady_flow(here, there)[y.clip(0, HEIGHT - 1), x.clip(0, WIDTH - 1)])
    return np.stack(path)


@pytest.mark.parametrize("pan", [(0.0, 0.0), (1.5, 0.7)], ids=["rest", "pan"])
def test_a_blank_wall_goes_with_the_camera_under_noise_compression_and_a_shadow(pan):
    wide, pictures = ground(), []
    for time in range(16):
        shift = np.array([[1, 0, -pan[0] * time], [0, 1, -pan[1] * time]], float)
        picture = cv2.warpAffine(wide, shift, (WIDTH, HEIGHT))
        across, down = np.meshgrid(np.arange(WIDTH) - 8 * time, np.arange(HEIGHT) - 75)
        pictures.append(picture * (1 - 0.06 * np.exp(-(across**2 + down**2) / 1800)))
    path = carried(compressed(pictures), WALL)
    wanted = WALL - np.arange(16)[:, None, None] * np.array(pan)
    assert np.linalg.norm(path - wanted, axis=-1).max() < 2


def test_a_blank_thing_with_edges_goes_its_own_way():
    """Detail around the middle of the square, its edges, moves otherwise than the camera."""
    pictures = [ground()[:HEIGHT, :WIDTH] for _ in range(2)]
    for time, picture in enumerate(pictures):
        picture[60:84, 60 + 3 * time : 84 + 3 * time] = 90
    flow = steady_flow(*(picture.astype(np.uint8) for picture in pictures))
    np.testing.assert_allclose(np.median(flow[64:80, 66:80], (0, 1)), [3, 0], atol=0.5)


@pytest.mark.parametrize("speed", [5, 8])
def test_a_wall_stays_where_something_with_detail_passes(speed):
    """Around these places most detail is the falling thing's, but along the wall's outline most is at rest."""
    pictures = [ground()[:HEIGHT, :WIDTH].copy() for _ in range(10)]
    thing = np.random.default_rng(5).uniform(0, 255, (16, 16)).astype(np.float32)
    thing = cv2.resize(thing, (48, 48), interpolation=cv2.INTER_CUBIC).clip(0, 255)
    for time, picture in enumerate(pictures):
        picture[20 + speed * time : 68 + speed * time, 90:138] = thing
    beside = np.array([[150.0, 70.0], [150.0, 80.0], [151.0, 90.0]], np.float32)
    path = carried(compressed(pictures), beside)
    assert np.linalg.norm(path - beside, axis=-1).max() < 2

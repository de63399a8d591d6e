"""Clips to analyse: grids of points, filmed and generated clips, prompts, and pseudo truth by flow."""

import numpy as np
import pytest

from undertow.analysis.clips import filmed_clip, generated_clips, point_grid, read_prompts
from undertow.analysis.flow import at, flow_tracks, warp_error
from undertow.backbones.sampling.guidance import SamplingSettings
from undertow.base import CueError, SettingsError
from undertow.points.tracks import Tracks, write_tracks
from undertow.video import write_video

cv2 = pytest.importorskip("cv2")


def textured(height, width, seed=0):
    """Smooth noise: something that flow can hold on to."""
    random = np.random.default_rng(seed)
    small = random.integers(0, 255, (height // 4, width // 4, 3)).astype(np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def test_grid_is_difftracks():
    grid = point_grid(20, 480, 720)
    assert grid.shape == (400, 2)
    # x from 11.25 to 708.75, y from 11.25 to 468.75; x runs fastest.
    assert grid[0].tolist() == [11.25, 11.25] and grid[-1].tolist() == [708.75, 468.75]
    assert grid[1, 1] == 11.25 and grid[1, 0] > 40
    with pytest.raises(SettingsError, match="--points is 0"):
        point_grid(0, 480, 720)


def test_flow_follows_what_moves_and_doubts_what_leaves():
    wide = textured(96, 240)
    images = np.stack([wide[:, 60 - 5 * f : 60 - 5 * f + 128] for f in range(5)])
    points = np.array([[30.0, 40.0], [70.5, 60.25], [125.0, 50.0]], np.float32)
    tracks, visible = flow_tracks(images, points)
    # The picture moves 5 pixels to the right per frame; the last point leaves it at once.
    expected = points[:, None] + np.arange(5)[:, None] * (5, 0)
    np.testing.assert_allclose(tracks[:2], expected[:2], atol=0.5)
    assert visible[:2].all() and visible[2].tolist() == [True, False, False, False, False]


def test_fields_are_read_between_pixels():
    field = np.zeros((4, 6, 2), np.float32)
    field[..., 0], field[..., 1] = np.meshgrid(np.arange(6) + 0.5, np.arange(4) + 0.5)
    places = np.array([[0.5, 0.5], [3.25, 2.75], [5.5, 3.5]], np.float32)
    np.testing.assert_allclose(at(field, places), places, atol=0.02)
    assert at(field, places[:0]).shape == (0, 2)


def test_warp_error_is_small_for_motion_and_large_for_flicker():
    wide = textured(96, 240)
    moving = [wide[:, 60 - 4 * f : 60 - 4 * f + 128] for f in range(4)]
    lit = [np.clip(image.astype(int) + 12 * (f % 2), 0, 255).astype(np.uint8) for f, image in enumerate(moving)]
    # Brightness that jumps by 12 is an error of about 12, however things move.
    assert warp_error(moving) < 2
    assert 8 < warp_error(lit) < 14
    assert np.isnan(warp_error([np.zeros((96, 128, 3), np.uint8)]))


def test_prompts_of_the_package():
    objects, scenes = read_prompts("objects"), read_prompts("scenes")
    assert len(objects) == len(scenes) == 50 and len({*objects, *scenes}) == 100
    assert read_prompts("objects", 3) == objects[:3]


def test_prompts_of_a_file(tmp_path):
    (tmp_path / "mine.txt").write_text("a red disc\n\n  two squares \n")
    assert read_prompts(str(tmp_path / "mine.txt")) == ["a red disc", "two squares"]
    (tmp_path / "empty.txt").write_text("\n\n")
    with pytest.raises(CueError, match=r"holds no prompt; give"):
        read_prompts(str(tmp_path / "empty.txt"))
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    for name in ("bytes.txt", "none.txt"):
        with pytest.raises(CueError, match=r"cannot be read .*give a text file"):
            read_prompts(str(tmp_path / name))


def test_filmed_clips_take_frames_over_the_whole(tmp_path):
    images = [textured(48, 64, seed) for seed in range(9)]
    write_video(tmp_path / "clip.mp4", images, fps=8)
    tracks = np.random.default_rng(0).uniform(0, 48, (5, 9, 2)).astype(np.float32)
    visible = np.ones((5, 9), bool)
    write_tracks(tmp_path / "tracks.npz", Tracks(tracks, visible))
    clip = filmed_clip(tmp_path / "clip.mp4", tmp_path / "tracks.npz", 4)
    np.testing.assert_array_equal(clip.tracks, tracks[:, [0, 2, 4, 6]])
    assert clip.images.shape == (4, 48, 64, 3)
    assert len(filmed_clip(tmp_path / "clip.mp4", tmp_path / "tracks.npz", 4, every=4).images) == 3
    for frames, every, says in ((1, None, "--frames is 1"), (4, 0, "--every is 0")):
        with pytest.raises(SettingsError, match=says):
            filmed_clip(tmp_path / "clip.mp4", tmp_path / "tracks.npz", frames, every)
    write_tracks(tmp_path / "short.npz", Tracks(tracks[:, :3], visible[:, :3]))
    with pytest.raises(SettingsError, match="5 points on 9 frames"):
        filmed_clip(tmp_path / "clip.mp4", tmp_path / "short.npz", 4)
    (tmp_path / "broken.npz").write_bytes(b"nothing")
    with pytest.raises(SettingsError, match=r"not a readable \.npz"):
        filmed_clip(tmp_path / "clip.mp4", tmp_path / "broken.npz", 4)


def test_generated_clips_hold_the_latents_of_the_nearest_timesteps(tiny_video_like, tmp_path):
    sampling = SamplingSettings(steps=4, text_scale=1.0, seed=3)

    def make(**options):
        return list(
            generated_clips(
                tiny_video_like, ["a disc", "a square"], frames=2, size=(48, 64), sampling=sampling, points=3, **options
            )
        )

    first, second = make(timesteps=[700, 20], save=tmp_path)
    assert sorted(first.noisy) == [249, 749] and first.prompt == "a disc"
    assert first.tracks.shape == (9, 2, 2) and first.visible[:, 0].all()
    assert not np.array_equal(first.images, second.images)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000.mp4", "001.mp4"]
    # Tracks that another tracker made of these clips take the place of flow; the clips are the same again.
    for number in range(2):
        write_tracks(tmp_path / f"{number:03d}.npz", Tracks(np.full((4, 2, 2), 5, np.float32), np.ones((4, 2), bool)))
    again, _ = make(tracks=tmp_path)
    np.testing.assert_array_equal(again.images, first.images)
    assert again.tracks.shape == (4, 2, 2) and len(again.noisy) == 4


def test_image_models_generate_no_clips(tiny_like):
    with pytest.raises(SettingsError, match=r"single pictures without motion; give --worlds"):
        next(generated_clips(tiny_like, ["a"], frames=2, size=(48, 64), sampling=SamplingSettings()))

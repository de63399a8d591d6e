"""The tracker on real networks at tiny size: what it computes, that points are independent, and what it costs."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as functional

import undertow as ut
from undertow.base import CueError, SettingsError, VideoError
from undertow.points import PointSettings, PointTracker, cover, track_points
from undertow.points.matching import forward_rows
from undertow.points.settings import resolve_points
from undertow.video import Video

HEIGHT, WIDTH = 48, 64
SMALL = PointSettings(preset="points", size=(WIDTH, HEIGHT), temperature=0.1, batch=3)


def clip(length, step=(0, 0), seed=0):
    """A noise picture that moves by whole pixels per frame, what leaves on one side coming in on the other."""
    picture = np.random.default_rng(seed).integers(0, 255, (HEIGHT // 4, WIDTH // 4, 3), np.uint8)
    picture = np.kron(picture, np.ones((4, 4, 1), np.uint8))
    return np.stack([np.roll(picture, (t * step[1], t * step[0]), (0, 1)) for t in range(length)])


@pytest.fixture(params=["tiny_like", "tiny_video_like"])
def backbone(request):
    return request.getfixturevalue(request.param)


POINTS = np.array([[0, 20.3, 17.9], [0, 40.0, 30.5], [2, 12.0, 36.0], [4, 50.2, 9.1]])


def test_points_of_a_still_clip_stay(tiny_like):
    found = track_points(clip(4), POINTS[:2, 1:], model=tiny_like, settings=SMALL)
    assert found.tracks.shape == (2, 4, 2) and found.tracks.dtype == np.float32
    np.testing.assert_array_equal(found.tracks[:, 0], POINTS[:2, 1:].astype(np.float32))
    # A third of a token: the window round the best token leans towards its middle.
    assert np.abs(found.tracks - POINTS[:2, None, 1:]).max() < 8 / 3
    assert found.confidence[:, 0].min() == 1 and found.visibility[:, 0].all()


@pytest.mark.parametrize("source", ["pixels", "attention"])
def test_points_move_with_the_picture(tiny_like, source):
    """By whole tokens, which is what a network of that stride sees as the same picture elsewhere."""
    settings = PointSettings(
        preset="points", size=(WIDTH, HEIGHT), source=source, temperature=0.05 if source == "attention" else None
    )
    asked = np.array([[28.0, 20.0]])
    found = track_points(clip(3, step=(8, 0)), asked, model=tiny_like, settings=settings)
    assert np.abs(found.tracks[0] - [[28, 20], [36, 20], [44, 20]]).max() < 4


def test_a_result_depends_on_no_other_point(backbone):
    settings = PointSettings(preset="points", size=(WIDTH, HEIGHT), smoothing=0.1, recent=0.3)
    together = track_points(clip(5, (2, 1)), POINTS, model=backbone, settings=settings)
    for number in range(len(POINTS)):
        alone = track_points(clip(5, (2, 1)), POINTS[number : number + 1], model=backbone, settings=settings)
        np.testing.assert_allclose(alone.tracks[0], together.tracks[number], atol=1e-3)
        np.testing.assert_allclose(alone.confidence[0], together.confidence[number], atol=1e-4)


def test_time_has_two_directions(tiny_like):
    """Tracks of a clip shown backward are those of the clip, backward: batches of one make features the same."""
    settings = PointSettings(preset="points", size=(WIDTH, HEIGHT), batch=1, recent=0.4)
    forward = track_points(clip(5, (3, 2)), POINTS, model=tiny_like, settings=settings)
    turned = POINTS * [-1, 1, 1] + [4, 0, 0]
    backward = track_points(clip(5, (3, 2))[::-1].copy(), turned, model=tiny_like, settings=settings)
    np.testing.assert_allclose(backward.tracks[:, ::-1], forward.tracks, atol=1e-3)


def test_points_are_added_without_the_network(backbone):
    with PointTracker(backbone, SMALL) as tracker:
        video = Video(clip(5, (2, 0)))
        tracker.observe(video, anchors=(0,))
        before = tracker.follow(POINTS[:1])
        forwards = tracker.forwards
        after = tracker.follow(POINTS[:2])
        assert tracker.forwards == forwards > 0
    np.testing.assert_allclose(after.tracks[0], before.tracks[0], atol=1e-3)


def test_features_on_disk_change_nothing(backbone, tmp_path):
    settings = PointSettings(preset="points", size=(WIDTH, HEIGHT), recent=0.3)
    wanted = track_points(clip(5, (2, 1)), POINTS, model=backbone, settings=settings)
    for folder in (None, tmp_path / "features", tmp_path / "features"):
        with PointTracker(backbone, settings, folder=folder, memory=1) as tracker:
            tracker.observe(Video(clip(5, (2, 1))))
            found = tracker.follow(POINTS)
            np.testing.assert_array_equal(found.tracks, wanted.tracks)
            np.testing.assert_array_equal(found.confidence, wanted.confidence)
    # The third time all features were there.
    assert tracker.forwards == 0


def test_another_video_is_observed_anew(tiny_like):
    with PointTracker(tiny_like, SMALL) as tracker:
        tracker.observe(Video(clip(3, seed=1)))
        tracker.observe(Video(clip(4, (2, 0))))
        found = tracker.follow(POINTS[:2])
    np.testing.assert_array_equal(
        found.tracks, track_points(clip(4, (2, 0)), POINTS[:2], model=tiny_like, settings=SMALL).tracks
    )


def test_a_damaged_file_of_features_is_made_again(tiny_like, tmp_path):
    for _ in range(2):
        with PointTracker(tiny_like, SMALL, folder=tmp_path, memory=1) as tracker:
            tracker.observe(Video(clip(5)))
            found = tracker.follow(POINTS[:1])
        for path in list(tmp_path.glob("*_4.safetensors")):
            path.write_bytes(path.read_bytes()[:50])
    assert tracker.forwards == 1 and np.isfinite(found.tracks).all()


def test_a_video_model_sees_each_frame_once_and_few_chunks(tiny_video_like, monkeypatch):
    encoded = []
    encode = type(tiny_video_like).encode

    def counted(self, images, *others):
        encoded.extend(images)
        return encode(self, images, *others)

    monkeypatch.setattr(type(tiny_video_like), "encode", counted)
    with PointTracker(tiny_video_like, SMALL) as tracker:
        tracker.observe(Video(clip(16)), anchors=(0,))
        assert len(encoded) == 16 and tracker.forwards == len(cover(range(16), 0, tiny_video_like.card.chunk)) == 2
        tracker.follow([[7, 20.0, 20.0]])
        # Chunks that begin with the query's frame are new, its latents are not.
        assert len(encoded) == 16 and tracker.forwards == 4
    with PointTracker(tiny_video_like, PointSettings(preset="points", size=(WIDTH, HEIGHT), anchor="first")) as tracker:
        tracker.observe(Video(clip(16)))
        tracker.follow([[0, 9.0, 9.0], [7, 20.0, 20.0], [8, 30.0, 9.0]])
        assert tracker.forwards == 2


def test_the_preset_difftrack_is_the_published_procedure(tiny_video_like):
    """Against the procedure written out densely: overlapping chunks, all pairs of tokens, a table of matches."""
    frames, points = clip(16, (2, 1)), np.array([[20.3, 17.9], [40.0, 30.5], [3.0, 44.0]])
    settings = PointSettings(preset="difftrack", size=(WIDTH, HEIGHT))
    found = track_points(frames, points, model=tiny_video_like, settings=settings)

    card = tiny_video_like.card
    (site,) = card.sites.get("points", card.sites["track"])
    height, width = HEIGHT // site.stride, WIDTH // site.stride
    latents = torch.cat([tiny_video_like.encode(frame[None]) for frame in frames])
    costs: dict[int, list[torch.Tensor]] = {}
    for chunk in cover(range(16), 0, card.chunk, "overlap"):
        noisy = tiny_video_like.prepare(latents[list(chunk)], card.noising, chunk)
        seen = tiny_video_like.observe(noisy, card.noising.timestep, [site])
        queries, keys = seen.queries[site.path].half().float(), seen.keys[site.path].half().float()
        for place, frame in enumerate(chunk[1:], start=1):
            forward = (queries[0] @ keys[place].mT / site.heads**0.5).softmax(-1)
            backward = (keys[0] @ queries[place].mT / site.heads**0.5).softmax(1)
            costs.setdefault(frame, []).append((forward + backward).mean(0) / 2)
    slack = WIDTH / 1024
    for frame, each in costs.items():
        best = torch.stack(each).mean(0).argmax(-1)
        table = torch.stack([best % width, best // width]).float().reshape(1, 2, height, width)
        x, y = torch.tensor(points / site.stride, dtype=torch.float32).T
        at = torch.stack([x / (width - slack) * 2 - 1, y / (height - slack) * 2 - 1], -1)[None, None]
        sampled = functional.grid_sample(table, at, align_corners=True, padding_mode="border")[0, :, 0].T
        np.testing.assert_allclose(found.tracks[:, frame], sampled.numpy() * site.stride, atol=2e-3)


@pytest.mark.parametrize("source", ["attention", "features"])
def test_logits_of_several_sites_are_added(tiny_like, source):
    """Against sums of each site's own logits, head by head, under one softmax."""
    first = tiny_like.card.sites["track"][0]
    sites = [site for site in tiny_like.sites() if site.stride == first.stride][:2]
    assert len(sites) == 2
    frames = clip(2, (2, 1))
    card = tiny_like.card
    tiny_like.card = replace(card, sites={**card.sites, "points": tuple(sites)})
    try:
        settings = PointSettings(preset="points", size=(WIDTH, HEIGHT), source=source, temperature=0.3)
        with PointTracker(tiny_like, settings) as tracker:
            tracker.observe(Video(frames))
            kept, resolved = [tracker._video.features(-1, -1, frame) for frame in (0, 1)], tracker.resolved
        features = source == "features"
        noisy = tiny_like.prepare(tiny_like.encode(frames), resolved.noising, [0, 1])
        seen = tiny_like.observe(noisy, resolved.noising.timestep, sites, features=features)
    finally:
        tiny_like.card = card
    logits = 0
    for site in sites:
        if features:
            states = functional.normalize(seen.features[site.path], dim=-1)[:, None]
            logits = logits + states[0] @ states[1].mT / 0.3
        else:
            logits = logits + seen.queries[site.path][0] @ seen.keys[site.path][1].mT / site.head_dim**0.5 / 0.3
    rows = forward_rows(kept[0].queries, kept[1].keys, resolved.scale)
    torch.testing.assert_close(rows, logits.softmax(-1).mean(0), rtol=1e-2, atol=1e-4)


def test_the_preset_difftrack_squashes_to_the_published_size(tiny_video_like):
    stride = tiny_video_like.card.places("points")[0].stride
    shown = resolve_points(PointSettings(preset="difftrack"), tiny_video_like, 999, 333).input_size
    assert shown == tuple(side * stride for side in tiny_video_like.card.window_grid)
    assert resolve_points(PointSettings(), tiny_video_like, 999, 333).input_size != shown
    asked = PointSettings(preset="difftrack", size=(WIDTH, HEIGHT))
    assert resolve_points(asked, tiny_video_like, 999, 333).input_size == (HEIGHT, WIDTH)


def test_a_spare_frame_takes_the_place_of_the_first(tiny_video_like):
    """What is read are the frames after a copy of the first one; chunks hold one frame less."""
    frames = clip(15, (2, 1))
    with PointTracker(tiny_video_like, PointSettings(preset="points", size=(WIDTH, HEIGHT), spare=True)) as tracker:
        tracker.observe(Video(frames), anchors=[0])
        assert tracker.resolved.chunk == tiny_video_like.card.chunk - 1 and tracker.forwards == 2
        (site,) = tracker.resolved.sites
        chunk = cover(range(15), 0, 12)[1]
        latents = torch.cat([tiny_video_like.encode(frames[number][None]) for number in (0, *chunk)])
        seen = tiny_video_like.observe(latents, tracker.resolved.noising.timestep, [site])
        kept = tracker._video.features(0, 1, chunk[2])
        torch.testing.assert_close(kept.keys.float(), seen.keys[site.path][3], rtol=2e-3, atol=2e-3)
    image = PointSettings(preset="points", size=(WIDTH, HEIGHT), spare=True, source="pixels")
    assert track_points(frames, [[5.0, 6.0]], model=tiny_video_like, settings=image).tracks.shape == (1, 15, 2)


def test_a_stream_is_read_once(backbone):
    wanted = track_points(clip(5, (2, 0)), POINTS[:1], model=backbone, settings=SMALL)
    found = track_points(Video(iter(clip(5, (2, 0)))), POINTS[:1], model=backbone, settings=SMALL)
    np.testing.assert_array_equal(found.tracks, wanted.tracks)


def test_one_frame_is_a_video(backbone):
    found = track_points(clip(1), [[5.0, 6.0]], model=backbone, settings=SMALL)
    assert found.tracks.tolist() == [[[5.0, 6.0]]] and found.visibility.all()


def test_many_points_are_followed_in_blocks(tiny_like, monkeypatch):
    """A hundred thousand points, and the same in blocks of a few."""
    settings = PointSettings(preset="points", source="pixels", size=(WIDTH, HEIGHT))
    random = np.random.default_rng(3)
    points = random.random((100_000, 2)) * [WIDTH, HEIGHT]
    many = track_points(clip(2, (2, 0)), points, model=tiny_like, settings=settings)
    assert many.tracks.shape == (100_000, 2, 2) and np.isfinite(many.tracks).all()
    monkeypatch.setattr("undertow.points.tracker.ROWS", 48 * 5 * 7)
    few = track_points(clip(2, (2, 0)), points[:20], model=tiny_like, settings=settings)
    np.testing.assert_allclose(few.tracks, many.tracks[:20], atol=1e-4)


def test_grids_and_masks(tiny_like):
    assert ut.track_points is track_points
    grid = track_points(clip(2), grid=3, frame=1, model=tiny_like, settings=SMALL)
    assert len(grid.tracks) == 9 and (grid.queries[:, 0] == 1).all()
    mask = np.zeros((HEIGHT, WIDTH), np.uint16)
    mask[10:20, 10:30], mask[40, 60] = 1, 2
    on = track_points(clip(2), mask=mask, model=tiny_like, settings=SMALL)
    columns, rows = np.floor(on.queries[:, 1:]).astype(int).T
    assert set(mask[rows, columns].tolist()) == {1, 2} and 60 < len(on.tracks) < 140


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([[64.5, 10.0]], "outside the frame of 64x48"),
        ([[np.nan, 10.0]], "is not a number"),
        ([[9, 10.0, 10.0]], "not among 0 to 2"),
        ([[0.5, 10.0, 10.0]], "a part of a frame"),
        (np.zeros((0, 2)), "are none"),
        ([[1.0]], "have the shape"),
    ],
)
def test_bad_points_are_refused_before_the_network_runs(tiny_like, points, message, monkeypatch):
    monkeypatch.setattr(PointTracker, "observe", lambda *_, **__: pytest.fail("observed"))
    with pytest.raises(CueError, match=message):
        track_points(clip(3), points, model=tiny_like, settings=SMALL)


@pytest.mark.parametrize(
    "options",
    [{"temperature": 0}, {"recent": 1.5}, {"decoding": "best"}, {"heads": (7,)}, {"preset": "drift"}, {"radius": -1}],
)
def test_settings_out_of_range(tiny_like, options):
    with pytest.raises(SettingsError):
        track_points(clip(2), [[5.0, 5.0]], model=tiny_like, settings=PointSettings(size=(WIDTH, HEIGHT), **options))


def test_exactly_one_kind_of_points(tiny_like):
    for given in ({}, {"points": [[1.0, 1.0]], "grid": 2}):
        with pytest.raises(SettingsError, match="exactly one"):
            track_points(clip(2), model=tiny_like, **given)


def test_an_empty_stream_has_no_points(tiny_like):
    with pytest.raises(VideoError), PointTracker(tiny_like, SMALL) as tracker:
        tracker.observe(Video(iter([])))

"""The analysis of layers: metrics against obvious references, and the whole on real classes of small size."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from undertow.analysis.analyze import AnalysisSettings, MotionClip, analyze
from undertow.analysis.scores import Points, candidate_sites, feature_accuracy, groups, matches, score_heads
from undertow.analysis.table import Row, average, ranked, to_csv, to_markdown, with_harmonic
from undertow.backbones.sampling.guidance import SamplingSettings, sample
from undertow.base import SettingsError

GRID, FRAMES, HEADS, DIM, WORDS = (3, 5), 3, 2, 4, 2
SIZE = (48, 80)
TOKENS = GRID[0] * GRID[1]


def heads(seed=0):
    generator = torch.Generator().manual_seed(seed)
    queries, keys = (2 * torch.randn(FRAMES, HEADS, TOKENS, DIM, generator=generator) for _ in range(2))
    return queries, keys, 2 * torch.randn(HEADS, WORDS, DIM, generator=generator)


def some_points(seed=0, count=6):
    random = np.random.default_rng(seed)
    tracks = random.uniform((4, 4), (SIZE[1] - 4, SIZE[0] - 4), (count, FRAMES, 2)).astype(np.float32)
    visible = random.random((count, FRAMES)) < 0.6
    visible[:, 0] = True
    visible[0, 1:] = False
    return Points(tracks, visible, SIZE)


def paper_matches(queries, keys, points, head):
    """For every token of frame 0 the best token of each frame, and four of these mixed at a point, one by one."""
    found = np.zeros((len(points.tracks), FRAMES, 2))
    found[:, 0] = points.tracks[:, 0]
    for frame in range(1, FRAMES):
        costs = []
        for a in range(HEADS) if head is None else [head]:
            forward = (queries[0, a] @ keys[frame, a].T / DIM**0.5).softmax(dim=1)
            backward = (queries[frame, a] @ keys[0, a].T / DIM**0.5).softmax(dim=1).T
            costs.append((forward + backward) / 2)
        best = torch.stack(costs).mean(dim=0).argmax(dim=1)
        places = {token: 16 * np.array([best[token] % GRID[1], best[token] // GRID[1]]) + 8 for token in range(TOKENS)}
        for number, (x, y) in enumerate(points.tracks[:, 0]):
            column = min(max(x / 16 - 0.5, 0), GRID[1] - 1)
            row = min(max(y / 16 - 0.5, 0), GRID[0] - 1)
            place = 0
            for i in {math.floor(row), math.ceil(row)}:
                for j in {math.floor(column), math.ceil(column)}:
                    place = place + places[i * GRID[1] + j] * (1 - abs(i - row)) * (1 - abs(j - column))
            found[number, frame] = place
    return found


@pytest.mark.parametrize("head", [0, 1, None])
def test_accuracy_is_the_papers(head):
    queries, keys, text = heads()
    points = some_points(count=40)
    scores = score_heads(queries, keys, text, GRID, points)
    expected = paper_matches(queries, keys, points, head)
    mine = matches(queries, keys, GRID, points, DIM**-0.5)[HEADS if head is None else head]
    pixels = (mine.numpy() + 0.5) * 16
    np.testing.assert_allclose(pixels, expected, atol=1e-3)
    error = np.linalg.norm(expected - points.tracks, axis=2) * math.sqrt(480 * 720 / (SIZE[0] * SIZE[1]))
    share = 100 * (error < 8)[points.visible].mean()
    assert scores.accuracy[HEADS if head is None else head] == pytest.approx(share)


def test_eight_pixels_are_those_of_480_by_720():
    # One point, off by 7.9 and by 8.1 pixels of 480 x 720, seen on a frame of half that size; frame 0 counts.
    tracks = np.full((1, 3, 2), 100, np.float32)
    points = Points(tracks, np.ones((1, 3), bool), (240, 360))
    grid = (240, 360)
    found = torch.full((1, 3, 2), 99.5)
    found[0, 1, 0] += 7.9 / 2
    found[0, 2, 1] += 8.1 / 2
    assert points.accuracy(found, grid) == pytest.approx(200 / 3)
    hidden = Points(tracks, np.array([[True, True, False]]), (240, 360))
    assert hidden.accuracy(found, grid) == pytest.approx(100)


def joint(queries, keys, text, token):
    """Weights of one token of frame 0 over the text and all frames, per head."""
    weights = []
    for a in range(HEADS):
        every = torch.cat([text[a], keys[:, a].reshape(-1, DIM)])
        weights.append((every @ queries[0, a, token] / DIM**0.5).softmax(dim=0))
    return torch.stack(weights)


@pytest.mark.parametrize("head", [0, 1, None])
def test_confidence_and_attention_are_the_papers_where_the_points_are(head):
    queries, keys, text = heads(1)
    points = some_points(1)
    scores = score_heads(queries, keys, text, GRID, points)
    confidence = {"cross": [], "self": [], "text": []}
    attention = {"cross": [], "self": [], "text": []}
    for (x, y), visible in zip(points.tracks[:, 0], points.visible, strict=True):
        # y chooses the row and x the column of the token: exchanging them, as the published code does, gives another.
        token = int(y // 16) * GRID[1] + int(x // 16)
        weights = joint(queries, keys, text, token)
        weights = (weights.mean(dim=0) if head is None else weights[head]).double().numpy()
        frames = weights[WORDS:].reshape(FRAMES, TOKENS)
        if visible[1:].any():
            confidence["cross"].append(frames[1:].max(axis=1)[visible[1:]].mean())
        confidence["self"].append(frames[0].max())
        confidence["text"].append(weights[:WORDS].max())
        attention["cross"].append(frames[1:].sum())
        attention["self"].append(frames[0].sum())
        attention["text"].append(weights[:WORDS].sum())
    place = HEADS if head is None else head
    for part in ("cross", "self", "text"):
        assert scores.confidence[part][place] == pytest.approx(np.mean(confidence[part]), rel=1e-5)
        assert scores.attention[part][place] == pytest.approx(np.mean(attention[part]), rel=1e-5)
    assert sum(scores.attention[part][place] for part in scores.attention) == pytest.approx(1)


def test_x_and_y_are_not_exchanged():
    # One token of the grid is asked for, and it alone looks at other frames: read with x and y exchanged, the point
    # lies in another token (or none: the grid is wider than high), and the score would be that of the others.
    queries, keys, _ = heads()
    x, y = 72.0, 24.0
    queries[0] = 0
    queries[0, :, 1 * GRID[1] + 4] = 100.0
    keys[:] = -1.0
    keys[1:, :, 0] = 1.0
    tracks = np.full((1, FRAMES, 2), (x, y), np.float32)
    scores = score_heads(queries, keys, None, GRID, Points(tracks, np.ones((1, FRAMES), bool), SIZE))
    assert scores.attention["cross"][HEADS] == pytest.approx(1)
    assert np.isnan(scores.attention["text"]).all()


def test_reading_as_the_tracker_does_finds_what_moved_by_a_token():
    tokens = torch.nn.functional.normalize(
        torch.randn(*GRID, 64, generator=torch.Generator().manual_seed(5)), dim=-1
    ) * 15  # fmt: skip
    frames = torch.stack([tokens.roll(f, dims=1).reshape(1, TOKENS, 64) for f in range(FRAMES)])
    # In the middle of tokens, where a mix of descriptors is one of them.
    start = np.array([[8.0, 24.0], [24.0, 8.0]], np.float32)
    tracks = start[:, None] + np.arange(FRAMES, dtype=np.float32)[:, None] * np.array([16, 0], np.float32)
    points = Points(tracks.astype(np.float32), np.ones((2, FRAMES), bool), SIZE)
    for reading in ("tracker", "paper"):
        found = matches(frames, frames, GRID, points, 64**-0.5, reading)[-1]
        np.testing.assert_allclose((found.numpy() + 0.5) * 16, tracks, atol=0.5)


def test_features_are_matched_forward_only():
    features = torch.randn(FRAMES, TOKENS, HEADS * DIM, generator=torch.Generator().manual_seed(4))
    points = some_points(4, count=30)
    found = feature_accuracy(features, HEADS, GRID, points)
    for place, channels in ((0, slice(0, DIM)), (1, slice(DIM, None)), (2, slice(None))):
        part = features[..., channels]
        own = []
        for frame in range(FRAMES):
            # A softmax does not change which is best.
            best = (part[0] @ part[frame].T).argmax(dim=1) if frame else torch.arange(TOKENS)
            own.append(torch.stack([best % GRID[1], best // GRID[1]], -1).float())
        corners = _bilinear(torch.stack(own, 1), points)
        assert found[place] == pytest.approx(points.accuracy(corners, GRID))


def _bilinear(table, points):
    """A table of places per token read at the points by torch's own sampling."""
    maps = table.reshape(GRID[0], GRID[1], -1).permute(2, 0, 1)[None]
    at = points.cells(GRID)[:, 0]
    unit = 2 * at / (torch.tensor([GRID[1], GRID[0]]) - 1) - 1
    read = torch.nn.functional.grid_sample(maps, unit[None, None], padding_mode="border", align_corners=True)
    found = read[0, :, 0].T.reshape(len(at), FRAMES, 2)
    found[:, 0] = at
    return found


def row(**changes):
    values = {
        "layer": 0,
        "site": "s",
        "stride": 8,
        "timestep": 1,
        "head": None,
        "compared": "query-key",
        "accuracy": 1.0,
    }
    return Row(**{**values, **changes})


def test_harmonic_mean_of_the_three_stretched_over_the_table():
    rows = [
        row(layer=i, accuracy=a, confidence_cross=c, attention_cross=t)
        for i, (a, c, t) in enumerate([(10, 0.1, 0.5), (30, 0.2, 0.7), (50, 0.3, 0.4)])
    ]
    rows.append(row(layer=0, head=1, accuracy=99, confidence_cross=0.9, attention_cross=0.9))
    rows.append(row(compared="features", accuracy=99.0))
    found = with_harmonic(rows)
    # Second row: 0.5, 0.5 and 1; the others have a zero somewhere.
    assert [each.harmonic for each in found[:3]] == [0.0, pytest.approx(3 / (2 + 2 + 1)), 0.0]
    # One head alone says nothing of what is large, and features have no attention.
    assert np.isnan(found[3].harmonic) and np.isnan(found[4].harmonic)
    assert [each.layer for each in ranked(found, "harmonic")] == [1, 0, 2]


def test_clips_count_the_same_and_what_is_unknown_does_not():
    first, second = row(accuracy=10.0, confidence_cross=float("nan")), row(accuracy=30.0, confidence_cross=0.5)
    (mean,) = average([[first], [second]])
    assert mean.accuracy == 20 and mean.confidence_cross == 0.5 and np.isnan(mean.attention_text)
    assert to_csv([mean]).splitlines()[1].startswith("0,s,8,1,all,query-key,20,0.5,nan")
    assert "| 20.0 | 0.500 / – / – |" in to_markdown([mean])


def moving_clip(height=64, width=96, frames=3, seed=0):
    """Noise that moves by a token to the right per frame."""
    random = np.random.default_rng(seed)
    wide = random.integers(0, 255, (height, width + 16 * frames, 3), dtype=np.uint8)
    images = np.stack([wide[:, 16 * (frames - f) : 16 * (frames - f) + width] for f in range(frames)])
    start = random.uniform((16, 4), (max(17, width - 16 * frames), height - 4), (12, 2))
    tracks = (start[:, None] + np.arange(frames)[:, None] * (16, 0)).astype(np.float32)
    return MotionClip("noise", images, tracks, np.ones((12, frames), bool))


@pytest.mark.parametrize("fixture", ["tiny_like", "tiny_video_like"])
def test_every_site_timestep_and_head_is_in_the_table(fixture, request):
    backbone = request.getfixturevalue(fixture)
    settings = AnalysisSettings(timesteps=(1, 201), noising="clean", size=(96, 64))
    found = analyze(backbone, [moving_clip()], settings)
    sites = candidate_sites(backbone)
    keyed = {(r.layer, r.timestep, r.head) for r in found.rows if r.compared == "query-key"}
    heads = {s: [None, *range(site.heads)] if site.heads > 1 else [None] for s, site in enumerate(sites)}
    assert keyed == {(s, t, head) for s in heads for t in (1, 201) for head in heads[s]}
    assert {r.compared for r in found.rows} == {"query-key", "features", "features (cosine)"}
    assert found.best == max(
        (r for r in found.rows if r.head is None and r.compared == "query-key"), key=lambda r: r.accuracy
    )


def test_a_few_sites_at_a_time_give_what_all_at_once_do(tiny_video_like):
    settings = AnalysisSettings(timesteps=(1,), noising="clean", size=(96, 64))
    found = analyze(tiny_video_like, [moving_clip()], settings)
    one = analyze(tiny_video_like, [moving_clip()], replace(settings, budget=1))
    assert np.allclose([r.accuracy for r in one.rows], [r.accuracy for r in found.rows])


def test_untrained_matchers_follow_moving_noise(tiny_like):
    """An untrained network that was started as a matcher finds what moves by whole tokens."""
    found = analyze(tiny_like, [moving_clip()], AnalysisSettings(timesteps=(1,), noising="clean", size=(96, 64)))
    assert found.still == pytest.approx(100 / 3)
    assert found.best.accuracy > found.still + 20


def test_sites_of_a_unet_are_in_running_order_with_their_strides(tiny_like):
    found = [(site.path.split(".transformer")[0], site.stride) for site in candidate_sites(tiny_like)]
    assert found == [
        ("down_blocks.1.attentions.0", 8),
        ("down_blocks.2.attentions.0", 16),
        ("mid_block.attentions.0", 16),
        ("up_blocks.0.attentions.0", 16),
        ("up_blocks.0.attentions.1", 16),
        ("up_blocks.1.attentions.0", 8),
        ("up_blocks.1.attentions.1", 8),
    ]
    # Each is really there, with the number of tokens its stride says.
    latents = torch.randn(1, 4, 16, 24)
    for site in candidate_sites(tiny_like):
        seen = tiny_like.observe(latents, 1, [site])
        assert seen.queries[site.path].shape[2] == (64 // site.stride) * (96 // site.stride)


def test_groups_have_one_stride_and_fit_the_budget(tiny_like):
    sites = candidate_sites(tiny_like)
    small = 2 * 3 * (64 * 96 // 256) * 128 * 4
    made = list(groups(sites, 3, 64 * 96, 4, 2 * small))
    assert sorted(site.path for group in made for site in group) == sorted(site.path for site in sites)
    assert all(len({site.stride for site in group}) == 1 for group in made)
    assert [len(group) for group in made] == [1, 1, 1, 2, 2]


def test_latents_of_several_frames():
    tracks = np.arange(9, dtype=np.float32)[None, :, None].repeat(2, axis=2)
    visible = np.array([[True, True, True, True, True, True, False, True, True]])
    clip = MotionClip("g", np.zeros((9, 8, 8, 3), np.uint8), tracks, visible)
    points = clip.points(3)
    # One latent of the first frame, then one of frames 1 to 4 and one of 5 to 8, of which a frame is hidden.
    assert points.tracks[0, :, 0].tolist() == [0, 4, 8]
    assert points.visible.tolist() == [[True, True, False]]
    with pytest.raises(SettingsError, match="do not suit 4 latents"):
        clip.points(4)


def test_what_is_seen_afterwards_is_what_was_compared_while_generating(tiny_video_like):
    """Latents are kept instead of queries and keys; asking again must show the same as listening did."""
    sites = candidate_sites(tiny_video_like)
    heard = {}
    settings = SamplingSettings(steps=3, text_scale=1.0)

    def listen(module, inputs, output):
        heard.setdefault("queries", []).append(output.clone())

    hook = tiny_video_like.denoiser.get_submodule(sites[1].path).norm_q.register_forward_hook(listen)
    made = sample(tiny_video_like, "a red disc", frames=2, size=(64, 96), settings=settings, keep=[666])
    hook.remove()
    text = tiny_video_like.condition("a red disc")
    again = []
    hook = tiny_video_like.denoiser.get_submodule(sites[1].path).norm_q.register_forward_hook(
        lambda module, inputs, output: again.append(output.clone())
    )
    tiny_video_like.observe(made.noisy[666], 666, [sites[2]], text)
    hook.remove()
    torch.testing.assert_close(again[0], heard["queries"][1])


@pytest.mark.parametrize(
    ("clip", "says"),
    [
        (moving_clip(frames=1), "has 1 frame"),
        (moving_clip(frames=14), "has 14 frames and 'tiny-video' sees 13 together"),
        (replace(moving_clip(), visible=np.zeros((12, 3), bool)), "no point of 'noise' is visible"),
    ],
)
def test_clips_that_cannot_be_looked_at(clip, says, tiny_video_like):
    with pytest.raises(SettingsError, match=says):
        analyze(tiny_video_like, [clip], AnalysisSettings(timesteps=(1,), noising="clean", size=(96, 64)))


def test_settings_out_of_range(tiny_like):
    with pytest.raises(SettingsError, match="timestep 1000 is outside"):
        AnalysisSettings(timesteps=(1, 1000))
    with pytest.raises(SettingsError, match="tokens is 3"):
        AnalysisSettings(tokens=3)
    with pytest.raises(SettingsError, match="201 timesteps are too many"):
        AnalysisSettings(timesteps=tuple(range(201)))
    with pytest.raises(SettingsError, match="there is no clip"):
        analyze(tiny_like, [])

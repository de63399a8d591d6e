"""Which layer, head and timestep of a frozen model carries motion: DiffTrack's analysis, for any backbone.

For every clip and timestep the network is asked once per group of sites, so many at a time as fit into a budget, and
every site is scored at once and forgotten: memory does not grow with layers, timesteps or clips.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, UInt8
from torch import Tensor

from undertow.analysis.scores import Points, Reading, candidate_sites, feature_accuracy, groups, score_heads
from undertow.analysis.table import Rank, Row, average, feature_rows, ranked, score_rows
from undertow.backbones import Backbone, Noising, Observation, Site
from undertow.base import Progress, SettingsError, SilentProgress, option
from undertow.observing.observer import Observer
from undertow.observing.settings import FrameSettings, noise_level, resolve_frames

MOST_TIMESTEPS = 200


@dataclass(frozen=True, eq=False)
class MotionClip:
    """Frames and where points of the first one are on each.

    Attributes:
        name: For messages.
        images: Frames, one for each latent frame, or all frames of a clip that was generated with fewer latents.
        tracks: (x, y) in pixels of the points on each of `images`; the centre of the top-left pixel is (0.5, 0.5).
        visible: Whether they can be seen there; points not visible on the first frame are skipped.
        noisy: Latents by timestep, as they were while the clip was generated; empty for clips that were filmed.
        prompt: What a generated clip was to show.
    """

    name: str
    images: UInt8[np.ndarray, "t h w 3"]
    tracks: Float32[np.ndarray, "q t 2"]
    visible: Bool[np.ndarray, "q t"]
    noisy: Mapping[int, Float[Tensor, "f c lh lw"]] = field(default_factory=dict)
    prompt: str | None = None

    def points(self, latents: int) -> Points:
        """Returns the points on `latents` latent frames.

        With one latent per frame these are the tracks. A video autoencoder makes one latent of the first frame and
        one of every r frames after it: such a latent stands where its last frame does, and a point is visible in it
        if it is on all r frames (DiffTrack).

        Raises:
            SettingsError: if the frames are not 1 + r times the other latents, or no point is visible at first.
        """
        seen = self.visible[:, 0]
        if not seen.any():
            raise SettingsError(f"no point of '{self.name}' is visible on its first frame; choose other points")
        tracks, visible = self.tracks[seen], self.visible[seen]
        frames, size = len(self.images), (self.images.shape[1], self.images.shape[2])
        if frames != latents:
            ratio, rest = divmod(frames - 1, max(latents - 1, 1))
            if rest or latents < 2 or ratio < 1:
                raise SettingsError(f"{frames} frames of '{self.name}' do not suit {latents} latents; give as many")
            later = visible[:, 1:].reshape(len(visible), latents - 1, ratio).all(axis=2)
            tracks, visible = tracks[:, ::ratio], np.concatenate([visible[:, :1], later], axis=1)
        return Points(tracks.astype(np.float32), visible, size)


@dataclass(frozen=True)
class AnalysisSettings(FrameSettings):
    """What is looked at. Without `tokens` and `size`, frames have a quarter of the card's tokens.

    Raises:
        SettingsError: if a number is out of range.
    """

    timesteps: tuple[int, ...] = option(
        (), "Noise levels to ask at; by default `timestep`, or five from 1 to 601 and the card's own."
    )
    features: bool = option(True, "Whether intermediate features are matched too, to compare with.")
    reading: Reading = option("paper", "How positions are read: as in DiffTrack or as in undertow's tracker.")
    rank: Rank = option("accuracy", "Measure that ranks sites.")
    budget: int = option(1 << 30, "Bytes of queries and keys held at a time.", expert=True, least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.timesteps) > MOST_TIMESTEPS:
            raise SettingsError(f"{len(self.timesteps)} timesteps are too many; give {MOST_TIMESTEPS} or fewer")
        wrong = [timestep for timestep in self.timesteps if not 0 <= timestep < 1000]
        if wrong:
            raise SettingsError(f"timestep {wrong[0]} is outside 0 to 999; change --timesteps")

    def levels(self, backbone: Backbone) -> list[Noising]:
        """Returns the noise levels that a filmed clip is brought to."""
        own = backbone.card.noising
        usual = (1, 101, 201, 401, 601, own.timestep) if self.timestep is None else (self.timestep,)
        return [noise_level(own, t, self.noising, self.seed) for t in sorted(set(self.timesteps or usual))]


@dataclass(frozen=True, eq=False)
class Analysis:
    """What was found.

    Attributes:
        model: Name of the model's card.
        fingerprint: Of its weights.
        sites: Every site, in running order; a row's `layer` is the place in it.
        rows: The table, averaged over clips.
        still: Accuracy in percent of points that never move, on the same clips.
        clips: Names of the clips.
        settings: What was looked at.
        noising: How frames reached the noise level; "generated" if they were made that way.
    """

    model: str
    fingerprint: str
    sites: tuple[Site, ...]
    rows: tuple[Row, ...]
    still: float
    clips: tuple[str, ...]
    settings: AnalysisSettings
    noising: str

    @property
    def best(self) -> Row:
        """The row of all heads together whose queries and keys are best by the settings' measure."""
        return self.ranked(lambda row: row.head is None and row.compared == "query-key")[0]

    @property
    def best_head(self) -> Row | None:
        """The best single head, of networks that have several per site."""
        found = self.ranked(lambda row: row.head is not None and row.compared == "query-key")
        return found[0] if found else None

    @property
    def best_features(self) -> Row | None:
        """The best intermediate features by accuracy, if they were looked at."""
        found = ranked(self.rows, "accuracy", keep=lambda row: row.compared != "query-key")
        return found[0] if found else None

    def ranked(self, keep: object = None) -> list[Row]:
        """Returns the rows that the function `keep` accepts (all of queries and keys by default), best first."""
        chosen = keep if callable(keep) else (lambda row: row.compared == "query-key")
        return ranked(self.rows, self.settings.rank, keep=chosen)


def analyze(
    backbone: Backbone,
    clips: Iterable[MotionClip],
    settings: AnalysisSettings | None = None,
    progress: Progress | None = None,
) -> Analysis:
    """Returns how well every site, head and timestep of a model knows where points have gone.

    Args:
        backbone: A model of any kind; frames of image models do not see each other, and their joint softmax is the one
            they would have if they did.
        clips: With points whose places are known, one after the other.
        settings: See `AnalysisSettings`.
        progress: Notified of every timestep of every clip.

    Raises:
        SettingsError: if there is no clip, a clip has fewer than two frames or more than the model sees together, or
            the settings do not suit the model.
    """
    settings, progress = settings or AnalysisSettings(), progress or SilentProgress()
    sites = candidate_sites(backbone)
    levels = settings.levels(backbone)
    # The features of video transformers are what heads return; what enters a block of a UNet belongs to no head.
    split = backbone.card.family == "dit"
    tables: list[list[Row]] = []
    names, stills, generated = [], [], False
    for clip in clips:
        _check(clip, backbone)
        rows: list[Row] = []
        height, width = clip.images.shape[1:3]
        observer = Observer(backbone, resolve_frames(_shown(settings, backbone), backbone, height, width))
        conditioning = backbone.condition(clip.prompt) if clip.noisy and clip.prompt is not None else None
        if clip.noisy:
            shown, moments = (height, width), [(t, clip.noisy[t]) for t in sorted(clip.noisy)]
        else:
            shown, numbers = observer.resolved.input_size, range(len(clip.images))
            latents = observer.encode(list(clip.images), numbers)
            moments = [(level.timestep, observer.noise(latents, numbers, level)) for level in levels]
        points = clip.points(len(moments[0][1]))
        progress.start(f"look into {clip.name}", total=len(moments))
        for timestep, noisy in moments:
            cells = shown[0] * shown[1]
            for group in groups(sites, len(noisy), cells, backbone.dtype.itemsize, settings.budget):
                seen = observer.observe(noisy, conditioning, sites=group, features=settings.features, timestep=timestep)
                for site in group:
                    rows += _score(seen, sites.index(site), site, timestep, points, settings, split)
            progress.advance(1, timestep=timestep)
        tables.append(rows)
        names.append(clip.name)
        standing = points.cells((1, 1))[:, :1].expand(-1, points.tracks.shape[1], -1)
        stills.append(points.accuracy(standing, (1, 1)))
        generated = bool(clip.noisy)
    if not tables:
        raise SettingsError("there is no clip to look at; give --worlds 1 or more, a clip with --tracks, or --prompts")
    return Analysis(
        backbone.card.name,
        backbone.fingerprint(),
        sites,
        tuple(average(tables)),
        float(np.mean(stills)),
        tuple(names),
        settings,
        "generated" if generated else levels[0].kind,
    )


@torch.no_grad()
def _score(
    seen: Observation, layer: int, site: Site, timestep: int, points: Points, settings: AnalysisSettings, split: bool
) -> list[Row]:
    """Returns the rows of one site on one clip at one timestep; `split` says whether features fall into heads."""
    path = site.path
    scores = score_heads(
        seen.queries[path], seen.keys[path], seen.text_keys.get(path), seen.grid, points, settings.reading
    )
    rows = score_rows(layer, site, timestep, scores)
    if settings.features:
        features = seen.features[path]
        heads = site.heads if split else 1
        for compared, cosine in (("features", False), ("features (cosine)", True)):
            accuracy = feature_accuracy(features, heads, seen.grid, points, settings.reading, cosine=cosine)
            rows += feature_rows(layer, site, timestep, accuracy, compared)  # type: ignore[arg-type]
    return rows


def _shown(settings: AnalysisSettings, backbone: Backbone) -> AnalysisSettings:
    """Returns the settings with the number of tokens that frames have unless asked otherwise."""
    return replace(settings, tokens=settings.tokens or max(16, backbone.card.token_budget // 4))


def _check(clip: MotionClip, backbone: Backbone) -> None:
    frames, most = len(clip.images), backbone.card.chunk
    if frames < 2:
        raise SettingsError(f"'{clip.name}' has {frames} frame; motion needs two or more, give a longer clip")
    if not clip.noisy and 1 < most < frames:
        raise SettingsError(
            f"'{clip.name}' has {frames} frames and '{backbone.card.name}' sees {most} together; give --frames {most}"
        )

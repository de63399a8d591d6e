"""Options of referring: those of tracking, and how words are read."""

from dataclasses import dataclass
from typing import Literal

from undertow.base import Options, option
from undertow.grounding.settings import WordSettings
from undertow.tracking.settings import TrackSettings


@dataclass(frozen=True)
class AnswerSettings(Options):
    """How the answers of a fine-tuned generator become masks (REM, arXiv 2410.23287).

    Raises:
        SettingsError: if a value is out of range or unknown.
    """

    window: int | None = option(None, "Frames per window; by default as in training.", expert=True, least=1, most=1000)
    spacing: int | None = option(
        None, "Frames from one of a window to the next, at most; by default as in training.", expert=True,
        least=1, most=1000,
    )  # fmt: skip
    overlap: int = option(
        0, "Frames that neighbouring windows share, where their scores are cross-faded.", expert=True,
        least=0, most=500,
    )  # fmt: skip
    merge: Literal["independent", "argmax"] = option(
        "independent", "Whether masks of several texts may overlap, or a pixel goes to the highest score.", expert=True
    )
    soft: bool = option(True, "Also keep scores, as 16-bit pictures in soft/.", expert=True)
    least: int = option(0, "Largest mask, in pixels, that counts as not there.", expert=True, least=0)


@dataclass(frozen=True)
class ReferSettings(TrackSettings):
    """Options of referring: how words become masks, and how these are tracked.

        ut.refer("clip.mp4", "the red kite", settings=ReferSettings(pivots=5))

    Raises:
        SettingsError: if a value is out of range or unknown.
    """

    method: Literal["refam", "rem"] | None = option(
        None, "Find words and track them (refam), or ask the model itself (rem), if it was fine-tuned to answer.",
        expert=True,
    )  # fmt: skip
    answers: AnswerSettings = option(AnswerSettings, "How answers of rem become masks.")
    words: WordSettings = option(WordSettings, "How words become masks.")
    reader: str | None = option(
        None, "Model that reads the words, if not the tracking model; for embedded models tiny-refer.",
        expert=True,
    )  # fmt: skip
    pivots: int = option(
        5, "Frames to search; tracking starts from the clearest one, in both directions.", expert=True,
        least=1, most=1000,
    )  # fmt: skip
    paper: bool = option(
        False, "Do as RefAM does: search the first frame only, and prompt the segmenter with one point.", expert=True
    )
    explain: bool = option(False, "Write explain.html: why each word counts or not.", decides=False)

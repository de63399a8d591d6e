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
        SettingsError: if a value is out of range or a word is unknown.
    """

    window: int | None = option(
        None, "Frames that are seen together; by default as in training.", expert=True, least=1, most=1000
    )
    spacing: int | None = option(
        None, "Frames from one of a window to the next, at most; by default as in training.", expert=True,
        least=1, most=1000,
    )  # fmt: skip
    overlap: int = option(
        0, "Frames that neighbouring windows share, whose scores fade from one to the other.", expert=True,
        least=0, most=500,
    )  # fmt: skip
    merge: Literal["independent", "argmax"] = option(
        "independent", "Whether masks of several texts may overlap, or a pixel goes to the highest score.", expert=True
    )
    soft: bool = option(True, "Keep scores too, as pictures of 16 bits in soft/.", expert=True)
    least: int = option(0, "A mask of so few pixels says that the thing is not there.", expert=True, least=0)


@dataclass(frozen=True)
class ReferSettings(TrackSettings):
    """Options of finding what is named and tracking it.

        ut.refer("clip.mp4", "the red kite", settings=ReferSettings(pivots=5))

    Raises:
        SettingsError: if a value is out of range or a word is unknown.
    """

    method: Literal["refam", "rem"] | None = option(
        None, "Find words and track them (refam), or ask the model itself (rem), if it was fine-tuned to answer.",
        expert=True,
    )  # fmt: skip
    answers: AnswerSettings = option(AnswerSettings, "How answers of rem become masks.")
    words: WordSettings = option(WordSettings, "How words become masks.")
    reader: str | None = option(
        None, "Model that reads the words, if not the one that tracks; embedded models leave it to tiny-words.",
        expert=True,
    )  # fmt: skip
    pivots: int = option(
        5, "Frames to look at for it; the clearest one is tracked from, in both directions.", expert=True,
        least=1, most=1000,
    )  # fmt: skip
    paper: bool = option(
        False, "Do exactly as RefAM: look at the first frame alone, and ask the segmenter for one point.", expert=True
    )
    explain: bool = option(False, "Write explain.html: why every word counts or not.", decides=False)

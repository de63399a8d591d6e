"""Options of referring: those of tracking, and how words are read."""

from dataclasses import dataclass

from undertow.base import option
from undertow.grounding.settings import WordSettings
from undertow.tracking.settings import TrackSettings


@dataclass(frozen=True)
class ReferSettings(TrackSettings):
    """Options of finding what is named and tracking it.

    Raises:
        SettingsError: if a value is out of range or a word is unknown.
    """

    words: WordSettings = option(WordSettings, "How words become masks.")
    reader: str | None = option(None, "Model that reads the words, if not the one that tracks.", expert=True)
    pivots: int = option(
        5, "Frames to look at for it; the clearest one is tracked from, in both directions.", expert=True,
        least=1, most=1000,
    )  # fmt: skip
    paper: bool = option(
        False, "Do exactly as RefAM: look at the first frame alone, and ask the segmenter for one point.", expert=True
    )
    explain: bool = option(False, "Write explain.html: why every word counts or not.", decides=False)

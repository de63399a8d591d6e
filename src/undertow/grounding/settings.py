"""How words become masks: what RefAM names, what it leaves open, and what of it can be set."""

from dataclasses import dataclass
from typing import Literal

from undertow.base import Options, option

Reading = Literal["A", "B", "C"]
"""What attention to a word is a share of; see `undertow.grounding.reading`."""

# What the paper's figures append, in their order; more of the same kind behind them. The colour gives way to another
# one if the expression has it.
MAGNETS = (".", "with", "a", "the", "pink", "to", "of", ",")
OTHER_COLOUR = "teal"


@dataclass(frozen=True)
class WordSettings(Options):
    """How words become masks (RefAM, arXiv 2509.22650).

    Raises:
        SettingsError: if a value is out of range or unknown.
    """

    reading: Reading | None = option(
        None,
        "What attention to a word is normalised by: all tokens (A), the text's (B), or, in the word's own row, the "
        "picture's (C); by default as on the model's card.",
        expert=True,
    )
    magnets: int = option(
        5, "Words without meaning, such as . and with, appended to draw attention away.", expert=True,
        least=0, most=len(MAGNETS),
    )  # fmt: skip
    phrase: bool = option(True, "Whether only words of the noun phrase count, not all but stop words.", expert=True)
    spatial: bool = option(True, "Whether words such as left multiply the map by a ramp.", expert=True)
    sinks: Literal["drop", "redirect", "fallback", "keep"] = option(
        "drop",
        "What happens to a word that draws attention from everywhere; drop leaves it out, redirect tries again with "
        "all magnets, fallback uses the blocks in which it does not.",
        expert=True,
    )
    peaks: int = option(3, "Largest number of peaks of the map to make masks from.", expert=True, least=1, most=10)
    deeds: bool = option(
        True,
        "Whether what a sentence says a thing does, such as moving up or leaving, is held against tracks, and is not "
        "there if no track does it; for models that answer.",
        expert=True,
    )
    repeats: int = option(1, "Draws of noise to average maps over.", expert=True, least=1, most=16)
    caption: str | None = option(None, "A sentence about the whole picture, which the model reads first.", expert=True)
    least: float | None = option(
        None, "A map whose highest value is fewer standard deviations above its mean has found nothing, nor has an "
        "answer with a lower highest score (0 to 1); by default what was measured, and with 0 there is always an "
        "answer, as in the paper.", expert=True, least=0,
    )  # fmt: skip


def magnets_for(text: str, count: int) -> tuple[str, ...]:
    """Returns the first `count` magnets; a colour that the text has is replaced.

    >>> magnets_for("the pink kite", 5)
    ('.', 'with', 'a', 'the', 'teal')
    """
    words = text.lower().split()
    return tuple(OTHER_COLOUR if each == "pink" and "pink" in words else each for each in MAGNETS[:count])

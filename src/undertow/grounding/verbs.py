"""Verbs of which tracks could tell, and where in a sentence they say what a thing does."""

from collections.abc import Sequence
from typing import Literal

Deed = Literal["left", "right", "up", "down", "go", "stay", "grow", "shrink", "enter", "leave"]

# As they follow "that", and as they follow a noun.
_VERBS: dict[Deed, str] = {
    "go": "moves goes walks runs drives rides flies swims slides drifts heads travels "
    "moving going walking running driving riding flying swimming sliding drifting heading travelling traveling",
    "up": "rises climbs rising climbing",
    "down": "falls drops sinks falling dropping sinking",
    "stay": "stands stays standing staying",
    "grow": "grows growing",
    "shrink": "shrinks shrinking",
    "enter": "enters appears arrives entering appearing arriving",
    "leave": "leaves exits disappears vanishes leaving exiting disappearing vanishing",
}
DEEDS: dict[str, Deed] = {verb: deed for deed, verbs in _VERBS.items() for verb in verbs.split()}
PRONOUNS = ("that", "which", "who")
# Words between what a thing is called and its verb.
BETWEEN = (*PRONOUNS, "that's", "who's", "is", "are", "was", "were", "quickly", "slowly")
# They are no nouns, so that a text may begin with them: "moves up", but not "leaves".
_NEVER_NOUNS = ("moves", "goes", "grows", "shrinks", "enters", "appears", "arrives", "disappears", "vanishes")


def says_a_deed(words: Sequence[str], place: int) -> bool:
    """Returns whether a word is a verb of a known deed, where it says what something does.

    Args:
        words: Of a sentence, in lower case.
        place: Which of them.
    """
    word = words[place]
    if word not in DEEDS:
        return False
    return word.endswith("ing") or any(words[place - 1 : place] == [pronoun] for pronoun in PRONOUNS)


def may_name(words: Sequence[str], place: int) -> bool:
    """Returns whether a word may name something; "quickly moves" in "that quickly moves up" does not.

    Args:
        words: Of a sentence, in lower case.
        place: Which of them; none of the stop words.
    """
    word = words[place]
    if word in BETWEEN:
        return False
    follows = place > 0 and words[place - 1] in (*BETWEEN, "what")
    return word not in DEEDS or not (word.endswith("ing") or follows or (place == 0 and word in _NEVER_NOUNS))

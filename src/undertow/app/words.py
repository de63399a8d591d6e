"""What sentences name, through a video: each is an object, and every word of it can show where it looks."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from jaxtyping import Float32

from undertow.app.edits import Edit, Kind
from undertow.app.masks import MaskSession
from undertow.app.session import Session
from undertow.base import CueError
from undertow.masks.colours import hex_of, object_colour
from undertow.runs import Cue
from undertow.runs.record import Record

if TYPE_CHECKING:
    from torch import Tensor

    from undertow.grounding import Sight

WORDS = "words.json"


class WordSession(MaskSession):
    """Objects that are named and found."""

    task = "refer"
    kinds: ClassVar[Mapping[Kind, int]] = {"word": 0, "delete": 0, "range": 2}

    def made_of(self, edit: Edit, locked: Any) -> Mapping[int, Any]:
        """Checks that there is something to look for; no label map comes of it."""
        if edit.kind == "word" and not edit.text:
            raise CueError("there is no word; say what to look for")
        return {}

    def call(self) -> tuple[str, str, str] | None:
        """Returns what does the same; see `Session.call`."""
        texts = [*self.texts().values()]
        return ("refer", repr(texts), "scores") if texts else None

    def texts(self) -> dict[int, str]:
        """Returns what is looked for, by object."""
        found: dict[int, str] = {}
        for edit in self.edits.of("word", "delete"):
            found.pop(edit.object_id, None)
            if edit.kind == "word":
                found[edit.object_id] = edit.text
        return dict(sorted(found.items()))

    def cues(self) -> list[Cue]:
        """Returns a text for each object, to be found anywhere in the clip."""
        first = self.range[0]
        return [Cue("text", text, first, number, f"{text}#{number}") for number, text in self.texts().items()]

    def run(self) -> None:
        """Queues a run; see `Session.run`."""
        if not self.cues():
            raise CueError("nothing is named yet; write what to look for")
        Session.run(self)

    def facts(self) -> dict[str, Any]:
        """Returns the objects with what they were named, and what was found of each."""
        texts, findings = self.texts(), self._findings()
        return {
            "objects": [
                {
                    "id": number, "name": text, "colour": hex_of(object_colour(number)),
                    "finding": next((each for each in findings if each.get("object") == number), None),
                }
                for number, text in texts.items()
            ],
            "given": {each["frame"]: [each["object"]] for each in findings if each.get("present")},
        }  # fmt: skip

    def called(self) -> str | None:
        """Returns nothing, as the run itself says what its objects were named."""
        return None

    def stale(self, record: Record) -> bool:
        """Returns whether other things are named now than the run was asked for."""
        return [cue["text"] for cue in record.cues if "text" in cue] != [cue.typed for cue in self.cues()]

    def amends(self, earlier: Record, given: Any) -> bool:
        """Returns that no run is changed: other words are looked for from the beginning."""
        return False

    def take_over(self, record: Record) -> None:
        """Makes the texts of a run of the command line the first edits."""
        for number, each in enumerate(self._findings(), start=1):
            self.edits.add(self.edits.next("word", 0, int(each.get("object", number)), (), str(each.get("text", ""))))
        self.kept()

    def heat(self, number: int, object_id: int, word: int) -> Float32[np.ndarray, "h w"]:
        """Returns where a word of an object's text, or all that count together, look on a frame, in [0, 1].

        Args:
            number: The frame.
            object_id: The object.
            word: Place of the word in the text; -1 for all that count.

        Raises:
            CueError: if there is no such word.
        """
        from undertow.grounding import stretched
        from undertow.referring.job import make_grounder

        text, video = self.texts().get(object_id), self.project.video
        if text is None or video is None:
            raise CueError(f"object {object_id} has no words; name it first")
        with self.project.jobs.aside():
            grounder = make_grounder(lambda: self.project.model(self.task), self.settings, self.project.size)
            grounder.propose = None
            [sight] = grounder.look(video.frame(number).image, text, index=number)
        maps = sight.heat
        if word >= 0 and sight.tokens:
            if word >= len(sight.expression.words):
                raise CueError(f"'{text}' has no word {word}; choose another")
            said = _maps_by_word(sight)[word]
            if not said:
                raise CueError(f"the model does not read so much of '{text}'; choose an earlier word")
            maps = sum(said[1:], said[0])
        return np.asarray(stretched(maps, self.project.size).numpy(), np.float32)

    def _findings(self) -> list[dict[str, Any]]:
        """Returns what words.json says."""
        try:
            found = json.loads((self.out / WORDS).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return []
        known = [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
        return known if self.record is not None else []


def _maps_by_word(sight: "Sight") -> "list[list[Tensor]]":
    """Returns the maps of the tokens of each word; a tokenizer may take a word apart."""
    tokens = [token for token in sight.tokens if token.text.strip() and token.fate != "magnet"]
    found: list[list[Tensor]] = []
    for word in sight.expression.words:
        left, maps = word.text, []
        while left and tokens:
            token = tokens.pop(0)
            piece = token.text.strip().lower()
            if left.startswith(piece):
                left = left[len(piece) :]
                maps.append(token.map)
        found.append(maps)
    return found

"""What one method did on one sequence, and its file: `<method>/<sequence>.json` in the benchmark's folder."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from undertow.base import SettingsError, write_json
from undertow.metrics import ObjectScores

FORMAT = "undertow benchmark outcome"


@dataclass(frozen=True, eq=False)
class Outcome:
    """Scores of one method on one sequence.

    Attributes:
        method: its name.
        dataset: dataset of the sequence.
        protocol: how it was measured, in words.
        sequence: its name.
        frames: names of the scored frames.
        objects: J and F on those frames, by object id.
        seconds: of every predicted frame, reading of images not counted; empty if a folder was scored.
        fingerprint: digest of everything that decides the scores.
    """

    method: str
    dataset: str
    protocol: str
    sequence: str
    frames: tuple[str, ...]
    objects: Mapping[int, ObjectScores]
    seconds: tuple[float, ...]
    fingerprint: str

    @property
    def seconds_per_frame(self) -> float | None:
        """Mean over all predicted frames, `None` if not measured."""
        return sum(self.seconds) / len(self.seconds) if self.seconds else None

    @property
    def combined(self) -> float:
        """J&F of the sequence: the mean over its objects and frames."""
        return float(np.mean([scores.combined for scores in self.objects.values()]))

    def write(self, out: Path) -> None:
        """Writes the outcome below the folder `out`, atomically."""
        objects = {
            str(number): {"J": scores.region.tolist(), "F": scores.contour.tolist()}
            for number, scores in self.objects.items()
        }
        facts = {
            "format": FORMAT,
            "method": self.method,
            "dataset": self.dataset,
            "protocol": self.protocol,
            "sequence": self.sequence,
            "frames": self.frames,
            "objects": objects,
            "seconds": [round(value, 6) for value in self.seconds],
            "fingerprint": self.fingerprint,
        }
        write_json(outcome_path(out, self.method, self.sequence), facts)


def outcome_path(out: Path, method: str, sequence: str) -> Path:
    """Returns where the outcome of a method on a sequence is kept."""
    return out / method / f"{sequence}.json"


def read_outcome(path: Path) -> Outcome:
    """Returns the outcome in a file.

    Raises:
        SettingsError: if the file is no outcome.
    """
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        if facts["format"] != FORMAT:
            raise ValueError(f"format '{facts['format']}'")
        return Outcome(
            method=facts["method"],
            dataset=facts["dataset"],
            protocol=facts["protocol"],
            sequence=facts["sequence"],
            frames=tuple(facts["frames"]),
            objects={int(number): _scores(values) for number, values in facts["objects"].items()},
            seconds=tuple(facts["seconds"]),
            fingerprint=facts["fingerprint"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingsError(f"'{path}' is not a benchmark outcome ({error}); remove it and run again") from error


def read_outcomes(out: Path | str) -> list[Outcome]:
    """Returns every outcome in a benchmark's folder, by method and sequence.

    Raises:
        SettingsError: if there is none, or they were not measured alike and so cannot share a table.
    """
    outcomes = [read_outcome(path) for path in sorted(Path(out).glob("*/*.json"))]
    if not outcomes:
        raise SettingsError(f"'{out}' holds no benchmark outcomes; run `undertow bench run` first")
    kinds = sorted({f"{outcome.dataset} ({outcome.protocol})" for outcome in outcomes})
    if len(kinds) > 1:
        raise SettingsError(f"'{out}' mixes {' and '.join(kinds)}; use one folder for each")
    return outcomes


def by_method(outcomes: Iterable[Outcome]) -> dict[str, dict[str, Outcome]]:
    """Returns the outcomes by method and then by sequence, in the order given."""
    methods: dict[str, dict[str, Outcome]] = {}
    for outcome in outcomes:
        methods.setdefault(outcome.method, {})[outcome.sequence] = outcome
    return methods


def _scores(values: Mapping[str, Any]) -> ObjectScores:
    return ObjectScores(np.array(values["J"], np.float64), np.array(values["F"], np.float64))

"""What one method did on one sample, and its file: `<method>/<sample>.json` in the benchmark's folder."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from undertow.base import SettingsError, inside, write_json
from undertow.metrics import ObjectScores

FORMAT = "undertow benchmark outcome 2"
MANIFEST = "manifest.json"
# Predictions that were asked to be kept lie in `results/<method>/<sample>` of the benchmark's folder.
RESULTS = "results"


@dataclass(frozen=True, eq=False, kw_only=True)
class Outcome:
    """Scores of one method on one sample.

    Attributes:
        method: Its name.
        dataset: Dataset of the sample.
        task: What was asked.
        rules: How it was scored.
        protocol: How it was measured, in words.
        sequence: The sample's name.
        frames: Names of the scored frames.
        series: Scores on those frames by unit (an object's id, a class, ...) and measure.
        totals: What is added up over samples before it is divided.
        facts: Whatever else tables need.
        seconds: Of every predicted frame, reading of images not counted; empty if a folder was scored.
        fingerprint: Digest of everything that decides the scores.
    """

    method: str
    dataset: str
    task: str = "masks"
    rules: str
    protocol: str
    sequence: str
    frames: tuple[str, ...]
    series: Mapping[str, Mapping[str, Float64[np.ndarray, " t"]]] = field(default_factory=dict)
    totals: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    seconds: tuple[float, ...] = ()
    fingerprint: str = ""

    @property
    def seconds_per_frame(self) -> float | None:
        """Mean over all predicted frames, `None` if not measured."""
        return sum(self.seconds) / len(self.seconds) if self.seconds else None

    @property
    def objects(self) -> dict[int, ObjectScores]:
        """J and F of every object, for the task of masks; frames on which an object does not count are skipped."""
        return {
            int(number): ObjectScores(scores["J"][~np.isnan(scores["J"])], scores["F"][~np.isnan(scores["F"])])
            for number, scores in self.series.items()
        }

    @property
    def combined(self) -> float:
        """J&F of a mask sample: the mean over its objects and their frames."""
        return float(np.mean([np.mean(scores.combined) for scores in self.objects.values()]))

    def write(self, out: Path) -> None:
        """Writes the outcome below the folder `out`, atomically."""
        facts = {"format": FORMAT, **{name: getattr(self, name) for name in self.__dataclass_fields__}}
        facts["seconds"] = [round(value, 6) for value in self.seconds]
        write_json(outcome_path(out, self.method, self.sequence), _plain(facts))


def outcome_path(out: Path, method: str, sequence: str) -> Path:
    """Returns where the outcome of a method on a sample is kept."""
    return inside(out, f"{method}/{sequence}", suffix=".json", links=False)


def read_outcome(path: Path) -> Outcome:
    """Returns the outcome in a file.

    Raises:
        SettingsError: if the file is no outcome.
    """
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        if facts["format"] != FORMAT:
            raise ValueError(f"format '{facts['format']}'")
        inside(path.parent, facts["method"], single=True, source=path)
        inside(path.parent, facts["sequence"], source=path)
        frames = tuple(map(str, facts["frames"]))
        series = {
            str(unit): {str(measure): _numbers(values, len(frames)) for measure, values in scores.items()}
            for unit, scores in facts["series"].items()
        }
        words = {name: str(facts[name]) for name in ("dataset", "task", "rules", "protocol", "fingerprint")}
        return Outcome(
            method=facts["method"],
            sequence=facts["sequence"],
            frames=frames,
            series=series,
            totals=dict(facts["totals"]),
            facts=dict(facts["facts"]),
            seconds=tuple(map(float, facts["seconds"])),
            **words,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise SettingsError(f"'{path}' is not a benchmark outcome ({error}); remove it and run again") from error


def read_outcomes(out: Path | str) -> list[Outcome]:
    """Returns every outcome in a benchmark's folder, by method and sample.

    Raises:
        SettingsError: if there is none, or they were not measured alike and so cannot share a table.
    """
    root = Path(out)
    found = (path for path in root.glob("*/**/*.json") if path.relative_to(root).parts[0] != RESULTS)
    # A process killed while it wrote leaves a hidden file.
    paths = sorted(path for path in found if not path.name.startswith("."))
    outcomes = [read_outcome(path) for path in paths]
    if not outcomes:
        raise SettingsError(f"'{out}' holds no benchmark outcomes; run `undertow bench run` first")
    kinds = sorted({f"{each.dataset} ({each.protocol}, rules {each.rules})" for each in outcomes})
    if len(kinds) > 1:
        raise SettingsError(f"'{out}' mixes {' and '.join(kinds)}; use one folder for each")
    return outcomes


def by_method(outcomes: Iterable[Outcome]) -> dict[str, dict[str, Outcome]]:
    """Returns the outcomes by method and then by sample, in the order given."""
    methods: dict[str, dict[str, Outcome]] = {}
    for outcome in outcomes:
        methods.setdefault(outcome.method, {})[outcome.sequence] = outcome
    return methods


def _numbers(values: list[float | None], count: int) -> Float64[np.ndarray, " t"]:
    """Returns a series read from JSON, which has no NaN."""
    series: Float64[np.ndarray, " t"] = np.array([np.nan if value is None else value for value in values], np.float64)
    if series.shape != (count,):
        raise ValueError(f"{len(series)} scores of {count} frames")
    return series


def _plain(value: Any) -> Any:
    """Returns a value as JSON can hold it: arrays as lists, NaN as null."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and value != value else value

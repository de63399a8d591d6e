"""The units of a benchmark: one method on one sample, or one sample of a folder of results."""

from dataclasses import dataclass
from pathlib import Path

from undertow.base import remove_leftovers
from undertow.benchmarks.core.measuring import measure, score
from undertow.benchmarks.core.methods import Method
from undertow.benchmarks.core.outcomes import RESULTS, outcome_path
from undertow.benchmarks.core.sample import EvaluationProtocol, Sample
from undertow.benchmarks.core.task import get_task
from undertow.engines import Loaded, Steps, Unit


@dataclass(frozen=True)
class MeasureUnit(Unit):
    """One method on one sample; the process that has finished it writes the outcome, so nothing finished is lost."""

    method: Method
    sample: Sample
    protocol: EvaluationProtocol
    rules: str
    fingerprint: str
    out: Path
    keep: bool = False

    @property
    def title(self) -> str:
        """Returns the method and the sample."""
        return f"'{self.method.name}' on '{self.sample.name}'"

    @property
    def group(self) -> str:
        """Returns the method, which may be a model to load."""
        return self.method.name

    @property
    def length(self) -> int:
        """Returns the number of frames shown."""
        return len(self.protocol.frames(len(self.sample.frames)))

    @property
    def cost(self) -> int:
        """Returns the number of pixels shown."""
        return self.length * self.sample.size[0] * self.sample.size[1]

    @property
    def device(self) -> str | None:
        """Returns the device of the method."""
        return self.method.device

    def steps(self, loaded: Loaded) -> Steps:
        """Predicts and scores frame by frame, and writes the outcome."""
        outcome = yield from measure(
            self.method.name,
            loaded.get((self.method.name, self.protocol), lambda: self.method.make_predictor(self.protocol)),
            self.sample,
            self.protocol,
            self.rules,
            fingerprint=self.fingerprint,
            keep=self.out if self.keep else None,
        )
        outcome.write(self.out)
        return outcome

    def clear(self) -> None:
        """Removes temporary files of its outcome and its predictions."""
        remove_leftovers(outcome_path(self.out, self.method.name, self.sample.name))
        kept = self.out / RESULTS / self.method.name
        remove_leftovers(self.sample.result(kept, suffix=".npz", links=False))
        for each in self.sample.result(kept, suffix="", links=False).glob(".*"):
            if each.is_file():
                each.unlink(missing_ok=True)


@dataclass(frozen=True)
class ScoreUnit(Unit):
    """One sample of a folder of results."""

    results: Path
    sample: Sample
    rules: str
    method: str

    @property
    def title(self) -> str:
        """Returns the sample."""
        return f"'{self.sample.name}'"

    @property
    def group(self) -> str:
        """Returns nothing: there is nothing to load."""
        return ""

    @property
    def length(self) -> int:
        """Returns the number of predictions that count."""
        return len(get_task(self.sample.task).asked(self.sample, self.rules))

    @property
    def cost(self) -> int:
        """Returns the number of pixels compared."""
        return self.length * self.sample.size[0] * self.sample.size[1]

    @property
    def device(self) -> str:
        """Returns the processor, which scores."""
        return "cpu"

    def steps(self, loaded: Loaded) -> Steps:
        """Scores prediction by prediction."""
        return score(self.results, self.sample, self.rules, self.method)

    def clear(self) -> None:
        """Leaves everything as it is: scoring writes nothing."""

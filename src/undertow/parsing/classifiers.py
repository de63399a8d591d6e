"""From tokens whose classes are known to the classes of others: nearest neighbours, or scikit-learn's classifiers."""

import warnings
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from undertow.base import SettingsError
from undertow.parsing.settings import ClassifierName

# Distances that are held at a time: 64 MB.
_MOST_DISTANCES = 1 << 24


class Classifier(Protocol):
    """What has seen labelled tokens and labels others."""

    def __call__(self, tokens: Float[Tensor, "n c"]) -> Float[Tensor, "n m"]:
        """Returns the probability of each class; rows sum to one."""


@dataclass(frozen=True)
class NearestNeighbours:
    """The mean label of the nearest tokens by Euclidean distance, each counting alike (k = 4 in VidSeg, table 1).

    Attributes:
        tokens: Labelled tokens.
        targets: Their labels, one-hot or shares of classes.
        neighbours: How many are asked; all, if there are fewer tokens.
    """

    tokens: Float[Tensor, "l c"]
    targets: Float[Tensor, "l m"]
    neighbours: int = 4

    def __call__(self, tokens: Float[Tensor, "n c"]) -> Float[Tensor, "n m"]:
        """Returns the mean label of each token's neighbours."""
        return self.with_distances(tokens)[0]

    @torch.no_grad()
    def with_distances(self, tokens: Float[Tensor, "n c"]) -> tuple[Float[Tensor, "n m"], Float[Tensor, " n"]]:
        """Returns the mean label of each token's neighbours, and the mean distance to them."""
        labels, distances = [], []
        lengths = self.tokens.square().sum(1)
        k = min(self.neighbours, len(self.tokens))
        rows = max(1, _MOST_DISTANCES // len(self.tokens))
        for start in range(0, len(tokens), rows):
            part = tokens[start : start + rows]
            # Of a token's own length nothing depends on who is near.
            near = torch.addmm(lengths, part, self.tokens.T, alpha=-2).topk(k, largest=False)
            labels.append(self.targets[near.indices].mean(1))
            squared = near.values + part.square().sum(1, keepdim=True)
            distances.append(squared.clamp(min=0).sqrt().mean(1))
        return torch.cat(labels), torch.cat(distances)


@dataclass(frozen=True)
class Fitted:
    """A classifier of scikit-learn that has been fitted.

    Attributes:
        model: The classifier.
        classes: How many there are; some may not have been seen.
        certain: Whether the likeliest class of a token gets all of its probability.
    """

    model: Any
    classes: int
    certain: bool = False

    def __call__(self, tokens: Float[Tensor, "n c"]) -> Float[Tensor, "n m"]:
        """Returns the probability of each class."""
        result = torch.zeros(len(tokens), self.classes, device=tokens.device)
        if self.certain:
            likeliest = torch.from_numpy(self.model.predict(tokens.cpu().numpy())).to(tokens.device)
            return result.scatter_(1, likeliest[:, None], 1.0)
        found = torch.from_numpy(self.model.predict_proba(tokens.cpu().numpy())).float()
        result[:, torch.from_numpy(self.model.classes_)] = found.to(tokens.device)
        return result


def fit_classifier(
    name: ClassifierName,
    tokens: Float[Tensor, "l c"],
    targets: Float[Tensor, "l m"],
    *,
    neighbours: int = 4,
    seed: int = 0,
) -> Classifier:
    """Returns a classifier that has seen labelled tokens.

    Args:
        name: "knn", or of scikit-learn with its defaults "mlp", "forest" or "adaboost" (VidSeg, table 6; it gives no
            settings of them). These learn the likeliest class of each token.
        tokens: Labelled tokens.
        targets: Their labels.
        neighbours: For "knn".
        seed: For the others.

    Raises:
        SettingsError: if scikit-learn is needed and absent.
    """
    if name == "knn":
        return NearestNeighbours(tokens, targets, neighbours)
    classes: np.ndarray = targets.argmax(1).cpu().numpy()
    model = _make(name, seed)
    with warnings.catch_warnings():
        # An MLP that has not converged after its 200 rounds is what the defaults give.
        warnings.simplefilter("ignore")
        model.fit(tokens.cpu().numpy(), classes)
    # What AdaBoost calls probabilities is nearly the same for all classes, so that the rarest would win once classes
    # are balanced by their shares.
    return Fitted(model, targets.shape[1], certain=name == "adaboost")


def _make(name: ClassifierName, seed: int) -> Any:
    try:
        if name == "mlp":
            return import_module("sklearn.neural_network").MLPClassifier(random_state=seed)
        ensemble = import_module("sklearn.ensemble")
    except ModuleNotFoundError:
        raise SettingsError(
            f"the classifier '{name}' is one of scikit-learn, which is not installed; "
            "install undertow[parse], or use knn"
        ) from None
    if name == "forest":
        return ensemble.RandomForestClassifier(random_state=seed)
    return ensemble.AdaBoostClassifier(random_state=seed)

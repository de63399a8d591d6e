"""The few directions in which hidden states of a model lie: comparing in them costs less and says the same.

A model's folder may hold `projection.safetensors`, the principal directions of the hidden states that its card has
compared. They do not depend on a clip, so that features still depend on nothing but the model and the frame.
"""

from collections.abc import Iterable
from pathlib import Path

import torch
import torch.nn.functional as functional
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from torch import Tensor

from undertow.base import WeightsUnavailable, write_tensors

FILE, DIRECTIONS = "projection.safetensors", "directions"


def principal_directions(states: Iterable[Float[Tensor, "s d"]], count: int) -> Float[Tensor, "d n"]:
    """Returns the orthonormal directions that hold most of the squares of unit states in some pictures.

    States are not centred, because those that are compared are not.
    """
    units = [functional.normalize(each.double(), dim=-1) for each in states]
    products = torch.stack([each.T @ each / len(each) for each in units]).sum(0)
    # Eigenvalues rise.
    return torch.linalg.eigh(products).eigenvectors.flip(-1)[:, :count].float().contiguous()


def read_projection(folder: Path) -> Float[Tensor, "d n"] | None:
    """Returns the directions that a model's folder holds, or `None` if it holds none.

    Raises:
        WeightsUnavailable: if the file is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            directions: Tensor = file.get_tensor(DIRECTIONS).float()
    except (OSError, SafetensorError) as error:
        raise WeightsUnavailable(f"{path} cannot be read ({error}); restore it or remove it") from error
    if directions.ndim != 2 or directions.shape[0] < directions.shape[1] or not directions.isfinite().all():
        raise WeightsUnavailable(
            f"{path} holds no directions but {tuple(directions.shape)} numbers; restore it or remove it"
        )
    return directions


def write_projection(folder: Path, directions: Float[Tensor, "d n"]) -> None:
    """Writes the directions into a model's folder, in half precision."""
    write_tensors(folder / FILE, {DIRECTIONS: directions.half().contiguous()})

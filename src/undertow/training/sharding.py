"""Training one model in several processes, each of which holds a share of every weight (FSDP2).

Accelerate says that it is wanted (`accelerate launch --use_fsdp`), torch does it: Accelerate would silently copy the
whole model to each process on a CPU, and wants to own the optimizer.
"""

import os
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor


def shards_wanted(processes: int) -> bool:
    """Returns whether Accelerate was started to share a model among its processes."""
    return processes > 1 and os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"


def shard(model: nn.Module, device: torch.device, processes: int) -> None:
    """Leaves each process its share of a model's weights; blocks are gathered one after another as they run.

    Parameters become `DTensor`s, so optimizers are made afterwards. Their gradients are averaged over the processes.

    Args:
        model: A denoiser, with its blocks in lists.
        device: Where it is.
        processes: How many share it.
    """
    mesh = init_device_mesh(device.type, (processes,))
    for stack in model.children():
        for block in stack if isinstance(stack, nn.ModuleList) else ():
            fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)


def whole(tensor: Tensor) -> Tensor:
    """Returns all of a tensor; every process must ask for it if it is shared."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def shared_like(tensor: Tensor, other: Any) -> Tensor:
    """Returns a tensor that every process has, shared among them as another one is."""
    if not isinstance(other, DTensor):
        return tensor
    return distribute_tensor(tensor.to(other.device), other.device_mesh, other.placements, src_data_rank=None)

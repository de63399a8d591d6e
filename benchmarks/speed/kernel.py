"""Times the cross-frame kernel on a CPU against dense formulas that give the same answer.

    python benchmarks/speed/kernel.py --threads 2
    python benchmarks/speed/kernel.py --grids 54x96 --orders drift,window --runs 5

Every order is timed in a process of its own, the kernel and its alternative taking turns; peak memory is that of one
call in a fresh process, over what the process held before. The alternatives are `dense`, the formula written out with
matrices for one reference after the other, and `dino`, all references at once as DINO's and DIFT's evaluations do. The
floor is arithmetic alone: the products and exponentials that the order cannot do without, at this machine's own rates.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from undertow.affinity import Affinity, KernelSettings, compute_affinity, get_preset
from undertow.benchmarks.speed.kernels import dense, dino, square_mask

CHANNELS = 6


@dataclass(frozen=True)
class Order:
    """An order of operations, what it is compared with, and the advantage that is promised."""

    kernel: KernelSettings
    alternative: str
    single_head: bool


ORDERS = {
    "drift": Order(get_preset("drift").kernel, "dense", False),
    "window": Order(replace(get_preset("drift").kernel, softmax_scope="window"), "dense", False),
    "dift": Order(get_preset("dift").kernel, "dino", True),
    "dino": Order(get_preset("dino").kernel, "dino", True),
}


@dataclass(frozen=True)
class Task:
    """Random features whose logits spread as those of a trained model do, and soft labels of the references."""

    queries: Tensor
    references: list[Tensor]
    labels: Tensor
    grid: tuple[int, int]
    kernel: KernelSettings


def make_task(order: Order, grid: tuple[int, int], options: argparse.Namespace) -> Task:
    generator = torch.Generator().manual_seed(0)
    tokens = grid[0] * grid[1]
    heads, width = (1, options.heads * options.head_dim) if order.single_head else (options.heads, options.head_dim)
    frames = [torch.randn(heads, tokens, width, generator=generator) * 1.5 for _ in range(options.references + 1)]
    labels = torch.rand(options.references, CHANNELS, tokens, generator=generator)
    frames = [frame.to(getattr(torch, options.dtype)) for frame in frames]
    return Task(frames[0], frames[1:], labels / labels.sum(1, keepdim=True), grid, order.kernel)


def ours(task: Task) -> tuple[Tensor, Tensor]:
    """The kernel under test."""
    affinity: Affinity = compute_affinity(task.queries, task.references, task.grid, task.kernel)
    return affinity.apply(task.labels), affinity.weights


def of_task(formula: Callable[..., tuple[Tensor, Tensor]]) -> Callable[[Task], tuple[Tensor, Tensor]]:
    return lambda task: formula(task.queries, task.references, task.labels, task.grid, task.kernel)


IMPLEMENTATIONS: dict[str, Callable[[Task], tuple[Tensor, Tensor]]] = {
    "ours": ours, "dense": of_task(dense), "dino": of_task(dino),
}  # fmt: skip


def fastest(run: Callable[[], object], runs: int = 9) -> float:
    """Seconds of the fastest run."""
    times = []
    for _ in range(runs):
        begun = time.perf_counter()
        run()
        times.append(time.perf_counter() - begun)
    return min(times)


def floor_seconds(task: Task) -> tuple[float, float, float]:
    """Seconds of the unavoidable arithmetic, and the rates of products (FLOP/s) and exponentials it is based on."""
    side = 2048
    matrix, out = torch.randn(side, side), torch.empty(side, side)
    product_rate = 2 * side**3 / fastest(lambda: torch.mm(matrix, matrix, out=out))
    values, raised = torch.randn(512, 512), torch.empty(512, 512)
    exponential_rate = values.numel() / min(
        fastest(lambda: torch.exp(values, out=raised), 99), fastest(lambda: torch.exp2(values, out=raised), 99)
    )
    heads, tokens, width = task.queries.shape
    whole = task.kernel.softmax_scope == "reference"
    pairs = tokens**2 if whole else int(square_mask(task.grid, task.kernel.radius or 0).sum())
    pairs *= heads * len(task.references)
    return pairs * 2 * width / product_rate + pairs / exponential_rate, product_rate, exponential_rate


def measure_time(name: str, grid: tuple[int, int], options: argparse.Namespace) -> dict[str, float]:
    order = ORDERS[name]
    task = make_task(order, grid, options)
    times: dict[str, list[float]] = {"ours": [], order.alternative: []}
    answers = {}
    for _ in range(options.runs):
        for each, seconds in times.items():
            begun = time.perf_counter()
            answers[each] = IMPLEMENTATIONS[each](task)
            seconds.append(time.perf_counter() - begun)
            labels, weights = answers[each]
            answers[each] = labels, weights.topk(task.kernel.topk).values
    (labels, weights), (other_labels, other_weights) = answers.values()
    floor, products, exponentials = floor_seconds(task)
    return {
        "ours": statistics.median(times["ours"]),
        "alternative": statistics.median(times[order.alternative]),
        "weights": float((weights - other_weights).abs().max()),
        "labels": float((labels - other_labels).abs().max()),
        "floor": floor,
        "products": products,
        "exponentials": exponentials,
    }


def resident(field: str) -> int:
    """Bytes of this process from Linux: VmRSS is held now, VmHWM the most held."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def measure_memory(name: str, implementation: str, grid: tuple[int, int], options: argparse.Namespace) -> int:
    order = ORDERS[name]
    IMPLEMENTATIONS[implementation](make_task(order, (16, 16), options))  # libraries load their own buffers
    task = make_task(order, grid, options)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from what is held now
    before = resident("VmRSS")
    IMPLEMENTATIONS[implementation](task)
    return resident("VmHWM") - before


def in_child(*what: str) -> dict[str, float]:
    """What a fresh process measures."""
    command = [sys.executable, __file__, *sys.argv[1:], "--child", ",".join(what)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grids", default="54x96,96x96", help="rows x columns of tokens")
    parser.add_argument("--orders", default=",".join(ORDERS))
    parser.add_argument("--references", type=int, default=8)
    parser.add_argument("--heads", type=int, default=5)
    parser.add_argument("--head-dim", type=int, default=64)
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"), help="of queries and keys")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_grad_enabled(False)
    if options.child:
        kind, name, shape = options.child.split(",")
        grid = (int(shape.split("x")[0]), int(shape.split("x")[1]))
        if kind == "time":
            print(json.dumps(measure_time(name, grid, options)))
        else:
            print(json.dumps({"bytes": measure_memory(name, kind, grid, options)}))
        return
    print(f"{options.references} references, {options.heads} heads of {options.head_dim}, {options.threads} threads, ")
    print(f"{options.dtype}, torch {torch.__version__}; median of {options.runs} runs taken in turns\n")
    head = [
        "order",
        "grid",
        "against",
        "s",
        "its s",
        "ratio",
        "MB",
        "its MB",
        "ratio",
        "Δ weights",
        "Δ labels",
        "floor s",
    ]
    head += ["GFLOP/s", "Gexp/s"]
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for shape in options.grids.split(","):
        for name in options.orders.split(","):
            alternative = ORDERS[name].alternative
            t = in_child("time", name, shape)
            mine, its = (in_child(each, name, shape)["bytes"] / 1e6 for each in ("ours", alternative))
            cells = [name, shape, alternative, f"{t['ours']:.2f}", f"{t['alternative']:.2f}"]
            cells += [f"{t['alternative'] / t['ours']:.1f}", f"{mine:.0f}", f"{its:.0f}", f"{its / mine:.0f}"]
            cells += [f"{t['weights']:.0e}", f"{t['labels']:.0e}", f"{t['floor']:.2f}"]
            cells += [f"{t['products'] / 1e9:.0f}", f"{t['exponentials'] / 1e9:.1f}"]
            print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()

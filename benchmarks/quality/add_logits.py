"""Why the logits of several sites are added before the softmax: two ways to combine matches that are each noisy.

    python benchmarks/quality/add_logits.py

Tokens are random directions. Every site sees them with noise of its own, in its queries and in its keys, and a match is
right if the best key of a query is its own. Beside one site alone stand the mean of all sites' softmaxes, and the
softmax of their summed logits, which is what DiffTrack's code and `undertow points` do.
"""

import argparse

import torch

from undertow.points.matching import forward_rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--sites", type=int, default=3)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--noise", default="0.8,1.2,1.4,1.6", help="standard deviations, of values whose own is 1")
    parser.add_argument("--trials", type=int, default=5)
    asked = parser.parse_args()
    print("| noise | one site | mean of softmaxes | summed logits |")
    print("|---:|---:|---:|---:|")
    for noise in map(float, asked.noise.split(",")):
        rights = torch.tensor([trial(asked, noise, seed) for seed in range(asked.trials)]).mean(0)
        print(f"| {noise:g} | " + " | ".join(f"{100 * right:.1f} %" for right in rights.tolist()) + " |", flush=True)


def trial(asked: argparse.Namespace, noise: float, seed: int) -> list[float]:
    """Returns the shares of right matches: of one site, of the mean of softmaxes, and of summed logits."""
    generator = torch.Generator().manual_seed(seed)
    shape = asked.sites, asked.heads, asked.tokens, asked.channels
    true = torch.randn(shape[1:], generator=generator)
    queries, keys = (true + noise * torch.randn(shape, generator=generator) for _ in range(2))
    scale = asked.channels**-0.5
    alone = [forward_rows(*each, scale) for each in zip(queries, keys, strict=True)]
    summed = forward_rows(torch.cat(list(queries), dim=-1), torch.cat(list(keys), dim=-1), scale)
    own = torch.arange(asked.tokens)
    return [float((rows.argmax(-1) == own).float().mean()) for rows in (alone[0], sum(alone) / asked.sites, summed)]


if __name__ == "__main__":
    main()

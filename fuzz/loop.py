"""The loop that feeds a target: atheris where it is installed, and seeded changes of bytes where it is not."""

import argparse
import contextlib
import hashlib
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

try:
    import atheris
except ImportError:
    atheris = None

# What one input may take beyond what the process has at the start, and for how long.
MOST_BYTES = 2 << 30
MOST_SECONDS = 20
MOST_FINDINGS = 20
# Values at the borders of what fields of 8, 16 and 32 bits hold.
BORDERS = [
    b"\x00",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\xff",
    b"\x00\x00\x00\x00",
]


def instrumented(*modules: str) -> contextlib.AbstractContextManager[object]:
    """Returns a context in which imports of these modules are prepared for atheris, if there is one."""
    return atheris.instrument_imports(include=list(modules)) if atheris else contextlib.nullcontext()


def main(target: Callable[[bytes], None], seeds: Sequence[bytes]) -> None:
    """Feeds changed seeds to a target until the time is up; exits with 1 if anything came out that should not.

    Args:
        target: takes an input, and lets only those errors out that are findings.
        seeds: good inputs to start from.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", choices=["auto", "atheris", "bytes"], default="auto")
    parser.add_argument("--findings", type=Path, default=Path(tempfile.gettempdir()) / "undertow-findings")
    parser.add_argument("--input", type=Path, help="run this one input, such as a finding, and nothing else")
    options = parser.parse_args()
    if options.input:
        target(options.input.read_bytes())
        return
    for seed in seeds:
        target(seed)
    options.findings.mkdir(parents=True, exist_ok=True)
    if options.engine == "atheris" and atheris is None:
        parser.error("atheris is not installed; run `pip install atheris`, or leave --engine out")
    if atheris is None or options.engine == "bytes":
        sys.exit(_change_bytes(target, seeds, options))
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(seeds):
            (Path(corpus) / str(number)).write_bytes(seed)
        limits = [f"-timeout={MOST_SECONDS}", f"-rss_limit_mb={(MOST_BYTES >> 20) + 2048}", "-max_len=65536"]
        place = f"-artifact_prefix={options.findings}/"
        atheris.Setup(
            [sys.argv[0], *limits, place, f"-max_total_time={options.seconds}", f"-seed={options.seed + 1}", corpus],
            target,
        )
        atheris.Fuzz()


def changed(data: bytes, others: Sequence[bytes], chance: random.Random) -> bytes:
    """Returns data after one to six changes: bytes flipped, overwritten, cut out, doubled, or taken from another."""
    result = bytearray(data)
    for _ in range(chance.choice([1, 1, 1, 2, 3, 6])):
        place, length = chance.randrange(len(result) + 1), chance.choice([1, 1, 2, 4, 8, 64])
        match chance.randrange(7):
            case 0 if place < len(result):
                result[place] ^= 1 << chance.randrange(8)
            case 1:
                result[place : place + length] = chance.randbytes(length)
            case 2:
                result[place : place + length] = b""
            case 3:
                result[place:place] = result[place : place + length]
            case 4:
                border = chance.choice(BORDERS)
                result[place : place + len(border)] = border
            case 5:
                other = chance.choice(others)
                start = chance.randrange(len(other) + 1)
                result[place : place + length] = other[start : start + length]
            case 6 if chance.random() < 0.2:
                del result[place:]
    return bytes(result)


def _change_bytes(target: Callable[[bytes], None], seeds: Sequence[bytes], options: argparse.Namespace) -> int:
    """Runs changed seeds until the time is up; returns 1 if there were findings. Every run with a seed is the same."""

    def too_long(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"an input took longer than {MOST_SECONDS} seconds")

    chance, end = random.Random(options.seed), time.monotonic() + options.seconds
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MOST_BYTES, used + MOST_BYTES))
    signal.signal(signal.SIGALRM, too_long)
    count, known = 0, set[str]()
    while time.monotonic() < end and len(known) < MOST_FINDINGS:
        data = changed(chance.choice(seeds), seeds, chance)
        count += 1
        signal.alarm(MOST_SECONDS)
        try:
            target(data)
        except Exception as error:
            signal.alarm(0)
            # One finding per place, not per input.
            last = traceback.extract_tb(error.__traceback__)[-1]
            kind = f"{type(error).__name__} at {last.filename}:{last.lineno}"
            if kind not in known:
                known.add(kind)
                path = options.findings / hashlib.sha256(data).hexdigest()[:16]
                path.write_bytes(data)
                print(f"{kind}: {error}\n  input: {path}", flush=True)
                traceback.print_exception(error)
        signal.alarm(0)
    print(f"{count} inputs, {len(known)} findings")
    return 1 if known else 0

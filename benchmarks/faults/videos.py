"""Videos of every kind against plain decoding: no frame may be wrong, whatever order it is asked for in.

    python benchmarks/faults/videos.py              # all, some two minutes
    python benchmarks/faults/videos.py join field   # those whose names hold one of the words

Films are made on the spot: containers, codecs, time stamps that repeat, run backwards or are missing, fields as
packets, recordings joined, cut, damaged. Every frame shows its number. The truth is PyAV's own loop, packet by packet;
a film is read in order, in random order and through a pipe. Exits with 1 if a frame differs, or anything but a sentence
comes out.
"""

import io
import itertools
import logging
import random
import sys
import tempfile
import time
from itertools import zip_longest
from pathlib import Path

import av
import numpy as np
from films import Films, number_in
from kinds import Film, films

from undertow.base import VideoError
from undertow.video import Frame, Video
from undertow.video.pipe import Pipe
from undertow.video.streams import stream_of

# How far a picture may be from PyAV's own conversion to RGB, in grey levels on average.
CLOSE = 6.0


def truth(path: Path) -> list[np.ndarray]:
    """Returns the frames of a file as PyAV's own loop gives them, packets that cannot be decoded left out."""
    frames = []
    with av.open(str(path)) as file:
        stream = max(file.streams.video, key=lambda each: each.width * each.height)
        for packet in file.demux(stream):
            try:
                frames += [frame.to_ndarray(format="rgb24") for frame in packet.decode()]
            except BlockingIOError:
                # After an error, PyAV's decoder of VP9 takes nothing more.
                stream.codec_context.flush_buffers()
            except av.FFmpegError:
                continue
    return frames


def problems(path: Path) -> list[str]:
    """Returns what is wrong with how a film is read; nothing if all is well."""
    found, expected = [], truth(path)
    wanted = [number_in(image) for image in expected]
    # What decoders make of damaged pictures is not the same every time.
    exact = not path.name.startswith(("lost", "spoilt"))
    try:
        with Video(path, skip_damaged=True) as video:
            frames = list(video)
            shown = [number_in(frame.image) for frame in frames]
            order = random.Random(0).sample(range(len(frames)), len(frames))
            with Video(path, cache_frames=1, skip_damaged=True) as other:
                images = [(at, other[frames[at].index]) for at in order]
    except VideoError as error:
        return [f"refused: {error}"] if wanted else []
    astray = [at for at, image in images if not (np.array_equal(image, frames[at].image) or not exact)]
    # Of a packet that the file ends within, FFmpeg makes a picture in part.
    torn = path.name.startswith("ended") and any(shown == wanted[:at] + wanted[at + 1 :] for at in range(len(wanted)))
    if shown != wanted and not torn:
        found.append(f"shows {shown} instead of {wanted}")
    elif exact and not torn:
        pairs = [(frame.image, image.astype(int)) for frame, image in zip(frames, expected, strict=True)]
        apart = [np.abs(image - other).mean() for image, other in pairs if image.shape == other.shape]
        found += [f"pictures are {max(apart):.1f} off"] if max(apart) > CLOSE else []
    times = [frame.time for frame in frames]
    if any(after <= before for before, after in itertools.pairwise(times)):
        found.append("times do not increase")
    if astray:
        found.append(f"frames {sorted(astray)} differ when asked for by number")
    return found + through_a_pipe(path, frames, exact)


def through_a_pipe(path: Path, frames: list[Frame], exact: bool) -> list[str]:
    """Returns what is different through a pipe from the frames of the file."""
    try:
        with Video(stream_of(Pipe(io.BytesIO(path.read_bytes()), "the pipe"))) as stream:
            piped = list(stream)
    except VideoError as error:
        return [] if "index at the end" in str(error) else [f"pipe: {error}"]
    # Without going back and forth, FFmpeg does not know when an mxf begins.
    here, there = ([(each.index, path.suffix == ".mxf" or each.time) for each in both] for both in (frames, piped))
    if here != there:
        return [f"the pipe differs: {[each for each in zip_longest(here, there) if each[0] != each[1]]}"]
    alike = all(np.array_equal(one.image, two.image) for one, two in zip(frames, piped, strict=True))
    return [] if alike or not exact else ["the pipe's pictures differ"]


class Said(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps a message."""
        self.messages.append(record.getMessage())


def check(make: Film, folder: Films) -> list[str]:
    """Returns what is wrong with one film, and with what is said about it."""
    said, log = Said(), logging.getLogger("undertow.video")
    log.addHandler(said)
    log.propagate = False
    try:
        path = make(folder)
        found = problems(path)
    except VideoError as error:
        return [f"refused: {error}"]
    except Exception as error:
        return [f"{type(error).__name__}: {error}"]
    finally:
        log.removeHandler(said)
    whole = not path.name.startswith(("ended", "lost"))
    return found + [message for message in said.messages if whole and "cut short" in message]


def main() -> None:
    av.logging.set_level(None)
    words, wrong, begun = sys.argv[1:], 0, time.process_time()
    chosen = {name: make for name, make in films().items() if not words or any(word in name for word in words)}
    with tempfile.TemporaryDirectory() as folder:
        for name, make in chosen.items():
            if found := check(make, Films(Path(folder))):
                wrong += 1
                print(f"{name}: {'; '.join(found)}", flush=True)
    print(f"{len(chosen)} films, {wrong} wrong, {time.process_time() - begun:.0f} s of CPU")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()

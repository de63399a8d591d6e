"""A video in several threads and processes: each gets its frames, or one sentence, and nobody waits for ever."""

import io
import multiprocessing
import os
import pickle
import random
import subprocess
import sys
import threading

import numpy as np
import pytest

from undertow.base import VideoError
from undertow.video import Clip, Video, open_stream

# Slices are what decoders of these files have threads for.
SLICES = {"x264-params": "slices=4:bframes=2"}
# A program that forks with a video open; `child` and `parent` are filled in. Both end as programs do, all being freed.
FORKING = """
import io, os, sys
from undertow.base import VideoError
from undertow.video import Video
path, = sys.argv[1:]
{opened}
video[0]
child = os.fork()
if child == 0:
    try:
        {child}
    except VideoError as error:
        print(error)
    sys.stdout.flush()
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
{parent}
"""


def forked(path, child: str, parent: str = "", opened: str = "video = Video(path, cache_frames=1)") -> str:
    script = FORKING.format(child=child, parent=parent, opened=opened)
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
class TestForked:
    def test_the_child_reads_on_its_own(self, clips):
        path = clips.make("film.mp4", options=SLICES)
        means = "print([round(float(video[index].mean()), 6) for index in (30, 6, 7)])"
        child, parent, *_ = forked(path, means, means).splitlines()
        with Video(path) as video:
            assert child == parent == str([round(float(video[index].mean()), 6) for index in (30, 6, 7)])

    def test_a_video_that_the_child_does_not_use_does_not_keep_it(self, clips):
        path = clips.make("film.mkv", options=SLICES)
        assert forked(path, "del video", "print(video[9].shape)") == "(48, 64, 3)\n"

    def test_a_stream_belongs_to_who_opened_it(self, clips):
        path = clips.make("film.mkv", options=SLICES)
        opened = "video = Video(open(path, 'rb'))"
        said = forked(path, "next(iter(video))", "print(sum(1 for _ in video.frames(range(1, 99))))", opened)
        assert said.splitlines() == [
            "the file comes once and cannot be read in another process; open it there",
            "39",
        ]


def mean_of(video: Video, index: int) -> float:
    return float(video[index].mean())


def test_a_spawned_process_gets_what_it_needs_to_open_the_file(clips):
    with Video(clips.make("film.mp4", options=SLICES)) as video, multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(mean_of, (video, 23)) == mean_of(video, 23)


def test_pickling(clips):
    path = clips.make("film.mkv")
    pictures = [clips.numbered(number) for number in range(4)]
    for source in (path, pictures, np.stack(pictures)):
        with Video(source, fps=10, cache_frames=3) as video:
            video.frame(2)
            clip = pickle.loads(pickle.dumps(Clip(video, 1, 4)))
            assert [clips.number_in(frame.image) for frame in clip] == [1, 2, 3]
            assert (clip.fps, len(clip.video), clip.video.fingerprint()) == (10, len(video), video.fingerprint())
    for stream in (Video(iter(pictures)), Video(path.open("rb")), open_stream(path)):
        with stream, pytest.raises(VideoError, match="comes once and cannot be read in another process"):
            pickle.dumps(stream)
    kept = pickle.dumps(video := Video(path))
    video.close()
    path.unlink()
    with pytest.raises(VideoError, match="cannot be read"):
        pickle.loads(kept)


def test_threads_take_turns(clips):
    wrong = []
    with Video(clips.make("film.mp4", options=SLICES), cache_frames=2) as video:

        def read(seed: int) -> None:
            try:
                order = [random.Random(seed).randrange(40) for _ in range(15)]
                wrong.extend(index for index in order if clips.number_in(video[index]) != index)
                wrong.extend(frame.index for frame in video if clips.number_in(frame.image) != frame.index)
            except Exception as error:
                wrong.append(error)

        threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def test_threads_share_a_stream_without_losing_frames(clips):
    data, seen = clips.make("film.mkv").read_bytes(), []
    with Video(io.BytesIO(data), cache_frames=40) as video:
        threads = [threading.Thread(target=lambda: seen.extend(f.index for f in video)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(seen) == sorted(3 * list(range(40)))

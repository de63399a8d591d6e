"""Frames in and out: files, folders, arrays, streams and cameras by frame number and exact time; mp4 that plays."""

from undertow.video.clip import Clip, frame_number
from undertow.video.frames import NOMINAL_FPS, DamagedFrame, Frame, FramesDigest, ranges
from undertow.video.live import is_stream, open_stream
from undertow.video.video import Video
from undertow.video.writer import VideoWriter, write_video

__all__ = [
    "NOMINAL_FPS",
    "Clip",
    "DamagedFrame",
    "Frame",
    "FramesDigest",
    "Video",
    "VideoWriter",
    "frame_number",
    "is_stream",
    "open_stream",
    "ranges",
    "write_video",
]

"""Frames in and out: files, folders, arrays and streams by frame number and exact time; mp4 that plays everywhere."""

from undertow.video.frames import NOMINAL_FPS, Frame
from undertow.video.video import Video
from undertow.video.writer import VideoWriter, write_video

__all__ = ["NOMINAL_FPS", "Frame", "Video", "VideoWriter", "write_video"]

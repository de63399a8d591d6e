"""Semantic segmentation of video from one labelled frame, or none (VidSeg, EmerDiff)."""

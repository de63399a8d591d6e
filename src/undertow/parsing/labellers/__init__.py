"""What labels the tokens of frames: VidSeg, propagation from anchors, EmerDiff."""

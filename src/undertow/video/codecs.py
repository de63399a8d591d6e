"""Which kinds of video this machine can read and write."""

from dataclasses import dataclass

# The names of what reads and writes each kind. FFmpeg's own av1 decoder is not among them: it needs a GPU.
_CODERS = {
    "h264": (("h264",), ("libx264",)),
    "hevc": (("hevc",), ("libx265",)),
    "vp9": (("vp9", "libvpx-vp9"), ("libvpx-vp9",)),
    "av1": (("libdav1d", "libaom-av1"), ("libsvtav1", "libaom-av1")),
    "prores": (("prores",), ("prores_ks", "prores")),
    "ffv1": (("ffv1",), ("ffv1",)),
    "mjpeg": (("mjpeg",), ("mjpeg",)),
}


@dataclass(frozen=True)
class CodecSupport:
    """What can be done with one kind of video.

    Attributes:
        decode: whether it can be read.
        encode: whether it can be written.
    """

    decode: bool
    encode: bool


def codecs() -> dict[str, CodecSupport]:
    """Returns, by name, which of h264, hevc, vp9, av1, prores, ffv1 and mjpeg can be decoded and encoded here.

    Raises:
        ImportError: if PyAV is missing.
    """
    # Here and not above: most of undertow works where PyAV is missing.
    from undertow.video.container import can_decode, can_encode

    return {
        name: CodecSupport(any(map(can_decode, readers)), any(map(can_encode, writers)))
        for name, (readers, writers) in _CODERS.items()
    }

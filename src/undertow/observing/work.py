"""What observing frames takes, from shapes: passes of the network, and bytes while it runs."""

from undertow.backbones import Backbone, Noising

FLOAT = 4


def passes_per_frame(noising: Noising) -> int:
    """Returns how often the network runs for a frame: each step of an inversion, and the observation itself."""
    return 1 + (len(noising.steps_grid) if noising.kind == "invert" else 0)


def network_bytes(backbone: Backbone, input_size: tuple[int, int], frames: int) -> int:
    """Returns about what observing some frames together takes, without having measured it.

    The widest place is the autoencoder's first block, at full resolution: its input, kept for the shortcut, and three
    versions of it on their way through norm, activation and convolution; and the input itself as float32, twice. Or it
    is the denoiser's widest block, of which as much is held for every latent cell.

    Args:
        backbone: The model.
        input_size: Height and width that frames are shown at, in pixels.
        frames: Number of frames that go together.
    """
    pixels = input_size[0] * input_size[1]
    encoding = 4 * backbone.encoder_width * backbone.dtype.itemsize + 2 * 3 * FLOAT
    denoising = 4 * backbone.denoiser_width * backbone.dtype.itemsize / backbone.stride**2
    return int(frames * pixels * max(encoding, denoising))

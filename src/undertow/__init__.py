"""Video perception from frozen diffusion models."""

__version__ = "0.1.0"

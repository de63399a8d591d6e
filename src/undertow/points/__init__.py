"""Point tracking with frozen diffusion models (DiffTrack), and the analysis that finds the layer that carries motion."""

"""Which layer carries motion: analysing the attention of a model on clips with known motion."""

"""Recipes that train the embedded models from the procedural world. Needs no video library."""

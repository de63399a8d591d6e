"""Reading a network while it runs: capture of attention, edits, noise levels, early exit."""

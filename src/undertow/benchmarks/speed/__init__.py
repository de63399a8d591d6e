"""Where time goes: every stage of a frame against the machine's own ceiling, and against other ways to do the same."""

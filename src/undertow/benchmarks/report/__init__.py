"""The report of a benchmark: tables, charts, and one self-contained page."""

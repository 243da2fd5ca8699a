"""Measurements of accuracy and speed; each module is a command: `python -m benchmarks.NAME --help`."""

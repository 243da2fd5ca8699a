"""Generates the reference pages and diagrams of docs/, and checks every page: `python -m documentation`, or `make docs`."""

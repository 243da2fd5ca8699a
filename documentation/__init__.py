"""Generates the reference pages and pictures of docs/, and checks every page: `python -m documentation`, or `make docs`."""

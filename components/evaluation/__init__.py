"""Measuring a classifier."""

"""Evaluates a classifier: metrics, intervals, calibration, robustness, plots."""

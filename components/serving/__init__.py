"""Packages, logs and loads registered model versions."""

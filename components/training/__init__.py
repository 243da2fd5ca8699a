"""Trains a classifier: loop, input pipeline, checkpoints, feature cache."""

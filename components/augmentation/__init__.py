"""Renders augmented views of training images."""

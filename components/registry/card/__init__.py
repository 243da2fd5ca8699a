"""The model card of a version: a pure function of its evidence, and its files."""

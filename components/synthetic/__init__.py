"""Procedural dermoscopy images, for the bundled dataset and the starter weights. No stage imports this package."""

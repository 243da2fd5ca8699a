"""From an image to its augmented views."""

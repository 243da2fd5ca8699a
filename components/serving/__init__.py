"""What ships with a registered version, and how a version answers."""

"""The work: one module per DVC stage, and the leaves they share."""

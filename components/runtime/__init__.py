"""How a stage runs. Nothing here decides what a stage writes, so no stage of dvc.yaml depends on it."""

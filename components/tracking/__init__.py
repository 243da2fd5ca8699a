"""Logs runs to MLflow. Nothing here affects a stage's outputs, so no stage of dvc.yaml depends on it."""

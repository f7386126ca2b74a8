"""Data-parallel training on Ray Train, tracked in MLflow."""

"""Hyperparameter sweeps on Ray Tune and Optuna."""

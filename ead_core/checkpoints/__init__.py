"""Trained models on disk and at addresses."""

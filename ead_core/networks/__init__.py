"""Equivariant networks, the denoiser and the predictor built on them, and their compiled operations."""

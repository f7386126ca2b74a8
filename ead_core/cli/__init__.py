"""The program `ead`, a module for each of its commands."""

from ead_core.config import sampler_settings

__all__ = ["sampler_settings"]  # models that were registered in MLflow before it moved import it from here

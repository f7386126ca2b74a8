"""Molecule files, the canonical store, splits, statistics and batches."""

"""Molecules in files and in memory, their properties, and what training takes from them."""

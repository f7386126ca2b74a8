"""How molecules and figures look."""

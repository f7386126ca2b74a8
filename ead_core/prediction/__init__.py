"""Properties predicted by trained models, and how far these are to be trusted."""

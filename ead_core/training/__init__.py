"""Training: the loop, the moving average, and checkpoints."""

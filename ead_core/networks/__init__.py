"""Networks that predict noise: EDM's EGNN, its better conditioned variant, and the per-atom-time denoiser."""

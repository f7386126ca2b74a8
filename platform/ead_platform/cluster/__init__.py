"""Ray clusters, the MLflow store, and the settings and secrets that lead to them."""

"""The model registry: versions, the gate to promotion, addresses, the model as MLflow loads it."""

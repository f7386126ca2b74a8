"""Quality of generated molecules: stability, validity, uniqueness and novelty with their uncertainty."""

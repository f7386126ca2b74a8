"""What MLflow knows of runs: the store, and what is written of and read from trainings."""

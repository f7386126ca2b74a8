"""The platform around ead_core: Ray, Optuna and MLflow run the same functions that a laptop runs."""

"""Finding the MLflow run of a training by what people call it."""

import re

from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from ead_core.errors import EADError

KIND_TAG, TRAINING = "ead.kind", "training"
CHECKPOINT = "checkpoint"  # folder of its artifacts


def find_training(client: MlflowClient, experiment: str, run: str) -> Run | None:
    """The training of an experiment with this id or name; None if there is none.

    Raises:
        EADError: several have the name.
    """
    if re.search(r"['\"`\\]", run):  # no recipe allows such a name, and MLflow's filter cannot quote all of it
        return None
    condition = f"tags.`{KIND_TAG}` = '{TRAINING}' and attributes."
    found = client.search_runs([experiment], f"{condition}run_id = '{run}'")
    found = found or client.search_runs([experiment], f"{condition}run_name = '{run}'")
    if len(found) > 1:
        ids = ", ".join(each.info.run_id for each in found)
        raise EADError(f"{len(found)} trainings are called '{run}'; give the id of one of them: {ids}.")
    return found[0] if found else None

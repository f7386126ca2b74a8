"""A registered model as MLflow loads it: a frame of requests in, a frame of molecules out.

MLflow stores this file with the model and runs it on loading (models from code). The columns are the options of
`ead sample`, read by the same parsers; only the package `ead` must be installed where the model is used.
"""

from typing import Any

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.pyfunc.model import PythonModel
from mlflow.types import ColSpec, Schema

from ead_core.checkpoints.checkpoint import Checkpoint, load_checkpoint
from ead_core.config import parse_overrides, sampler_settings
from ead_core.data.priors import parse_sizes
from ead_core.data.sdf_writer import sdf_records
from ead_core.data.targets import parse_targets
from ead_core.data.usable import described, usable
from ead_core.errors import EADError
from ead_core.sampling.generation import fulfil
from ead_core.sampling.requests import Request, sampler_config

SIGNATURE = ModelSignature(
    Schema(
        [
            ColSpec("long", "num"),
            ColSpec("long", "seed", required=False),
            ColSpec("string", "sizes", required=False),  # 18 or 15,18,21 or 15-20
            ColSpec("string", "targets", required=False),  # gap=6500 mu=1:3
            ColSpec("string", "sampler", required=False),  # sampler.policy=synchronous sampler.steps=50
        ]
    ),
    Schema(
        [
            ColSpec("long", "request"),  # row of the request
            ColSpec("long", "id"),
            ColSpec("string", "smiles", required=False),  # None where bonds cannot be perceived
            ColSpec("string", "sdf"),
            ColSpec("long", "calls"),  # of the network
        ]
    ),
)
EXAMPLE = pd.DataFrame({"num": [2], "seed": [0], "sampler": ["sampler.policy=synchronous sampler.steps=50"]})


class MoleculeModel(PythonModel):
    """Samples from the checkpoint among the model's artifacts."""

    def load_context(self, context: Any) -> None:
        """Load the checkpoint; called by MLflow."""
        self._checkpoint = load_checkpoint(context.artifacts["checkpoint"])

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """One row per molecule, in the order of the requests and their ids.

        Raises:
            MlflowException: a request that cannot be served (400 over HTTP).
        """
        made = []
        for row, values in enumerate(model_input.to_dict("records")):
            given = {str(name): value for name, value in values.items() if not pd.isna(value)}
            try:
                made.append(molecules(self._checkpoint, request_of(self._checkpoint, given)).assign(request=row))
            except EADError as error:
                raise MlflowException.invalid_parameter_value(f"request {row}: {error}") from error
        columns = SIGNATURE.outputs.input_names()
        return pd.concat(made, ignore_index=True)[columns] if made else pd.DataFrame(columns=columns)


def request_of(checkpoint: Checkpoint, given: dict[str, Any]) -> Request:
    """The request that the columns of a row describe (EADError if they do not)."""
    changes = sampler_settings(parse_overrides(given.get("sampler", "").split()))
    return Request(
        num=int(given["num"]),
        sampler=sampler_config(checkpoint, changes),
        seed=int(given.get("seed", 0)),
        sizes=parse_sizes(given.get("sizes")),
        targets=parse_targets(given.get("targets", "").split()),
    )


def molecules(checkpoint: Checkpoint, request: Request) -> pd.DataFrame:
    """Id, SMILES, SDF record ('' where unusable) and network calls of each molecule of a request.

    Raises:
        EADError: a request that cannot be served, or nothing usable was made.
    """
    made = fulfil(checkpoint, request)
    good, faults = usable(made)
    if not len(good):
        raise EADError(f"nothing usable was made ({described(faults)}).")
    records = dict(zip(good.properties["id"].tolist(), sdf_records(good), strict=True))
    found = [records.get(number) for number in made.properties["id"].tolist()]
    return pd.DataFrame(
        {
            "id": made.properties["id"],
            "smiles": [record.identity.smiles or None if record else None for record in found],
            "sdf": [record.text if record else "" for record in found],
            "calls": made.properties["nfe"],
        }
    )


mlflow.models.set_model(MoleculeModel())

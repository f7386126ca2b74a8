"""What a shard says of each of its molecules, so that it can be known, judged and made again from the shard alone.

Legend: M molecules.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ead_core.chemistry.identity import identify
from ead_core.data.sdf_writer import molblock
from ead_core.data.store import MoleculeSet
from ead_core.prediction.judge import predict
from ead_core.prediction.predict import PREDICTED, Prediction, with_predictions
from ead_core.sampling.account import REPAIRED
from ead_platform.generation.plan import GenerationPlan
from ead_platform.generation.shard_unmet import PREDICTED_BY

INCHIKEY, MOLBLOCK = "inchikey", "molblock"


class Passports:
    """Completes the molecules of a plan.

    Args:
        plan: whose model, seed and criteria they share.
    """

    def __init__(self, plan: GenerationPlan) -> None:
        self._shared = {
            "seed": plan.seed,
            "model": plan.checkpoint.name,
            "fingerprint": plan.checkpoint.fingerprint(),
            "checks": str(plan.order.accept) if plan.order else "",
        }
        asked = plan.targets.names if plan.targets else ()
        self._predictor = plan.predictor()
        known = self._predictor.statistics.properties if self._predictor else {}
        self._names = [name for name in asked if name in known]

    def complete(self, molecules: MoleculeSet) -> MoleculeSet:
        """Molecules with an `inchikey`, and after it all other columns of a shard."""
        shared = {name: np.full(len(molecules), value) for name, value in self._shared.items()}
        repaired = {REPAIRED: molecules.properties.get(REPAIRED, np.zeros(len(molecules), dtype=np.int64))}
        own = {**molecules.properties, **_bonds(molecules), **repaired, **shared}
        return self._predicted(replace(molecules, properties=own))

    def _predicted(self, molecules: MoleculeSet) -> MoleculeSet:
        """Molecules with the interval of what is predicted of them; it is predicted here if nobody has done so."""
        own = self._predictor
        if own is None or not self._names:
            return molecules
        given = {name: molecules.properties.get(f"{PREDICTED}{name}") for name in self._names}
        known = {name: values for name, values in given.items() if values is not None}
        if len(known) < len(given):
            known = self._values(molecules)
        widths = {name: own.calibration[name].widened for name in self._names}
        told = {name: Prediction(known[name], known[name] - half, known[name] + half) for name, half in widths.items()}
        by = {PREDICTED_BY: np.full(len(molecules), own.fingerprint)}
        return with_predictions(replace(molecules, properties={**molecules.properties, **by}), told)

    def _values(self, molecules: MoleculeSet) -> dict[str, NDArray[np.float64]]:
        """What is predicted of molecules, perhaps of none."""
        own = self._predictor
        if own is None or not len(molecules):
            return {name: np.zeros(0) for name in self._names}
        return predict(own.predictor, own.config, own.statistics, molecules)


def _bonds(molecules: MoleculeSet) -> dict[str, NDArray[np.str_]]:
    """SMILES and molblock of the perceived molecules, '' where bonds cannot be perceived."""
    found = [identify(molecule) for molecule in molecules]
    blocks = [molblock(each.mol) if each.perceived else "" for each in found]
    return {"smiles": np.array([each.smiles for each in found], dtype=str), MOLBLOCK: np.array(blocks, dtype=str)}

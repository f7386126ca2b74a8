"""Properties of any molecules, with intervals that say how far they are to be trusted.

Legend: M molecules.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ead_core.checkpoints.checkpoint import vocabulary
from ead_core.chemistry.electrons import TOTAL_CHARGE
from ead_core.chemistry.elements import element_symbol
from ead_core.data.store import MoleculeSet
from ead_core.errors import DataError
from ead_core.notes import note_all
from ead_core.prediction.judge import Judge, load_judge
from ead_core.prediction.judge import predict as predicted_values

PREDICTED = "predicted_"  # before the name of a property, in files: the molecules may have a measured one


class Prediction(NamedTuple):
    """One property of M molecules, in border units (data/properties.py).

    Attributes:
        value: [M].
        low, high: [M] ends of the 95 % interval. It is calibrated on molecules like those of training, and widened by
            what is known of generated ones (`calibration.Widening`); without that it is nominal for these.
    """

    value: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def predict(molecules: MoleculeSet, predictor: str | Path | Judge = "qm9-judge") -> dict[str, Prediction]:
    """Predict properties of finished molecules, each with its 95 % interval.

    Args:
        molecules: M of any origin.
        predictor: name of a bundled one, folder of one trained with `training.objective=predict`, or a loaded one.

    Returns:
        By property, in the order of training; e.g. `predict(molecules)["gap"].value`. A note tells of molecules for
        which the intervals do not hold.

    Raises:
        CheckpointError: no such predictor, or one that is not calibrated.
        DataError: an element that the predictor does not know.
        ConfigError: a molecule too large for its `sampler.memory_budget`.
    """
    judge = predictor if isinstance(predictor, Judge) else load_judge(predictor)
    _check_elements(molecules, judge)
    note_all(unlike_training(molecules, judge))
    found = predicted_values(judge.predictor, judge.config, judge.statistics, molecules)
    widths = {name: judge.calibration[name].widened for name in found}
    return {name: Prediction(values, values - widths[name], values + widths[name]) for name, values in found.items()}


def with_predictions(molecules: MoleculeSet, predictions: Mapping[str, Prediction]) -> MoleculeSet:
    """The molecules with `predicted_gap`, `predicted_gap_low` and `predicted_gap_high` for every property."""
    columns: dict[str, NDArray[Any]] = {}
    for name, (value, low, high) in predictions.items():
        columns |= {f"{PREDICTED}{name}": value, f"{PREDICTED}{name}_low": low, f"{PREDICTED}{name}_high": high}
    return replace(molecules, properties={**molecules.properties, **columns})


def unlike_training(molecules: MoleculeSet, judge: Judge) -> Iterator[str]:
    """A sentence for each kind of molecules that the predictor cannot have learnt: charged ones, and other sizes."""
    least, most = min(judge.statistics.sizes), max(judge.statistics.sizes)
    charges = (molecule.total_charge for molecule in molecules) if TOTAL_CHARGE in molecules.properties else ()
    for count, what in (
        (sum(charge != 0 for charge in charges), f"have a charge, of which {judge.name} is not told"),
        (
            int(((molecules.num_atoms < least) | (molecules.num_atoms > most)).sum()),
            f"do not have {least} to {most} atoms like all that {judge.name} has learnt from",
        ),
    ):
        if count:
            yield f"{count:,} of {len(molecules):,} molecules {what}; for these the 95 % intervals do not hold."


def _check_elements(molecules: MoleculeSet, judge: Judge) -> None:
    types = vocabulary(judge.config, judge.statistics)
    foreign = ~np.isin(molecules.charges, types.numbers)
    if foreign.any():
        symbols = ", ".join(element_symbol(int(number)) for number in np.unique(molecules.charges[foreign]))
        owners = np.unique(np.repeat(np.arange(len(molecules)), molecules.num_atoms)[foreign])
        which = f"{len(owners):,} of {len(molecules):,} molecules have" if len(molecules) > 1 else "the molecule has"
        raise DataError(
            f"{which} elements that {judge.name} does not know ({symbols}); it knows {', '.join(types.symbols)}."
        )

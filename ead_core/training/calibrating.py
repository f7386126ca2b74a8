"""The periodic check of a judge's training: errors on what it does not learn from, kept as its calibration."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ead_core.checkpoints.checkpoint import weights_digest
from ead_core.config import Config
from ead_core.data.dataset import Statistics
from ead_core.data.labels import Labels, labels_of
from ead_core.data.store import MoleculeSet
from ead_core.errors import DataError
from ead_core.networks.predictor import Predictor
from ead_core.prediction.calibration import Residuals, measure_errors, save_calibration
from ead_core.prediction.judge import predict
from ead_core.training.objective import Evaluate
from ead_core.training.parallel import Workers


def calibration_check(
    config: Config, statistics: Statistics, valid: MoleculeSet, test: MoleculeSet, directory: Path | None
) -> Evaluate:
    """A function for `fit` that measures the predictor and reports the mean absolute error of each property.

    It takes seconds, so that the first worker does it for all.

    Args:
        config: the recipe.
        statistics: of the training data.
        valid: gives the widths of intervals.
        test: gives the bound.
        directory: gets calibration.json; None for none.

    Raises:
        DataError: a property of which one of the parts has no label.
    """
    parts = [labelled(config, statistics, molecules) for molecules in (valid, test)]

    def check(predictor: Predictor, step: int) -> Mapping[str, float]:
        if not Workers.joined().leads:
            return {}
        found = [residuals_of(predictor, config, statistics, *part) for part in parts]
        calibration = {name: measure_errors(found[0][name], found[1][name]) for name in statistics.properties}
        if directory is not None:
            save_calibration(directory, calibration, weights_digest(predictor.state_dict()))
        return {f"error_{name}": figures.bound for name, figures in calibration.items()}

    return check


def labelled(config: Config, statistics: Statistics, molecules: MoleculeSet) -> tuple[MoleculeSet, Labels]:
    """The molecules with a label that the run may know, and the labels."""
    labels = labels_of(molecules, config.conditioning, config.data.split_seed)
    for name, values in labels.items():
        if np.isnan(values).all():
            raise DataError(f"no held-out molecule has a label of '{name}', so a judge of it cannot be calibrated.")
    some = np.flatnonzero(~np.isnan(np.stack(list(labels.values()))).all(axis=0))
    return molecules.select(some), {name: values[some] for name, values in labels.items()}


def residuals_of(
    predictor: Predictor, config: Config, statistics: Statistics, molecules: MoleculeSet, labels: Labels
) -> dict[str, Residuals]:
    """Predictions and residuals of each property on the molecules with a label."""
    found = predict(predictor, config, statistics, molecules)
    known = {name: ~np.isnan(values) for name, values in labels.items()}
    return {
        name: Residuals(found[name][known[name]], (values - found[name])[known[name]])
        for name, values in labels.items()
    }

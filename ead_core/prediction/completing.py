"""Labels that nobody measured, for a training that may know a predictor's: measured ones are scarce.

A predictor that learnt from the labels of a half of the molecules knows nothing of the other half's, so what it says of
them can be shown to a generator that a judge of the other half is to judge.

Legend: M molecules.
"""

import numpy as np

from ead_core.config import Config
from ead_core.data.labels import Labels
from ead_core.data.store import MoleculeSet
from ead_core.errors import ConfigError
from ead_core.prediction.judge import Judge, load_judge, predict


def completed(labels: Labels, molecules: MoleculeSet, config: Config) -> Labels:
    """The labels with the predictions of `conditioning.predictor` where they are unknown; as they are without one.

    Args:
        labels: [M] by property, NaN where unknown.
        molecules: M of them.
        config: the recipe of the training.

    Raises:
        CheckpointError: no such predictor.
        ConfigError: one that learnt from other molecules than the recipe may, or predicts none of its properties.
        DataError: molecules with elements that it does not know.
    """
    if config.conditioning.predictor is None:
        return labels
    judge = load_judge(config.conditioning.predictor)
    _check(judge, config)
    found = predict(judge.predictor, judge.config, judge.statistics, molecules)
    return {
        name: np.where(np.isnan(values), found[name], values) if name in found else values
        for name, values in labels.items()
    }


def _check(judge: Judge, config: Config) -> None:
    own, here = judge.config, config
    if here.conditioning.half != "all" and own.labels_seen != here.labels_seen:
        raise ConfigError(
            f"conditioning.predictor={judge.name} learnt from the labels of conditioning.half={own.conditioning.half} "
            f"(data.split_seed={own.data.split_seed}), and the recipe leaves all but those of "
            f"{here.conditioning.half} ({here.data.split_seed}) to a judge."
        )
    if not set(judge.statistics.properties) & set(config.conditioning.properties):
        known = ", ".join(judge.statistics.properties)
        raise ConfigError(
            f"conditioning.predictor={judge.name} predicts {known}, none of which is in conditioning.properties."
        )

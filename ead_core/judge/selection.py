"""The best of N molecules for each target, chosen by a predictor that is not the judge.

Whoever chooses by a predictor must not be judged by it, nor by one that learnt from the same labels: the choice would
favour its errors. So a selector has learnt from the generator's half of the labels, and molecules carry its
fingerprint, by which a judge knows its own choice.

Legend: M molecules, N candidates for each.
"""

import numpy as np

from ead_core.data.store import MoleculeSet
from ead_core.data.targets import TargetError
from ead_core.diffusion.conditions import TARGET
from ead_core.errors import ConfigError
from ead_core.judge.judge import Judge, predict
from ead_core.metrics.chemistry import smiles_of
from ead_core.training.checkpoint import Checkpoint

SELECTED_BY = "selected_by"


def check_selector(selector: Judge, generator: Checkpoint, names: tuple[str, ...]) -> None:
    """Refuse a selector that learnt from the judge's labels, or that cannot tell what is asked for.

    Args:
        selector: who is to choose.
        generator: whose molecules.
        names: the properties asked for.

    Raises:
        ConfigError: labels of another half than the generator's, or another cut of the halves.
        TargetError: none of the properties is known to it.
    """
    own, other = selector.config, generator.config
    cuts = [(config.conditioning.half, config.data.split_seed) for config in (own, other)]
    if cuts[0] != cuts[1] or own.conditioning.half == "all":
        raise ConfigError(
            f"{selector.name} learnt from labels of conditioning.half={cuts[0][0]} (data.split_seed={cuts[0][1]}), "
            f"and {generator.name} from {cuts[1][0]} ({cuts[1][1]}): a selector must have the generator's half, which "
            "leaves the other one to the judge."
        )
    if not set(names) & set(selector.statistics.properties):
        known = ", ".join(selector.statistics.properties)
        raise TargetError(f"{selector.name} tells {known}, but none of them is asked for.")


def best_of(molecules: MoleculeSet, candidates: int, selector: Judge) -> MoleculeSet:
    """The nearest to its targets of every `candidates` molecules in a row, valid ones first, at the cost of all.

    Distances are mean absolute deviations in units of each property's own, over the properties that are asked for.

    Args:
        molecules: M·N, the candidates for one place side by side.
        candidates: N.
        selector: see `check_selector`.
    """
    found = predict(selector.predictor, selector.config, selector.statistics, molecules)
    distances = []
    for name, seen in selector.statistics.properties.items():
        asked = molecules.properties.get(f"{TARGET}{name}")
        if asked is not None:
            distances.append(np.abs(np.asarray(asked, dtype=np.float64) - found[name]) / seen.mad)
    known = ~np.isnan(distances)
    distance = np.where(known, distances, 0).sum(axis=0) / known.sum(axis=0).clip(1)
    invalid = np.array([text is None for text in smiles_of(molecules)])
    distance = np.where(invalid, np.inf, distance).reshape(-1, candidates)
    chosen = np.arange(len(distance)) * candidates + distance.argmin(axis=1)
    kept = molecules.select(chosen)
    costs = {name: molecules.properties[name].reshape(-1, candidates).sum(axis=1) for name in ("nfe", "seconds")}
    told = {**kept.properties, **costs, SELECTED_BY: np.full(len(kept), selector.fingerprint)}
    return MoleculeSet(kept.num_atoms, kept.charges, kept.positions, told)

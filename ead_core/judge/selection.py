"""The best of N molecules for each target, chosen by counting atoms and by a predictor that is not the judge.

What comes out is a selection, and says so: its molecules carry the number of candidates (`best_of`), which their card
says, and the cost of all of them.

Whoever chooses by a predictor must not be judged by it, nor by one that learnt from the same labels: the choice would
favour its errors. So a selector has learnt from the generator's half of the labels, and molecules carry its
fingerprint, by which a judge knows its own choice.

Legend: M molecules, N candidates for each.
"""

import numpy as np
from numpy.typing import NDArray

from ead_core.checkpoints.checkpoint import Checkpoint
from ead_core.data.electrons import even_electrons
from ead_core.data.properties import count_atoms, counted_element
from ead_core.data.store import MoleculeSet
from ead_core.data.targets import TargetError
from ead_core.errors import ConfigError
from ead_core.evaluation.smiles import smiles_of
from ead_core.prediction.judge import Judge, predict
from ead_core.sampling.conditions import targets_of

SELECTED_BY, BEST_OF = "selected_by", "best_of"


def check_selector(selector: Judge, generator: Checkpoint, names: tuple[str, ...]) -> None:
    """Refuse a selector that learnt from the judge's labels, or that cannot predict what is asked for.

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
        raise TargetError(f"{selector.name} predicts {known}, but none of them is asked for.")


def best_of(molecules: MoleculeSet, candidates: int, selector: Judge | None) -> MoleculeSet:
    """The best of every `candidates` molecules in a row, at the cost of all.

    Valid ones with an even number of electrons come first, then those with the fewest atoms too many or too few of the
    elements asked for, then those that the selector takes to be nearest to their targets.

    Args:
        molecules: M·N, the candidates for one place side by side.
        candidates: N.
        selector: see `check_selector`; None if only numbers of atoms are asked for.
    """
    invalid = np.array([text is None for text in smiles_of(molecules)]) | ~even_electrons(molecules)
    distance = _distance(molecules, selector) if selector else np.zeros(len(molecules))
    keys = [key.reshape(-1, candidates) for key in (distance, _wrong_atoms(molecules), invalid)]
    first = np.lexsort(keys, axis=-1)[:, 0]
    kept = molecules.select(np.arange(len(first)) * candidates + first)
    costs = {name: molecules.properties[name].reshape(-1, candidates).sum(axis=1) for name in ("nfe", "seconds")}
    chosen = {BEST_OF: np.full(len(kept), candidates)}
    if selector:
        chosen[SELECTED_BY] = np.full(len(kept), selector.fingerprint)
    return MoleculeSet(kept.num_atoms, kept.charges, kept.positions, {**kept.properties, **costs, **chosen})


def _distance(molecules: MoleculeSet, selector: Judge) -> NDArray[np.float64]:
    """Of each molecule [M·N] to its targets: the mean over those given, in units of each property's own spread."""
    found = predict(selector.predictor, selector.config, selector.statistics, molecules)
    wanted, distances = targets_of(molecules), []
    for name, seen in selector.statistics.properties.items():
        if name in wanted:
            distances.append(np.abs(wanted[name] - found[name]) / seen.mad)
    known = ~np.isnan(distances)
    return np.where(known, distances, 0).sum(axis=0) / known.sum(axis=0).clip(1)


def _wrong_atoms(molecules: MoleculeSet) -> NDArray[np.float64]:
    """Atoms too many or too few of the elements asked for, added up, in each molecule [M·N]."""
    wrong = np.zeros(len(molecules))
    for name, asked in targets_of(molecules).items():
        number = counted_element(name)
        if number is not None:
            wrong += np.nan_to_num(np.abs(asked - count_atoms(molecules, number)))
    return wrong

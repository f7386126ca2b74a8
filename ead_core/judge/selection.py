"""The best of N finished molecules for each target.

What comes out is a selection, and says so: its molecules carry the number of candidates (`best_of`), branches of each
counted in, which their card says, and the cost of all of them. Who may choose, and by what, says sampling/choice.py.

Legend: M molecules, N candidates for each.
"""

import numpy as np

from ead_core.data.store import MoleculeSet
from ead_core.prediction.judge import Judge
from ead_core.sampling.choice import BEST_OF, SELECTED_BY, distance, not_sound


def best_of(molecules: MoleculeSet, candidates: int, selector: Judge | None) -> MoleculeSet:
    """The best of every `candidates` molecules in a row, at the cost of all.

    Valid ones with an even number of electrons come first, then those with the fewest atoms too many or too few of the
    elements asked for, then those that the selector takes to be nearest to their targets.

    Args:
        molecules: M·N, the candidates for one place side by side.
        candidates: N.
        selector: see `choice.check_selector`; None if only numbers of atoms are asked for.
    """
    keys = [key.reshape(-1, candidates) for key in (distance(molecules, selector), not_sound(molecules))]
    first = np.lexsort(keys, axis=-1)[:, 0]
    kept = molecules.select(np.arange(len(first)) * candidates + first)
    costs = {name: molecules.properties[name].reshape(-1, candidates).sum(axis=1) for name in ("nfe", "seconds")}
    chosen = {BEST_OF: candidates * kept.properties.get(BEST_OF, np.ones(len(kept), dtype=np.int64))}
    if selector:
        chosen[SELECTED_BY] = np.full(len(kept), selector.fingerprint)
    return MoleculeSet(kept.num_atoms, kept.charges, kept.positions, {**kept.properties, **costs, **chosen})

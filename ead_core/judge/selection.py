"""The best of N finished molecules for each target.

What comes out is a selection, and says so: its molecules carry the number of candidates (`best_of`), branches of each
counted in, which their card says, and the cost of all of them. Who may choose, and by what, says sampling/choice.py.

Legend: M molecules, N candidates for each.
"""

import numpy as np

from ead_core.data.store import MoleculeSet
from ead_core.prediction.judge import Judge
from ead_core.sampling.choice import BEST_OF, as_chosen, best_rows


def best_of(molecules: MoleculeSet, candidates: int, selector: Judge | None) -> MoleculeSet:
    """The best of every `candidates` molecules in a row, at the cost of all.

    Which is best says `choice.best_rows`: a valid one, with the elements asked for, near to its targets.

    Args:
        molecules: M·N, the candidates for one place side by side.
        candidates: N.
        selector: see `choice.check_selector`; None if only numbers of atoms are asked for.
    """
    kept = molecules.select(best_rows(molecules, np.arange(len(molecules)) // candidates, selector))
    costs = {name: molecules.properties[name].reshape(-1, candidates).sum(axis=1) for name in ("nfe", "seconds")}
    return as_chosen(kept, candidates * kept.properties.get(BEST_OF, 1), costs, selector)

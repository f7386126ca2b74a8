"""Which atoms go first? By how many levels they are below the mean of their molecule, by what the atoms are."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from ead_core.chemistry.bare_molecules import molecule_by_table
from ead_core.chemistry.elements import element_symbol
from ead_core.data.store import MoleculeSet
from ead_core.evaluation.stability import stability

CLASSES = (
    "H",
    "C",
    "N",
    "O",
    "heavy, in a ring",
    "heavy, in no ring",
    "heavy, one neighbour",
    "heavy, two",
    "heavy, more",
)


def classes(mol: Chem.Mol) -> NDArray[np.bool_]:
    """[len(CLASSES), N] which atoms belong where; neighbours are heavy ones."""
    Chem.FastFindRings(mol)
    atoms = list(mol.GetAtoms())
    symbols = np.array([element_symbol(atom.GetAtomicNum()) for atom in atoms])
    heavy = symbols != "H"
    ring = np.array([atom.IsInRing() for atom in atoms])
    near = np.array([sum(other.GetAtomicNum() > 1 for other in atom.GetNeighbors()) for atom in atoms])
    elements = [symbols == symbol for symbol in ("H", "C", "N", "O")]
    return np.stack(
        [*elements, heavy & ring, heavy & ~ring, heavy & (near == 1), heavy & (near == 2), heavy & (near > 2)]
    )


def order_of_atoms(molecules: MoleculeSet, lead: NDArray[Any]) -> Mapping[str, tuple[float, float, int]]:
    """Mean lead in levels, its standard error over molecules, and the molecules, per class.

    Only stable molecules count: in others bonds, and with them rings and neighbours, are doubtful.

    Args:
        molecules: M molecules.
        lead: of all their atoms, one molecule after the other.
    """
    offsets = molecules.offsets
    means: dict[str, list[float]] = {name: [] for name in CLASSES}
    for index in np.flatnonzero(stability(molecules).stable):
        own = lead[offsets[index] : offsets[index + 1]]
        for name, chosen in zip(CLASSES, classes(molecule_by_table(*molecules.molecule(int(index)))), strict=True):
            if chosen.any():
                means[name].append(float(own[chosen].mean()))
    return {
        name: (float(np.mean(values)), float(np.std(values) / len(values) ** 0.5), len(values))
        for name, values in means.items()
        if len(values) > 1
    }

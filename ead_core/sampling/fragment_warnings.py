"""What is odd about a fragment that generated molecules shall keep: a charge, or no valence to continue it from."""

from collections.abc import Iterator

import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem import rdDetermineBonds, rdMolDescriptors

from ead_core.chemistry.bare_molecules import bare_molecule
from ead_core.chemistry.missing_atoms import shows_missing_atoms
from ead_core.chemistry.perception import PerceptionError, perceive
from ead_core.chemistry.usual import USUAL
from ead_core.chemistry.valency import in_ions, unusual_atoms, valencies
from ead_core.sampling.fragments import Fragment

_AMMONIUM = Chem.MolFromSmarts("[#7D4;!$([#7]~[#8D1])]")  # the nitrogen of an N-oxide has its charge balanced


def fragment_warnings(fragment: Fragment) -> list[str]:
    """A sentence for each."""
    neighbours = _neighbours(fragment)
    warnings = []
    if fragment.net_charge:
        warnings.append(f"the fragment has the charge {fragment.net_charge:+d}, of which the model knows nothing.")
    elif neighbours.HasSubstructMatch(_AMMONIUM):
        warnings.append(
            "a nitrogen of the fragment has four neighbours and thus a charge, of which the model knows nothing."
        )
    for formula in _complete(fragment, neighbours):
        warnings.append(
            f"the fragment holds a complete molecule, {formula}, to which nothing can be bonded; "
            "take away the hydrogens where it shall be continued."
        )
    return warnings


def _neighbours(fragment: Fragment) -> Chem.Mol:
    mol = bare_molecule(fragment.charges, fragment.positions)
    with rdBase.BlockLogs():
        rdDetermineBonds.DetermineConnectivity(mol)
        mol.UpdatePropertyCache(strict=False)
    return mol


def _complete(fragment: Fragment, neighbours: Chem.Mol) -> Iterator[str]:
    """Formulas of pieces that are molecules by themselves."""
    pieces = Chem.GetMolFrags(neighbours)
    charge = fragment.net_charge if len(pieces) == 1 else 0  # which piece has it is not known
    for piece in map(np.array, pieces):
        try:
            mol = perceive(fragment.charges[piece], fragment.positions[piece], charge)
        except PerceptionError:
            continue
        usual = in_ions(USUAL) if charge else USUAL
        if not shows_missing_atoms(mol) and not unusual_atoms(valencies(mol), usual):
            yield str(rdMolDescriptors.CalcMolFormula(mol))

"""Signs that atoms are missing from a molecule: files often give heavy atoms alone, and fragments have open valences.

Perception finds orders for such molecules too where it can, e.g. triple bonds for the six carbons of cyclohexane, which
are far too far apart for them. There are real molecules without hydrogen, such as carbon dioxide.
"""

from typing import Any

from numpy.typing import NDArray
from rdkit import Chem

from ead_core.chemistry.elements import CARBON

NO_HYDROGENS = "it has no hydrogen atoms, only heavy atoms"
_LONGEST = {2: 0.97, 3: 0.87}  # length of a bond by its order, in sums of covalent radii; C=C 1.47 Å, C≡C 1.32 Å


def lacks_hydrogens(charges: NDArray[Any]) -> bool:
    """Whether atoms, by their atomic numbers [N], are carbon and others but no hydrogen."""
    return bool((charges == CARBON).any() and not (charges == 1).any())


def shows_missing_atoms(mol: Chem.Mol, *, crude: bool = False) -> bool:
    """Whether a perceived molecule has a radical, or a multiple bond that is too long for its order.

    Args:
        mol: sanitised, with one conformer.
        crude: pass over double bonds of heteroatoms, which coordinates that nobody has optimised often have too long.
    """
    kekule = Chem.Mol(mol)
    Chem.Kekulize(kekule, clearAromaticFlags=True)
    radicals = any(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms())
    return radicals or any(_is_too_long(bond) for bond in kekule.GetBonds() if not (crude and _is_polar_double(bond)))


def _is_polar_double(bond: Chem.Bond) -> bool:
    both_carbon = bond.GetBeginAtom().GetAtomicNum() == bond.GetEndAtom().GetAtomicNum() == CARBON
    return bond.GetBondType() == Chem.BondType.DOUBLE and not both_carbon


def _is_too_long(bond: Chem.Bond) -> bool:
    ends, table = (bond.GetBeginAtom(), bond.GetEndAtom()), Chem.GetPeriodicTable()
    conformer = bond.GetOwningMol().GetConformer()
    first, second = (conformer.GetAtomPosition(atom.GetIdx()) for atom in ends)
    radii = sum(table.GetRcovalent(atom.GetAtomicNum()) for atom in ends)
    return bool((first - second).Length() > _LONGEST.get(round(bond.GetBondTypeAsDouble()), float("inf")) * radii)

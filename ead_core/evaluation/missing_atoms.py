"""Signs that atoms are missing from a molecule: files often give heavy atoms alone, and fragments have open valences.

Perception finds orders for such molecules too where it can, e.g. triple bonds for the six carbons of cyclohexane, which
are far too far apart for them. There are real molecules without hydrogen, such as carbon dioxide.
"""

from typing import Any

from numpy.typing import NDArray
from rdkit import Chem

NO_HYDROGENS = "it has no hydrogen atoms, only heavy atoms"
_LONGEST = {2: 0.97, 3: 0.87}  # length of a bond by its order, in sums of covalent radii; C=C 1.47 Å, C≡C 1.32 Å


def lacks_hydrogens(charges: NDArray[Any]) -> bool:
    """Whether atoms, by their atomic numbers [N], are carbon and others but no hydrogen."""
    return bool((charges == 6).any() and not (charges == 1).any())


def shows_missing_atoms(mol: Chem.Mol) -> bool:
    """Whether a perceived molecule has a radical, or a multiple bond that is too long for its order.

    Args:
        mol: sanitised, with one conformer.
    """
    kekule = Chem.Mol(mol)
    Chem.Kekulize(kekule, clearAromaticFlags=True)
    return any(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms()) or any(map(_is_too_long, kekule.GetBonds()))


def _is_too_long(bond: Chem.Bond) -> bool:
    ends, table = (bond.GetBeginAtom(), bond.GetEndAtom()), Chem.GetPeriodicTable()
    conformer = bond.GetOwningMol().GetConformer()
    first, second = (conformer.GetAtomPosition(atom.GetIdx()) for atom in ends)
    radii = sum(table.GetRcovalent(atom.GetAtomicNum()) for atom in ends)
    return bool((first - second).Length() > _LONGEST.get(round(bond.GetBondTypeAsDouble()), float("inf")) * radii)

"""Whether a molfile whose atoms all lie at z = 0 holds a planar molecule or the drawing of one.

A program line that says 2D or 3D is believed. Where it says neither, the record is a drawing if a bond is too short or
too long for its elements and order, as it is where all bonds are drawn alike; if an atom has four neighbours in the
plane; or if all hydrogens are left out, as in most drawings. A single atom is never one, nor are atoms without bonds.
"""

import numpy as np
from rdkit import Chem

_SHORTEST, _LONGEST = 0.86, 1.18  # of the sum of the radii; F₂ has 1.16, the single bonds of a Kekulé structure 0.90
_CONTRACTION = {Chem.BondType.DOUBLE: 0.87, Chem.BondType.TRIPLE: 0.78, Chem.BondType.AROMATIC: 0.92}
_NEVER_FLAT = ("C", "N", "Si", "P", "B")  # with four neighbours
_DIMENSION = slice(20, 22)  # of the program line, the second one


def is_drawing(mol: Chem.Mol, molblock: str) -> bool:
    """Whether a record is a 2D drawing rather than a geometry (the rule is in the docstring of this module).

    Args:
        mol: as RDKit parses the block, not sanitised.
        molblock: the text.
    """
    if mol.GetConformer().Is3D() or mol.GetNumAtoms() == 1:
        return False
    if molblock.splitlines()[1][_DIMENSION].upper() == "2D":
        return True
    return mol.GetNumBonds() > 0 and (_lacks_all_hydrogens(mol) or _is_crowded(mol) or not _is_to_scale(mol))


def _lacks_all_hydrogens(mol: Chem.Mol) -> bool:
    mol.UpdatePropertyCache(strict=False)
    atoms = list(mol.GetAtoms())
    return all(atom.GetAtomicNum() != 1 for atom in atoms) and any(atom.GetTotalNumHs() for atom in atoms)


def _is_crowded(mol: Chem.Mol) -> bool:
    return any(atom.GetDegree() > 3 and atom.GetSymbol() in _NEVER_FLAT for atom in mol.GetAtoms())


def _is_to_scale(mol: Chem.Mol) -> bool:
    table, positions = Chem.GetPeriodicTable(), mol.GetConformer().GetPositions()
    for bond in mol.GetBonds():
        ends = bond.GetBeginAtom(), bond.GetEndAtom()
        usual = sum(table.GetRb0(atom.GetAtomicNum()) for atom in ends) * _CONTRACTION.get(bond.GetBondType(), 1)
        length = np.linalg.norm(positions[ends[0].GetIdx()] - positions[ends[1].GetIdx()])
        if not _SHORTEST * usual < length < _LONGEST * usual:
            return False
    return True

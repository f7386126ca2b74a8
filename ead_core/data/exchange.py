"""Molecules to and from RDKit."""

from collections.abc import Iterable

import numpy as np
from rdkit import Chem

from ead_core.chemistry.identity import identify
from ead_core.chemistry.molecule import Molecule
from ead_core.data.records import Record, assemble
from ead_core.data.store import MoleculeSet
from ead_core.errors import DataError


def to_rdkit(molecule: Molecule) -> Chem.Mol:
    """One molecule with bonds, formal charges and stereochemistry as perceived from its geometry.

    All atoms are explicit, in the order of `molecule`, with one conformer in Å. Known properties become RDKit's; the
    property `name` becomes the title (`_Name`), and `formal_charge` is the charge that perception goes by. Where
    perception fails, bonds are those of the published distance table, unsanitised, and the property `warning` says so.

    Args:
        molecule: `molecules[index]` of a `MoleculeSet`.

    Raises:
        DataError: an atomic number outside 0 to 118.
    """
    identity = identify(molecule)
    mol = Chem.Mol(identity.mol)
    for name, value in molecule.known.items():
        _set_property(mol, "_Name" if name == "name" else name, value)
    if identity.warning:
        mol.SetProp("warning", identity.warning)
    return mol


def from_rdkit(mols: Iterable[Chem.Mol]) -> MoleculeSet:
    """A set of the atoms, 3D coordinates and properties of RDKit molecules.

    Hydrogens must be explicit (`Chem.AddHs`), since only what has coordinates is kept. Of several conformers the first
    is taken. The total charge becomes the property `formal_charge`, the title (`_Name`) `name`.

    Raises:
        DataError: a molecule is None, has no atoms, no 3D coordinates, or implicit hydrogens.
    """
    found = assemble((f"molecule {number}", _record(mol, number)) for number, mol in enumerate(mols, start=1))
    return found.molecules


def _record(mol: Chem.Mol | None, number: int) -> Record:
    if mol is None or not mol.GetNumAtoms():
        raise DataError(f"molecule {number} has no atoms.")
    if not mol.GetNumConformers() or not mol.GetConformer().Is3D():
        raise DataError(f"molecule {number} has no 3D coordinates; RDKit's EmbedMolecule makes some.")
    if any(atom.GetTotalNumHs() for atom in mol.GetAtoms()):
        raise DataError(f"molecule {number} has implicit hydrogens, but only atoms have coordinates: use Chem.AddHs.")
    charges = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()], dtype=np.int64)
    named = {"name": mol.GetProp("_Name")} if mol.HasProp("_Name") and mol.GetProp("_Name") else {}
    properties = {**mol.GetPropsAsDict(), **named, "formal_charge": Chem.GetFormalCharge(mol)}
    return Record(charges, mol.GetConformer().GetPositions(), properties)


def _set_property(mol: Chem.Mol, name: str, value: float | str) -> None:
    if isinstance(value, str):
        mol.SetProp(name, value)
    elif isinstance(value, float):
        mol.SetDoubleProp(name, value)
    elif abs(value) < 2**31:
        mol.SetIntProp(name, value)
    else:
        mol.SetProp(name, str(value))

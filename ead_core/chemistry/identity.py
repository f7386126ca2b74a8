"""Which molecule a geometry is: its bonds, charges and stereochemistry, its SMILES, and what is wrong with it."""

import contextlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from rdkit import Chem, rdBase

from ead_core.chemistry.bare_molecules import molecule_by_table
from ead_core.chemistry.molecule import Molecule
from ead_core.chemistry.perception import PerceptionError, perceive

_IMPLIED = Chem.RemoveHsParameters()
_IMPLIED.removeDefiningBondStereo = True  # type: ignore[assignment]  # C=N-H is not worth an explicit hydrogen
_IMPLIED.showWarnings = False  # type: ignore[assignment]


@dataclass(frozen=True)
class Identity:
    """A geometry with its bonds.

    Attributes:
        mol: all atoms with bonds, formal charges and one conformer; sanitised, with stereochemistry, if perceived.
        smiles: of the whole molecule, canonical, without explicit hydrogens; '' if its bonds cannot be perceived.
        readable: whether RDKit can sanitise `mol`.
        warning: what a user of the molecule must know; '' if nothing.
    """

    mol: Chem.Mol
    smiles: str
    readable: bool
    warning: str

    @property
    def perceived(self) -> bool:
        """Whether the bonds are perceived ones."""
        return bool(self.smiles)


def identify(molecule: Molecule) -> Identity:
    """The perceived molecule; where perception fails, that of the published distance table, with a warning.

    Raises:
        DataError: an atomic number outside 0 to 118.
    """
    with rdBase.BlockLogs():
        if not molecule.is_finite:
            return _by_table(molecule, "a coordinate is not a finite number")
        try:
            mol = perceive(molecule.charges, molecule.positions, molecule.total_charge)
        except PerceptionError as error:
            return _by_table(molecule, str(error))
        Chem.AssignStereochemistryFrom3D(mol)
        doubts, charge = _doubts(mol), Chem.GetFormalCharge(mol)
        if charge != molecule.total_charge:
            doubts.insert(0, f"its bonds go with the charge {charge}, not {molecule.total_charge}")
        return Identity(mol, smiles_of(mol), True, "; ".join(doubts))


def perceived_smiles(molecules: Iterable[Molecule]) -> list[str]:
    """SMILES of each molecule as a whole (see `Identity`), '' where its bonds cannot be perceived.

    Raises:
        DataError: an atomic number outside 0 to 118.
    """
    return [identify(molecule).smiles for molecule in molecules]


def smiles_of(mol: Chem.Mol) -> str:
    """Canonical SMILES of a sanitised molecule with a conformer, with stereochemistry, without explicit hydrogens.

    Hydrogens stay where nothing implies them, as in `[H][H]`.
    """
    mol = Chem.Mol(mol)
    Chem.AssignStereochemistryFrom3D(mol)
    text = str(Chem.MolToSmiles(Chem.RemoveHs(mol, _IMPLIED)))
    # Of some cages RDKit finds the canonical order of stereocentres only when it reads its own SMILES.
    again = Chem.MolFromSmiles(text) if "@" in text else None
    return str(Chem.MolToSmiles(again)) if again is not None else text


def denotes(smiles: str, molecule: Molecule) -> bool:
    """Whether a SMILES, with the hydrogens that it implies, has the molecule's own atoms."""
    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(smiles) if smiles else None
        if mol is None:
            return False
        atoms = Counter(atom.GetAtomicNum() for atom in Chem.AddHs(mol).GetAtoms())
    return atoms == Counter(molecule.charges.tolist())


def without_stereo(smiles: str) -> str:
    """Canonical SMILES of the same atoms and bonds without stereochemistry."""
    mol = Chem.MolFromSmiles(smiles) if set(smiles) & set("@/\\") else None
    if mol is None:
        return smiles
    Chem.RemoveStereochemistry(mol)
    return str(Chem.MolToSmiles(mol))


def kekulised(mol: Chem.Mol) -> Chem.Mol:
    """A copy with single and double instead of aromatic bonds, as far as there is a Kekulé structure."""
    mol = Chem.Mol(mol)
    with rdBase.BlockLogs(), contextlib.suppress(Chem.MolSanitizeException):
        Chem.Kekulize(mol, clearAromaticFlags=True)
    return mol


def _by_table(molecule: Molecule, reason: str) -> Identity:
    mol = molecule_by_table(molecule.charges, molecule.positions)
    for atom in mol.GetAtoms():
        atom.SetNoImplicit(True)  # every hydrogen is an atom of its own
    mol.UpdatePropertyCache(strict=False)
    tried = Chem.Mol(mol)
    readable = not Chem.SanitizeMol(tried, catchErrors=True)
    doubts = [f"bonds are those of the distance table, because perception failed: {reason}"]
    doubts += _doubts(tried) if readable else ["RDKit cannot sanitise them"]
    return Identity(mol, "", readable, "; ".join(doubts))


def _doubts(mol: Chem.Mol) -> list[str]:
    """Of a sanitised molecule."""
    radicals = sum(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms())
    pieces = len(Chem.GetMolFrags(mol))
    return [f"unpaired electrons: {radicals}"] * (radicals > 0) + [f"in {pieces} pieces"] * (pieces > 1)
